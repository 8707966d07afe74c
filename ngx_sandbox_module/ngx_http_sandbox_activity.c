/*
 * Who is used.  A sandbox's record in the zone says when it was used last: a
 * request stamps it when it sets out and when it has ended, and a timer stamps
 * those whose requests are still under way.  sandboxd asks for the stamps when
 * it thinks of letting somebody sleep (docs/protocol.md, section 1.5); nothing
 * here tells it by itself.
 *
 * A request without an answer yet uses its sandbox, and so does every one of
 * the control API.  A preview's stream and a WebSocket do while bytes move.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_daemon.h"
#include "ngx_http_sandbox_zone.h"


#define NGX_HTTP_SANDBOX_ACTIVE_BUCKETS  1024
#define NGX_HTTP_SANDBOX_ACTIVE_TICK     400
#define NGX_HTTP_SANDBOX_ACTIVE_STALE    40     /* a stamp is good for */
#define NGX_HTTP_SANDBOX_ACTIVE_ASKED    500    /* sandboxes in one event */
#define NGX_HTTP_SANDBOX_ACTIVE_TEXT     64     /* bytes to answer for each */


/* A request in flight.  It lives in the request's pool. */

typedef struct {
    ngx_queue_t                   queue;       /* of a bucket */
    ngx_http_request_t           *request;
    uint32_t                      slot;
    uint32_t                      epoch;
    ngx_msec_t                    stamped;
    off_t                         bytes;       /* moved when last looked at */
    unsigned                      linked:1;
    unsigned                      control:1;
} ngx_http_sandbox_active_t;


static void ngx_http_sandbox_active_cleanup(void *data);
static void ngx_http_sandbox_active_unlink(ngx_http_sandbox_active_t *a);
static ngx_int_t ngx_http_sandbox_active_stamp(ngx_http_sandbox_active_t *a);
static ngx_uint_t ngx_http_sandbox_active_now(ngx_http_sandbox_active_t *a);
static void ngx_http_sandbox_active_tick(ngx_event_t *ev);
static u_char *ngx_http_sandbox_active_answer(u_char *p, uint32_t slot);


static ngx_queue_t   ngx_http_sandbox_active[NGX_HTTP_SANDBOX_ACTIVE_BUCKETS];
static ngx_uint_t    ngx_http_sandbox_nactive;
static ngx_event_t   ngx_http_sandbox_active_timer;

static ngx_http_sandbox_zone_t  *ngx_http_sandbox_active_zone;


void
ngx_http_sandbox_activity_init(ngx_http_sandbox_zone_t *zone)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_SANDBOX_ACTIVE_BUCKETS; i++) {
        ngx_queue_init(&ngx_http_sandbox_active[i]);
    }

    ngx_http_sandbox_active_zone = zone;

    ngx_http_sandbox_active_timer.handler = ngx_http_sandbox_active_tick;
    ngx_http_sandbox_active_timer.data = &ngx_http_sandbox_active_timer;
    ngx_http_sandbox_active_timer.log = ngx_cycle->log;
    ngx_http_sandbox_active_timer.cancelable = 1;
}


ngx_uint_t
ngx_http_sandbox_activity_count(void)
{
    return ngx_http_sandbox_nactive;
}


/* Requests */


ngx_int_t
ngx_http_sandbox_activity(ngx_http_request_t *r, ngx_http_sandbox_ctx_t *ctx)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_sandbox_active_t  *a;

    if (!ctx->ready) {
        return NGX_OK;
    }

    a = ctx->activity;

    if (a == NULL) {
        cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_sandbox_active_t));
        if (cln == NULL) {
            return NGX_ERROR;
        }

        a = cln->data;
        a->request = r;
        a->bytes = 0;
        a->linked = 0;
        a->control = ctx->control;

        cln->handler = ngx_http_sandbox_active_cleanup;
        ctx->activity = a;
    }

    ngx_http_sandbox_active_unlink(a);

    a->slot = ctx->slot;
    a->epoch = ctx->epoch;

    if (ngx_http_sandbox_active_stamp(a) == NGX_DECLINED) {

        /* it goes to sleep, or is gone, since it was looked up */

        ctx->ready = 0;
        return NGX_OK;
    }

    ngx_queue_insert_tail(
        &ngx_http_sandbox_active[a->slot % NGX_HTTP_SANDBOX_ACTIVE_BUCKETS],
        &a->queue);

    a->linked = 1;
    ngx_http_sandbox_nactive++;

    if (!ngx_http_sandbox_active_timer.timer_set) {
        ngx_add_timer(&ngx_http_sandbox_active_timer,
                      NGX_HTTP_SANDBOX_ACTIVE_TICK);
    }

    return NGX_OK;
}


static void
ngx_http_sandbox_active_cleanup(void *data)
{
    ngx_http_sandbox_active_t *a = data;

    if (a->linked
        && ngx_current_msec - a->stamped > NGX_HTTP_SANDBOX_ACTIVE_STALE)
    {
        (void) ngx_http_sandbox_active_stamp(a);
    }

    ngx_http_sandbox_active_unlink(a);
}


static void
ngx_http_sandbox_active_unlink(ngx_http_sandbox_active_t *a)
{
    if (a->linked) {
        ngx_queue_remove(&a->queue);
        a->linked = 0;
        ngx_http_sandbox_nactive--;
    }
}


static ngx_int_t
ngx_http_sandbox_active_stamp(ngx_http_sandbox_active_t *a)
{
    a->stamped = ngx_current_msec;

    return ngx_http_sandbox_zone_touch(ngx_http_sandbox_active_zone, a->slot,
                                       a->epoch);
}


/* Whether a request uses its sandbox at this moment. */

static ngx_uint_t
ngx_http_sandbox_active_now(ngx_http_sandbox_active_t *a)
{
    off_t                 bytes;
    ngx_http_request_t   *r;
    ngx_http_upstream_t  *u;

    r = a->request;
    u = r->upstream;

    if (!r->header_sent || u == NULL || (a->control && !u->upgrade)) {
        return 1;
    }

    bytes = r->connection->sent;

    if (u->state) {
        bytes += u->state->bytes_received;
    }

    if (u->peer.connection) {
        bytes += u->peer.connection->sent;
    }

    if (bytes == a->bytes) {
        return 0;
    }

    a->bytes = bytes;

    return 1;
}


static void
ngx_http_sandbox_active_tick(ngx_event_t *ev)
{
    ngx_uint_t                  i;
    ngx_queue_t                *q, *bucket;
    ngx_http_sandbox_active_t  *a;

    for (i = 0; i < NGX_HTTP_SANDBOX_ACTIVE_BUCKETS; i++) {
        bucket = &ngx_http_sandbox_active[i];

        for (q = ngx_queue_head(bucket);
             q != ngx_queue_sentinel(bucket);
             q = ngx_queue_next(q))
        {
            a = ngx_queue_data(q, ngx_http_sandbox_active_t, queue);

            if (ngx_http_sandbox_active_now(a)) {
                (void) ngx_http_sandbox_active_stamp(a);
            }
        }
    }

    if (ngx_http_sandbox_nactive) {
        ngx_add_timer(ev, NGX_HTTP_SANDBOX_ACTIVE_TICK);
    }
}


/* sandboxd's question */


void
ngx_http_sandbox_activity_event(json_t *frame)
{
    size_t      i, n;
    u_char     *text, *p;
    json_t     *slots, *ref, *slot;

    ref = json_object_get(frame, "ref");
    slots = json_object_get(frame, "slots");
    n = json_array_size(slots);

    if (!json_is_integer(ref) || n > NGX_HTTP_SANDBOX_ACTIVE_ASKED) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "sandbox: sandboxd sent an event that is none");
        return;
    }

    text = ngx_alloc(64 + n * NGX_HTTP_SANDBOX_ACTIVE_TEXT, ngx_cycle->log);
    if (text == NULL) {
        return;
    }

    p = ngx_sprintf(text, "{\"op\":\"idle\",\"ref\":%L,\"slots\":[",
                    (int64_t) json_integer_value(ref));

    for (i = 0; i < n; i++) {
        slot = json_array_get(slots, i);

        if (i) {
            *p++ = ',';
        }

        p = ngx_http_sandbox_active_answer(p,
                                       (uint32_t) json_integer_value(slot));
    }

    *p++ = ']';
    *p++ = '}';

    ngx_http_sandbox_daemon_tell(text, p - text);

    ngx_free(text);
}


/* [slot, epoch, idle ms or -1, in flight] */

static u_char *
ngx_http_sandbox_active_answer(u_char *p, uint32_t slot)
{
    uint32_t                    epoch;
    ngx_msec_t                  idle;
    ngx_uint_t                  n;
    ngx_queue_t                *q, *bucket;
    ngx_http_sandbox_active_t  *a;

    n = 0;
    bucket = &ngx_http_sandbox_active[slot % NGX_HTTP_SANDBOX_ACTIVE_BUCKETS];

    for (q = ngx_queue_head(bucket);
         q != ngx_queue_sentinel(bucket);
         q = ngx_queue_next(q))
    {
        a = ngx_queue_data(q, ngx_http_sandbox_active_t, queue);

        if (a->slot == slot && ngx_http_sandbox_active_now(a)) {
            (void) ngx_http_sandbox_active_stamp(a);
            n++;
        }
    }

    if (ngx_http_sandbox_zone_idle(ngx_http_sandbox_active_zone, slot, &epoch,
                                   &idle)
        != NGX_OK)
    {
        return ngx_sprintf(p, "[%uD,0,-1,%ui]", slot, n);
    }

    return ngx_sprintf(p, "[%uD,%uD,%M,%ui]", slot, epoch, idle, n);
}
