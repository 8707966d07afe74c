/*
 * /api/process/{id}/stdin: more input for a process that was started with
 * stdinOpen.  A request's bytes are taken as a whole or not at all; they wait
 * for their turn while the process doesn't read.
 */

#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/feed.h"
#include "agent/follow.h"
#include "agent/params.h"
#include "agent/process_internal.h"
#include "common/base64.h"

#define INPUT_WAITING_MAX  256          /* requests, over all processes */
#define INPUT_WAIT_MS      10000
#define INPUT_BODY_MAX     (8 * 1024 * 1024)

typedef struct input_wait input_wait;

struct input_wait {
    input_wait    *next, *prev;
    run_watch      watch;
    http_request  *r;
    char          *id;
    buffer         bytes;
    int            end;
    uint64_t       timeout_ms;
    uv_timer_t    *timer;
};

static input_wait  input_list = { .next = &input_list, .prev = &input_list };
static unsigned    input_count;


/* Answers. */

static void
input_taken(http_request *r, const char *id, size_t n, int end)
{
    char     ts[32];
    json_t  *o;

    o = json_pack("{s:b, s:s, s:I}", "success", 1, "processId", id,
                  "accepted", (json_int_t) n);
    if (end) {
        json_object_set_new(o, "ended", json_true());
    }

    http_timestamp(ts, sizeof(ts));
    json_object_set_new(o, "timestamp", json_string(ts));
    http_send_json(r, 200, o);
}


static void
input_refuse(http_request *r, const char *id, const run *of, const char *why)
{
    error   *err;
    json_t  *context;

    err = NULL;
    error_set(&err, 409, "process_error", "Process %.200s %s", id, why);
    context = json_pack("{s:s}", "processId", id);

    if (of->state == RUN_OVER && of->failure == NULL) {
        json_object_set_new(context, "exitCode",
                            json_integer(follow_exit_code(of)));
    }

    api_error_context(r, err, context);
}


/* Is there nobody to write to?  Answers if so. */

static int
input_refused(http_request *r, const char *id, const run *of)
{
    if (of->state == RUN_OVER) {
        input_refuse(r, id, of, "has ended");

    } else if (of->feed == NULL) {
        input_refuse(r, id, of, "takes no more input: start it with "
                     "stdinOpen");

    } else if (of->feed->closed) {
        input_refuse(r, id, of, "has closed its input");

    } else if (of->feed->ended) {
        input_refuse(r, id, of, "has had the end of its input");

    } else {
        return 0;
    }

    return 1;
}


/* Waiting. */

static void
input_timer_closed(uv_handle_t *handle)
{
    free(handle);
}


static void
input_wait_free(input_wait *w)
{
    w->next->prev = w->prev;
    w->prev->next = w->next;
    input_count--;
    run_watch_drop(&w->watch);
    uv_close((uv_handle_t *) w->timer, input_timer_closed);
    buffer_free(&w->bytes);
    free(w->id);
    free(w);
}


static void
input_wait_close(http_request *r)
{
    input_wait_free(r->data);
}


/* The request is the caller's again. */

static http_request *
input_wait_leave(input_wait *w)
{
    http_request  *r;

    r = w->r;
    r->data = NULL;
    http_on_close(r, NULL);

    return r;
}


/* Hands over what fits.  Returns 1 if the request was answered. */

static int
input_try(http_request *r, const char *id, run *of, const buffer *bytes,
    int end)
{
    if (input_refused(r, id, of)) {
        return 1;
    }

    if (feed_room(of->feed) < bytes->len) {
        return 0;
    }

    feed_add(of->feed, buffer_bytes(bytes), bytes->len);

    if (of->feed->closed) {
        input_refuse(r, id, of, "has closed its input");
        return 1;
    }

    if (end) {
        feed_end(of->feed);
    }

    input_taken(r, id, bytes->len, end);

    return 1;
}


/* The first that waits for a process goes first.  Whoever is answered may do
 * anything, so that the walk begins anew then. */

static int
input_first(const input_wait *w)
{
    const input_wait  *before;

    for (before = input_list.next; before != w; before = before->next) {
        if (before->watch.of == w->watch.of) {
            return 0;
        }
    }

    return 1;
}


static int
input_serve(void)
{
    int            end;
    run           *of;
    char          *id;
    buffer         bytes;
    input_wait    *w;
    http_request  *r;

    for (w = input_list.next; w != &input_list; w = w->next) {
        of = w->watch.of;

        if (!input_first(w)
            || (of->state != RUN_OVER && !of->feed->closed
                && !of->feed->ended
                && feed_room(of->feed) < w->bytes.len))
        {
            continue;
        }

        run_hold(of);
        bytes = w->bytes;
        memset(&w->bytes, 0, sizeof(w->bytes));
        id = w->id;
        w->id = NULL;
        end = w->end;

        r = input_wait_leave(w);
        input_wait_free(w);

        /* It fits, or it can't be taken: answered in any case. */
        input_try(r, id, of, &bytes, end);

        buffer_free(&bytes);
        free(id);
        run_release(of);

        return 1;
    }

    return 0;
}


static void
input_room(feed *f)
{
    while (input_serve()) { /* the next one */ }
}


static void
input_event(run_watch *w, run_event event)
{
    if (event == RUN_ENDED) {
        input_room(NULL);
    }
}


static void
input_expired(uv_timer_t *timer)
{
    error         *err;
    json_t        *context;
    input_wait    *w;
    http_request  *r;

    w = timer->data;
    r = input_wait_leave(w);

    err = NULL;
    error_set(&err, 409, "resource_busy", "Process %.200s does not read its "
              "input: nothing was taken within %llums", w->id,
              (unsigned long long) w->timeout_ms);
    context = json_pack("{s:s, s:I, s:I}", "processId", w->id, "waiting",
                        (json_int_t) w->watch.of->feed->queue.len, "limit",
                        (json_int_t) FEED_MAX);
    input_wait_free(w);
    api_error_context(r, err, context);

    input_room(NULL);
}


static void
input_wait_add(http_request *r, const char *id, run *of, buffer *bytes,
    int end, uint64_t timeout_ms)
{
    input_wait  *w;

    w = calloc(1, sizeof(input_wait));
    if (w == NULL) {
        abort();
    }

    w->timer = malloc(sizeof(uv_timer_t));
    if (w->timer == NULL) {
        abort();
    }

    w->r = r;
    w->id = strdup(id);
    w->bytes = *bytes;
    memset(bytes, 0, sizeof(*bytes));
    w->end = end;
    w->timeout_ms = timeout_ms;

    w->prev = input_list.prev;
    w->next = &input_list;
    w->prev->next = w;
    input_list.prev = w;
    input_count++;

    r->data = w;
    http_on_close(r, input_wait_close);
    run_watch_add(of, &w->watch, input_event, w);
    of->feed->room = input_room;

    uv_timer_init(agent.loop, w->timer);
    w->timer->data = w;
    uv_timer_start(w->timer, input_expired, timeout_ms, 0);
}


/* The request. */

static int
input_decode(const char *text, size_t len, const char *encoding,
    buffer *bytes, error **err)
{
    ssize_t  n;

    if (strcmp(encoding, "utf-8") == 0 || strcmp(encoding, "utf8") == 0) {
        buffer_append(bytes, text, len);

    } else if (strcmp(encoding, "base64") == 0) {
        n = base64_decode(buffer_room(bytes, len + 2), text, len);
        if (n < 0) {
            return error_set_field(err, 400, "validation_failed", "data", 0,
                                   "data is not base64");
        }
        buffer_added(bytes, (size_t) n);

    } else {
        return error_set_field(err, 400, "validation_failed", "encoding", 0,
                               "encoding must be utf-8 or base64");
    }

    if (bytes->len > FEED_MAX) {
        return error_set_field(err, 413, "file_too_large", "data", FEED_MAX,
                               "data has at most %d bytes", FEED_MAX);
    }

    return 0;
}


static int
input_params(const json_t *o, buffer *bytes, int *end, uint64_t *timeout_ms,
    error **err)
{
    size_t       len;
    const char  *text, *encoding;

    text = NULL;
    len = 0;
    encoding = "utf-8";
    *end = 0;
    *timeout_ms = INPUT_WAIT_MS;

    if (params_string(o, "data", &text, &len, err) != 0
        || params_string(o, "encoding", &encoding, NULL, err) != 0
        || params_bool(o, "end", end, err) != 0
        || params_ms(o, "timeoutMs", timeout_ms, err) != 0)
    {
        return -1;
    }

    if (text == NULL && !*end) {
        return error_set_field(err, 400, "validation_failed", "data", 0,
                               "data or end is required");
    }

    return text == NULL ? 0 : input_decode(text, len, encoding, bytes, err);
}


static void
input_body(http_request *r, char *body, size_t len)
{
    int        end;
    error     *err;
    json_t    *o;
    buffer     bytes;
    process   *p;
    uint64_t   timeout_ms;

    if (http_json_object(r, body, len, &o) != 0) {
        return;
    }

    err = NULL;
    memset(&bytes, 0, sizeof(bytes));

    if (input_params(o, &bytes, &end, &timeout_ms, &err) != 0) {
        api_error(r, err);
        goto done;
    }

    p = process_wanted(r);
    if (p == NULL || input_refused(r, p->id, p->of)) {
        goto done;
    }

    /* Not before those who wait already. */
    if (input_count == 0 || p->of->feed->room == NULL) {
        if (input_try(r, p->id, p->of, &bytes, end)) {
            goto done;
        }
    }

    if (input_count >= INPUT_WAITING_MAX) {
        error_set(&err, 503, "resource_busy",
                  "%d requests wait for processes to read already",
                  INPUT_WAITING_MAX);
        api_error(r, err);
        goto done;
    }

    input_wait_add(r, p->id, p->of, &bytes, end, timeout_ms);
    input_room(NULL);

done:

    buffer_free(&bytes);
    json_decref(o);
}


static void
input_handler(http_request *r)
{
    http_read_body(r, INPUT_BODY_MAX, input_body);
}


void
process_input_routes(router *t)
{
    router_add(t, METHOD_POST, "/api/process/{id}/stdin", input_handler);
}
