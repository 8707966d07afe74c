/*
 * /api/port-watch: probes a port until it is ready, its process has ended,
 * the time is over or the client leaves.
 */

#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/follow.h"
#include "agent/params.h"
#include "agent/process.h"
#include "agent/readiness.h"
#include "agent/readiness_http.h"
#include "common/buffer.h"

#define PORT_WATCH_MAX           128
#define PORT_WATCH_INTERVAL_MS   500
#define PORT_WATCH_INTERVAL_MIN  100
#define PORT_WATCH_INTERVAL_MAX  10000

typedef struct {
    run_watch      watch;           /* .of NULL: no process was named */
    http_request  *r;
    probe         *p;
    uv_timer_t     next;
    uv_timer_t     end;
    unsigned       open;            /* timers */
    unsigned       port;
    unsigned       hops;
    unsigned       status[2];
    uint64_t       interval;
    uint64_t       timeout_ms;
    int            http;
    char           path[READINESS_PATH_MAX];
} port_watch;

static unsigned  port_watch_count;


static void port_watch_probed(void *data, int status);


/* The end. */

static void
port_watch_closed(uv_handle_t *handle)
{
    port_watch  *w;

    w = handle->data;

    if (--w->open == 0) {
        free(w);
    }
}


static void
port_watch_free(port_watch *w)
{
    run_watch_drop(&w->watch);
    probe_stop(w->p);
    port_watch_count--;
    uv_close((uv_handle_t *) &w->next, port_watch_closed);
    uv_close((uv_handle_t *) &w->end, port_watch_closed);
}


static void
port_watch_left(http_request *r)
{
    port_watch_free(r->data);
}


/* Sends an event; takes o over. */

static void
port_watch_event(port_watch *w, json_t *o)
{
    char    *text;
    buffer   b;

    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);

    if (text == NULL) {
        abort();
    }

    memset(&b, 0, sizeof(b));
    buffer_puts(&b, "data: ");
    buffer_puts(&b, text);
    buffer_puts(&b, "\n\n");
    http_write(w->r, buffer_bytes(&b), b.len);
    buffer_free(&b);
    free(text);
}


static void
port_watch_finish(port_watch *w, json_t *last)
{
    http_request  *r;

    r = w->r;
    port_watch_event(w, last);
    port_watch_free(w);
    r->data = NULL;
    http_on_close(r, NULL);
    http_end(r);
}


static void
port_watch_failed(port_watch *w, const char *code, const char *why)
{
    json_t  *o;

    o = json_pack("{s:s, s:i, s:o}", "type", "error", "port", (int) w->port,
                  "error", http_text(why));
    if (code != NULL) {
        json_object_set_new(o, "code", json_string(code));
    }

    port_watch_finish(w, o);
}


static void
port_watch_process_over(port_watch *w)
{
    const run  *of;

    of = w->watch.of;

    if (of->failure != NULL) {
        port_watch_failed(w, "PROCESS_ERROR", of->failure->message);
        return;
    }

    port_watch_finish(w, json_pack("{s:s, s:i, s:i}", "type",
                      "process_exited", "port", (int) w->port, "exitCode",
                      follow_exit_code(of)));
}


static void
port_watch_process_event(run_watch *rw, run_event event)
{
    if (event == RUN_ENDED) {
        port_watch_process_over(rw->data);
    }
}


static void
port_watch_expired(uv_timer_t *timer)
{
    char         text[96];
    port_watch  *w;

    w = timer->data;
    snprintf(text, sizeof(text), "Port %u was not ready within %llums",
             w->port, (unsigned long long) w->timeout_ms);
    port_watch_failed(w, "PROCESS_READY_TIMEOUT", text);
}


/* Probing. */

/* What answers belongs to somebody else, if the process isn't there yet or is
 * on its way out. */

static int
port_watch_process_lives(const port_watch *w)
{
    const run  *of;

    of = w->watch.of;

    return of == NULL || (of->state == RUN_RUNNING && !of->exited
                          && !of->dying);
}


static void
port_watch_next(uv_timer_t *timer)
{
    port_watch  *w;

    w = timer->data;

    if (!port_watch_process_lives(w)) {
        uv_timer_start(&w->next, port_watch_next, w->interval, 0);
        return;
    }

    w->p = probe_start(w->port, w->http ? w->path : NULL, w->hops,
                       port_watch_probed, w);
}


static void
port_watch_probed(void *data, int status)
{
    json_t      *o;
    port_watch  *w;

    w = data;
    w->p = NULL;

    if (status < 0 || !port_watch_process_lives(w)
        || (w->http && ((unsigned) status < w->status[0]
                        || (unsigned) status > w->status[1])))
    {
        uv_timer_start(&w->next, port_watch_next, w->interval, 0);
        return;
    }

    o = json_pack("{s:s, s:i}", "type", "ready", "port", (int) w->port);
    if (w->http) {
        json_object_set_new(o, "statusCode", json_integer(status));
    }

    port_watch_finish(w, o);
}


/* The request. */

typedef struct {
    unsigned     port;
    int          http;
    unsigned     status[2];
    uint64_t     interval;
    uint64_t     timeout_ms;
    const char  *path;
    const char  *process;
} port_watch_params;


static int
port_watch_number(const json_t *o, const char *name, unsigned from,
    unsigned to, unsigned *out, error **err)
{
    double         n;
    const json_t  *v;

    v = json_object_get(o, name);
    if (v == NULL || json_is_null(v)) {
        return 0;
    }

    n = json_number_value(v);

    if (!json_is_number(v) || !(n >= from && n <= to)
        || n != (double) (unsigned) n)
    {
        return error_set_field(err, 400, "validation_failed", name, to,
                               "%s must be a whole number from %u to %u",
                               name, from, to);
    }

    *out = (unsigned) n;

    return 0;
}


static int
port_watch_params_read(const json_t *o, port_watch_params *p, error **err)
{
    const char  *mode;

    memset(p, 0, sizeof(*p));
    p->status[0] = 200;
    p->status[1] = 399;
    p->interval = PORT_WATCH_INTERVAL_MS;
    p->path = "/";
    mode = "http";

    if (port_watch_number(o, "port", 1, 65535, &p->port, err) != 0
        || port_watch_number(o, "statusMin", 100, 999, &p->status[0], err) != 0
        || port_watch_number(o, "statusMax", 100, 999, &p->status[1], err) != 0
        || params_ms(o, "interval", &p->interval, err) != 0
        || params_ms(o, "timeoutMs", &p->timeout_ms, err) != 0
        || params_string(o, "mode", &mode, NULL, err) != 0
        || params_string(o, "path", &p->path, NULL, err) != 0
        || params_string(o, "processId", &p->process, NULL, err) != 0)
    {
        return -1;
    }

    if (p->port == 0) {
        return error_set_field(err, 400, "validation_failed", "port", 65535,
                               "port is required");
    }

    p->http = strcmp(mode, "http") == 0;
    if (!p->http && strcmp(mode, "tcp") != 0) {
        return error_set_field(err, 400, "validation_failed", "mode", 0,
                               "mode must be http or tcp");
    }

    if (p->status[0] > p->status[1]) {
        return error_set_field(err, 400, "validation_failed", "statusMin",
                               p->status[1], "statusMin must not be greater "
                               "than statusMax");
    }

    if (p->interval < PORT_WATCH_INTERVAL_MIN) {
        p->interval = PORT_WATCH_INTERVAL_MIN;
    } else if (p->interval > PORT_WATCH_INTERVAL_MAX) {
        p->interval = PORT_WATCH_INTERVAL_MAX;
    }

    return 0;
}


static port_watch *
port_watch_new(http_request *r, const port_watch_params *p, error **err)
{
    port_watch  *w;

    if (port_watch_count >= PORT_WATCH_MAX) {
        error_set(err, 503, "resource_busy",
                  "%d ports are being watched already", PORT_WATCH_MAX);
        return NULL;
    }

    w = calloc(1, sizeof(port_watch));
    if (w == NULL) {
        abort();
    }

    if (readiness_path(p->path, w->path) != 0) {
        free(w);
        error_set_field(err, 400, "validation_failed", "path",
                        READINESS_PATH_MAX, "path is too long");
        return NULL;
    }

    w->r = r;
    w->port = p->port;
    w->http = p->http;
    w->status[0] = p->status[0];
    w->status[1] = p->status[1];
    w->interval = p->interval;
    w->timeout_ms = p->timeout_ms;

    /* Who asks for a redirect wants to see it. */
    w->hops = w->status[0] >= 300 && w->status[1] <= 399 ? 0 : READINESS_HOPS;

    uv_timer_init(agent.loop, &w->next);
    uv_timer_init(agent.loop, &w->end);
    w->next.data = w;
    w->end.data = w;
    w->open = 2;
    port_watch_count++;

    return w;
}


static void
port_watch_begin(port_watch *w, const char *process_id)
{
    process  *p;

    w->r->data = w;
    http_on_close(w->r, port_watch_left);
    sse_begin(w->r);
    port_watch_event(w, json_pack("{s:s, s:i}", "type", "watching", "port",
                                  (int) w->port));

    if (process_id != NULL) {
        p = process_find(process_id);
        if (p == NULL) {
            port_watch_failed(w, NULL, "Process not found");
            return;
        }

        run_watch_add(p->of, &w->watch, port_watch_process_event, w);

        if (p->of->state == RUN_OVER) {
            port_watch_process_over(w);
            return;
        }
    }

    if (w->timeout_ms != 0) {
        uv_timer_start(&w->end, port_watch_expired, w->timeout_ms, 0);
    }

    port_watch_next(&w->next);
}


static void
port_watch_body(http_request *r, char *body, size_t len)
{
    json_t             *o;
    error              *err;
    port_watch         *w;
    port_watch_params   p;

    if (http_json_object(r, body, len, &o) != 0) {
        return;
    }

    err = NULL;
    w = NULL;

    if (port_watch_params_read(o, &p, &err) == 0) {
        w = port_watch_new(r, &p, &err);
    }

    if (w == NULL) {
        api_error(r, err);
    } else {
        port_watch_begin(w, p.process);
    }

    json_decref(o);
}


static void
port_watch_handler(http_request *r)
{
    http_read_body(r, HTTP_JSON_LIMIT, port_watch_body);
}


void
readiness_routes(router *t)
{
    router_add(t, METHOD_POST, "/api/port-watch", port_watch_handler);
}
