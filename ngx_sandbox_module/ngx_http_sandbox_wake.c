/*
 * Starts that requests wait for.  sandboxd is asked once for any number of
 * waiters of a sandbox; after the start they are let go a few at a time, and
 * each one that has reached the sandbox lets another go.  See _park.c.
 */

#include "ngx_http_sandbox_park.h"
#include "ngx_http_sandbox_zone.h"
#include "ngx_http_sandbox_count.h"

#include "sandbox_label.h"


#define NGX_HTTP_SANDBOX_WAKE_BUCKETS  256
#define NGX_HTTP_SANDBOX_WAKE_TICK     200     /* lets go whatever happens */
#define NGX_HTTP_SANDBOX_WAKE_TRIES    5       /* so far apart, then twice */
#define NGX_HTTP_SANDBOX_WAKE_TRY_MAX  2000    /* as much each time */
#define NGX_HTTP_SANDBOX_START_TIMEOUT 930000  /* sandboxd answers before: at
                                                  most 300 s in the queue, 600
                                                  s of a start, 15 s more */
#define NGX_HTTP_SANDBOX_RELEASE       64      /* at once, over all workers */


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


static ngx_queue_t  ngx_http_sandbox_wakes[NGX_HTTP_SANDBOX_WAKE_BUCKETS];
static ngx_uint_t   ngx_http_sandbox_release;
static u_char       ngx_http_sandbox_wake_key[16];


void
ngx_http_sandbox_wake_init(ngx_uint_t workers)
{
    ngx_uint_t  i;

    ngx_http_sandbox_release = ngx_max(NGX_HTTP_SANDBOX_RELEASE / workers, 1);

    for (i = 0; i < NGX_HTTP_SANDBOX_WAKE_BUCKETS; i++) {
        ngx_queue_init(&ngx_http_sandbox_wakes[i]);
    }

    for (i = 0; i < sizeof(ngx_http_sandbox_wake_key); i++) {
        ngx_http_sandbox_wake_key[i] = (u_char) ngx_random();
    }
}


ngx_http_sandbox_wake_t *
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
    ngx_http_sandbox_asked(ctx, &wake->asked);
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

    /* the run that gave no answer: sandboxd looks whether it would give one */

    if (wake->again) {
        json_object_set_new(request, "tried", json_integer(wake->ended));
    }

    if (wake->port) {
        json_object_set_new(request, "port", json_integer(wake->port));
        json_object_set_new(request, "wake", json_boolean(!wake->wake_off));
    }

    return request;
}


void
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
    ngx_http_sandbox_refusal(&wake->asked, err);

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
