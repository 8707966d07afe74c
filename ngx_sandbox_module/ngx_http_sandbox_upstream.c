/*
 * The balancer of `upstream { sandbox; }`: stock proxy_pass connects through
 * it to an agent's socket.
 *
 * Two hooks.  The inner one only names the peer, so that `keepalive` between
 * the two can look into its cache; the outer one is installed when all of the
 * configuration is read, connects, and sees to it that the request goes in one
 * send with the agent's first line.  The agent's answer is taken off the first
 * read, so that there is no extra round trip.
 *
 * Connecting itself is in _connect.c.
 */

#include "ngx_http_sandbox_keepalive.h"
#include "ngx_http_sandbox_limit.h"

#include "sandbox_label.h"


static ngx_int_t ngx_http_sandbox_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_sandbox_init_inner(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_sandbox_init_outer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_uint_t ngx_http_sandbox_is_stored(ngx_http_request_t *r);
static ngx_int_t ngx_http_sandbox_ignore_headers(ngx_http_request_t *r);

static void ngx_http_sandbox_free_inner(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static ngx_int_t ngx_http_sandbox_get_outer(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_sandbox_free_outer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static void ngx_http_sandbox_notify_outer(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t type);
#if (NGX_SSL || NGX_COMPAT)
static ngx_int_t ngx_http_sandbox_set_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_sandbox_save_session(ngx_peer_connection_t *pc,
    void *data);
#endif

static ngx_uint_t ngx_http_sandbox_needs_fresh(ngx_http_request_t *r);


/* Configuration */


char *
ngx_http_sandbox_upstream(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sandbox_srv_conf_t *sscf = conf;

    ngx_http_upstream_server_t    *us;
    ngx_http_upstream_srv_conf_t  *uscf;

    if (sscf->upstream) {
        return "is duplicate";
    }

    uscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);

    if (uscf->peer.init_upstream) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"sandbox\" must be the first directive of its "
                           "upstream");
        return NGX_CONF_ERROR;
    }

    uscf->flags = NGX_HTTP_UPSTREAM_CREATE;
    uscf->peer.init_upstream = ngx_http_sandbox_init_upstream;

    /* nginx refuses an upstream without servers; this one is never asked */

    us = ngx_array_push(uscf->servers);
    if (us == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(us, sizeof(ngx_http_upstream_server_t));

    ngx_str_set(&us->name, "sandbox");
    us->down = 1;

    sscf->upstream = 1;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_sandbox_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us)
{
    us->peer.init = ngx_http_sandbox_init_inner;

    return NGX_OK;
}


/* Installs the outer hook; called when all modules have installed theirs. */

ngx_int_t
ngx_http_sandbox_upstream_init(ngx_conf_t *cf)
{
    ngx_uint_t                       i;
    ngx_http_sandbox_srv_conf_t     *sscf;
    ngx_http_upstream_srv_conf_t   **uscfp, *uscf;
    ngx_http_upstream_main_conf_t   *umcf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {
        uscf = uscfp[i];

        if (uscf->srv_conf == NULL) {
            continue;
        }

        sscf = ngx_http_conf_upstream_srv_conf(uscf, ngx_http_sandbox_module);

        if (!sscf->upstream) {
            continue;
        }

        if (uscf->servers->nelts != 1) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "upstream \"%V\" has \"sandbox\" and servers in "
                          "%s:%ui", &uscf->host, uscf->file_name, uscf->line);
            return NGX_ERROR;
        }

#if (NGX_HTTP_UPSTREAM_ZONE)
        if (uscf->shm_zone) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "upstream \"%V\" has \"sandbox\" and \"zone\" in "
                          "%s:%ui", &uscf->host, uscf->file_name, uscf->line);
            return NGX_ERROR;
        }
#endif

        sscf->original_init_peer = uscf->peer.init;
        uscf->peer.init = ngx_http_sandbox_init_outer;
    }

    return NGX_OK;
}


/* A request */


static ngx_int_t
ngx_http_sandbox_init_inner(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_upstream_t     *u;
    ngx_http_sandbox_ctx_t  *ctx;

    u = r->upstream;
    ctx = ngx_http_sandbox_ctx(r);

    if (ctx == NULL || ctx->peer == NULL) {
        return NGX_ERROR;
    }

    u->peer.data = ctx->peer;
    u->peer.get = ngx_http_sandbox_get_inner;
    u->peer.free = ngx_http_sandbox_free_inner;

    /* further tries are added where they are safe */

    u->peer.tries = 1;

#if (NGX_SSL || NGX_COMPAT)
    u->peer.set_session = ngx_http_sandbox_set_session;
    u->peer.save_session = ngx_http_sandbox_save_session;
#endif

    return NGX_OK;
}


static ngx_int_t
ngx_http_sandbox_init_outer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    u_char                       *last;
    ngx_http_upstream_t          *u;
    ngx_http_sandbox_ctx_t       *ctx;
    ngx_http_sandbox_peer_t      *p;
    ngx_http_sandbox_srv_conf_t  *sscf;

    u = r->upstream;
    ctx = ngx_http_sandbox_ctx(r);

    /*
     * Nothing gets here unless the gate let it: not what another module's
     * `satisfy any` waved through, no subrequest, no other server's location.
     */

    if (ctx == NULL || !ctx->authorised || !ctx->ready || r != r->main) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "sandbox: proxy_pass without the gate's consent");
        return NGX_ERROR;
    }

    /* their keys and paths don't tell one sandbox from another */

    if (ngx_http_sandbox_is_stored(r)) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "sandbox: proxy_cache and proxy_store would give one "
                      "sandbox's responses to another's visitors");
        return NGX_ERROR;
    }

    if (!ctx->host_used) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "sandbox: this location doesn't set \"proxy_set_header "
                      "Host $sandbox_host\"; include sandbox_proxy.conf");
        return NGX_ERROR;
    }

    p = ngx_palloc(r->pool, sizeof(ngx_http_sandbox_peer_t));
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(p, offsetof(ngx_http_sandbox_peer_t, sockaddr));

    p->request = r;
    p->ctx = ctx;

    /* there is room for it behind the id */

    p->name.data = ctx->id.data;
    last = ctx->id.data + ctx->id.len;

    if (ctx->control) {
        last = ngx_cpymem(last, ":control", sizeof(":control") - 1);

    } else {
        *last++ = ':';
        last += sandbox_port_write((char *) last, ctx->port);
    }

    p->name.len = last - p->name.data;

    if (ngx_http_sandbox_set_address(p) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->peer = p;
    ctx->failure = NGX_HTTP_SANDBOX_OK;

    sscf = ngx_http_conf_upstream_srv_conf(us, ngx_http_sandbox_module);

    if (sscf->original_init_peer(r, us) != NGX_OK) {
        return NGX_ERROR;
    }

    p->keepalive = sscf->keepalive;
    p->data = u->peer.data;
    p->get = u->peer.get;
    p->free = u->peer.free;

    u->peer.data = p;
    u->peer.get = ngx_http_sandbox_get_outer;
    u->peer.free = ngx_http_sandbox_free_outer;

    if (u->peer.notify) {
        p->notify = u->peer.notify;
        u->peer.notify = ngx_http_sandbox_notify_outer;
    }

#if (NGX_SSL || NGX_COMPAT)
    u->peer.set_session = ngx_http_sandbox_set_session;
    u->peer.save_session = ngx_http_sandbox_save_session;
#endif

    p->process_header = u->process_header;
    u->process_header = ngx_http_sandbox_process_header;

    p->reinit_request = u->reinit_request;
    u->reinit_request = ngx_http_sandbox_reinit_request;

    p->finalize_request = u->finalize_request;
    u->finalize_request = ngx_http_sandbox_finalize_request;

    return ngx_http_sandbox_ignore_headers(r);
}


static ngx_uint_t
ngx_http_sandbox_is_stored(ngx_http_request_t *r)
{
#if (NGX_HTTP_CACHE)

    if (r->cache) {
        return 1;
    }

#endif

    return r->upstream->store;
}


/*
 * X-Accel-* of a guest are never obeyed.  A location that doesn't say so gets
 * a copy of its settings that does.
 */

static ngx_int_t
ngx_http_sandbox_ignore_headers(ngx_http_request_t *r)
{
    ngx_uint_t                 mask;
    ngx_http_upstream_t       *u;
    ngx_http_upstream_conf_t  *conf;

    u = r->upstream;

    mask = NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT
           |NGX_HTTP_UPSTREAM_IGN_XA_EXPIRES
           |NGX_HTTP_UPSTREAM_IGN_XA_LIMIT_RATE
           |NGX_HTTP_UPSTREAM_IGN_XA_BUFFERING
           |NGX_HTTP_UPSTREAM_IGN_XA_CHARSET;

    if ((u->conf->ignore_headers & mask) == mask) {
        return NGX_OK;
    }

    conf = ngx_palloc(r->pool, sizeof(ngx_http_upstream_conf_t));
    if (conf == NULL) {
        return NGX_ERROR;
    }

    *conf = *u->conf;
    conf->ignore_headers |= mask;

    u->conf = conf;

    return NGX_OK;
}


ngx_int_t
ngx_http_sandbox_get_inner(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_sandbox_peer_t *p = data;

    pc->sockaddr = &p->sockaddr.any;
    pc->socklen = p->socklen;
    pc->name = &p->name;
    pc->cached = 0;
    pc->connection = NULL;

    return NGX_OK;
}


static void
ngx_http_sandbox_free_inner(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    if (pc->tries) {
        pc->tries--;
    }
}


static ngx_int_t
ngx_http_sandbox_get_outer(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_sandbox_peer_t *p = data;

    ngx_int_t             rc;
    ngx_http_upstream_t  *u;

    u = p->request->upstream;

    p->ctx->failure = NGX_HTTP_SANDBOX_OK;

    if (p->again) {

        /* the buffers have to be wound back, whatever has been sent */

        u->request_sent = 1;

        rc = ngx_http_sandbox_again(pc, p);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (ngx_http_sandbox_needs_fresh(p->request)) {
        rc = ngx_http_sandbox_get_inner(pc, p);

    } else {
        rc = NGX_DECLINED;

        if (p->keepalive) {
            (void) ngx_http_sandbox_get_inner(pc, p);
            rc = ngx_http_sandbox_keepalive_get(p->keepalive, pc, p);
        }

        if (rc == NGX_DECLINED) {
            rc = p->get(pc, p->data);
        }
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "sandbox get peer: %V, %i, cached:%d", &p->name, rc,
                   pc->cached);

    if (rc == NGX_DONE) {
        ngx_http_sandbox_park_done(p->request);
        ngx_http_sandbox_late_begin(p, 0);

        if (p->ctx->grant) {
            ngx_http_sandbox_pace_recv(p->request, pc->connection, 0);
            ngx_http_sandbox_pace_send(p->request, pc->connection, 0);
        }

        return NGX_DONE;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_sandbox_connect(pc, p);

    if (rc != NGX_DECLINED || p->ctx->restarted) {
        return rc;
    }

    /* nobody listens there any more: this run of the sandbox has ended */

    rc = ngx_http_sandbox_again(pc, p);

    return rc == NGX_OK ? ngx_http_sandbox_connect(pc, p) : rc;
}


/*
 * A kept connection may be closed by its app just when it is used; nginx then
 * repeats the request, but not one that may have had an effect, nor one whose
 * body is gone.  Such requests to apps, whose patience nobody knows, get a
 * connection of their own.
 */

static ngx_uint_t
ngx_http_sandbox_needs_fresh(ngx_http_request_t *r)
{
    ngx_http_sandbox_ctx_t  *ctx;

    ctx = ngx_http_sandbox_ctx(r);

    return !ctx->control
           && ((r->method & (NGX_HTTP_POST|NGX_HTTP_LOCK|NGX_HTTP_PATCH))
               || r->request_body_no_buffering
               || ctx->websocket);
}


static void
ngx_http_sandbox_free_outer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_sandbox_peer_t *p = data;

    u_char             buf[SANDBOX_LINE_MAX];
    ngx_connection_t  *c;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "sandbox free peer: %V, %ui", &p->name, state);

    c = pc->connection;

    if ((state & NGX_PEER_FAILED) && c && p->connecting) {

        /* nothing has been sent: this run of the sandbox may have ended */

        p->ctx->failure = NGX_HTTP_SANDBOX_FAIL_CONNECT;

        if (!p->ctx->restarted) {
            p->again = 1;
            pc->tries++;
        }

    } else if ((state & NGX_PEER_FAILED) && c && !p->pending
               && c->recv == ngx_http_sandbox_recv
               && p->ctx->failure == NGX_HTTP_SANDBOX_OK)
    {
        /* writing failed; why may have been said before */

        (void) c->recv(c, buf, sizeof(buf));
    }

    /* also one that still waits: its try may have ended by a timeout */

    p->pending = 0;
    p->connecting = 0;
    ngx_http_sandbox_late_end(p);
    ngx_http_sandbox_park_leave(p->ctx);

    if (p->ctx->grant) {
        ngx_http_sandbox_pace_end(p->request, c);
    }

    if (p->keepalive) {
        ngx_http_sandbox_keepalive_free(p->keepalive, pc, p, state);

        /*
         * What was left is at its end: newer nginx keeps it without being
         * told.
         */

        p->request->upstream->keepalive = 0;
    }

    p->free(pc, p->data, state);
}


static void
ngx_http_sandbox_notify_outer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type)
{
    ngx_http_sandbox_peer_t *p = data;

    p->notify(pc, p->data, type);
}


#if (NGX_SSL || NGX_COMPAT)

static ngx_int_t
ngx_http_sandbox_set_session(ngx_peer_connection_t *pc, void *data)
{
    return NGX_OK;
}


static void
ngx_http_sandbox_save_session(ngx_peer_connection_t *pc, void *data)
{
}

#endif
