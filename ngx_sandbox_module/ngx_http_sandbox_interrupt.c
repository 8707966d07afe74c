/*
 * The end of what a sandbox can't go on with.  An answer of the control API
 * that breaks off because its sandbox has gone says so: a stream of events gets
 * one more, of the form that its route's clients wait for, and ends in order; a
 * request that had no answer yet is told that it was interrupted.
 *
 * A connection breaks before sandboxd has told why.  A stream is held for that,
 * for a moment: proxy_pass is through with the request, and the last reference
 * to it is ours.
 */

#include "ngx_http_sandbox_api.h"
#include "ngx_http_sandbox_count.h"
#include "ngx_http_sandbox_peer.h"
#include "ngx_http_sandbox_zone.h"


#define NGX_HTTP_SANDBOX_INTERRUPT_FIRST  5        /* ms, and twice as long */
#define NGX_HTTP_SANDBOX_INTERRUPT_LAST   640      /* each time, up to this */
#define NGX_HTTP_SANDBOX_INTERRUPT_CALL   2000
#define NGX_HTTP_SANDBOX_INTERRUPT_CALLS  64       /* of a worker, at once */


typedef enum {
    sandbox_interrupt_unknown = 0,       /* it runs, for all that is known */
    sandbox_interrupt_destroyed,
    sandbox_interrupt_ended
} ngx_http_sandbox_interrupt_e;


typedef struct {
    ngx_http_request_t           *request;
    ngx_event_t                   event;
    ngx_msec_t                    delay;
    ngx_uint_t                    asking;      /* sandboxd for the reason */
} ngx_http_sandbox_interrupt_t;


static ngx_uint_t ngx_http_sandbox_interrupt_is_stream(ngx_http_request_t *r,
    ngx_int_t rc);
static ngx_http_sandbox_interrupt_e ngx_http_sandbox_interrupt_state(
    ngx_http_request_t *r);
static void ngx_http_sandbox_interrupt_hold(ngx_http_request_t *r);
static void ngx_http_sandbox_interrupt_handler(ngx_event_t *ev);
static void ngx_http_sandbox_interrupt_cleanup(void *data);
static void ngx_http_sandbox_interrupt_look(ngx_http_sandbox_interrupt_t *i);
static void ngx_http_sandbox_interrupt_reason(ngx_http_request_t *r,
    void *data, json_t *result, ngx_http_sandbox_error_t *err);
static void ngx_http_sandbox_interrupt_end(ngx_http_request_t *r,
    const char *message, const char *reason);
static char *ngx_http_sandbox_interrupt_event(ngx_http_request_t *r,
    const char *message, const char *reason);


static ngx_uint_t  ngx_http_sandbox_interrupt_calls;


/* Around proxy_pass's own function of this name. */

void
ngx_http_sandbox_finalize_request(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_http_upstream_t      *u;
    ngx_http_sandbox_ctx_t   *ctx;
    ngx_http_sandbox_peer_t  *p;

    u = r->upstream;
    ctx = ngx_http_sandbox_ctx(r);
    p = ctx->peer;

    p->finalize_request(r, rc);

    if (!u->header_sent) {

        if (rc == NGX_HTTP_BAD_GATEWAY
            && ngx_http_sandbox_interrupt_state(r)
               == sandbox_interrupt_destroyed)
        {
            ctx->failure = NGX_HTTP_SANDBOX_FAIL_DESTROYED;
        }

        return;
    }

    if (ctx->control && ngx_http_sandbox_interrupt_is_stream(r, rc)) {
        ngx_http_sandbox_interrupt_hold(r);
    }
}


/* Whether a stream of events has broken off that a client still reads. */

static ngx_uint_t
ngx_http_sandbox_interrupt_is_stream(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_str_t                 *type;
    ngx_http_upstream_t       *u;
    ngx_http_core_loc_conf_t  *clcf;

    static const u_char  events[] = "text/event-stream";

    u = r->upstream;
    type = &r->headers_out.content_type;

    if ((rc != NGX_HTTP_BAD_GATEWAY && rc != NGX_HTTP_GATEWAY_TIME_OUT)
        || r->connection->error
        || r->header_only
        || r->headers_out.content_length_n != -1
        || u->upgrade
        || (u->pipe && u->pipe->downstream_error)
        || type->len < sizeof(events) - 1
        || ngx_strncasecmp(type->data, (u_char *) events, sizeof(events) - 1)
           != 0)
    {
        return 0;
    }

    /* a request that has ended may be another one by then */

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    return clcf->post_action.len == 0;
}


static ngx_http_sandbox_interrupt_e
ngx_http_sandbox_interrupt_state(ngx_http_request_t *r)
{
    ngx_http_sandbox_ctx_t        *ctx;
    ngx_http_sandbox_info_t        info;
    ngx_http_sandbox_main_conf_t  *smcf;

    ctx = ngx_http_sandbox_ctx(r);
    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);

    switch (ngx_http_sandbox_zone_slot(smcf->zone, ctx->slot, &info)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        return sandbox_interrupt_destroyed;

    default: /* NGX_AGAIN */
        return sandbox_interrupt_unknown;
    }

    switch (info.state) {

    case NGX_HTTP_SANDBOX_DESTROYING:
        return sandbox_interrupt_destroyed;

    case NGX_HTTP_SANDBOX_RUNNING:
    case NGX_HTTP_SANDBOX_SLEEPING:
        return info.epoch == ctx->epoch ? sandbox_interrupt_unknown
                                        : sandbox_interrupt_ended;

    default:
        return sandbox_interrupt_ended;
    }
}


/* Keeps the request until it is known why its sandbox has left it. */

static void
ngx_http_sandbox_interrupt_hold(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t            *cln;
    ngx_http_sandbox_interrupt_t  *i;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_sandbox_interrupt_t));
    if (cln == NULL) {
        return;
    }

    i = cln->data;
    ngx_memzero(i, sizeof(ngx_http_sandbox_interrupt_t));

    i->request = r;
    i->event.handler = ngx_http_sandbox_interrupt_handler;
    i->event.data = i;
    i->event.log = r->connection->log;

    cln->handler = ngx_http_sandbox_interrupt_cleanup;

    r->main->count++;

    /* behind what proxy_pass does with the request yet */

    ngx_post_event(&i->event, &ngx_posted_events);
}


static void
ngx_http_sandbox_interrupt_cleanup(void *data)
{
    ngx_http_sandbox_interrupt_t *i = data;

    if (i->event.timer_set) {
        ngx_del_timer(&i->event);
    }

    if (i->event.posted) {
        ngx_delete_posted_event(&i->event);
    }

    ngx_http_sandbox_interrupt_calls -= i->asking;
    i->asking = 0;
}


static void
ngx_http_sandbox_interrupt_handler(ngx_event_t *ev)
{
    ngx_connection_t              *c;
    ngx_http_sandbox_interrupt_t  *i;

    i = ev->data;
    c = i->request->connection;

    ngx_http_set_log_request(c->log, i->request);

    ngx_http_sandbox_interrupt_look(i);

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_sandbox_interrupt_look(ngx_http_sandbox_interrupt_t *i)
{
    json_t                  *request;
    ngx_http_request_t      *r;
    ngx_http_sandbox_ctx_t  *ctx;

    r = i->request;
    ctx = ngx_http_sandbox_ctx(r);

    switch (ngx_http_sandbox_interrupt_state(r)) {

    case sandbox_interrupt_unknown:
        i->delay = i->delay ? 2 * i->delay : NGX_HTTP_SANDBOX_INTERRUPT_FIRST;

        if (i->delay <= NGX_HTTP_SANDBOX_INTERRUPT_LAST) {
            ngx_add_timer(&i->event, i->delay);
            return;
        }

        ngx_http_sandbox_interrupt_end(r, "The sandbox can't be reached any "
                                       "more", NULL);
        return;

    case sandbox_interrupt_destroyed:
        ngx_http_sandbox_interrupt_end(r, "The sandbox was destroyed", NULL);
        return;

    default: /* sandbox_interrupt_ended */
        break;
    }

    /* where many have ended at once, sandboxd has more to do than to explain */

    if (ngx_http_sandbox_interrupt_calls < NGX_HTTP_SANDBOX_INTERRUPT_CALLS) {

        request = json_pack("{s:s, s:s%}", "op", "get", "sandbox",
                            (char *) ctx->id.data, ctx->id.len);

        if (ngx_http_sandbox_call(r, request, NGX_HTTP_SANDBOX_INTERRUPT_CALL,
                                  ngx_http_sandbox_interrupt_reason, i)
            == NGX_OK)
        {
            i->asking = 1;
            ngx_http_sandbox_interrupt_calls++;
            return;
        }
    }

    ngx_http_sandbox_interrupt_reason(r, i, NULL, NULL);
}


static void
ngx_http_sandbox_interrupt_reason(ngx_http_request_t *r, void *data,
    json_t *result, ngx_http_sandbox_error_t *err)
{
    ngx_http_sandbox_interrupt_t *i = data;

    json_t                  *record;
    json_int_t               epoch;
    const char              *reason;
    ngx_http_sandbox_ctx_t  *ctx;

    ctx = ngx_http_sandbox_ctx(r);

    ngx_http_sandbox_interrupt_calls -= i->asking;
    i->asking = 0;

    if (ngx_http_sandbox_interrupt_state(r) == sandbox_interrupt_destroyed) {
        ngx_http_sandbox_interrupt_end(r, "The sandbox was destroyed", NULL);
        return;
    }

    record = json_object_get(result, "sandbox");
    reason = json_string_value(json_object_get(record, "reason"));
    epoch = json_integer_value(json_object_get(record, "epoch"));

    /* a later run's is another reason */

    if (epoch != (json_int_t) ctx->epoch) {
        reason = NULL;
    }

    ngx_http_sandbox_interrupt_end(r, "The sandbox has stopped", reason);
}


static void
ngx_http_sandbox_interrupt_end(ngx_http_request_t *r, const char *message,
    const char *reason)
{
    char         *text;
    size_t        len;
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    static const ngx_str_t  code = ngx_string("operation_interrupted");

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "sandbox \"%V\": a stream was interrupted: %s%s%s",
                  &ngx_http_sandbox_ctx(r)->id, message, reason ? ": " : "",
                  reason ? reason : "");

    ngx_http_sandbox_count_error(&code);
    ngx_http_sandbox_audit_error(r, &code);

    text = ngx_http_sandbox_interrupt_event(r, message, reason);
    len = text ? ngx_strlen(text) : 0;
    b = text ? ngx_create_temp_buf(r->pool, len) : NULL;

    rc = NGX_ERROR;

    if (b) {
        b->last = ngx_cpymem(b->last, text, len);
        b->last_buf = 1;
        b->last_in_chain = 1;

        out.buf = b;
        out.next = NULL;

        rc = ngx_http_output_filter(r, &out);
    }

    free(text);

    if (r->write_event_handler != ngx_http_request_empty_handler) {

        /* what was sent before is still on its way: this ends both */

        r->main->count--;
    }

    ngx_http_finalize_request(r, rc);
}


/* The last event, behind the end of one that may have been cut off. */

static char *
ngx_http_sandbox_interrupt_event(ngx_http_request_t *r, const char *message,
    const char *reason)
{
    char     *dump, *event;
    size_t    size;
    json_t   *json, *said;
    ngx_uint_t  bridge;

    static const u_char  exec[] = "/bridge/exec";

    bridge = r->uri.len == sizeof(exec) - 1
             && ngx_memcmp(r->uri.data, exec, sizeof(exec) - 1) == 0;

    said = reason ? json_sprintf("%s: %s", message, reason)
                  : json_string(message);

    if (bridge) {
        json = json_pack("{s:O, s:s}", "error", said, "code",
                         "operation_interrupted");

    } else {

        /* where each of the container API's streams has its text */

        json = json_pack("{s:s, s:s, s:O, s:O, s:O, s:O, s:O, s:s, s:s, s:[],"
                         "s:o}", "type", "error", "code",
                         "OPERATION_INTERRUPTED", "error", said, "data", said,
                         "message", said, "value", said, "evalue", said,
                         "name", "OperationInterrupted", "ename",
                         "OperationInterrupted", "traceback", "timestamp",
                         ngx_http_sandbox_json_now());
    }

    dump = json ? json_dumps(json, JSON_COMPACT) : NULL;

    json_decref(json);
    json_decref(said);

    if (dump == NULL) {
        return NULL;
    }

    size = ngx_strlen(dump) + sizeof("\n\nevent: error\ndata: \n\n");
    event = malloc(size);

    if (event) {
        (void) snprintf(event, size, "\n\n%sdata: %s\n\n",
                        bridge ? "event: error\n" : "", dump);
    }

    free(dump);

    return event;
}
