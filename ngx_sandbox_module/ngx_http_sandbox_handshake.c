/*
 * The beginning of a connection to an agent, and of what comes back on it: the
 * first line in one send with the request, the agent's answer taken off the
 * first read, and a response that is no HTTP kept from the client.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_peer.h"
#include "ngx_http_sandbox_limit.h"


static ngx_chain_t *ngx_http_sandbox_send_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static void ngx_http_sandbox_line_failed(ngx_http_request_t *r,
    ngx_http_sandbox_peer_t *p, sandbox_line_result result);
static ngx_int_t ngx_http_sandbox_next_header(ngx_http_request_t *r);


void
ngx_http_sandbox_first_line(ngx_connection_t *c, ngx_http_sandbox_peer_t *p)
{
    char    line[2 * SANDBOX_LINE_MAX];
    size_t  len;

    ngx_memzero(&p->line, sizeof(sandbox_line));

    len = 0;

    if (p->ctx->address.kind == SANDBOX_ADDRESS_HYBRID) {
        len = sandbox_line_write_vmm(line, p->ctx->address.port);
        p->line.vmm = 1;
    }

    len += sandbox_line_write(line + len, p->ctx->control ? 0 : p->ctx->port,
                              p->ctx->key);

    /* at the end of its place: what is left to send ends there, too */

    ngx_memcpy(p->text + sizeof(p->text) - len, line, len);
    p->text_len = len;

    c->send_chain = ngx_http_sandbox_send_chain;
    c->recv = ngx_http_sandbox_recv;
}


/*
 * The first send of a new connection: puts the line before the request, and
 * steps aside.  A send of its own would wake the agent twice, and us.
 */

static ngx_chain_t *
ngx_http_sandbox_send_chain(ngx_connection_t *c, ngx_chain_t *in, off_t limit)
{
    size_t                    len;
    ngx_buf_t                 b;
    ngx_chain_t               first, *cl;
    ngx_http_request_t       *r;
    ngx_http_sandbox_ctx_t   *ctx;
    ngx_http_sandbox_peer_t  *p;

    r = c->data;
    ctx = ngx_http_sandbox_ctx(r);
    p = ctx->peer;

    p->connecting = 0;

    if (ctx->grant && ngx_http_sandbox_pace_waits(r, c, 1)) {
        return in;
    }

    len = p->text_len;

    ngx_memzero(&b, sizeof(ngx_buf_t));

    b.memory = 1;
    b.last = (u_char *) p->text + sizeof(p->text);
    b.pos = b.last - len;

    first.buf = &b;
    first.next = in;

    cl = ngx_send_chain(c, &first, limit ? limit + (off_t) len : 0);

    if (cl == NGX_CHAIN_ERROR) {
        return NGX_CHAIN_ERROR;
    }

    /* what nginx counts is the request */

    p->text_len = b.last - b.pos;
    c->sent -= len - p->text_len;

    if (p->text_len) {
        return in;
    }

    c->send_chain = ngx_send_chain;

    ngx_http_sandbox_late_begin(p, 1);

    if (ctx->grant) {
        ngx_http_sandbox_pace_send(r, c, (size_t) c->sent);
    }

    return cl;
}


/*
 * The first read of a new connection: takes the agent's line off it, and steps
 * aside for good.
 */

ssize_t
ngx_http_sandbox_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    size_t                    used;
    ssize_t                   n;
    ngx_http_request_t       *r;
    sandbox_line_result       result;
    ngx_http_sandbox_ctx_t   *ctx;
    ngx_http_sandbox_peer_t  *p;

    r = c->data;
    ctx = ngx_http_sandbox_ctx(r);
    p = ctx->peer;

    if (ctx->grant && ngx_http_sandbox_pace_waits(r, c, 0)) {
        return NGX_AGAIN;
    }

    for ( ;; ) {
        ngx_http_sandbox_unasked(c);
        n = ngx_recv(c, buf, size);

        if (n == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (n <= 0) {
            ngx_http_sandbox_line_failed(r, p, SANDBOX_LINE_MORE);
            return n;
        }

        result = sandbox_line_feed(&p->line, (char *) buf, n, &used);

        if (result == SANDBOX_LINE_MORE) {
            continue;
        }

        if (result != SANDBOX_LINE_OK) {
            ngx_http_sandbox_line_failed(r, p, result);
            return NGX_ERROR;
        }

        ngx_http_sandbox_plain_recv(c, ctx);
        ngx_http_sandbox_late_begin(p, 0);

        ngx_http_sandbox_park_done(r);

        n -= used;

        if (ctx->grant) {
            ngx_http_sandbox_pace_recv(r, c, n);
        }

        if (n > 0) {
            ngx_memmove(buf, buf + used, n);
            return n;
        }

        /* not 0, which would be the end: what follows may be there already */

        ngx_http_sandbox_unasked(c);

        return ngx_recv(c, buf, size);
    }
}


static void
ngx_http_sandbox_line_failed(ngx_http_request_t *r, ngx_http_sandbox_peer_t *p,
    sandbox_line_result result)
{
    const char              *what;
    ngx_uint_t               safe;
    ngx_http_upstream_t     *u;
    ngx_http_sandbox_ctx_t  *ctx;

    u = r->upstream;
    ctx = p->ctx;
    safe = 0;

    ngx_http_sandbox_late_end(p);

    switch (result) {

    case SANDBOX_LINE_REFUSED:
        what = "nothing listens on the port";
        ctx->failure = NGX_HTTP_SANDBOX_FAIL_REFUSED;
        break;

    case SANDBOX_LINE_LIMIT:
        what = "the agent has too many connections";
        ctx->failure = NGX_HTTP_SANDBOX_FAIL_LIMIT;
        break;

    case SANDBOX_LINE_KEY:
        /* another run than ours; provably nothing has reached an app */
        what = "the agent doesn't take the key";
        ctx->failure = NGX_HTTP_SANDBOX_FAIL_KEY;
        safe = 1;
        break;

    case SANDBOX_LINE_MORE:
        what = "closed before its first line";
        ctx->failure = NGX_HTTP_SANDBOX_FAIL_CLOSED;
        break;

    default:
        what = "the agent's first line is none";
        ctx->failure = NGX_HTTP_SANDBOX_FAIL_LINE;
        break;
    }

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "sandbox \"%V\": %s",
                  &p->name, what);

    if (ctx->restarted
        || (result != SANDBOX_LINE_KEY && result != SANDBOX_LINE_MORE)
        || (u->request_sent && r->request_body_no_buffering))
    {
        return;
    }

    if (safe) {
        u->request_sent = 0;
    }

    p->again = 1;
    u->peer.tries++;
}


/*
 * nginx takes a response without a status line for HTTP/0.9, and a status
 * below 200 for the final one: in both cases it would pass a guest's raw bytes
 * on to the client, behind the back of all checks of headers.  Here the former
 * is a bad gateway, and informational responses are dropped; the buffer for
 * headers bounds how many there can be.  Early hints are not for nginx, either,
 * where it knows them: it begins the buffer anew behind each, so that a guest
 * could send them, and have memory taken for them, without end.
 */

ngx_int_t
ngx_http_sandbox_process_header(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    ngx_uint_t                version, status;
    ngx_http_upstream_t      *u;
    ngx_http_sandbox_ctx_t   *ctx;
    ngx_http_sandbox_peer_t  *p;

    u = r->upstream;
    ctx = ngx_http_sandbox_ctx(r);
    p = ctx->peer;

    version = r->http_version;

    for ( ;; ) {
        u->process_header = p->process_header;

        rc = p->process_header(r);

        /* the status line and the headers have a function of their own */

        p->process_header = u->process_header;
        u->process_header = ngx_http_sandbox_process_header;

#ifdef NGX_HTTP_UPSTREAM_EARLY_HINTS
        if (rc == NGX_HTTP_UPSTREAM_EARLY_HINTS) {
            rc = NGX_OK;
        }
#endif

        if (r->http_version != version) {
            r->http_version = version;
            rc = NGX_HTTP_UPSTREAM_INVALID_HEADER;
            break;
        }

        status = u->headers_in.status_n;

        if (rc != NGX_OK || status >= NGX_HTTP_OK) {
            break;
        }

        if (status == NGX_HTTP_SWITCHING_PROTOCOLS && u->upgrade) {
            break;
        }

        if (status == NGX_HTTP_SWITCHING_PROTOCOLS
            || status < NGX_HTTP_CONTINUE)
        {
            rc = NGX_HTTP_UPSTREAM_INVALID_HEADER;
            break;
        }

        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "sandbox drops informational response %ui", status);

        if (ngx_http_sandbox_next_header(r) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (rc != NGX_AGAIN) {
        ngx_http_sandbox_late_end(p);
    }

    if (rc == NGX_HTTP_UPSTREAM_INVALID_HEADER) {
        ctx->failure = NGX_HTTP_SANDBOX_FAIL_PROTOCOL;

    } else if (rc == NGX_OK && u->upgrade && ctx->websocket
               && ngx_http_sandbox_interrupt_watch(r) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return rc;
}


/* Forgets a header, and makes ready for the one behind it. */

static ngx_int_t
ngx_http_sandbox_next_header(ngx_http_request_t *r)
{
    ngx_http_upstream_t             *u;
    ngx_http_upstream_headers_in_t  *in;

    u = r->upstream;
    in = &u->headers_in;

    ngx_memzero(in, sizeof(ngx_http_upstream_headers_in_t));

    in->content_length_n = -1;
    in->last_modified_time = -1;

    if (ngx_list_init(&in->headers, r->pool, 8, sizeof(ngx_table_elt_t))
        != NGX_OK
        || ngx_list_init(&in->trailers, r->pool, 2, sizeof(ngx_table_elt_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    u->keepalive = 0;
    u->upgrade = 0;

    if (u->state) {
        u->state->status = 0;
    }

    return ngx_http_sandbox_reinit_request(r);
}


ngx_int_t
ngx_http_sandbox_reinit_request(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    ngx_http_upstream_t      *u;
    ngx_http_sandbox_peer_t  *p;

    u = r->upstream;
    p = ngx_http_sandbox_peer(r);

    u->process_header = p->process_header;

    rc = p->reinit_request(r);

    p->process_header = u->process_header;
    u->process_header = ngx_http_sandbox_process_header;

    return rc;
}
