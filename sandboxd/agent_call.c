/* A request to an agent; see agent_call.h. */

#include <stdlib.h>
#include <string.h>

#include "sandboxd/agent_call.h"

typedef struct {
    uv_pipe_t      pipe;
    uv_timer_t     timer;
    uv_connect_t   connect;
    uv_write_t     write;
    agent_called   cb;
    void          *data;
    char          *text;        /* the request */
    size_t         text_len;
    size_t         in_len;
    unsigned       open;        /* handles */
    char           in[AGENT_ANSWER_MAX + 1];
} agent_request;


static void
on_call_closed(uv_handle_t *handle)
{
    agent_request  *a;

    a = handle->data;

    if (--a->open == 0) {
        memset(a->text, 0, a->text_len);
        free(a->text);
        free(a);
    }
}


/* The body of an answer, if the head is one: "OK\nHTTP/1.1 200 OK\r\n...".  An
 * agent that has no room for another connection has answered, too. */
static int
answer_status(const agent_request *a, const char **body)
{
    static const char  head[] = "OK\nHTTP/1.1 ";

    *body = "";

    if (strcmp(a->in, "ERR limit\n") == 0) {
        return 503;
    }

    *body = strstr(a->in, "\r\n\r\n");

    if (*body == NULL || strncmp(a->in, head, sizeof(head) - 1) != 0) {
        return 0;
    }

    *body += 4;

    return atoi(a->in + sizeof(head) - 1);
}


static void
call_end(agent_request *a)
{
    int          status;
    json_t      *result;
    const char  *body;

    if (a->cb == NULL) {
        return;
    }

    a->in[a->in_len] = '\0';
    status = answer_status(a, &body);
    result = status != 0 ? json_loads(body, JSON_REJECT_DUPLICATES, NULL)
                         : NULL;

    a->cb(a->data, status, json_is_object(result) ? result : NULL);
    a->cb = NULL;
    json_decref(result);

    uv_close((uv_handle_t *) &a->pipe, on_call_closed);
    uv_close((uv_handle_t *) &a->timer, on_call_closed);
}


static void
on_call_timer(uv_timer_t *timer)
{
    call_end(timer->data);
}


static void
on_call_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    agent_request  *a;

    a = handle->data;
    *buf = uv_buf_init(a->in + a->in_len,
                       (unsigned int) (AGENT_ANSWER_MAX - a->in_len));
}


static void
on_call_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    agent_request  *a;

    a = stream->data;

    if (n < 0) {
        call_end(a);
        return;
    }

    a->in_len += (size_t) n;

    if (a->in_len == AGENT_ANSWER_MAX) {
        a->in_len = 0;
        call_end(a);
    }
}


static void
on_call_written(uv_write_t *req, int status)
{
    if (status < 0) {
        call_end(req->data);
    }
}


static void
on_call_connected(uv_connect_t *req, int status)
{
    uv_buf_t        buf;
    agent_request  *a;

    a = req->data;

    if (a->cb == NULL) {
        return;
    }

    buf = uv_buf_init(a->text, (unsigned int) a->text_len);

    if (status < 0
        || uv_write(&a->write, (uv_stream_t *) &a->pipe, &buf, 1,
                    on_call_written) != 0
        || uv_read_start((uv_stream_t *) &a->pipe, on_call_alloc,
                         on_call_read) != 0)
    {
        call_end(a);
    }
}


static void
call_text(agent_request *a, const char *key, const char *method,
    const char *target, json_t *body)
{
    int    n;
    char  *json;

    json = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;

    n = asprintf(&a->text, "CONTROL %s\n%s %s HTTP/1.1\r\nHost: localhost\r\n"
                 "Connection: close\r\nContent-Length: %zu\r\n\r\n%s", key,
                 method, target, json ? strlen(json) : 0, json ? json : "");
    free(json);

    if (n < 0) {
        abort();
    }

    a->text_len = (size_t) n;
}


void
agent_call(uv_loop_t *loop, const char *path, const char *key,
    const char *method, const char *target, json_t *body, agent_called cb,
    void *data)
{
    agent_call_within(loop, AGENT_CALL_MS, path, key, method, target, body,
                      cb, data);
}


void
agent_call_within(uv_loop_t *loop, uint64_t ms, const char *path,
    const char *key, const char *method, const char *target, json_t *body,
    agent_called cb, void *data)
{
    agent_request  *a;

    a = calloc(1, sizeof(agent_request));
    if (a == NULL) {
        abort();
    }

    a->cb = cb;
    a->data = data;
    a->open = 2;
    call_text(a, key, method, target, body);

    uv_pipe_init(loop, &a->pipe, 0);
    uv_timer_init(loop, &a->timer);
    a->pipe.data = a->timer.data = a->connect.data = a->write.data = a;

    uv_timer_start(&a->timer, on_call_timer, ms, 0);
    uv_pipe_connect(&a->connect, &a->pipe, path, on_call_connected);
}
