/*
 * Counters of the workers, in the zone; see the header.  Requests are counted
 * in the log phase, errors where they are answered.
 */

#include "ngx_http_sandbox_count.h"
#include "ngx_http_sandbox_node.h"

#include "common/process_start.h"


static ngx_uint_t ngx_http_sandbox_worker_dead(
    ngx_http_sandbox_worker_t *worker);


/* Until there is a block, and where there is no place for one. */

static ngx_http_sandbox_counters_t  ngx_http_sandbox_own_counters;

ngx_http_sandbox_counters_t  *ngx_http_sandbox_counters =
                                                &ngx_http_sandbox_own_counters;

static ngx_http_sandbox_zone_t      *ngx_http_sandbox_count_zone;
static ngx_http_sandbox_worker_t    *ngx_http_sandbox_this_worker;


const ngx_msec_t  ngx_http_sandbox_bounds[NGX_HTTP_SANDBOX_BUCKETS - 1] = {
    10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 120000
};


/*
 * The codes that answers have, and kinds of failures on the way to a sandbox.
 * A code that isn't here counts as "other": sandboxd and other parts may bring
 * new ones, a metric must not.
 */

static const char  *ngx_http_sandbox_error_names[] = {
    "INVALID_TOKEN", "STALE_PREVIEW_URL", "SERVICE_NOT_RESPONDING",
    "service_refused", "service_protocol", "service_timeout",
    "sandbox_unreachable", "sandbox_busy", "sandbox_starting", "start_failed",
    "too_many_waiting", "unavailable", "timeout", "busy",
    "unauthorized", "forbidden", "too_many_requests", "quota_exceeded",
    "requests_exceeded", "connections_exceeded", "body_exceeded",
    "wake_limited", "too_many_failures",
    "CROSS_SITE", "LINK_EXPIRED", "FRAME_NOT_ALLOWED", "not_private",
    "operation_interrupted", "zone_full", "invalid_request", "invalid_id",
    "invalid_port", "invalid_token", "label_too_long", "unknown_image",
    "not_found", "port_not_exposed", "not_implemented", "unsupported",
    "unenforceable",
    "method_not_allowed", "exists", "token_in_use", "label_taken",
    "hostname_taken", "too_many_ports", "too_many_domains",
    "precondition_failed", "idempotency_key_reused", "misdirected_request",
    "hostname_not_allowed", "endpoint_not_allowed", "no_preview_domain",
    "payload_too_large", "uri_too_long", "insufficient_storage",
    "insufficient_memory", "capacity_exceeded", "storage_failed",
    "shutting_down", "internal_error", "other", NULL
};

_Static_assert(sizeof(ngx_http_sandbox_error_names) / sizeof(char *) - 1
               <= NGX_HTTP_SANDBOX_ERRORS, "too many kinds of errors");


/* Blocks */


ngx_int_t
ngx_http_sandbox_count_init(ngx_cycle_t *cycle)
{
    ngx_uint_t                     i;
    ngx_http_sandbox_zone_t       *zone;
    ngx_http_sandbox_shctx_t      *sh;
    ngx_http_sandbox_worker_t     *w;
    ngx_http_sandbox_main_conf_t  *smcf;

    smcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_sandbox_module);
    zone = smcf->zone;

    if (zone == NULL) {
        return NGX_OK;
    }

    sh = zone->sh;
    w = NULL;

    ngx_http_sandbox_zone_lock(zone);

    for (i = 0; i < sh->nworkers; i++) {
        if (ngx_http_sandbox_worker_dead(&sh->workers[i])) {
            w = &sh->workers[i];
            break;
        }
    }

    if (w) {
        w->generation = ++sh->worker_generation;
        w->pid = ngx_pid;
        w->started = process_start_time(ngx_pid);
        w->looked = 0;
        w->counters.parked = 0;
        w->counters.connected = 0;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    ngx_http_sandbox_count_zone = zone;
    ngx_http_sandbox_this_worker = w;

    if (w == NULL) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                      "sandbox zone \"%V\" has no place for this worker's "
                      "counters", &smcf->shm_zone->shm.name);
        return NGX_OK;
    }

    ngx_http_sandbox_counters = &w->counters;

    return NGX_OK;
}


void
ngx_http_sandbox_count_exit(ngx_cycle_t *cycle)
{
    ngx_http_sandbox_zone_t  *zone;

    if (ngx_http_sandbox_this_worker == NULL) {
        return;
    }

    zone = ngx_http_sandbox_count_zone;

    ngx_http_sandbox_zone_lock(zone);

    ngx_http_sandbox_this_worker->pid = 0;
    ngx_http_sandbox_this_worker->generation = 0;

    ngx_shmtx_unlock(&zone->shpool->mutex);

    ngx_http_sandbox_this_worker = NULL;
    ngx_http_sandbox_counters = &ngx_http_sandbox_own_counters;
}


ngx_http_sandbox_worker_t *
ngx_http_sandbox_worker(void)
{
    return ngx_http_sandbox_this_worker;
}


/* Its number may be another process's by now. */

static ngx_uint_t
ngx_http_sandbox_worker_other(ngx_http_sandbox_worker_t *w)
{
    uint64_t  started;

    if (w->started == 0 || w->looked == ngx_time()) {
        return 0;
    }

    w->looked = ngx_time();
    started = process_start_time(w->pid);

    return started && started != w->started;
}


/* Under the lock.  A worker that was killed has taken leave of nobody. */

static ngx_uint_t
ngx_http_sandbox_worker_dead(ngx_http_sandbox_worker_t *w)
{
    if (w->pid
        && ((kill(w->pid, 0) == -1 && ngx_errno == NGX_ESRCH)
            || ngx_http_sandbox_worker_other(w)))
    {
        w->pid = 0;
        w->generation = 0;
    }

    return w->pid == 0;
}


ngx_uint_t
ngx_http_sandbox_workers_check(ngx_http_sandbox_shctx_t *sh)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < sh->nworkers; i++) {
        n += !ngx_http_sandbox_worker_dead(&sh->workers[i]);
    }

    return n;
}


/* Every member of the struct is a counter of 64 bits. */

void
ngx_http_sandbox_count_total(ngx_http_sandbox_counters_t *total)
{
    uint64_t                   *sum, *n;
    ngx_uint_t                  i;
    ngx_http_sandbox_zone_t    *zone;
    ngx_http_sandbox_shctx_t   *sh;
    ngx_http_sandbox_worker_t  *w;

    ngx_memzero(total, sizeof(ngx_http_sandbox_counters_t));

    zone = ngx_http_sandbox_count_zone;

    if (zone == NULL) {
        return;
    }

    sh = zone->sh;
    sum = (uint64_t *) total;

    ngx_http_sandbox_zone_lock(zone);

    for (w = sh->workers; w < sh->workers + sh->nworkers; w++) {
        if (ngx_http_sandbox_worker_dead(w)) {
            w->counters.parked = 0;
            w->counters.connected = 0;
        }

        n = (uint64_t *) &w->counters;

        for (i = 0; i < sizeof(w->counters) / sizeof(uint64_t); i++) {
            sum[i] += n[i];
        }
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);
}


/* Counting */


const char *
ngx_http_sandbox_count_name(ngx_uint_t n)
{
    return ngx_http_sandbox_error_names[n];
}


void
ngx_http_sandbox_count_error(const ngx_str_t *code)
{
    ngx_uint_t   i;
    const char  *name;

    for (i = 0; /* void */ ; i++) {
        name = ngx_http_sandbox_error_names[i];

        if (ngx_http_sandbox_error_names[i + 1] == NULL
            || (ngx_strlen(name) == code->len
                && ngx_memcmp(name, code->data, code->len) == 0))
        {
            ngx_http_sandbox_counters->errors[i]++;
            return;
        }
    }
}


void
ngx_http_sandbox_count_time(ngx_http_sandbox_histogram_t *h, ngx_msec_t msec)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_SANDBOX_BUCKETS - 1; i++) {
        if (msec <= ngx_http_sandbox_bounds[i]) {
            break;
        }
    }

    h->bucket[i]++;
    h->msec += msec;
}


/* What came of a request that has reached for a sandbox and failed. */

static void
ngx_http_sandbox_count_failure(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx)
{
    ngx_str_t  code;

    if (r->upstream && r->err_status >= NGX_HTTP_BAD_REQUEST
        && (ctx->failure == NGX_HTTP_SANDBOX_FAIL_ENDED
            || ctx->failure == NGX_HTTP_SANDBOX_FAIL_DESTROYED))
    {
        ngx_str_set(&code, "operation_interrupted");
        ngx_http_sandbox_count_error(&code);
        return;
    }

    /* the sandbox's own answers are no pages of nginx, nor are ours */

    if (r->upstream == NULL || r->err_status < NGX_HTTP_INTERNAL_SERVER_ERROR)
    {
        return;
    }

    if (ctx->failure == NGX_HTTP_SANDBOX_OK) {

        if (r->err_status != NGX_HTTP_GATEWAY_TIME_OUT) {
            return;
        }

        ngx_str_set(&code, "service_timeout");
        ngx_http_sandbox_count_error(&code);
        return;
    }

    switch (ctx->failure) {

    case NGX_HTTP_SANDBOX_FAIL_REFUSED:
        ngx_str_set(&code, "service_refused");
        break;

    case NGX_HTTP_SANDBOX_FAIL_LIMIT:
        ngx_str_set(&code, "sandbox_busy");
        break;

    case NGX_HTTP_SANDBOX_FAIL_PROTOCOL:
        ngx_str_set(&code, "service_protocol");
        break;

    case NGX_HTTP_SANDBOX_FAIL_CLOSED:
        ngx_str_set(&code, "SERVICE_NOT_RESPONDING");
        break;

    case NGX_HTTP_SANDBOX_FAIL_BROKEN:

        /* nobody has waited for the reason: there is no body to say it in */

        if (ctx->control) {
            ngx_str_set(&code, "sandbox_unreachable");

        } else {
            ngx_str_set(&code, "SERVICE_NOT_RESPONDING");
        }

        break;

    default:
        ngx_str_set(&code, "sandbox_unreachable");
        break;
    }

    ngx_http_sandbox_count_error(&code);
}


ngx_int_t
ngx_http_sandbox_log_handler(ngx_http_request_t *r)
{
    off_t                         in, out;
    ngx_uint_t                    kind, status;
    ngx_http_sandbox_ctx_t       *ctx;
    ngx_http_sandbox_srv_conf_t  *sscf;
    ngx_http_sandbox_counters_t  *n;

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_sandbox_module);

    if (!sscf->api && sscf->domains == NULL) {
        return NGX_OK;
    }

    ctx = ngx_http_sandbox_ctx(r);
    n = ngx_http_sandbox_counters;

    in = r->request_length;
    out = r->connection->sent;

    kind = !sscf->api ? sandbox_kind_preview
           : ctx && ctx->control ? sandbox_kind_control : sandbox_kind_api;

    /* what goes through a WebSocket is no part of the request */

    if (r->upstream && r->upstream->state
        && r->upstream->state->bytes_sent > in)
    {
        in = r->upstream->state->bytes_sent;
    }

    status = (r->err_status ? r->err_status : r->headers_out.status) / 100;

    n->requests[kind]++;
    n->bytes_in[kind] += in;
    n->bytes_out[kind] += out;
    n->status[status < 6 ? status : 0]++;

    if (ctx) {
        ngx_http_sandbox_count_failure(r, ctx);
        ngx_http_sandbox_usage_count(r, ctx, in, out);
    }

    return NGX_OK;
}
