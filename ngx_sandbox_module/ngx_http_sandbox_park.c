/*
 * Requests that wait until their sandbox runs.  They wait before their body is
 * read, so that flow control holds it.  A worker asks sandboxd once for any
 * number of waiters of a sandbox, which joins what the workers ask.  After the
 * start they are let go a few at a time; each one that has reached the sandbox
 * lets another go.
 *
 * A waiter's deadline is not cancelable: an exiting worker serves it first.
 */

#include "ngx_http_sandbox_park.h"
#include "ngx_http_sandbox_zone.h"
#include "ngx_http_sandbox_count.h"


static void ngx_http_sandbox_park_resume(ngx_http_request_t *r,
    ngx_http_sandbox_error_t *err);
static ngx_http_sandbox_waiter_t *ngx_http_sandbox_waiter_get(
    ngx_http_request_t *r, ngx_http_sandbox_ctx_t *ctx);
static void ngx_http_sandbox_waiter_leave(ngx_http_sandbox_waiter_t *w);
static ngx_int_t ngx_http_sandbox_waiter_take(ngx_http_sandbox_waiter_t *w,
    ngx_http_sandbox_error_t *err);
static void ngx_http_sandbox_waiter_deadline(ngx_event_t *ev);
static void ngx_http_sandbox_waiter_cleanup(void *data);
static ngx_int_t ngx_http_sandbox_park_take(ngx_http_request_t *r,
    ngx_http_sandbox_info_t *info, ngx_http_sandbox_error_t *err);
static ngx_uint_t ngx_http_sandbox_revoked(ngx_http_sandbox_ctx_t *ctx,
    uint32_t slot);
static ngx_uint_t ngx_http_sandbox_replaced(ngx_http_sandbox_ctx_t *ctx,
    uint32_t slot, ngx_http_sandbox_error_t *err);


ngx_http_sandbox_main_conf_t  *ngx_http_sandbox_park_conf;

static ngx_uint_t  ngx_http_sandbox_nwaiters;


ngx_int_t
ngx_http_sandbox_park_init(ngx_cycle_t *cycle)
{
    ngx_int_t         n;
    ngx_core_conf_t  *ccf;

    ngx_http_sandbox_park_conf = ngx_http_cycle_get_module_main_conf(cycle,
                                                     ngx_http_sandbox_module);

    /* `worker_processes` may stand behind `http`, or nowhere */

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);
    n = ngx_process == NGX_PROCESS_SINGLE ? 1 : ccf->worker_processes;

    ngx_http_sandbox_wake_init(n);

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
                                           "The sandbox's agent can't be "
                                           "reached", 5);
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

    if (err->status == NGX_HTTP_NOT_FOUND && ctx->inside) {
        ngx_http_sandbox_inside_error(r, err);
    }

    return ngx_http_sandbox_send_failure(r, err);
}


void
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
        rc = ngx_http_sandbox_park_take(r, &info, err);

        if (rc != NGX_AGAIN) {
            return rc;
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

    if (ngx_http_sandbox_refused(ctx, err)) {
        return NGX_ERROR;
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
 * Makes a run that of the request, which is in flight then: NGX_OK.  NGX_AGAIN:
 * the run is about to end.
 */

static ngx_int_t
ngx_http_sandbox_park_take(ngx_http_request_t *r,
    ngx_http_sandbox_info_t *info, ngx_http_sandbox_error_t *err)
{
    ngx_http_sandbox_ctx_t  *ctx;

    ctx = ngx_http_sandbox_ctx(r);

    if (ngx_http_sandbox_revoked(ctx, info->slot)) {
        ngx_http_sandbox_set_error(err, NGX_HTTP_NOT_FOUND, "not_found",
                                   "The exposure is gone", 0);
        return NGX_ERROR;
    }

    if (ngx_http_sandbox_replaced(ctx, info->slot, err)) {
        return NGX_ERROR;
    }

    ngx_http_sandbox_take(ctx, info);

    if (ngx_http_sandbox_activity(r, ctx) != NGX_OK) {
        ngx_http_sandbox_set_error(err, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                   "internal_error", "No memory left", 0);
        return NGX_ERROR;
    }

    return ctx->ready ? NGX_OK : NGX_AGAIN;
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

void
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
    ngx_int_t                 rc, taken;
    ngx_http_sandbox_info_t   info;

    /* the zone may know more by now than the start's answer said */

    rc = ngx_http_sandbox_zone_slot(ngx_http_sandbox_park_conf->zone,
                                    w->wake->info.slot, &info);

    if (rc != NGX_OK || info.seq < w->wake->info.seq) {
        info = w->wake->info;
    }

    taken = ngx_http_sandbox_park_take(w->request, &info, err);

    if (taken != NGX_AGAIN) {
        return taken;
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


ngx_int_t
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
