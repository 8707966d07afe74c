/*
 * Connections to sandboxes that wait for their next request: found by the slot
 * of their sandbox, however many there are, and used again for the same run and
 * port only.  nginx's own `keepalive` compares the address of each, and knows
 * nothing of runs that have ended.
 *
 * A cache is a worker's own, one for each upstream.  The queue has what was
 * used last first, so that what has waited for too long is at its end.
 */

#include "ngx_http_sandbox_keepalive.h"


#define NGX_HTTP_SANDBOX_KEEPALIVE_MAX  65536


typedef struct ngx_http_sandbox_kept_s  ngx_http_sandbox_kept_t;

struct ngx_http_sandbox_kept_s {
    ngx_queue_t                      queue;
    ngx_http_sandbox_kept_t         *next;     /* in its bucket */
    ngx_http_sandbox_keepalive_t    *cache;
    ngx_connection_t                *connection;
    ngx_msec_t                       since;
    uint32_t                         slot;
    uint32_t                         epoch;
    uint32_t                         port;     /* 0: the agent's own */
};

struct ngx_http_sandbox_keepalive_s {
    ngx_uint_t                       max;
    ngx_uint_t                       sandbox_max;
    ngx_uint_t                       requests;
    ngx_msec_t                       timeout;
    ngx_msec_t                       time;

    ngx_uint_t                       mask;
    ngx_http_sandbox_kept_t        **buckets;
    ngx_queue_t                      used;
    ngx_queue_t                      free;
    ngx_event_t                      timer;
    ngx_http_sandbox_keepalive_t    *next;     /* of the configuration's */
};


static ngx_int_t ngx_http_sandbox_keepalive_param(ngx_conf_t *cf,
    ngx_http_sandbox_keepalive_t *k, ngx_str_t *value);
static ngx_int_t ngx_http_sandbox_keepalive_create(ngx_conf_t *cf,
    ngx_http_sandbox_keepalive_t *k);
static void ngx_http_sandbox_keepalive_cleanup(void *data);
static ngx_uint_t ngx_http_sandbox_keepalive_fit(ngx_http_request_t *r,
    ngx_connection_t *c, ngx_http_sandbox_keepalive_t *k, ngx_uint_t state);
static ngx_http_sandbox_kept_t *ngx_http_sandbox_keepalive_place(
    ngx_http_sandbox_keepalive_t *k, uint32_t slot);
static ngx_http_sandbox_kept_t *ngx_http_sandbox_keepalive_oldest(
    ngx_http_sandbox_keepalive_t *k);
static void ngx_http_sandbox_keepalive_take(ngx_http_sandbox_kept_t *kept);
static void ngx_http_sandbox_keepalive_close(ngx_http_sandbox_kept_t *kept);
static void ngx_http_sandbox_keepalive_read(ngx_event_t *ev);
static void ngx_http_sandbox_keepalive_write(ngx_event_t *ev);
static void ngx_http_sandbox_keepalive_tick(ngx_event_t *ev);
static ngx_http_sandbox_keepalive_t *ngx_http_sandbox_keepalive_all(void);


char *
ngx_http_sandbox_keepalive_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sandbox_srv_conf_t *sscf = conf;

    ngx_int_t                      n;
    ngx_str_t                     *value;
    ngx_uint_t                     i;
    ngx_http_sandbox_keepalive_t  *k;

    if (sscf->keepalive) {
        return "is duplicate";
    }

    if (!sscf->upstream) {
        return "needs \"sandbox\" before it";
    }

    value = cf->args->elts;
    n = ngx_atoi(value[1].data, value[1].len);

    if (n < 1 || n > NGX_HTTP_SANDBOX_KEEPALIVE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of connections \"%V\", it must be "
                           "1 to %d", &value[1],
                           NGX_HTTP_SANDBOX_KEEPALIVE_MAX);
        return NGX_CONF_ERROR;
    }

    k = ngx_pcalloc(cf->pool, sizeof(ngx_http_sandbox_keepalive_t));
    if (k == NULL) {
        return NGX_CONF_ERROR;
    }

    k->max = n;
    k->sandbox_max = 32;
    k->requests = 1000;
    k->timeout = 10000;
    k->time = 3600000;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_http_sandbox_keepalive_param(cf, k, &value[i]) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_http_sandbox_keepalive_create(cf, k) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    sscf->keepalive = k;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_sandbox_keepalive_param(ngx_conf_t *cf,
    ngx_http_sandbox_keepalive_t *k, ngx_str_t *value)
{
    size_t       len;
    ngx_int_t    n;
    ngx_str_t    s;
    ngx_uint_t   i;
    ngx_msec_t  *msec;

    static const ngx_str_t  names[] = {
        ngx_string("per_sandbox="),
        ngx_string("requests="),
        ngx_string("timeout="),
        ngx_string("time=")
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        len = names[i].len;

        if (value->len > len
            && ngx_strncmp(value->data, names[i].data, len) == 0)
        {
            s.data = value->data + len;
            s.len = value->len - len;

            if (i < 2) {
                n = ngx_atoi(s.data, s.len);

                if (n < 1) {
                    return NGX_ERROR;
                }

                *(i == 0 ? &k->sandbox_max : &k->requests) = n;
                return NGX_OK;
            }

            n = ngx_parse_time(&s, 0);

            if (n < 1) {
                return NGX_ERROR;
            }

            msec = i == 2 ? &k->timeout : &k->time;
            *msec = n;

            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_sandbox_keepalive_create(ngx_conf_t *cf,
    ngx_http_sandbox_keepalive_t *k)
{
    ngx_uint_t                     i, n;
    ngx_pool_cleanup_t            *cln;
    ngx_http_sandbox_kept_t       *kept;
    ngx_http_sandbox_main_conf_t  *smcf;

    for (n = 1; n < k->max; n *= 2) { /* void */ }

    kept = ngx_pcalloc(cf->pool, k->max * sizeof(ngx_http_sandbox_kept_t));
    k->buckets = ngx_pcalloc(cf->pool, n * sizeof(ngx_http_sandbox_kept_t *));

    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (kept == NULL || k->buckets == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_sandbox_keepalive_cleanup;
    cln->data = k;

    k->mask = n - 1;

    ngx_queue_init(&k->used);
    ngx_queue_init(&k->free);

    for (i = 0; i < k->max; i++) {
        kept[i].cache = k;
        ngx_queue_insert_tail(&k->free, &kept[i].queue);
    }

    k->timer.handler = ngx_http_sandbox_keepalive_tick;
    k->timer.data = k;
    k->timer.log = &cf->cycle->new_log;
    k->timer.cancelable = 1;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sandbox_module);

    k->next = smcf->keepalives;
    smcf->keepalives = k;

    return NGX_OK;
}


/* Without a master, a process may outlive its configuration. */

static void
ngx_http_sandbox_keepalive_cleanup(void *data)
{
    ngx_http_sandbox_keepalive_t *k = data;

    if (k->timer.timer_set) {
        ngx_del_timer(&k->timer);
    }
}


/* A request */


ngx_int_t
ngx_http_sandbox_keepalive_get(ngx_http_sandbox_keepalive_t *k,
    ngx_peer_connection_t *pc, ngx_http_sandbox_peer_t *p)
{
    uint32_t                  port;
    ngx_connection_t         *c;
    ngx_http_sandbox_ctx_t   *ctx;
    ngx_http_sandbox_kept_t  *kept;

    ctx = p->ctx;
    port = ctx->control ? 0 : ctx->port;

    for (kept = k->buckets[ctx->slot & k->mask]; kept; kept = kept->next) {

        if (kept->slot == ctx->slot && kept->epoch == p->epoch
            && kept->port == port)
        {
            break;
        }
    }

    if (kept == NULL) {
        return NGX_DECLINED;
    }

    c = kept->connection;

    ngx_http_sandbox_keepalive_take(kept);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "sandbox: kept connection %p", c);

    c->idle = 0;
    c->sent = 0;
    c->data = NULL;
    c->log = pc->log;
    c->read->log = pc->log;
    c->write->log = pc->log;
    c->pool->log = pc->log;

    pc->connection = c;
    pc->cached = 1;

    return NGX_DONE;
}


void
ngx_http_sandbox_keepalive_free(ngx_http_sandbox_keepalive_t *k,
    ngx_peer_connection_t *pc, ngx_http_sandbox_peer_t *p, ngx_uint_t state)
{
    ngx_uint_t                 bucket;
    ngx_connection_t          *c;
    ngx_http_sandbox_ctx_t    *ctx;
    ngx_http_sandbox_kept_t   *kept;

    c = pc->connection;
    ctx = p->ctx;

    /* a worker that runs short of connections needs them for requests */

    if (ngx_cycle->free_connection_n < ngx_cycle->connection_n / 8) {

        if (!ngx_queue_empty(&k->used)) {
            ngx_http_sandbox_keepalive_close(
                ngx_http_sandbox_keepalive_oldest(k));
        }

        return;
    }

    if (!ngx_http_sandbox_keepalive_fit(p->request, c, k, state)
        || ngx_handle_read_event(c->read, 0) != NGX_OK)
    {
        return;
    }

    kept = ngx_http_sandbox_keepalive_place(k, ctx->slot);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "sandbox: connection %p is kept", c);

    pc->connection = NULL;

    kept->connection = c;
    kept->since = ngx_current_msec;
    kept->slot = ctx->slot;
    kept->epoch = p->epoch;
    kept->port = ctx->control ? 0 : ctx->port;

    bucket = kept->slot & k->mask;

    kept->next = k->buckets[bucket];
    k->buckets[bucket] = kept;

    ngx_queue_insert_head(&k->used, &kept->queue);

    c->read->delayed = 0;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (!k->timer.timer_set) {
        ngx_add_timer(&k->timer, k->timeout);
    }

    c->read->handler = ngx_http_sandbox_keepalive_read;
    c->write->handler = ngx_http_sandbox_keepalive_write;

    c->data = kept;
    c->idle = 1;
    c->log = ngx_cycle->log;
    c->read->log = ngx_cycle->log;
    c->write->log = ngx_cycle->log;
    c->pool->log = ngx_cycle->log;

    if (c->read->ready) {
        ngx_http_sandbox_keepalive_read(c->read);
    }
}


/* Whether another request may follow on the connection. */

static ngx_uint_t
ngx_http_sandbox_keepalive_fit(ngx_http_request_t *r, ngx_connection_t *c,
    ngx_http_sandbox_keepalive_t *k, ngx_uint_t state)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (c == NULL
        || (state & NGX_PEER_FAILED)
        || !u->keepalive
        || !u->request_body_sent
        || c->read->eof
        || c->read->error
        || c->read->timedout
        || c->write->error
        || c->write->timedout)
    {
        return 0;
    }

#if (NGX_HTTP_SSL)

    if (c->ssl) {
        return 0;
    }

#endif

    /* the agent's first line has to be off it, and nothing of ours on it */

    if (c->recv == ngx_http_sandbox_recv || c->pool == NULL) {
        return 0;
    }

    return c->requests < k->requests
           && ngx_current_msec - c->start_time <= k->time
           && !ngx_terminate
           && !ngx_exiting;
}


/*
 * A place for one more of a sandbox: its oldest one's if it has too many, the
 * oldest of all if there is none.
 */

static ngx_http_sandbox_kept_t *
ngx_http_sandbox_keepalive_place(ngx_http_sandbox_keepalive_t *k,
    uint32_t slot)
{
    ngx_uint_t                n;
    ngx_queue_t              *q;
    ngx_http_sandbox_kept_t  *kept, *oldest;

    n = 0;
    oldest = NULL;

    for (kept = k->buckets[slot & k->mask]; kept; kept = kept->next) {

        if (kept->slot == slot) {
            oldest = kept;
            n++;
        }
    }

    if (n >= k->sandbox_max) {
        ngx_http_sandbox_keepalive_close(oldest);

    } else if (ngx_queue_empty(&k->free)) {
        ngx_http_sandbox_keepalive_close(ngx_http_sandbox_keepalive_oldest(k));
    }

    q = ngx_queue_head(&k->free);

    ngx_queue_remove(q);

    return ngx_queue_data(q, ngx_http_sandbox_kept_t, queue);
}


/* The end of a wait */


static ngx_http_sandbox_kept_t *
ngx_http_sandbox_keepalive_oldest(ngx_http_sandbox_keepalive_t *k)
{
    return ngx_queue_data(ngx_queue_last(&k->used), ngx_http_sandbox_kept_t,
                          queue);
}


static void
ngx_http_sandbox_keepalive_take(ngx_http_sandbox_kept_t *kept)
{
    ngx_http_sandbox_kept_t       **at;
    ngx_http_sandbox_keepalive_t   *k;

    k = kept->cache;

    for (at = &k->buckets[kept->slot & k->mask]; *at != kept;
         at = &(*at)->next)
    {
        /* void */
    }

    *at = kept->next;

    ngx_queue_remove(&kept->queue);
    ngx_queue_insert_head(&k->free, &kept->queue);
}


static void
ngx_http_sandbox_keepalive_close(ngx_http_sandbox_kept_t *kept)
{
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    c = kept->connection;
    pool = c->pool;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "sandbox: kept connection %p is closed", c);

    ngx_http_sandbox_keepalive_take(kept);

    ngx_close_connection(c);
    ngx_destroy_pool(pool);
}


/* Nothing is expected: it has been closed, or says what nobody asked for. */

static void
ngx_http_sandbox_keepalive_read(ngx_event_t *ev)
{
    int                n;
    char               byte;
    ngx_connection_t  *c;

    c = ev->data;

    if (!c->close) {
        n = recv(c->fd, &byte, 1, MSG_PEEK);

        if (n == -1 && ngx_socket_errno == NGX_EAGAIN) {
            ev->ready = 0;

            if (ngx_handle_read_event(ev, 0) == NGX_OK) {
                return;
            }
        }
    }

    ngx_http_sandbox_keepalive_close(c->data);
}


static void
ngx_http_sandbox_keepalive_write(ngx_event_t *ev)
{
    /* void: what can be written is of no interest */
}


static void
ngx_http_sandbox_keepalive_tick(ngx_event_t *ev)
{
    ngx_msec_t                     waited;
    ngx_http_sandbox_kept_t       *kept;
    ngx_http_sandbox_keepalive_t  *k;

    k = ev->data;

    while (!ngx_queue_empty(&k->used)) {
        kept = ngx_http_sandbox_keepalive_oldest(k);
        waited = ngx_current_msec - kept->since;

        if (waited < k->timeout) {
            ngx_add_timer(ev, k->timeout - waited);
            return;
        }

        ngx_http_sandbox_keepalive_close(kept);
    }
}


static ngx_http_sandbox_keepalive_t *
ngx_http_sandbox_keepalive_all(void)
{
    ngx_http_sandbox_main_conf_t  *smcf;

    smcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_sandbox_module);
    return smcf->keepalives;
}


/*
 * sandboxd has told of a change: of a sandbox only its current run's stay, none
 * to a port that is exposed otherwise, and none to any port if one isn't
 * exposed any more, since such a record doesn't say which.
 */

void
ngx_http_sandbox_keepalive_change(ngx_http_sandbox_record_t *record)
{
    ngx_uint_t                     running;
    ngx_http_sandbox_kept_t       *kept, *next;
    ngx_http_sandbox_keepalive_t  *k;

    if (record->tenant || record->domain) {
        return;
    }

    running = !record->gone
              && (record->state == NGX_HTTP_SANDBOX_RUNNING
                  || record->state == NGX_HTTP_SANDBOX_SLEEPING);

    for (k = ngx_http_sandbox_keepalive_all(); k; k = k->next) {

        for (kept = k->buckets[record->slot & k->mask]; kept; kept = next) {
            next = kept->next;

            if (kept->slot != record->slot) {
                continue;
            }

            if (record->exposure ? kept->port
                                   && (record->port == 0
                                       || kept->port == record->port)
                                 : !running || kept->epoch != record->epoch)
            {
                ngx_http_sandbox_keepalive_close(kept);
            }
        }
    }
}


void
ngx_http_sandbox_keepalive_flush(void)
{
    ngx_http_sandbox_keepalive_t  *k;

    for (k = ngx_http_sandbox_keepalive_all(); k; k = k->next) {

        while (!ngx_queue_empty(&k->used)) {
            ngx_http_sandbox_keepalive_close(
                ngx_http_sandbox_keepalive_oldest(k));
        }
    }
}
