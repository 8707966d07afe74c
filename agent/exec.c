/* /api/execute and /api/execute/stream. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/agent.h"
#include "agent/env.h"
#include "agent/exec.h"
#include "agent/follow.h"
#include "agent/result.h"
#include "common/json_text.h"
#include "common/utf8.h"

/* Of each output of a command that timed out, the newest bytes are sent. */
#define EXEC_PARTIAL_MAX  (1024 * 1024)

/* One /api/execute that waits for its end. */
typedef struct {
    run_watch      watch;
    http_request  *r;
    char          *session;     /* as the request meant it */
    int            named;       /* the answer names it */
} exec_wait;


const char *
exec_session_name(http_request *r, const char *from_body, int headers)
{
    const char  *v;

    if (from_body != NULL) {
        return from_body;
    }

    if (headers) {
        v = http_header(r, "authorization");
        if (v != NULL && strncasecmp(v, "Bearer ", 7) == 0
            && v[7] != '\0')
        {
            return v + 7;
        }

        v = http_header(r, "x-session-id");
        if (v == NULL || v[0] == '\0') {
            v = http_query(r, "session", NULL);
        }
        if (v == NULL || v[0] == '\0') {
            v = http_query(r, "sessionId", NULL);
        }
        if (v != NULL && v[0] != '\0') {
            return v;
        }
    }

    return NULL;
}


static int
exec_is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n\v\f")] == '\0';
}


/* "Failed to execute command 'x' in session 'y': why", with its context. */

static void
exec_answer_error(http_request *r, const char *command, const char *sid,
    const char *why)
{
    error   *err;
    json_t  *context;

    err = NULL;

    if (sid != NULL) {
        error_set(&err, 500, "command_execution_error",
                  "Failed to execute command '%.200s' in session '%.100s': "
                  "%.150s", command, sid, why);
    } else {
        error_set(&err, 500, "command_execution_error",
                  "Failed to execute command '%.200s': %.200s", command, why);
    }

    context = json_pack("{s:s, s:s}", "command", command, "stderr", why);
    api_error_context(r, err, context);
}


void
exec_answer_failure(http_request *r, const run *of, const char *sid)
{
    error   *err;
    json_t  *context;

    err = NULL;
    error_set(&err, of->failure->status, of->failure->code, "%s",
              of->failure->message);

    if (strcmp(err->code, "session_terminated") == 0) {
        context = json_pack("{s:s, s:o}", "sessionId", sid, "exitCode",
                            of->shell_exit < 0 ? json_null()
                            : json_integer(of->shell_exit));

    } else if (strcmp(err->code, "session_destroyed") == 0) {
        context = json_pack("{s:s}", "sessionId", sid);

    } else {
        context = json_pack("{s:s}", "command", of->command);
    }

    api_error_context(r, err, context);
}


run *
exec_run(const exec_params *p, int foreground)
{
    run  *of;

    of = run_new(p->command, p->command_len);
    of->foreground = foreground;
    of->timeout_ms = p->timeout_ms;
    of->cwd = p->cwd == NULL ? NULL : strdup(p->cwd);
    of->env = p->env == NULL ? NULL : json_deep_copy(p->env);

    if (p->input_open) {
        of->feed = feed_new();
        if (p->input != NULL) {
            feed_add(of->feed, p->input, p->input_len);
        }

    } else if (p->input != NULL) {
        run_set_input(of, p->input, p->input_len);
    }

    return of;
}


int
exec_start(run *of, const char *name, error **err)
{
    session  *s;

    if (strcmp(name, SESSION_NONE) == 0) {
        if (of->timeout_ms == 0 && of->foreground) {
            of->timeout_ms = agent.command_timeout_ms;
        }
        run_start(of);
        return 0;
    }

    s = session_get(name, NULL, err);
    if (s == NULL) {
        return -1;
    }

    session_submit(s, of);

    return 0;
}


static int
exec_session_checked(http_request *r, const exec_params *p, const char *name)
{
    error  *err;

    if (name != NULL && exec_is_blank(name)) {
        exec_answer_error(r, p->command, NULL,
                          "sessionId must not be empty or whitespace");
        return -1;
    }

    err = NULL;

    /* One from a header or the query may hold any bytes. */
    if (name != NULL && utf8_valid(name, strlen(name)) != strlen(name)) {
        error_set_field(&err, 400, "validation_failed", "sessionId", 0,
                        "sessionId must be UTF-8");
        api_error(r, err);
        return -1;
    }

    if (env_check(p->env, "env", &err) == 0) {
        return 0;
    }

    /* Clients know a wrong name as a command that failed. */
    if (strncmp(err->message, ENV_NAME_ERROR, strlen(ENV_NAME_ERROR)) == 0) {
        exec_answer_error(r, p->command, name == NULL ? "default" : name,
                          err->message);
        error_free(err);

    } else {
        api_error(r, err);
    }

    return -1;
}


/* What all shapes check.  Returns 0, or -1 after an answer; name is NULL where
 * no session was named. */

static int
exec_params_read(http_request *r, char *body, size_t len, exec_params *p,
    json_t **o, const char **name)
{
    error  *err;

    if (http_json_object(r, body, len, o) != 0) {
        return -1;
    }

    err = NULL;
    if (params_exec(*o, p, &err) != 0) {
        api_error(r, err);
        json_decref(*o);
        return -1;
    }

    *name = exec_session_name(r, p->session, 1);

    if (exec_session_checked(r, p, *name) != 0) {
        json_decref(*o);
        return -1;
    }

    return 0;
}


/* /api/execute */

static void
exec_wait_free(exec_wait *w)
{
    run_watch_drop(&w->watch);
    free(w->session);
    free(w);
}


static void
exec_wait_close(http_request *r)
{
    exec_wait_free(r->data);
}


/* A member that is a string, with a comma before it. */

static void
exec_member(buffer *b, const char *key, const char *value)
{
    char    *room;
    size_t   n, used;

    n = strlen(value);
    buffer_puts(b, ",\"");
    buffer_puts(b, key);
    buffer_puts(b, "\":\"");
    room = buffer_room(b, n * JSON_TEXT_GROWTH + JSON_TEXT_GROWTH);
    buffer_added(b, json_text_escape(room, n * JSON_TEXT_GROWTH
                                     + JSON_TEXT_GROWTH, value, n, &used,
                                     true));
    buffer_puts(b, "\"");
}


static void
exec_answer_timeout(http_request *r, run *of, const char *sid)
{
    char    ts[32], message[512];
    buffer  head, tail;

    memset(&head, 0, sizeof(head));
    memset(&tail, 0, sizeof(tail));
    http_timestamp(ts, sizeof(ts));

    snprintf(message, sizeof(message), "Failed to execute command '%.200s' in "
             "session '%.100s': Command timeout after %llums", of->command,
             sid, (unsigned long long) of->timeout_ms);

    /* What was cut in the middle of a character is not worth a failure. */
    if (utf8_valid(message, strlen(message)) != strlen(message)) {
        snprintf(message, sizeof(message), "Failed to execute the command: "
                 "Command timeout after %llums",
                 (unsigned long long) of->timeout_ms);
    }

    buffer_puts(&head, "{\"code\":\"COMMAND_EXECUTION_ERROR\"");
    exec_member(&head, "message", message);
    buffer_puts(&head, ",\"context\":{\"timedOut\":true");
    buffer_printf(&head, ",\"timeoutMs\":%llu",
                  (unsigned long long) of->timeout_ms);
    exec_member(&head, "command", of->command);
    buffer_append(&head, "", 1);

    buffer_printf(&tail, "},\"httpStatus\":500,\"timestamp\":\"%s\"}", ts);
    buffer_append(&tail, "", 1);

    result_send(r, of, 500, buffer_bytes(&head), buffer_bytes(&tail), 1,
                EXEC_PARTIAL_MAX);
    buffer_free(&head);
    buffer_free(&tail);
}


static void
exec_answer(http_request *r, run *of, const char *sid, int named,
    int strip)
{
    int     code;
    char    ts[32];
    buffer  head, tail;

    if (of->out.start != 0 || of->err.start != 0) {
        exec_answer_error(r, of->command, sid, of->out.failed
                          || of->err.failed
                          ? "the output could not be stored"
                          : "the output is longer than 256 MiB; redirect it "
                            "to a file");
        return;
    }

    memset(&head, 0, sizeof(head));
    memset(&tail, 0, sizeof(tail));
    http_timestamp(ts, sizeof(ts));
    code = follow_exit_code(of);

    buffer_printf(&head, "{\"success\":%s,\"exitCode\":%d",
                  code == 0 ? "true" : "false", code);
    buffer_append(&head, "", 1);

    exec_member(&tail, "command", of->command);
    buffer_printf(&tail, ",\"duration\":%lld,\"timestamp\":\"%s\"",
                  (long long) (run_duration_ms(of) + 0.5), ts);
    if (named) {
        exec_member(&tail, "sessionId", sid);
    }
    buffer_puts(&tail, "}");
    buffer_append(&tail, "", 1);

    result_send(r, of, 200, buffer_bytes(&head), buffer_bytes(&tail), strip,
                0);
    buffer_free(&head);
    buffer_free(&tail);
}


static void
exec_wait_event(run_watch *rw, run_event event)
{
    int            named, plain;
    run           *of;
    char          *sid;
    exec_wait     *w;
    http_request  *r;

    if (event != RUN_ENDED) {
        return;
    }

    w = rw->data;
    of = rw->of;
    r = w->r;
    sid = w->session;
    named = w->named;
    w->session = NULL;

    run_hold(of);
    exec_wait_free(w);
    r->data = NULL;
    http_on_close(r, NULL);

    plain = strcmp(sid, SESSION_NONE) == 0;

    if (of->failure != NULL) {
        exec_answer_failure(r, of, sid);

    } else if (of->timed_out && !plain) {
        exec_answer_timeout(r, of, sid);

    } else {
        exec_answer(r, of, sid, named, !plain);
    }

    run_release(of);
    free(sid);
}


static void
exec_body(http_request *r, char *body, size_t len)
{
    run          *of;
    json_t       *o;
    error        *err;
    exec_wait    *w;
    const char   *name;
    exec_params   p;

    if (exec_params_read(r, body, len, &p, &o, &name) != 0) {
        return;
    }

    if (p.background) {
        exec_start_process(r, &p, name == NULL ? "default" : name);
        json_decref(o);
        return;
    }

    if (p.input_open) {
        err = NULL;
        error_set_field(&err, 400, "validation_failed", "stdinOpen", 0,
                        "stdinOpen is for processes and streams: nobody could "
                        "write to a command that is waited for");
        api_error(r, err);
        json_decref(o);
        return;
    }

    of = exec_run(&p, 1);

    w = calloc(1, sizeof(exec_wait));
    if (w == NULL) {
        abort();
    }

    w->r = r;
    w->session = strdup(name == NULL ? "default" : name);
    w->named = name != NULL;
    r->data = w;
    http_on_close(r, exec_wait_close);
    run_watch_add(of, &w->watch, exec_wait_event, w);

    err = NULL;
    if (exec_start(of, w->session, &err) != 0) {
        exec_wait_free(w);
        http_on_close(r, NULL);
        api_error(r, err);
    }

    run_release(of);
    json_decref(o);
}


static void
exec_handler(http_request *r)
{
    http_read_body(r, HTTP_JSON_LIMIT, exec_body);
}


/* /api/execute/stream */

static void
exec_stream_failed(http_request *r, run *of)
{
    exec_answer_failure(r, of, of->at_name);
}


/* The process's id, if it can be put into a header. */

static void
exec_stream_name(http_request *r, const char *id)
{
    const char  *p;

    for (p = id; *p > ' ' && *p < 0x7f; p++) { /* look on */ }

    if (*p == '\0') {
        http_set_header(r, "X-Process-Id", id);
    }
}


static void
exec_stream_body(http_request *r, char *body, size_t len)
{
    run          *of;
    json_t       *o;
    error        *err;
    process      *entry;
    const char   *name;
    exec_params   p;

    if (exec_params_read(r, body, len, &p, &o, &name) != 0) {
        return;
    }

    if (name == NULL) {
        name = "default";
    }

    err = NULL;

    if (exec_is_blank(p.command)) {
        error_set(&err, 400, "invalid_command",
                  "Invalid command: empty command provided");
        api_error(r, err);
        json_decref(o);
        return;
    }

    of = exec_run(&p, 0);
    of->at_name = strdup(name);
    entry = process_add(of, p.process_id, name, &err);

    if (entry == NULL) {
        api_error(r, err);

    } else {
        /* Not in the frames, which clients know by heart. */
        exec_stream_name(r, entry->id);
        follow_start(r, of, FOLLOW_EXEC, NULL, exec_stream_failed);

        if (exec_start(of, name, &err) != 0) {
            /* Told as the run's own end. */
            run_hold(of);
            run_fail(of, err);
        }
    }

    run_release(of);
    json_decref(o);
}


static void
exec_stream_handler(http_request *r)
{
    http_read_body(r, HTTP_JSON_LIMIT, exec_stream_body);
}


void
exec_routes(router *t)
{
    router_add(t, METHOD_POST, "/api/execute", exec_handler);
    router_add(t, METHOD_POST, "/api/execute/stream", exec_stream_handler);
}
