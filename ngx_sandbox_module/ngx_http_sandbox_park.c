/*
 * Requests that wait until their sandbox runs.  They wait before their body is
 * read, so that flow control holds it.  A worker asks sandboxd once for any
 * number of waiters of a sandbox, which joins what the workers ask.  After the
 * start they are let go a few at a time; each one that has reached the sandbox
 * lets another go.
 *
 * A waiter's deadline is not cancelable: an exiting worker serves it first.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_zone.h"
#include "ngx_http_sandbox_count.h"

#include "sandbox_label.h"


#define NGX_HTTP_SANDBOX_WAKE_BUCKETS  256
#define NGX_HTTP_SANDBOX_WAKE_TICK     200     /* lets go whatever happens */
#define NGX_HTTP_SANDBOX_WAKE_TRIES    5       /* so far apart, then twice */
#define NGX_HTTP_SANDBOX_WAKE_TRY_MAX  2000    /* as much each time */
#define NGX_HTTP_SANDBOX_START_TIMEOUT 120000
#define NGX_HTTP_SANDBOX_RELEASE       64      /* at once, over all workers */


/* A start that requests wait for. */

typedef struct {
    ngx_queue_t                   queue;       /* of a bucket */
    ngx_queue_t                   waiters;
    ngx_uint_t                    nwaiters;
    ngx_uint_t                    ngoing;      /* let go, not there yet */
    ngx_http_sandbox_call_t      *call;
    ngx_event_t                   tick;
    ngx_http_sandbox_info_t       info;        /* as the start was answered */
    ngx_uint_t                    sandboxes;   /* limits of those who wait */
    ngx_uint_t                    starts;
    uint32_t                      ended;       /* epoch */
    uint16_t                      port;        /* of the preview that asked */
    unsigned                      wake_off:1;  /* it starts nothing anew */
    ngx_msec_t                    delay;       /* before it is tried again */
    unsigned                      create:1;
    unsigned                      started:1;
    unsigned                      again:1;     /* another run than `ended` */
    unsigned                      busy:8;      /* loops of its own, nested */
    ngx_str_t                     id;
    u_char                        data[1];
} ngx_http_sandbox_wake_t;


typedef enum {
    sandbox_waiter_none = 0,
    sandbox_waiter_waits,
    sandbox_waiter_goes
} ngx_http_sandbox_waiter_state_e;


typedef struct {
    ngx_queue_t                   queue;
    ngx_http_request_t           *request;
    ngx_http_sandbox_wake_t      *wake;
    ngx_http_sandbox_resume_pt    resume;
    ngx_event_t                   deadline;
    ngx_msec_t                    start;
    ngx_http_sandbox_waiter_state_e  state;
} ngx_http_sandbox_waiter_t;


static void ngx_http_sandbox_park_resume(ngx_http_request_t *r,
    ngx_http_sandbox_error_t *err);
static ngx_http_sandbox_wake_t *ngx_http_sandbox_wake_get(
    ngx_http_sandbox_ctx_t *ctx, ngx_uint_t again);
static json_t *ngx_http_sandbox_wake_request(ngx_http_sandbox_wake_t *wake,
    ngx_http_sandbox_ctx_t *ctx);
static void ngx_http_sandbox_wake_reply(void *data, json_t *result,
    ngx_http_sandbox_error_t *err);
static void ngx_http_sandbox_wake_fail(ngx_http_sandbox_wake_t *wake,
    ngx_http_sandbox_error_t *err);
static ngx_uint_t ngx_http_sandbox_wake_refused(ngx_http_sandbox_wake_t *wake,
    ngx_http_sandbox_error_t *err);
static ngx_int_t ngx_http_sandbox_wake_read(ngx_http_sandbox_wake_t *wake,
    json_t *result);
static void ngx_http_sandbox_wake_release(ngx_http_sandbox_wake_t *wake,
    ngx_uint_t limit);
static void ngx_http_sandbox_wake_tick(ngx_event_t *ev);
static void ngx_http_sandbox_wake_free(ngx_http_sandbox_wake_t *wake);
static ngx_http_sandbox_waiter_t *ngx_http_sandbox_waiter_get(
    ngx_http_request_t *r, ngx_http_sandbox_ctx_t *ctx);
static void ngx_http_sandbox_waiter_leave(ngx_http_sandbox_waiter_t *w);
static void ngx_http_sandbox_waiter_go(ngx_http_sandbox_waiter_t *w,
    ngx_http_sandbox_error_t *err);
static ngx_int_t ngx_http_sandbox_waiter_take(ngx_http_sandbox_waiter_t *w,
    ngx_http_sandbox_error_t *err);
static ngx_int_t ngx_http_sandbox_waiter_again(ngx_http_sandbox_waiter_t *w);
static void ngx_http_sandbox_waiter_deadline(ngx_event_t *ev);
static void ngx_http_sandbox_waiter_cleanup(void *data);
static ngx_uint_t ngx_http_sandbox_revoked(ngx_http_sandbox_ctx_t *ctx,
    uint32_t slot);
static ngx_uint_t ngx_http_sandbox_replaced(ngx_http_sandbox_ctx_t *ctx,
    uint32_t slot, ngx_http_sandbox_error_t *err);
static void ngx_http_sandbox_set_error(ngx_http_sandbox_error_t *err,
    ngx_uint_t status, const char *code, const char *message,
    ngx_uint_t retry_after);


static ngx_queue_t   ngx_http_sandbox_wakes[NGX_HTTP_SANDBOX_WAKE_BUCKETS];
static ngx_uint_t    ngx_http_sandbox_nwaiters;
static ngx_uint_t    ngx_http_sandbox_release;
static u_char        ngx_http_sandbox_wake_key[16];

static ngx_http_sandbox_main_conf_t  *ngx_http_sandbox_park_conf;


ngx_int_t
ngx_http_sandbox_park_init(ngx_cycle_t *cycle)
{
    ngx_int_t         n;
    ngx_uint_t        i;
    ngx_core_conf_t  *ccf;

    ngx_http_sandbox_park_conf = ngx_http_cycle_get_module_main_conf(cycle,
                                                     ngx_http_sandbox_module);

    /* `worker_processes` may stand behind `http`, or nowhere */

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);
    n = ngx_process == NGX_PROCESS_SINGLE ? 1 : ccf->worker_processes;

    ngx_http_sandbox_release = ngx_max(NGX_HTTP_SANDBOX_RELEASE / n, 1);

    for (i = 0; i < NGX_HTTP_SANDBOX_WAKE_BUCKETS; i++) {
        ngx_queue_init(&ngx_http_sandbox_wakes[i]);
    }

    for (i = 0; i < sizeof(ngx_http_sandbox_wake_key); i++) {
        ngx_http_sandbox_wake_key[i] = (u_char) ngx_random();
    }

    return NGX_OK;
}


/* The pre-content phase */


ngx_int_t
ngx_http_sandbox_park_handler(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_http_sandbox_ctx_t       *ctx;
    ngx_http_sandbox_error_t      err;
    ngx_http_sandbox_loc_conf_t  *slcf;

    ctx = ngx_http_sandbox_ctx(r);

    if (ctx == NULL || !ctx->authorised || ctx->ready || r != r->main) {
        return NGX_DECLINED;
    }

    if (!ctx->api) {
        slcf = ngx_http_get_module_loc_conf(r, ngx_http_sandbox_module);

        if ((!slcf->wake || ctx->wake_off)
            && ctx->state == NGX_HTTP_SANDBOX_UNREACHABLE)
        {
            /* it neither sleeps nor has it ended, for all that is known */

            return ngx_http_sandbox_reject(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                           "sandbox_unreachable",
                                           "The sandbox runs elsewhere, and "
                                           "can't be reached", 5);
        }

        if (!slcf->wake || ctx->wake_off) {
            return ngx_http_sandbox_reject(r, 410 /* Gone */,
                                           "STALE_PREVIEW_URL",
                                           "Preview URL is stale because the "
                                           "sandbox runtime is not active", 0);
        }
    }

    rc = ngx_http_sandbox_park(r, 0, ngx_http_sandbox_park_resume, &err);

    if (rc == NGX_OK) {
        return NGX_DECLINED;
    }

    if (rc == NGX_ERROR) {
        ngx_http_finalize_request(r, ngx_http_sandbox_end(r, &err));
        return NGX_DONE;
    }

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    return NGX_AGAIN;
}


static void
ngx_http_sandbox_park_resume(ngx_http_request_t *r,
    ngx_http_sandbox_error_t *err)
{
    if (err) {
        ngx_http_finalize_request(r, ngx_http_sandbox_end(r, err));
        return;
    }

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
}


ngx_int_t
ngx_http_sandbox_end(ngx_http_request_t *r,
    ngx_http_sandbox_error_t *err)
{
    ngx_uint_t               gone;
    ngx_http_sandbox_ctx_t  *ctx;

    static const ngx_str_t  interrupted = ngx_string("operation_interrupted");

    ctx = ngx_http_sandbox_ctx(r);

    gone = err->status == NGX_HTTP_NOT_FOUND
           || (err->code.len == interrupted.len
               && ngx_strncmp(err->code.data, interrupted.data,
                              interrupted.len)
                  == 0);

    if (gone && (ctx == NULL || !ctx->api)) {

        /* destroyed meanwhile: the answer of every unknown name */

        return ngx_http_sandbox_send_error(r, NGX_HTTP_NOT_FOUND,
                                           "INVALID_TOKEN",
                                           "Access denied: Invalid token or "
                                           "port not exposed", 0);
    }

    if (gone && ctx->restarted) {
        return ngx_http_sandbox_send_error(r, NGX_HTTP_CONFLICT,
                                           (char *) interrupted.data,
                                           "The sandbox was destroyed", 0);
    }

    return ngx_http_sandbox_send_failure(r, err);
}


static void
ngx_http_sandbox_set_error(ngx_http_sandbox_error_t *err, ngx_uint_t status,
    const char *code, const char *message, ngx_uint_t retry_after)
{
    ngx_memzero(err, sizeof(ngx_http_sandbox_error_t));

    err->status = status;
    err->code.data = (u_char *) code;
    err->code.len = ngx_strlen(code);
    err->message.data = (u_char *) message;
    err->message.len = ngx_strlen(message);
    err->retry_after = retry_after;
}


/* Waiting */


ngx_int_t
ngx_http_sandbox_park(ngx_http_request_t *r, ngx_uint_t again,
    ngx_http_sandbox_resume_pt resume, ngx_http_sandbox_error_t *err)
{
    ngx_int_t                      rc;
    ngx_http_sandbox_ctx_t        *ctx;
    ngx_http_sandbox_info_t        info;
    ngx_http_sandbox_wake_t       *wake;
    ngx_http_sandbox_waiter_t     *w;
    ngx_http_sandbox_loc_conf_t   *slcf;
    ngx_http_sandbox_main_conf_t  *smcf;

    ctx = ngx_http_sandbox_ctx(r);
    smcf = ngx_http_sandbox_park_conf;

    rc = ngx_http_sandbox_zone_id(smcf->zone, &ctx->id, &info);

    if (rc == NGX_OK && ctx->state == 0) {
        ctx->state = info.state;
    }

    if (rc == NGX_OK
        && info.state == NGX_HTTP_SANDBOX_RUNNING
        && !(again && ctx->known && info.slot == ctx->slot
             && info.epoch == ctx->epoch))
    {
        if (ngx_http_sandbox_revoked(ctx, info.slot)) {
            ngx_http_sandbox_set_error(err, NGX_HTTP_NOT_FOUND, "not_found",
                                       "The exposure is gone", 0);
            return NGX_ERROR;
        }

        if (ngx_http_sandbox_replaced(ctx, info.slot, err)) {
            return NGX_ERROR;
        }

        ngx_http_sandbox_take(ctx, &info);

        if (ngx_http_sandbox_activity(r, ctx) != NGX_OK) {
            ngx_http_sandbox_set_error(err, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                       "internal_error", "No memory left", 0);
            return NGX_ERROR;
        }

        if (ctx->ready) {
            return NGX_OK;
        }
    }

    if (ngx_http_sandbox_nwaiters >= smcf->waiters_total) {
        ngx_http_sandbox_set_error(err, NGX_HTTP_SERVICE_UNAVAILABLE,
                                   "too_many_waiting",
                                   "Too many requests wait for sandboxes", 3);
        return NGX_ERROR;
    }

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sandbox_module);

    /* who came while it ran doesn't start it either, if it has ended since */

    if (again && !ctx->api && !slcf->wake) {
        ctx->wake_off = 1;
    }

    if (again && ctx->wait_time >= slcf->wake_timeout) {
        ngx_http_sandbox_set_error(err, NGX_HTTP_SERVICE_UNAVAILABLE,
                                   "sandbox_unreachable", "The sandbox's "
                                   "agent can't be reached", 1);
        return NGX_ERROR;
    }

    w = ngx_http_sandbox_waiter_get(r, ctx);

    wake = w ? ngx_http_sandbox_wake_get(ctx, again) : NULL;

    if (wake == NULL) {
        ngx_http_sandbox_set_error(err, NGX_HTTP_SERVICE_UNAVAILABLE,
                                   "unavailable", "No sandbox can be started "
                                   "right now", 3);
        return NGX_ERROR;
    }

    if (wake->nwaiters >= smcf->waiters) {
        ngx_http_sandbox_set_error(err, NGX_HTTP_SERVICE_UNAVAILABLE,
                                   "too_many_waiting", "Too many requests "
                                   "wait for this sandbox", 3);
        return NGX_ERROR;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "sandbox park: \"%V\" behind %ui", &ctx->id,
                   wake->nwaiters);

    w->state = sandbox_waiter_waits;
    w->wake = wake;
    w->resume = resume;
    w->start = ngx_current_msec;

    ngx_add_timer(&w->deadline, slcf->wake_timeout
                                - (again ? ctx->wait_time : 0));

    ngx_queue_insert_tail(&wake->waiters, &w->queue);
    wake->nwaiters++;
    ngx_http_sandbox_nwaiters++;
    ngx_http_sandbox_counters->parked = ngx_http_sandbox_nwaiters;

    return NGX_AGAIN;
}


/*
 * Whether the exposure that the gate has let a request through by is gone, or
 * that of another sandbox by now, be it one of the same name.
 */

static ngx_uint_t
ngx_http_sandbox_revoked(ngx_http_sandbox_ctx_t *ctx, uint32_t slot)
{
    ngx_int_t                    rc;
    ngx_http_sandbox_zone_t     *zone;
    ngx_http_sandbox_info_t      info;
    ngx_http_sandbox_exposure_t  exposure;

    if (ctx->api) {
        return 0;
    }

    zone = ngx_http_sandbox_park_conf->zone;

    rc = ctx->whole
         ? ngx_http_sandbox_zone_host(zone, &ctx->label, &exposure, &info)
         : ngx_http_sandbox_zone_label(zone, &ctx->label, &exposure, &info);

    switch (rc) {

    case NGX_OK:
        return exposure.slot != slot || exposure.port != ctx->port
               || exposure.gen != ctx->gen;

    case NGX_AGAIN:

        /* the zone is being filled, and the gate has asked sandboxd */

        return slot != ctx->slot;

    default: /* NGX_DECLINED */
        return 1;
    }
}


/*
 * Whether an operation has begun in a sandbox that was destroyed since, be it
 * that another one has its id by now.
 */

static ngx_uint_t
ngx_http_sandbox_replaced(ngx_http_sandbox_ctx_t *ctx, uint32_t slot,
    ngx_http_sandbox_error_t *err)
{
    if (!ctx->api || !ctx->known || !ctx->restarted || slot == ctx->slot) {
        return 0;
    }

    ngx_http_sandbox_set_error(err, NGX_HTTP_CONFLICT, "operation_interrupted",
                               "The sandbox was destroyed", 0);
    return 1;
}


static ngx_http_sandbox_waiter_t *
ngx_http_sandbox_waiter_get(ngx_http_request_t *r, ngx_http_sandbox_ctx_t *ctx)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_sandbox_waiter_t  *w;

    if (ctx->waiter) {
        ngx_http_sandbox_waiter_leave(ctx->waiter);
        return ctx->waiter;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_sandbox_waiter_t));
    if (cln == NULL) {
        return NULL;
    }

    w = cln->data;
    ngx_memzero(w, sizeof(ngx_http_sandbox_waiter_t));

    w->request = r;
    w->deadline.handler = ngx_http_sandbox_waiter_deadline;
    w->deadline.data = w;
    w->deadline.log = r->connection->log;

    cln->handler = ngx_http_sandbox_waiter_cleanup;
    ctx->waiter = w;

    return w;
}


static void
ngx_http_sandbox_waiter_cleanup(void *data)
{
    ngx_http_sandbox_waiter_leave(data);
}


/* Leaves the queue, or gives back the place among those that were let go. */

static void
ngx_http_sandbox_waiter_leave(ngx_http_sandbox_waiter_t *w)
{
    ngx_http_sandbox_wake_t          *wake;
    ngx_http_sandbox_waiter_state_e   state;

    state = w->state;
    wake = w->wake;

    w->state = sandbox_waiter_none;
    w->wake = NULL;

    if (w->deadline.timer_set) {
        ngx_del_timer(&w->deadline);
    }

    switch (state) {

    case sandbox_waiter_waits:
        ngx_queue_remove(&w->queue);
        wake->nwaiters--;
        ngx_http_sandbox_nwaiters--;
        ngx_http_sandbox_counters->parked = ngx_http_sandbox_nwaiters;
        break;

    case sandbox_waiter_goes:
        wake->ngoing--;

        /* the next ones go from the event loop, not from within this one */

        if (wake->nwaiters && !wake->busy) {
            ngx_post_event(&wake->tick, &ngx_posted_events);
        }

        break;

    default:
        return;
    }

    ngx_http_sandbox_wake_free(wake);
}


void
ngx_http_sandbox_park_done(ngx_http_request_t *r)
{
    ngx_http_sandbox_ctx_t     *ctx;
    ngx_http_sandbox_waiter_t  *w;

    ctx = ngx_http_sandbox_ctx(r);
    w = ctx ? ctx->waiter : NULL;

    if (w && w->state == sandbox_waiter_goes) {
        ngx_http_sandbox_waiter_leave(w);
    }
}


void
ngx_http_sandbox_park_leave(ngx_http_sandbox_ctx_t *ctx)
{
    if (ctx->waiter) {
        ngx_http_sandbox_waiter_leave(ctx->waiter);
    }
}


static void
ngx_http_sandbox_waiter_deadline(ngx_event_t *ev)
{
    ngx_http_sandbox_error_t    err;
    ngx_http_sandbox_waiter_t  *w;

    w = ev->data;

    if (w->wake->started) {
        ngx_http_sandbox_set_error(&err, NGX_HTTP_SERVICE_UNAVAILABLE,
                                   "sandbox_unreachable", "The sandbox's "
                                   "agent can't be reached", 1);

    } else {
        ngx_http_sandbox_set_error(&err, NGX_HTTP_SERVICE_UNAVAILABLE,
                                   "sandbox_starting",
                                   "The sandbox is still starting, retry in a "
                                   "moment", 3);
    }

    ngx_http_sandbox_waiter_go(w, &err);
}


/*
 * Takes a waiter out of the queue and lets its request go on, or to another
 * queue if the run that it has waited for is at its end.
 */

static void
ngx_http_sandbox_waiter_go(ngx_http_sandbox_waiter_t *w,
    ngx_http_sandbox_error_t *err)
{
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_sandbox_ctx_t    *ctx;
    ngx_http_sandbox_wake_t   *wake;
    ngx_http_sandbox_error_t   other;

    r = w->request;
    c = r->connection;
    wake = w->wake;
    ctx = ngx_http_sandbox_ctx(r);

    if (err == NULL) {

        switch (ngx_http_sandbox_waiter_take(w, &other)) {

        case NGX_OK:

            /* its place is counted before it leaves the queue */

            wake->ngoing++;
            break;

        case NGX_AGAIN:
            return;

        default: /* NGX_ERROR */
            err = &other;
            break;
        }
    }

    ctx->wait_time += ngx_current_msec - w->start;

    ngx_http_sandbox_count_time(&ngx_http_sandbox_counters->wait,
                                ngx_current_msec - w->start);

    wake->busy++;
    ngx_http_sandbox_waiter_leave(w);
    wake->busy--;

    if (err == NULL) {
        w->state = sandbox_waiter_goes;
        w->wake = wake;

    } else {
        ngx_http_sandbox_wake_free(wake);
    }

    ngx_http_set_log_request(c->log, r);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "sandbox park: go after %M, %s", ctx->wait_time,
                   err ? (char *) err->code.data : "ok");

    w->resume(r, err);

    ngx_http_run_posted_requests(c);
}


/* NGX_OK: the sandbox's run is that of the request, which is in flight. */

static ngx_int_t
ngx_http_sandbox_waiter_take(ngx_http_sandbox_waiter_t *w,
    ngx_http_sandbox_error_t *err)
{
    ngx_int_t                 rc;
    ngx_http_request_t       *r;
    ngx_http_sandbox_ctx_t   *ctx;
    ngx_http_sandbox_info_t   info;

    r = w->request;
    ctx = ngx_http_sandbox_ctx(r);

    /* the zone may know more by now than the start's answer said */

    rc = ngx_http_sandbox_zone_slot(ngx_http_sandbox_park_conf->zone,
                                    w->wake->info.slot, &info);

    if (rc != NGX_OK || info.seq < w->wake->info.seq) {
        info = w->wake->info;
    }

    if (ngx_http_sandbox_revoked(ctx, info.slot)) {
        ngx_http_sandbox_set_error(err, NGX_HTTP_NOT_FOUND, "not_found",
                                   "The exposure is gone", 0);
        return NGX_ERROR;
    }

    if (ngx_http_sandbox_replaced(ctx, info.slot, err)) {
        return NGX_ERROR;
    }

    ngx_http_sandbox_take(ctx, &info);

    if (ngx_http_sandbox_activity(r, ctx) != NGX_OK) {
        ngx_http_sandbox_set_error(err, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                   "internal_error", "No memory left", 0);
        return NGX_ERROR;
    }

    if (ctx->ready) {
        return NGX_OK;
    }

    if (rc == NGX_DECLINED) {
        ngx_http_sandbox_set_error(err, NGX_HTTP_CONFLICT,
                                   "operation_interrupted",
                                   "The sandbox was destroyed", 0);
        return NGX_ERROR;
    }

    if (ngx_http_sandbox_waiter_again(w) == NGX_OK) {
        return NGX_AGAIN;
    }

    ngx_http_sandbox_set_error(err, NGX_HTTP_SERVICE_UNAVAILABLE,
                               "unavailable", "No sandbox can be started "
                               "right now", 3);
    return NGX_ERROR;
}


/* From the queue of a start that has led to nothing to that of another. */

static ngx_int_t
ngx_http_sandbox_waiter_again(ngx_http_sandbox_waiter_t *w)
{
    ngx_http_sandbox_ctx_t   *ctx;
    ngx_http_sandbox_wake_t  *old, *wake;

    ctx = ngx_http_sandbox_ctx(w->request);
    old = w->wake;

    wake = ngx_http_sandbox_wake_get(ctx, 0);

    if (wake == NULL || wake->nwaiters >= ngx_http_sandbox_park_conf->waiters)
    {
        return NGX_ERROR;
    }

    ngx_queue_remove(&w->queue);
    ngx_queue_insert_tail(&wake->waiters, &w->queue);

    w->wake = wake;
    wake->nwaiters++;
    old->nwaiters--;

    ngx_http_sandbox_wake_free(old);

    return NGX_OK;
}


/* Starts */


static ngx_http_sandbox_wake_t *
ngx_http_sandbox_wake_get(ngx_http_sandbox_ctx_t *ctx, ngx_uint_t again)
{
    ngx_uint_t                n;
    ngx_queue_t              *q, *bucket;
    ngx_http_sandbox_wake_t  *wake;

    if (again && ctx->tries < 255) {
        ctx->tries++;
    }

    bucket = &ngx_http_sandbox_wakes[
                 sandbox_label_hash(ngx_http_sandbox_wake_key, ctx->id.data,
                                    ctx->id.len)
                 % NGX_HTTP_SANDBOX_WAKE_BUCKETS];

    for (q = ngx_queue_head(bucket); q != ngx_queue_sentinel(bucket);
         q = ngx_queue_next(q))
    {
        wake = ngx_queue_data(q, ngx_http_sandbox_wake_t, queue);

        /* one that has been answered is of the past */

        if (wake->call && wake->create == ctx->create
            && wake->wake_off == ctx->wake_off
            && wake->sandboxes == (ctx->caller ? ctx->caller->sandboxes : 0)
            && wake->starts == (ctx->caller ? ctx->caller->starts : 0)
            && wake->id.len == ctx->id.len
            && ngx_memcmp(wake->id.data, ctx->id.data, ctx->id.len) == 0)
        {
            return wake;
        }
    }

    wake = ngx_calloc(offsetof(ngx_http_sandbox_wake_t, data) + ctx->id.len,
                      ngx_cycle->log);
    if (wake == NULL) {
        return NULL;
    }

    ngx_queue_init(&wake->waiters);

    wake->create = ctx->create;
    wake->sandboxes = ctx->caller ? ctx->caller->sandboxes : 0;
    wake->starts = ctx->caller ? ctx->caller->starts : 0;
    wake->again = again && ctx->known;
    wake->ended = ctx->epoch;
    wake->port = ctx->api ? 0 : ctx->port;
    wake->wake_off = ctx->wake_off;
    wake->delay = NGX_HTTP_SANDBOX_WAKE_TICK;

    for (n = NGX_HTTP_SANDBOX_WAKE_TRIES;
         n < ctx->tries && wake->delay < NGX_HTTP_SANDBOX_WAKE_TRY_MAX;
         n++)
    {
        wake->delay = ngx_min(2 * wake->delay, NGX_HTTP_SANDBOX_WAKE_TRY_MAX);
    }

    wake->id.len = ctx->id.len;
    wake->id.data = wake->data;
    ngx_memcpy(wake->id.data, ctx->id.data, ctx->id.len);

    wake->tick.handler = ngx_http_sandbox_wake_tick;
    wake->tick.data = wake;
    wake->tick.log = ngx_cycle->log;

    wake->call = ngx_http_sandbox_daemon_call(
                     ngx_http_sandbox_wake_request(wake, ctx),
                     NGX_HTTP_SANDBOX_START_TIMEOUT,
                     ngx_http_sandbox_wake_reply, wake);

    if (wake->call == NULL) {
        ngx_free(wake);
        return NULL;
    }

    ngx_queue_insert_tail(bucket, &wake->queue);
    ngx_http_sandbox_counters->wakes++;

    return wake;
}


static json_t *
ngx_http_sandbox_wake_request(ngx_http_sandbox_wake_t *wake,
    ngx_http_sandbox_ctx_t *ctx)
{
    json_t  *request;

    request = json_pack("{s:s,s:s%,s:b,s:s,s:o}", "op", "start",
                        "sandbox", (char *) wake->id.data, wake->id.len,
                        "create", (int) wake->create,
                        "trigger", wake->port ? "preview" : "control",
                        "caller", ngx_http_sandbox_caller_json(ctx->caller));

    if (wake->port) {
        json_object_set_new(request, "port", json_integer(wake->port));
        json_object_set_new(request, "wake", json_boolean(!wake->wake_off));
    }

    return request;
}


/* Frees a start when nobody needs it any more. */

static void
ngx_http_sandbox_wake_free(ngx_http_sandbox_wake_t *wake)
{
    if (wake->nwaiters || wake->ngoing || wake->busy) {
        return;
    }

    if (wake->call) {

        /* sandboxd goes on with it; its answer would be for nobody */

        ngx_http_sandbox_daemon_cancel(wake->call);
    }

    if (wake->tick.timer_set) {
        ngx_del_timer(&wake->tick);
    }

    if (wake->tick.posted) {
        ngx_delete_posted_event(&wake->tick);
    }

    ngx_queue_remove(&wake->queue);
    ngx_free(wake);
}


static void
ngx_http_sandbox_wake_reply(void *data, json_t *result,
    ngx_http_sandbox_error_t *err)
{
    ngx_http_sandbox_wake_t *wake = data;

    ngx_http_sandbox_error_t    bad;
    ngx_http_sandbox_waiter_t  *w;

    wake->call = NULL;

    if (err == NULL && ngx_http_sandbox_wake_read(wake, result) != NGX_OK) {
        ngx_http_sandbox_set_error(&bad, NGX_HTTP_BAD_GATEWAY,
                                   "internal_error", "sandboxd's answer to a "
                                   "start names no running sandbox", 0);
        err = &bad;
    }

    if (err == NULL) {
        wake->started = 1;

        if (json_is_true(json_object_get(result, "created"))
            && !ngx_queue_empty(&wake->waiters))
        {

            /* by the one who has waited longest */

            w = ngx_queue_data(ngx_queue_head(&wake->waiters),
                               ngx_http_sandbox_waiter_t, queue);
            ngx_http_sandbox_audit_created(w->request, NULL);
        }

        if (wake->again && wake->info.epoch == wake->ended) {

            /*
             * The run that couldn't be reached, as if all were well: its
             * socket closes before its last process is gone, or it takes
             * connections less quickly than they come.  One that stays so is
             * tried ever less often.
             */

            ngx_add_timer(&wake->tick, wake->delay);
            return;
        }

        ngx_http_sandbox_wake_release(wake, ngx_http_sandbox_release);
        return;
    }

    ngx_http_sandbox_wake_fail(wake, err);
}


/*
 * What one exposure's visitors may not do concerns nobody else: others who have
 * joined them ask for themselves.
 */

static void
ngx_http_sandbox_wake_fail(ngx_http_sandbox_wake_t *wake,
    ngx_http_sandbox_error_t *err)
{
    ngx_uint_t                  refused;
    ngx_http_sandbox_ctx_t     *ctx;
    ngx_http_sandbox_waiter_t  *w;

    refused = ngx_http_sandbox_wake_refused(wake, err);

    if (refused) {
        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                      "sandbox \"%V\" isn't started for port %ui: %V",
                      &wake->id, (ngx_uint_t) wake->port, &err->message);

    } else {
        ngx_http_sandbox_counters->wakes_failed++;

        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "sandbox \"%V\" can't be started: %V", &wake->id,
                      &err->message);
    }

    wake->busy++;

    while (!ngx_queue_empty(&wake->waiters)) {
        w = ngx_queue_data(ngx_queue_head(&wake->waiters),
                           ngx_http_sandbox_waiter_t, queue);
        ctx = ngx_http_sandbox_ctx(w->request);

        if (refused && (ctx->api || ctx->port != wake->port)
            && ngx_http_sandbox_waiter_again(w) == NGX_OK)
        {
            continue;
        }

        ngx_http_sandbox_waiter_go(w, err);
    }

    wake->busy--;
    ngx_http_sandbox_wake_free(wake);
}


static ngx_uint_t
ngx_http_sandbox_wake_refused(ngx_http_sandbox_wake_t *wake,
    ngx_http_sandbox_error_t *err)
{
    ngx_uint_t  i;

    static const ngx_str_t  codes[] = {
        ngx_string("wake_limited"),
        ngx_string("STALE_PREVIEW_URL"),
        ngx_string("port_not_exposed")
    };

    for (i = 0; wake->port && i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (err->code.len == codes[i].len
            && ngx_memcmp(err->code.data, codes[i].data, codes[i].len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_sandbox_wake_read(ngx_http_sandbox_wake_t *wake, json_t *result)
{
    size_t                     i;
    json_t                    *records;
    ngx_http_sandbox_record_t  rec;

    records = json_object_get(result, "records");

    for (i = 0; i < json_array_size(records); i++) {

        if (ngx_http_sandbox_record_read(json_array_get(records, i), &rec)
            != NGX_OK)
        {
            continue;
        }

        (void) ngx_http_sandbox_zone_apply(ngx_http_sandbox_park_conf->zone,
                                           &rec);

        if (rec.exposure || rec.gone
            || rec.state != NGX_HTTP_SANDBOX_RUNNING
            || rec.name.len != wake->id.len
            || ngx_memcmp(rec.name.data, wake->id.data, wake->id.len) != 0)
        {
            continue;
        }

        wake->info.seq = rec.seq;
        wake->info.slot = rec.slot;
        wake->info.epoch = rec.epoch;
        wake->info.state = rec.state;
        ngx_memcpy(wake->info.key, rec.key, NGX_HTTP_SANDBOX_KEY_LEN);
        wake->info.address = rec.address;

        return NGX_OK;
    }

    return NGX_ERROR;
}


/* Lets as many go as may be on their way at once. */

static void
ngx_http_sandbox_wake_release(ngx_http_sandbox_wake_t *wake, ngx_uint_t limit)
{
    ngx_http_sandbox_waiter_t  *w;

    wake->busy++;

    while (!ngx_queue_empty(&wake->waiters) && wake->ngoing < limit) {
        w = ngx_queue_data(ngx_queue_head(&wake->waiters),
                           ngx_http_sandbox_waiter_t, queue);

        ngx_http_sandbox_waiter_go(w, NULL);
    }

    wake->busy--;

    if (wake->nwaiters && !wake->tick.timer_set) {
        ngx_add_timer(&wake->tick, NGX_HTTP_SANDBOX_WAKE_TICK);
    }

    ngx_http_sandbox_wake_free(wake);
}


static void
ngx_http_sandbox_wake_tick(ngx_event_t *ev)
{
    ngx_uint_t                limit;
    ngx_http_sandbox_wake_t  *wake;

    wake = ev->data;

    if (!wake->started) {
        return;
    }

    limit = ngx_http_sandbox_release;

    if (ev->timedout) {
        ev->timedout = 0;

        /* those on their way may take long: they don't hold the others */

        limit += wake->ngoing;
    }

    ngx_http_sandbox_wake_release(wake, limit);
}
