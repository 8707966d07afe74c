/*
 * Bytes in a second, over all connections of a sandbox or an exposure.  They
 * are held back at the connection to the agent, where whatever the client
 * speaks looks the same: HTTP/1, 2, 3, a buffered response or a stream, both
 * directions of a WebSocket.  nginx' own flow control holds the other side.
 *
 * A connection whose time hasn't come says NGX_AGAIN and has a timer, which
 * then does what an event of the kernel would do.  The timers aren't
 * cancelable: an exiting worker serves what it has begun.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_limit.h"
#include "ngx_http_sandbox_peer.h"


static ngx_http_sandbox_pace_t *ngx_http_sandbox_pace(ngx_http_request_t *r,
    ngx_connection_t *c);
static ngx_uint_t ngx_http_sandbox_pace_holds(ngx_http_sandbox_pace_t *pace,
    ngx_event_t *ev, size_t bytes);
static ngx_http_sandbox_pace_t *ngx_http_sandbox_pace_ready(
    ngx_connection_t *c, ngx_uint_t in);
static ssize_t ngx_http_sandbox_pace_count(ngx_http_sandbox_pace_t *pace,
    ngx_event_t *ev, ssize_t n);
static ssize_t ngx_http_sandbox_paced_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static ssize_t ngx_http_sandbox_paced_recv_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static ssize_t ngx_http_sandbox_paced_send(ngx_connection_t *c, u_char *buf,
    size_t size);
static ngx_chain_t *ngx_http_sandbox_paced_send_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static void ngx_http_sandbox_pace_handler(ngx_event_t *ev);


/* NULL where the bytes of a request have no limit. */

static ngx_http_sandbox_pace_t *
ngx_http_sandbox_pace(ngx_http_request_t *r, ngx_connection_t *c)
{
    ngx_http_sandbox_ctx_t   *ctx;
    ngx_http_sandbox_held_t  *held;
    ngx_http_sandbox_pace_t  *pace;

    ctx = ngx_http_sandbox_ctx(r);
    held = ctx ? ctx->grant : NULL;

    if (held == NULL
        || (held->grant.out[0] == 0 && held->grant.out[1] == 0
            && held->grant.in[0] == 0 && held->grant.in[1] == 0))
    {
        return NULL;
    }

    pace = held->pace;

    if (pace == NULL) {
        pace = ngx_pcalloc(r->pool, sizeof(ngx_http_sandbox_pace_t));
        if (pace == NULL) {
            return NULL;
        }

        pace->held = held;

        pace->read.handler = ngx_http_sandbox_pace_handler;
        pace->read.data = pace;
        pace->read.log = r->connection->log;

        pace->write.handler = ngx_http_sandbox_pace_handler;
        pace->write.data = pace;
        pace->write.log = r->connection->log;

        held->pace = pace;
    }

    pace->connection = c;

    return pace;
}


ngx_uint_t
ngx_http_sandbox_pace_waits(ngx_http_request_t *r, ngx_connection_t *c,
    ngx_uint_t in)
{
    ngx_http_sandbox_pace_t  *pace;

    pace = ngx_http_sandbox_pace(r, c);

    return pace && ngx_http_sandbox_pace_holds(pace, in ? &pace->write
                                                        : &pace->read, 0);
}


void
ngx_http_sandbox_pace_recv(ngx_http_request_t *r, ngx_connection_t *c,
    size_t bytes)
{
    ngx_http_sandbox_pace_t  *pace;

    pace = ngx_http_sandbox_pace(r, c);

    if (pace) {
        c->recv = ngx_http_sandbox_paced_recv;
        c->recv_chain = ngx_http_sandbox_paced_recv_chain;

        (void) ngx_http_sandbox_pace_holds(pace, &pace->read, bytes);
    }
}


void
ngx_http_sandbox_pace_send(ngx_http_request_t *r, ngx_connection_t *c,
    size_t bytes)
{
    ngx_http_sandbox_pace_t  *pace;

    pace = ngx_http_sandbox_pace(r, c);

    if (pace) {
        c->send = ngx_http_sandbox_paced_send;
        c->send_chain = ngx_http_sandbox_paced_send_chain;

        (void) ngx_http_sandbox_pace_holds(pace, &pace->write, bytes);
    }
}


void
ngx_http_sandbox_pace_end(ngx_http_request_t *r, ngx_connection_t *c)
{
    ngx_http_sandbox_ctx_t   *ctx;
    ngx_http_sandbox_held_t  *held;

    ctx = ngx_http_sandbox_ctx(r);
    held = ctx ? ctx->grant : NULL;

    if (held == NULL || held->pace == NULL) {
        return;
    }

    ngx_http_sandbox_pace_free(held->pace);

    if (c) {
        ngx_http_sandbox_plain_recv(c, ctx);
        c->send = ngx_send;
        c->send_chain = ngx_send_chain;
    }
}


void
ngx_http_sandbox_pace_free(ngx_http_sandbox_pace_t *pace)
{
    if (pace->read.timer_set) {
        ngx_del_timer(&pace->read);
    }

    if (pace->write.timer_set) {
        ngx_del_timer(&pace->write);
    }

    pace->connection = NULL;
}


/* Counts bytes; 1: the next ones have to wait for the event's timer. */

static ngx_uint_t
ngx_http_sandbox_pace_holds(ngx_http_sandbox_pace_t *pace, ngx_event_t *ev,
    size_t bytes)
{
    ngx_msec_t  wait;

    if (ev->timer_set) {
        return 1;
    }

    wait = ngx_http_sandbox_usage_pace(pace->held->zone, &pace->held->grant,
                                       ev == &pace->write, bytes);

    if (wait == 0) {
        return 0;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ev->log, 0,
                   "sandbox pace: %s waits %M",
                   ev == &pace->write ? "in" : "out", wait);

    ngx_add_timer(ev, wait);

    return 1;
}


/* NULL: what is to be read, or sent, has to wait. */

static ngx_http_sandbox_pace_t *
ngx_http_sandbox_pace_ready(ngx_connection_t *c, ngx_uint_t in)
{
    ngx_http_sandbox_ctx_t   *ctx;
    ngx_http_sandbox_held_t  *held;
    ngx_http_sandbox_pace_t  *pace;

    ctx = ngx_http_sandbox_ctx((ngx_http_request_t *) c->data);
    held = ctx->grant;
    pace = held->pace;

    if (ngx_http_sandbox_pace_holds(pace, in ? &pace->write : &pace->read, 0))
    {
        return NULL;
    }

    if (!in) {
        ngx_http_sandbox_unasked(c);
    }

    return pace;
}


static ssize_t
ngx_http_sandbox_pace_count(ngx_http_sandbox_pace_t *pace, ngx_event_t *ev,
    ssize_t n)
{
    if (n > 0) {
        (void) ngx_http_sandbox_pace_holds(pace, ev, n);
    }

    return n;
}


static ssize_t
ngx_http_sandbox_paced_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    ngx_http_sandbox_pace_t  *pace;

    pace = ngx_http_sandbox_pace_ready(c, 0);

    return pace ? ngx_http_sandbox_pace_count(pace, &pace->read,
                                              ngx_recv(c, buf, size))
                : NGX_AGAIN;
}


static ssize_t
ngx_http_sandbox_paced_recv_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit)
{
    ngx_http_sandbox_pace_t  *pace;

    pace = ngx_http_sandbox_pace_ready(c, 0);

    return pace ? ngx_http_sandbox_pace_count(pace, &pace->read,
                                              ngx_recv_chain(c, in, limit))
                : NGX_AGAIN;
}


static ssize_t
ngx_http_sandbox_paced_send(ngx_connection_t *c, u_char *buf, size_t size)
{
    ngx_http_sandbox_pace_t  *pace;

    pace = ngx_http_sandbox_pace_ready(c, 1);

    return pace ? ngx_http_sandbox_pace_count(pace, &pace->write,
                                              ngx_send(c, buf, size))
                : NGX_AGAIN;
}


static ngx_chain_t *
ngx_http_sandbox_paced_send_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit)
{
    off_t                     sent;
    ngx_chain_t              *cl;
    ngx_http_sandbox_pace_t  *pace;

    pace = ngx_http_sandbox_pace_ready(c, 1);

    if (pace == NULL) {
        return in;
    }

    sent = c->sent;
    cl = ngx_send_chain(c, in, limit);

    (void) ngx_http_sandbox_pace_count(pace, &pace->write,
                                       (ssize_t) (c->sent - sent));

    return cl;
}


static void
ngx_http_sandbox_pace_handler(ngx_event_t *ev)
{
    ngx_event_t              *of;
    ngx_connection_t         *c;
    ngx_http_sandbox_pace_t  *pace;

    pace = ev->data;
    c = pace->connection;

    ev->timedout = 0;

    if (c) {
        of = ev == &pace->write ? c->write : c->read;
        of->handler(of);
    }
}
