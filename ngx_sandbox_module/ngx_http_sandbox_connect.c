/*
 * Connections to agents: at the sockets of their slots, at addresses, and those
 * that have to wait.
 *
 * A connection that fails because the sandbox's run has ended goes through the
 * gate once more: the request waits, with its connection not yet connected,
 * until the sandbox runs again.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_peer.h"


static void ngx_http_sandbox_tune(ngx_connection_t *c,
    ngx_http_sandbox_peer_t *p);
static ngx_int_t ngx_http_sandbox_pend(ngx_peer_connection_t *pc);
static ngx_int_t ngx_http_sandbox_pend_connect(ngx_http_sandbox_peer_t *p,
    ngx_connection_t *c);
static void ngx_http_sandbox_resume(ngx_http_request_t *r,
    ngx_http_sandbox_error_t *err);


/*
 * Kind, port and epoch go behind the path: told apart by keepalive, not looked
 * at by connect().
 */

ngx_int_t
ngx_http_sandbox_set_address(ngx_http_sandbox_peer_t *p)
{
    u_char                        *last, *path;
    ngx_uint_t                     i;
    sandbox_address_tag            tag;
    ngx_http_sandbox_ctx_t        *ctx;
    ngx_http_sandbox_main_conf_t  *smcf;

    static const u_char  hex[] = "0123456789abcdef";

    ctx = p->ctx;
    smcf = ngx_http_get_module_main_conf(p->request, ngx_http_sandbox_module);

    p->epoch = ctx->epoch;

    if (ctx->address.kind != SANDBOX_ADDRESS_NONE
        && ctx->address.kind != SANDBOX_ADDRESS_HYBRID)
    {
        tag.control = ctx->control;
        tag.port = ctx->port;
        tag.slot = ctx->slot;
        tag.epoch = ctx->epoch;

        p->socklen = (socklen_t) sandbox_address_write(&ctx->address, &tag,
                                                       &p->sockaddr);
        return NGX_OK;
    }

    p->sockaddr.sun.sun_family = AF_UNIX;

    path = (u_char *) p->sockaddr.sun.sun_path;
    last = ngx_cpymem(path, smcf->agent_dir.data, smcf->agent_dir.len);

    for (i = 0; i < 8; i++) {
        *last++ = hex[(ctx->slot >> (28 - 4 * i)) & 15];
    }

    *last++ = '\0';

    *last++ = ctx->control ? 'c' : 'p';
    *last++ = 0;
    last = ngx_cpymem(last, &ctx->port, sizeof(uint16_t));
    last = ngx_cpymem(last, &p->epoch, sizeof(uint32_t));

    p->socklen = (socklen_t) (last - (u_char *) &p->sockaddr);

    return NGX_OK;
}


/*
 * NGX_DONE: connected, NGX_AGAIN: being connected; the first line goes with the
 * request.
 */

ngx_int_t
ngx_http_sandbox_connect(ngx_peer_connection_t *pc, ngx_http_sandbox_peer_t *p)
{
    ngx_int_t              rc;
    ngx_event_get_peer_pt  get;

    get = pc->get;
    pc->get = ngx_event_get_peer;

    rc = ngx_event_connect_peer(pc);

    pc->get = get;

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_AGAIN && p->sockaddr.any.sa_family != AF_UNIX) {
        ngx_http_sandbox_tune(pc->connection, p);
        ngx_http_sandbox_first_line(pc->connection, p);
        p->connecting = 1;

        return NGX_AGAIN;
    }

    /* a Unix socket connects at once or not at all */

    if (rc != NGX_OK) {
        if (pc->connection) {
            ngx_close_connection(pc->connection);
            pc->connection = NULL;
        }

        p->ctx->failure = NGX_HTTP_SANDBOX_FAIL_CONNECT;
        return NGX_DECLINED;
    }

    ngx_http_sandbox_tune(pc->connection, p);
    ngx_http_sandbox_first_line(pc->connection, p);

    return NGX_DONE;
}


/*
 * A host that is gone says nothing: connecting to it ends after some seconds,
 * and so does waiting for it to take what was sent, or to be there at all.
 * Sockets of virtual machines know nothing of TCP, which nginx doesn't know.
 */

static void
ngx_http_sandbox_tune(ngx_connection_t *c, ngx_http_sandbox_peer_t *p)
{
    int         one, value;
    ngx_uint_t  i;

    static const struct {
        int  name;
        int  value;
    } options[] = {
        { TCP_SYNCNT, 2 },              /* 7 s */
        { TCP_USER_TIMEOUT, 30000 },
        { TCP_KEEPIDLE, 30 },
        { TCP_KEEPINTVL, 10 },
        { TCP_KEEPCNT, 3 }
    };

    switch (p->ctx->address.kind) {

    case SANDBOX_ADDRESS_IPV4:
    case SANDBOX_ADDRESS_IPV6:
        break;

    case SANDBOX_ADDRESS_VSOCK:
        c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;
        c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;
        return;

    default:
        return;
    }

    one = 1;

    (void) setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));

    for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        value = options[i].value;

        if (setsockopt(c->fd, IPPROTO_TCP, options[i].name, &value,
                       sizeof(value))
            == -1)
        {
            ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, ngx_socket_errno,
                           "sandbox: option %d of TCP", options[i].name);
        }
    }
}


/*
 * After a read that fills its buffer nginx asks how much more there is, which
 * sockets of virtual machines can't tell: to nginx that is an error, and the
 * end of the response.  So it is told that there is plenty, and finds out by
 * reading.
 */

static ngx_inline void
ngx_http_sandbox_plenty(ngx_connection_t *c)
{
#if (NGX_HAVE_FIONREAD)

    if (c->read->available < 0) {
        c->read->available = NGX_MAX_INT32_VALUE;
    }

#endif
}


void
ngx_http_sandbox_unasked(ngx_connection_t *c)
{
    ngx_http_sandbox_ctx_t  *ctx;

    ctx = ngx_http_sandbox_ctx((ngx_http_request_t *) c->data);

    if (ctx->address.kind == SANDBOX_ADDRESS_VSOCK) {
        ngx_http_sandbox_plenty(c);
    }
}


static ssize_t
ngx_http_sandbox_vsock_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    ngx_http_sandbox_plenty(c);

    return ngx_recv(c, buf, size);
}


static ssize_t
ngx_http_sandbox_vsock_recv_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit)
{
    ngx_http_sandbox_plenty(c);

    return ngx_recv_chain(c, in, limit);
}


/* How a connection is read from for as long as it lives, whoever uses it. */

void
ngx_http_sandbox_plain_recv(ngx_connection_t *c, ngx_http_sandbox_ctx_t *ctx)
{
    if (ctx->address.kind == SANDBOX_ADDRESS_VSOCK) {
        c->recv = ngx_http_sandbox_vsock_recv;
        c->recv_chain = ngx_http_sandbox_vsock_recv_chain;
        return;
    }

    c->recv = ngx_recv;
    c->recv_chain = ngx_recv_chain;
}


/*
 * To the gate once more.  NGX_OK: the sandbox runs, the address is set anew.
 * NGX_AGAIN: pc has a connection that is not connected yet.
 */

ngx_int_t
ngx_http_sandbox_again(ngx_peer_connection_t *pc, ngx_http_sandbox_peer_t *p)
{
    ngx_int_t                  rc;
    ngx_http_sandbox_error_t   err;

    p->again = 0;
    p->ctx->restarted = 1;

    /* what began in a sandbox that was destroyed makes no other */

    p->ctx->create = 0;

    ngx_log_error(NGX_LOG_INFO, pc->log, 0,
                  "sandbox \"%V\": run %uD has ended, asking for another",
                  &p->ctx->id, p->ctx->epoch);

    rc = ngx_http_sandbox_park(p->request, 1, ngx_http_sandbox_resume, &err);

    if (rc == NGX_OK) {
        (void) ngx_http_sandbox_set_address(p);
        (void) ngx_http_sandbox_get_inner(pc, p);
        return NGX_OK;
    }

    (void) ngx_http_sandbox_get_inner(pc, p);

    if (rc == NGX_AGAIN && ngx_http_sandbox_pend(pc) == NGX_OK) {
        p->pending = 1;
        return NGX_AGAIN;
    }

    p->ctx->failure = NGX_HTTP_SANDBOX_FAIL_CONNECT;

    return NGX_DECLINED;
}


/*
 * A connection that isn't connected: nginx keeps the request for as long as it
 * would wait for connect().
 */

static ngx_int_t
ngx_http_sandbox_pend(ngx_peer_connection_t *pc)
{
    ngx_socket_t       s;
    ngx_connection_t  *c;

    s = ngx_socket(AF_UNIX, SOCK_STREAM, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                      ngx_socket_n " failed");
        return NGX_ERROR;
    }

    c = ngx_get_connection(s, pc->log);

    if (c == NULL) {
        if (ngx_close_socket(s) == -1) {
            ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                          ngx_close_socket_n " failed");
        }

        return NGX_ERROR;
    }

    c->type = SOCK_STREAM;
    c->recv = ngx_recv;
    c->send = ngx_send;
    c->recv_chain = ngx_recv_chain;
    c->send_chain = ngx_send_chain;
    c->sendfile = 1;
    c->log_error = pc->log_error;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;
    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->start_time = ngx_current_msec;

    c->read->log = pc->log;
    c->write->log = pc->log;

    pc->connection = c;

    if (ngx_nonblocking(s) == -1) {
        ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                      ngx_nonblocking_n " failed");
        ngx_close_connection(c);
        pc->connection = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * Connects what was pending.  NGX_OK, NGX_AGAIN: it will be connected, or it
 * will fail like any other; NGX_DECLINED.  Until then the descriptor holds a
 * Unix socket, which an address can't be reached by.
 */

static ngx_int_t
ngx_http_sandbox_pend_connect(ngx_http_sandbox_peer_t *p, ngx_connection_t *c)
{
    ngx_int_t     rc;
    ngx_socket_t  s;

    if (p->sockaddr.any.sa_family != AF_UNIX) {
        s = ngx_socket(p->sockaddr.any.sa_family, SOCK_STREAM, 0);

        if (s == (ngx_socket_t) -1) {
            return NGX_DECLINED;
        }

        if (ngx_nonblocking(s) == -1 || dup2(s, c->fd) == -1) {
            (void) ngx_close_socket(s);
            return NGX_DECLINED;
        }

        (void) ngx_close_socket(s);

        c->tcp_nopush = NGX_TCP_NOPUSH_UNSET;
        c->tcp_nodelay = NGX_TCP_NODELAY_UNSET;
    }

    rc = NGX_OK;

    if (connect(c->fd, &p->sockaddr.any, p->socklen) == -1) {

        if (ngx_socket_errno != NGX_EINPROGRESS) {
            return NGX_DECLINED;
        }

        rc = NGX_AGAIN;
    }

    if (ngx_add_conn == NULL || ngx_add_conn(c) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_http_sandbox_tune(c, p);
    ngx_http_sandbox_first_line(c, p);

    return rc;
}


/* The sandbox of a pending connection runs, or it doesn't. */

static void
ngx_http_sandbox_resume(ngx_http_request_t *r, ngx_http_sandbox_error_t *err)
{
    ngx_int_t                  rc;
    ngx_connection_t          *c;
    ngx_http_upstream_t       *u;
    ngx_http_sandbox_ctx_t    *ctx;
    ngx_http_sandbox_peer_t   *p;
    ngx_http_sandbox_error_t   gone;

    u = r->upstream;
    c = u->peer.connection;
    ctx = ngx_http_sandbox_ctx(r);
    p = ctx->peer;

    if (!p->pending) {
        return;
    }

    p->pending = 0;

    while (err == NULL) {
        (void) ngx_http_sandbox_set_address(p);
        (void) ngx_http_sandbox_get_inner(&u->peer, p);

        u->peer.connection = c;

        rc = ngx_http_sandbox_pend_connect(p, c);

        if (rc == NGX_OK) {
            c->write->ready = 1;
            c->write->handler(c->write);
            return;
        }

        if (rc == NGX_AGAIN) {
            p->connecting = 1;
            return;
        }

        /* it has ended as well, or can't take it yet: for as long as it may */

        rc = ngx_http_sandbox_park(r, 1, ngx_http_sandbox_resume, &gone);

        if (rc == NGX_AGAIN) {
            p->pending = 1;
            return;
        }

        if (rc == NGX_ERROR) {
            err = &gone;
        }
    }

    /*
     * nginx's own clean-up closes the connection.  It ends by finalizing, as
     * if it came before the request's end and not with it.
     */

    r->main->count++;
    (*u->cleanup)(r);

    ngx_http_finalize_request(r, ngx_http_sandbox_end(r, err));
}
