/*
 * Metrics in Prometheus' text format (0.0.4), at a location of one's choice.
 * Totals come from the zone and from sandboxd, which is asked for the times of
 * starts; without it the rest is told all the same.
 *
 * The part with a line for each sandbox goes through the zone once for each
 * metric, since the format wants them in groups: some hundred records at a
 * time, copied under the lock and formatted behind it, then everybody else's
 * events, then the next.  It waits when the client doesn't read.
 */

#include "ngx_http_sandbox_api.h"
#include "ngx_http_sandbox_count.h"
#include "ngx_http_sandbox_zone.h"


#define NGX_HTTP_SANDBOX_METRICS_TIMEOUT  2000    /* for sandboxd, ms */
#define NGX_HTTP_SANDBOX_METRICS_SUMMARY  (32 * 1024)
#define NGX_HTTP_SANDBOX_METRICS_SLICE    500
#define NGX_HTTP_SANDBOX_METRICS_LINE     256


typedef struct {
    const char                   *name;
    const char                   *type;
    const char                   *help;
} ngx_http_sandbox_family_t;


typedef struct {
    ngx_http_request_t           *request;
    ngx_http_sandbox_zone_t      *zone;
    ngx_uint_t                    family;
    ngx_uint_t                    position;
    ngx_uint_t                    said;        /* the family's two lines */
    ngx_event_t                   next;
    ngx_buf_t                    *buf;
    ngx_http_sandbox_item_t      *items;
} ngx_http_sandbox_metrics_t;


static void ngx_http_sandbox_metrics_told(ngx_http_request_t *r, void *data,
    json_t *result, ngx_http_sandbox_error_t *err);
static void ngx_http_sandbox_metrics_start(ngx_http_request_t *r,
    ngx_http_sandbox_metrics_t *m, json_t *told);
static u_char *ngx_http_sandbox_metrics_zone(u_char *p, u_char *last,
    ngx_http_sandbox_zone_status_t *st);
static u_char *ngx_http_sandbox_metrics_counters(u_char *p, u_char *last,
    ngx_http_sandbox_counters_t *n);
static u_char *ngx_http_sandbox_metrics_starts(u_char *p, u_char *last,
    json_t *told);
static u_char *ngx_http_sandbox_metrics_promised(u_char *p, u_char *last,
    json_t *told);
static u_char *ngx_http_sandbox_metrics_slice(ngx_http_sandbox_metrics_t *m,
    u_char *p, u_char *last);
static void ngx_http_sandbox_metrics_send(ngx_http_request_t *r,
    ngx_http_sandbox_metrics_t *m);
static void ngx_http_sandbox_metrics_wait(ngx_http_request_t *r,
    ngx_http_sandbox_metrics_t *m);
static void ngx_http_sandbox_metrics_writer(ngx_http_request_t *r);
static void ngx_http_sandbox_metrics_next(ngx_event_t *ev);
static void ngx_http_sandbox_metrics_cleanup(void *data);
static ngx_http_sandbox_metrics_t *ngx_http_sandbox_metrics_of(
    ngx_http_request_t *r);


static const char  *ngx_http_sandbox_kinds[] = {
    "preview", "control", "api"
};


/* One for each sandbox; all but the first only once it had a request. */

static ngx_http_sandbox_family_t  ngx_http_sandbox_families[] = {
    { "sandbox_instance_running", "gauge",
      "Whether the sandbox runs." },
    { "sandbox_instance_requests_total", "counter",
      "Requests to the sandbox." },
    { "sandbox_instance_received_bytes_total", "counter",
      "Bytes from the clients of the sandbox." },
    { "sandbox_instance_sent_bytes_total", "counter",
      "Bytes to the clients of the sandbox." },
    { "sandbox_instance_errors_total", "counter",
      "Requests to the sandbox that ended with a 5xx." },
    { "sandbox_instance_refused_total", "counter",
      "Requests that the sandbox's limits refused." },
    { NULL, NULL, NULL }
};


static ngx_int_t
ngx_http_sandbox_metrics_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_pool_cleanup_t            *cln;
    ngx_http_sandbox_metrics_t    *m;
    ngx_http_sandbox_main_conf_t  *smcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_sandbox_metrics_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    m = cln->data;
    ngx_memzero(m, sizeof(ngx_http_sandbox_metrics_t));

    m->request = r;
    m->zone = smcf->zone;
    m->next.handler = ngx_http_sandbox_metrics_next;
    m->next.data = m;
    m->next.log = r->connection->log;

    cln->handler = ngx_http_sandbox_metrics_cleanup;

    r->main->count++;

    if (ngx_http_sandbox_call(r, json_pack("{s:s}", "op", "metrics"),
                              NGX_HTTP_SANDBOX_METRICS_TIMEOUT,
                              ngx_http_sandbox_metrics_told, m)
        != NGX_OK)
    {
        ngx_http_sandbox_metrics_start(r, m, NULL);
    }

    return NGX_DONE;
}


static void
ngx_http_sandbox_metrics_told(ngx_http_request_t *r, void *data,
    json_t *result, ngx_http_sandbox_error_t *err)
{
    ngx_http_sandbox_metrics_start(r, data, result);
}


static void
ngx_http_sandbox_metrics_cleanup(void *data)
{
    ngx_http_sandbox_metrics_t *m = data;

    if (m->next.posted) {
        ngx_delete_posted_event(&m->next);
    }
}


static ngx_http_sandbox_metrics_t *
ngx_http_sandbox_metrics_of(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_sandbox_metrics_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


/* The answer's beginning: everything but the part for each sandbox. */

static void
ngx_http_sandbox_metrics_start(ngx_http_request_t *r,
    ngx_http_sandbox_metrics_t *m, json_t *told)
{
    size_t                           size;
    ngx_int_t                        rc;
    ngx_buf_t                       *b;
    ngx_uint_t                       each;
    ngx_http_sandbox_counters_t      n;
    ngx_http_sandbox_loc_conf_t     *slcf;
    ngx_http_sandbox_zone_status_t   st;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sandbox_module);
    each = slcf->metrics == NGX_HTTP_SANDBOX_METRICS_EACH;

    size = NGX_HTTP_SANDBOX_METRICS_SUMMARY;

    if (each) {
        size = ngx_max(size, (NGX_HTTP_SANDBOX_METRICS_SLICE + 2)
                             * NGX_HTTP_SANDBOX_METRICS_LINE);

        m->items = ngx_palloc(r->pool, NGX_HTTP_SANDBOX_METRICS_SLICE
                                       * sizeof(ngx_http_sandbox_item_t));
        if (m->items == NULL) {
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }
    }

    b = ngx_create_temp_buf(r->pool, size);
    if (b == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    m->buf = b;

    ngx_http_sandbox_zone_status(m->zone, &st);
    ngx_http_sandbox_count_total(&n);

    b->last = ngx_http_sandbox_metrics_zone(b->last, b->end, &st);
    b->last = ngx_http_sandbox_metrics_counters(b->last, b->end, &n);
    b->last = ngx_http_sandbox_metrics_starts(b->last, b->end, told);
    b->last = ngx_http_sandbox_metrics_promised(b->last, b->end, told);

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = each ? -1 : b->last - b->pos;
    ngx_str_set(&r->headers_out.content_type,
                "text/plain; version=0.0.4; charset=utf-8");
    r->headers_out.content_type_len = sizeof("text/plain") - 1;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    if (!each) {
        m->family = sizeof(ngx_http_sandbox_families)
                    / sizeof(ngx_http_sandbox_family_t) - 1;
    }

    ngx_http_sandbox_metrics_send(r, m);
}


/* Text */


static u_char *
ngx_http_sandbox_metrics_head(u_char *p, u_char *last, const char *name,
    const char *type, const char *help)
{
    return ngx_slprintf(p, last, "# HELP %s %s\n# TYPE %s %s\n", name, help,
                        name, type);
}


static u_char *
ngx_http_sandbox_metrics_one(u_char *p, u_char *last, const char *name,
    const char *type, const char *help, uint64_t value)
{
    p = ngx_http_sandbox_metrics_head(p, last, name, type, help);

    return ngx_slprintf(p, last, "%s %uL\n", name, value);
}


static u_char *
ngx_http_sandbox_metrics_zone(u_char *p, u_char *last,
    ngx_http_sandbox_zone_status_t *st)
{
    ngx_uint_t  i;

    p = ngx_http_sandbox_metrics_head(p, last, "sandbox_sandboxes", "gauge",
                                      "Sandboxes in the zone by state.");

    for (i = NGX_HTTP_SANDBOX_CREATED; i <= NGX_HTTP_SANDBOX_UNREACHABLE; i++)
    {
        p = ngx_slprintf(p, last, "sandbox_sandboxes{state=\"%V\"} %ui\n",
                         &ngx_http_sandbox_states[i], st->states[i]);
    }

    p = ngx_http_sandbox_metrics_one(p, last, "sandbox_exposures", "gauge",
                                     "Host names in the zone.",
                                     st->exposures - st->gone_exposures);
    p = ngx_http_sandbox_metrics_one(p, last, "sandbox_zone_size_bytes",
                                     "gauge", "Size of the zone.", st->size);
    p = ngx_http_sandbox_metrics_one(p, last, "sandbox_zone_free_bytes",
                                     "gauge", "Free pages of the zone.",
                                     st->free);
    p = ngx_http_sandbox_metrics_one(p, last, "sandbox_zone_tombstones",
                                     "gauge", "Removals that the zone still "
                                     "remembers.", st->tombstones);
    p = ngx_http_sandbox_metrics_one(p, last, "sandbox_zone_refused_total",
                                     "counter", "Records that found no place "
                                     "in the zone.", st->refused);
    p = ngx_http_sandbox_metrics_one(p, last, "sandbox_zone_full", "gauge",
                                     "Whether a record is missing for want of "
                                     "room.", st->full);

    return ngx_http_sandbox_metrics_one(p, last, "sandbox_zone_complete",
                                        "gauge", "Whether the zone has been "
                                        "filled.", st->complete);
}


static u_char *
ngx_http_sandbox_metrics_kinds(u_char *p, u_char *last, const char *name,
    const char *help, uint64_t *n)
{
    ngx_uint_t  i;

    p = ngx_http_sandbox_metrics_head(p, last, name, "counter", help);

    for (i = 0; i < sandbox_kind_n; i++) {
        p = ngx_slprintf(p, last, "%s{kind=\"%s\"} %uL\n", name,
                         ngx_http_sandbox_kinds[i], n[i]);
    }

    return p;
}


/* Bounds and the sum are in milliseconds. */

static u_char *
ngx_http_sandbox_metrics_histogram(u_char *p, u_char *last, const char *name,
    const char *help, const ngx_msec_t *bound, const uint64_t *count,
    ngx_uint_t n, uint64_t sum)
{
    uint64_t    total;
    ngx_uint_t  i;

    total = 0;

    p = ngx_http_sandbox_metrics_head(p, last, name, "histogram", help);

    for (i = 0; i < n; i++) {
        total += count[i];
        p = ngx_slprintf(p, last, "%s_bucket{le=\"%M.%03M\"} %uL\n", name,
                         bound[i] / 1000, bound[i] % 1000, total);
    }

    total += count[n];

    return ngx_slprintf(p, last, "%s_bucket{le=\"+Inf\"} %uL\n"
                        "%s_sum %uL.%03uL\n%s_count %uL\n", name, total, name,
                        sum / 1000, sum % 1000, name, total);
}


static u_char *
ngx_http_sandbox_metrics_counters(u_char *p, u_char *last,
    ngx_http_sandbox_counters_t *n)
{
    ngx_uint_t   i;
    const char  *name;

    p = ngx_http_sandbox_metrics_kinds(p, last, "sandbox_requests_total",
                                       "Requests that have ended.",
                                       n->requests);
    p = ngx_http_sandbox_metrics_kinds(p, last, "sandbox_received_bytes_total",
                                       "Bytes from clients.", n->bytes_in);
    p = ngx_http_sandbox_metrics_kinds(p, last, "sandbox_sent_bytes_total",
                                       "Bytes to clients.", n->bytes_out);

    p = ngx_http_sandbox_metrics_head(p, last, "sandbox_responses_total",
                                      "counter",
                                      "Responses by class of status.");

    for (i = 1; i < 6; i++) {
        p = ngx_slprintf(p, last,
                         "sandbox_responses_total{status=\"%uixx\"} %uL\n", i,
                         n->status[i]);
    }

    p = ngx_http_sandbox_metrics_head(p, last, "sandbox_errors_total",
                                      "counter", "Errors by their code.");

    for (i = 0; (name = ngx_http_sandbox_count_name(i)) != NULL; i++) {
        p = ngx_slprintf(p, last, "sandbox_errors_total{code=\"%s\"} %uL\n",
                         name, n->errors[i]);
    }

    p = ngx_http_sandbox_metrics_one(p, last, "sandbox_wakes_total", "counter",
                                     "Starts that requests have asked for.",
                                     n->wakes);
    p = ngx_http_sandbox_metrics_one(p, last, "sandbox_wakes_failed_total",
                                     "counter", "Those that failed.",
                                     n->wakes_failed);
    p = ngx_http_sandbox_metrics_one(p, last, "sandbox_parked", "gauge",
                                     "Requests that wait for a start.",
                                     n->parked);
    p = ngx_http_sandbox_metrics_histogram(p, last, "sandbox_wait_seconds",
                                           "How long requests have waited for "
                                           "a start.", ngx_http_sandbox_bounds,
                                           n->wait.bucket,
                                           NGX_HTTP_SANDBOX_BUCKETS - 1,
                                           n->wait.msec);

    return ngx_http_sandbox_metrics_one(p, last, "sandbox_daemon_connections",
                                        "gauge", "Workers that are connected "
                                        "to sandboxd.", n->connected);
}


/* What sandboxd says of its starts; NULL: it didn't answer. */

static u_char *
ngx_http_sandbox_metrics_starts(u_char *p, u_char *last, json_t *told)
{
    json_t      *starts, *bounds, *counts;
    uint64_t     count[NGX_HTTP_SANDBOX_BUCKETS * 2];
    ngx_uint_t   i, n;
    ngx_msec_t   bound[NGX_HTTP_SANDBOX_BUCKETS * 2];

    p = ngx_http_sandbox_metrics_one(p, last, "sandbox_daemon_up", "gauge",
                                     "Whether sandboxd has answered.",
                                     told != NULL);
    if (told == NULL) {
        return p;
    }

    starts = json_object_get(told, "starts");

#define ngx_http_sandbox_told(name)                                           \
    (uint64_t) json_integer_value(json_object_get(starts, name))

    p = ngx_http_sandbox_metrics_head(p, last, "sandbox_starts_total",
                                      "counter", "Starts by their result.");
    p = ngx_slprintf(p, last, "sandbox_starts_total{result=\"ok\"} %uL\n"
                     "sandbox_starts_total{result=\"failed\"} %uL\n",
                     ngx_http_sandbox_told("ok"),
                     ngx_http_sandbox_told("failed"));
    p = ngx_http_sandbox_metrics_one(p, last, "sandbox_starts_queued", "gauge",
                                     "Starts that wait for their turn.",
                                     ngx_http_sandbox_told("queued"));
    p = ngx_http_sandbox_metrics_one(p, last, "sandbox_starts_running",
                                     "gauge", "Starts that are being made.",
                                     ngx_http_sandbox_told("starting"));

    bounds = json_object_get(starts, "bounds");
    counts = json_object_get(starts, "counts");
    n = json_array_size(bounds);

    if (n >= sizeof(count) / sizeof(count[0])
        || json_array_size(counts) != n + 1)
    {
        return p;
    }

    for (i = 0; i <= n; i++) {
        bound[i] = (ngx_msec_t) json_integer_value(json_array_get(bounds, i));
        count[i] = (uint64_t) json_integer_value(json_array_get(counts, i));
    }

    return ngx_http_sandbox_metrics_histogram(p, last, "sandbox_start_seconds",
                                              "How long starts took that "
                                              "succeeded.", bound, count, n,
                                              ngx_http_sandbox_told("sum"));

#undef ngx_http_sandbox_told
}


/* What it doesn't say, such as a budget where there is none, isn't there. */

static u_char *
ngx_http_sandbox_metrics_promised(u_char *p, u_char *last, json_t *told)
{
    json_t      *value;
    ngx_uint_t   i;

    static const struct {
        const char  *of;
        const char  *what;
        const char  *name;
        const char  *help;
    } gauges[] = {
        { "disk", "promised", "sandbox_disk_promised_bytes",
          "Disks of all sandboxes, by their limits." },
        { "disk", "budget", "sandbox_disk_budget_bytes",
          "What they may have together." },
        { "memory", "promised", "sandbox_memory_promised_bytes",
          "Memory of the sandboxes that run, by their limits." },
        { "memory", "budget", "sandbox_memory_budget_bytes",
          "What they may have together." }
    };

    for (i = 0; i < sizeof(gauges) / sizeof(gauges[0]); i++) {
        value = json_object_get(json_object_get(told, gauges[i].of),
                                gauges[i].what);

        if (json_is_integer(value)) {
            p = ngx_http_sandbox_metrics_one(p, last, gauges[i].name, "gauge",
                                             gauges[i].help, (uint64_t)
                                             json_integer_value(value));
        }
    }

    value = json_object_get(told, "oomKills");

    if (json_is_integer(value)) {
        p = ngx_http_sandbox_metrics_one(p, last, "sandbox_oom_kills_total",
                                         "counter", "Processes inside that "
                                         "were ended for want of memory.",
                                         (uint64_t)
                                         json_integer_value(value));
    }

    return p;
}


/* The next records of the family that is being told. */

static u_char *
ngx_http_sandbox_metrics_slice(ngx_http_sandbox_metrics_t *m, u_char *p,
    u_char *last)
{
    uint64_t                    value;
    ngx_uint_t                  i, n, more;
    ngx_http_sandbox_item_t    *item;
    ngx_http_sandbox_family_t  *f;

    f = &ngx_http_sandbox_families[m->family];

    if (!m->said) {
        m->said = 1;
        p = ngx_http_sandbox_metrics_head(p, last, f->name, f->type, f->help);
    }

    more = ngx_http_sandbox_zone_walk(m->zone, &m->position, m->items,
                                      NGX_HTTP_SANDBOX_METRICS_SLICE, &n);

    for (i = 0; i < n; i++) {
        item = &m->items[i];

        if (m->family > 0 && !item->used) {
            continue;
        }

        value = m->family == 0 ? item->state == NGX_HTTP_SANDBOX_RUNNING
                : m->family == 1 ? item->requests
                : m->family == 2 ? item->bytes_in
                : m->family == 3 ? item->bytes_out
                : m->family == 4 ? item->errors : item->refused;

        p = ngx_slprintf(p, last, "%s{sandbox=\"%*s\"} %uL\n", f->name,
                         (size_t) item->id_len, item->id, value);
    }

    if (!more) {
        m->family++;
        m->position = 0;
        m->said = 0;
    }

    return p;
}


/* Sending */


static void
ngx_http_sandbox_metrics_send(ngx_http_request_t *r,
    ngx_http_sandbox_metrics_t *m)
{
    ngx_int_t    rc;
    ngx_chain_t  out;

    m->buf->flush = 1;
    m->buf->last_buf = ngx_http_sandbox_families[m->family].name == NULL;
    m->buf->last_in_chain = m->buf->last_buf;

    out.buf = m->buf;
    out.next = NULL;

    rc = ngx_http_output_filter(r, &out);

    if (rc == NGX_ERROR || m->buf->last_buf) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    ngx_http_sandbox_metrics_wait(r, m);
}


/* Lets others have their turn, or the client read. */

static void
ngx_http_sandbox_metrics_wait(ngx_http_request_t *r,
    ngx_http_sandbox_metrics_t *m)
{
    ngx_event_t               *wev;
    ngx_http_core_loc_conf_t  *clcf;

    wev = r->connection->write;
    r->read_event_handler = ngx_http_test_reading;

    if (m->buf->pos == m->buf->last && !r->buffered
        && !r->connection->buffered)
    {
        r->write_event_handler = ngx_http_request_empty_handler;

        if (wev->timer_set && !wev->delayed) {
            ngx_del_timer(wev);
        }

        ngx_post_event(&m->next, &ngx_posted_next_events);
        return;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    r->write_event_handler = ngx_http_sandbox_metrics_writer;

    if (!wev->delayed) {
        ngx_add_timer(wev, clcf->send_timeout);
    }

    if (ngx_handle_write_event(wev, clcf->send_lowat) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
    }
}


static void
ngx_http_sandbox_metrics_writer(ngx_http_request_t *r)
{
    ngx_http_sandbox_metrics_t  *m;

    if (r->connection->write->timedout) {
        r->connection->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    m = ngx_http_sandbox_metrics_of(r);

    ngx_http_sandbox_metrics_wait(r, m);
}


static void
ngx_http_sandbox_metrics_next(ngx_event_t *ev)
{
    ngx_buf_t                   *b;
    ngx_connection_t            *c;
    ngx_http_request_t          *r;
    ngx_http_sandbox_metrics_t  *m;

    m = ev->data;
    r = m->request;
    c = r->connection;
    b = m->buf;

    ngx_http_set_log_request(c->log, r);

    b->pos = b->start;
    b->last = ngx_http_sandbox_metrics_slice(m, b->start, b->end);

    if (b->last > b->pos) {
        ngx_http_sandbox_metrics_send(r, m);

    } else if (ngx_http_sandbox_families[m->family].name) {

        /* none of these had anything to tell */

        ngx_post_event(&m->next, &ngx_posted_next_events);

    } else {
        ngx_http_finalize_request(r, ngx_http_send_special(r, NGX_HTTP_LAST));
    }

    ngx_http_run_posted_requests(c);
}


/* sandbox_metrics [per_sandbox=on|off] */

char *
ngx_http_sandbox_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sandbox_loc_conf_t *slcf = conf;

    ngx_str_t                     *value;
    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_sandbox_main_conf_t  *smcf;

    if (slcf->metrics) {
        return "is duplicate";
    }

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sandbox_module);

    if (smcf->zone == NULL || smcf->daemon_sockaddr == NULL) {
        return "needs \"sandbox_zone\" and \"sandbox_daemon\" before it";
    }

    value = cf->args->elts;
    slcf->metrics = NGX_HTTP_SANDBOX_METRICS_ALL;

    if (cf->args->nelts == 2) {

        if (ngx_strcmp(value[1].data, "per_sandbox=on") == 0) {
            slcf->metrics = NGX_HTTP_SANDBOX_METRICS_EACH;

        } else if (ngx_strcmp(value[1].data, "per_sandbox=off") != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_sandbox_metrics_handler;

    return NGX_CONF_OK;
}
