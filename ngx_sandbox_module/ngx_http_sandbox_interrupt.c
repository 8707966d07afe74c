/*
 * The end of what a sandbox can't go on with.  What breaks off because its
 * sandbox has gone says so: a stream of events of the control API gets one
 * more, of the form that its route's clients wait for, and ends in order; a
 * WebSocket gets a close frame; a request that had no answer yet, of a preview
 * too, is told that it was interrupted.
 *
 * A connection breaks before sandboxd has told why.  The request is held for
 * that, for a moment: proxy_pass is through with it, and the last reference to
 * it is ours.
 */

#include "ngx_http_sandbox_api.h"
#include "ngx_http_sandbox_count.h"
#include "ngx_http_sandbox_peer.h"
#include "ngx_http_sandbox_zone.h"


#define NGX_HTTP_SANDBOX_INTERRUPT_FIRST  5        /* ms, and twice as long */
#define NGX_HTTP_SANDBOX_INTERRUPT_LAST   640      /* each time, up to this */
#define NGX_HTTP_SANDBOX_INTERRUPT_APP    80       /* an app may just end */
#define NGX_HTTP_SANDBOX_INTERRUPT_CALL   2000
#define NGX_HTTP_SANDBOX_INTERRUPT_CALLS  64       /* of a worker, at once */


typedef enum {
    sandbox_interrupt_unknown = 0,       /* it runs, for all that is known */
    sandbox_interrupt_destroyed,
    sandbox_interrupt_ended
} ngx_http_sandbox_interrupt_e;


typedef enum {
    sandbox_interrupt_stream = 0,
    sandbox_interrupt_websocket,
    sandbox_interrupt_answer             /* there is none yet */
} ngx_http_sandbox_interrupt_kind_e;


typedef struct {
    ngx_http_request_t                 *request;
    ngx_http_sandbox_interrupt_kind_e   kind;
    ngx_event_t                         event;
    ngx_msec_t                          delay;
    ngx_uint_t                          asking;    /* sandboxd for the reason */
} ngx_http_sandbox_interrupt_t;


static void ngx_http_sandbox_interrupt_note(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx);
static ngx_uint_t ngx_http_sandbox_interrupt_is_stream(ngx_http_request_t *r,
    ngx_int_t rc);
static ssize_t ngx_http_sandbox_interrupt_recv(ngx_connection_t *c,
    u_char *buf, size_t size);
static ngx_uint_t ngx_http_sandbox_interrupt_is_websocket(
    ngx_http_request_t *r, ngx_int_t rc);
static ngx_http_sandbox_interrupt_e ngx_http_sandbox_interrupt_state(
    ngx_http_request_t *r, ngx_uint_t *sleeping);
static ngx_int_t ngx_http_sandbox_interrupt_hold(ngx_http_request_t *r,
    ngx_http_sandbox_interrupt_kind_e kind);
static void ngx_http_sandbox_interrupt_handler(ngx_event_t *ev);
static void ngx_http_sandbox_interrupt_cleanup(void *data);
static void ngx_http_sandbox_interrupt_look(ngx_http_sandbox_interrupt_t *i);
static void ngx_http_sandbox_interrupt_reason(ngx_http_request_t *r,
    void *data, json_t *result, ngx_http_sandbox_error_t *err);
static void ngx_http_sandbox_interrupt_end(ngx_http_sandbox_interrupt_t *i,
    ngx_http_sandbox_interrupt_e state, const char *reason);
static void ngx_http_sandbox_interrupt_stream(ngx_http_request_t *r,
    const char *message, const char *reason);
static void ngx_http_sandbox_interrupt_websocket(ngx_http_request_t *r,
    ngx_http_sandbox_interrupt_e state, const char *message,
    const char *reason);
static void ngx_http_sandbox_interrupt_answered(ngx_http_request_t *r,
    ngx_http_sandbox_interrupt_e state, const char *message,
    const char *reason);
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

        if (rc == NGX_HTTP_BAD_GATEWAY) {
            ngx_http_sandbox_interrupt_note(r, ctx);
        }

        return;
    }

    if (ngx_http_sandbox_interrupt_is_websocket(r, rc)) {
        (void) ngx_http_sandbox_interrupt_hold(r, sandbox_interrupt_websocket);

    } else if (ctx->control && ngx_http_sandbox_interrupt_is_stream(r, rc)) {
        (void) ngx_http_sandbox_interrupt_hold(r, sandbox_interrupt_stream);
    }
}


/* What of a request without an answer is known by now. */

static void
ngx_http_sandbox_interrupt_note(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx)
{
    ngx_uint_t  sleeping;

    if (ngx_http_sandbox_interrupt_state(r, &sleeping)
        == sandbox_interrupt_destroyed)
    {
        ctx->failure = NGX_HTTP_SANDBOX_FAIL_DESTROYED;
        return;
    }

    /* an app may leave a request without one, too: it isn't known yet */

    if (ctx->failure == NGX_HTTP_SANDBOX_OK
        || ctx->failure == NGX_HTTP_SANDBOX_FAIL_CLOSED)
    {
        ctx->failure = NGX_HTTP_SANDBOX_FAIL_BROKEN;
    }
}


/*
 * From the header filter: the answer that proxy_pass has failed is held until
 * it is known whether the sandbox has ended.  NGX_DECLINED: it isn't.
 */

ngx_int_t
ngx_http_sandbox_interrupt_answer(ngx_http_request_t *r)
{
    ngx_http_sandbox_ctx_t  *ctx;

    ctx = ngx_http_sandbox_ctx(r);

    if (ctx == NULL || ctx->failure != NGX_HTTP_SANDBOX_FAIL_BROKEN
        || r->err_status != NGX_HTTP_BAD_GATEWAY || r->header_only)
    {
        return NGX_DECLINED;
    }

    if (ngx_http_sandbox_interrupt_hold(r, sandbox_interrupt_answer)
        != NGX_OK)
    {
        ctx->failure = NGX_HTTP_SANDBOX_OK;
        return NGX_DECLINED;
    }

    /* so that nginx leaves it at the header */

    r->header_only = 1;

    return NGX_DONE;
}


/* The same of a WebSocket, at a place where a close frame may follow. */

static ngx_uint_t
ngx_http_sandbox_interrupt_is_websocket(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_http_upstream_t      *u;
    ngx_http_sandbox_peer_t  *p;

    u = r->upstream;
    p = ngx_http_sandbox_peer(r);

    return rc == NGX_OK
           && p->frames
           && sandbox_frames_open(p->frames)
           && u->peer.connection
           && u->peer.connection->read->eof
           && !r->connection->read->eof
           && !r->connection->error
           && r->http_version < NGX_HTTP_VERSION_20;
}


/* Watches the frames of a connection that is a WebSocket from now on. */

ngx_int_t
ngx_http_sandbox_interrupt_watch(ngx_http_request_t *r)
{
    ngx_buf_t                *b;
    ngx_connection_t         *c;
    ngx_http_sandbox_peer_t  *p;

    p = ngx_http_sandbox_peer(r);
    b = &r->upstream->buffer;
    c = r->upstream->peer.connection;

    p->frames = ngx_pcalloc(r->pool, sizeof(sandbox_frames));
    if (p->frames == NULL) {
        return NGX_ERROR;
    }

    sandbox_frames_feed(p->frames, b->pos, b->last - b->pos);

    p->recv = c->recv;
    c->recv = ngx_http_sandbox_interrupt_recv;

    return NGX_OK;
}


static ssize_t
ngx_http_sandbox_interrupt_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    ssize_t                   n;
    ngx_http_request_t       *r;
    ngx_http_sandbox_peer_t  *p;

    r = c->data;
    p = ngx_http_sandbox_peer(r);

    n = p->recv(c, buf, size);

    if (n > 0) {
        sandbox_frames_feed(p->frames, buf, n);
    }

    return n;
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


/* Sleeping: it is on its way to sleep, and has not got there. */

static ngx_http_sandbox_interrupt_e
ngx_http_sandbox_interrupt_state(ngx_http_request_t *r, ngx_uint_t *sleeping)
{
    ngx_http_sandbox_ctx_t        *ctx;
    ngx_http_sandbox_info_t        info;
    ngx_http_sandbox_main_conf_t  *smcf;

    ctx = ngx_http_sandbox_ctx(r);
    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);
    *sleeping = 0;

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
        *sleeping = info.state == NGX_HTTP_SANDBOX_SLEEPING;

        return info.epoch == ctx->epoch ? sandbox_interrupt_unknown
                                        : sandbox_interrupt_ended;

    default:
        return sandbox_interrupt_ended;
    }
}


/* Keeps the request until it is known why its sandbox has left it. */

static ngx_int_t
ngx_http_sandbox_interrupt_hold(ngx_http_request_t *r,
    ngx_http_sandbox_interrupt_kind_e kind)
{
    ngx_pool_cleanup_t            *cln;
    ngx_http_sandbox_interrupt_t  *i;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_sandbox_interrupt_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    i = cln->data;
    ngx_memzero(i, sizeof(ngx_http_sandbox_interrupt_t));

    i->request = r;
    i->kind = kind;
    i->event.handler = ngx_http_sandbox_interrupt_handler;
    i->event.data = i;
    i->event.log = r->connection->log;

    cln->handler = ngx_http_sandbox_interrupt_cleanup;

    r->main->count++;

    /* behind what proxy_pass does with the request yet */

    ngx_post_event(&i->event, &ngx_posted_events);

    return NGX_OK;
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
    json_t                        *request;
    ngx_uint_t                     sleeping;
    ngx_http_request_t            *r;
    ngx_http_sandbox_ctx_t        *ctx;
    ngx_http_sandbox_interrupt_e   state;

    r = i->request;
    ctx = ngx_http_sandbox_ctx(r);
    state = ngx_http_sandbox_interrupt_state(r, &sleeping);

    if (i->kind == sandbox_interrupt_answer && i->delay == 0) {

        /* nginx is through with it: a client that leaves is noticed */

        r->header_only = 0;

        if (!r->discard_body) {
            r->read_event_handler = ngx_http_test_reading;
        }
    }

    if (state == sandbox_interrupt_unknown) {
        i->delay = i->delay ? 2 * i->delay : NGX_HTTP_SANDBOX_INTERRUPT_FIRST;

        /* an app that goes before the rest of a sandbox that is put to sleep */

        if (i->delay <= (ctx->control || sleeping
                         ? NGX_HTTP_SANDBOX_INTERRUPT_LAST
                         : NGX_HTTP_SANDBOX_INTERRUPT_APP))
        {
            ngx_add_timer(&i->event, i->delay);
            return;
        }
    }

    if (state != sandbox_interrupt_ended) {
        ngx_http_sandbox_interrupt_end(i, state, NULL);
        return;
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
    ngx_uint_t               sleeping;
    const char              *reason;
    ngx_http_sandbox_ctx_t  *ctx;

    ctx = ngx_http_sandbox_ctx(r);

    ngx_http_sandbox_interrupt_calls -= i->asking;
    i->asking = 0;

    if (ngx_http_sandbox_interrupt_state(r, &sleeping)
        == sandbox_interrupt_destroyed)
    {
        ngx_http_sandbox_interrupt_end(i, sandbox_interrupt_destroyed, NULL);
        return;
    }

    record = json_object_get(result, "sandbox");
    reason = json_string_value(json_object_get(record, "reason"));
    epoch = json_integer_value(json_object_get(record, "epoch"));

    /* a later run's is another reason */

    if (epoch != (json_int_t) ctx->epoch) {
        reason = NULL;
    }

    ngx_http_sandbox_interrupt_end(i, sandbox_interrupt_ended, reason);
}


static void
ngx_http_sandbox_interrupt_end(ngx_http_sandbox_interrupt_t *i,
    ngx_http_sandbox_interrupt_e state, const char *reason)
{
    const char          *message;
    ngx_http_request_t  *r;

    static const ngx_str_t  code = ngx_string("operation_interrupted");
    static const char      *messages[] = {
        "The sandbox can't be reached any more",
        "The sandbox was destroyed",
        "The sandbox has stopped"
    };

    r = i->request;
    message = messages[state];

    if (i->kind == sandbox_interrupt_answer) {
        ngx_http_sandbox_interrupt_answered(r, state, message, reason);
        return;
    }

    if (i->kind == sandbox_interrupt_websocket
        && state == sandbox_interrupt_unknown
        && !ngx_http_sandbox_ctx(r)->control)
    {
        /* an app's own way to end */

        ngx_http_finalize_request(r, NGX_OK);
        return;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "sandbox \"%V\": a stream was interrupted: %s%s%s",
                  &ngx_http_sandbox_ctx(r)->id, message, reason ? ": " : "",
                  reason ? reason : "");

    ngx_http_sandbox_count_error(&code);
    ngx_http_sandbox_audit_error(r, &code);

    if (i->kind == sandbox_interrupt_websocket) {
        ngx_http_sandbox_interrupt_websocket(r, state, message, reason);

    } else {
        ngx_http_sandbox_interrupt_stream(r, message, reason);
    }
}


/* What can't be sent at once is not worth waiting for. */

static void
ngx_http_sandbox_interrupt_websocket(ngx_http_request_t *r,
    ngx_http_sandbox_interrupt_e state, const char *message,
    const char *reason)
{
    size_t      len;
    u_char      text[SANDBOX_FRAMES_CLOSE], *last;
    u_char      frame[SANDBOX_FRAMES_CLOSE];
    ngx_uint_t  code;

    static const ngx_uint_t  codes[] = {
        1011,                            /* internal error */
        1001,                            /* going away */
        1012                             /* service restart */
    };

    code = codes[state];

    last = ngx_snprintf(text, sizeof(text), "%s%s%s", message,
                        reason ? ": " : "", reason ? reason : "");

    for (len = 0; text + len < last && text[len] < 0x80; len++) { /* void */ }

    len = sandbox_frames_close(frame, (unsigned) code, (char *) text, len);

    (void) r->connection->send(r->connection, frame, len);

    ngx_http_finalize_request(r, NGX_OK);
}


/* To visitors it is the gateway's: their request conflicts with nothing. */

void
ngx_http_sandbox_interrupt_error(ngx_http_sandbox_ctx_t *ctx,
    ngx_http_sandbox_error_t *err)
{
    if (ctx->api) {
        err->status = NGX_HTTP_CONFLICT;
        ngx_str_set(&err->code, "operation_interrupted");

    } else {
        err->status = NGX_HTTP_BAD_GATEWAY;
        ngx_str_set(&err->code, "OPERATION_INTERRUPTED");
    }
}


/* Gives the answer that was held, or another one. */

static void
ngx_http_sandbox_interrupt_answered(ngx_http_request_t *r,
    ngx_http_sandbox_interrupt_e state, const char *message,
    const char *reason)
{
    size_t                     len;
    ngx_http_sandbox_ctx_t    *ctx;
    ngx_http_sandbox_error_t  *err;

    ctx = ngx_http_sandbox_ctx(r);
    ctx->failure = NGX_HTTP_SANDBOX_FAIL_CLOSED;

    len = ngx_strlen(message) + (reason ? ngx_strlen(reason) + 2 : 0);
    err = ngx_pcalloc(r->pool, sizeof(ngx_http_sandbox_error_t) + len);

    if (err && state != sandbox_interrupt_unknown) {
        ngx_http_sandbox_interrupt_error(ctx, err);

        err->message.data = (u_char *) (err + 1);
        err->message.len = len;

        (void) ngx_snprintf(err->message.data, len, "%s%s%s", message,
                            reason ? ": " : "", reason ? reason : "");

        ctx->error = err;
        ctx->failure = NGX_HTTP_SANDBOX_FAIL_ENDED;
    }

    r->read_event_handler = ngx_http_block_reading;

    ngx_http_finalize_request(r, ngx_http_special_response_handler(r,
                                                      NGX_HTTP_BAD_GATEWAY));
}


static void
ngx_http_sandbox_interrupt_stream(ngx_http_request_t *r, const char *message,
    const char *reason)
{
    char         *text;
    size_t        len;
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

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
