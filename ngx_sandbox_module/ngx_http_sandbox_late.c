/*
 * Agents that don't answer.  What runs in a sandbox may take its network away
 * or stop its agent: then nothing closes the connection, and nginx would wait
 * as long as for an app.
 *
 * An agent says its first line at once; for a port when that has accepted, or
 * after 10 s at most.  If none has come in time, the connection is given up,
 * which is to nginx as if it had broken.  A response may take as long as it
 * likes, but sandboxd is told when it does, which looks whether the agent is
 * there: if not, the request has waited in vain.
 */


#include "ngx_http_sandbox_park.h"
#include "ngx_http_sandbox_peer.h"
#include "ngx_http_sandbox_zone.h"


/* Machines without hardware for it stand still for seconds. */

#define NGX_HTTP_SANDBOX_LATE      20000
#define NGX_HTTP_SANDBOX_LATE_MAX  160000
#define NGX_HTTP_SANDBOX_LATE_LOOK 12000       /* sandboxd's takes 10 s */


static void ngx_http_sandbox_late(ngx_event_t *ev);
static void ngx_http_sandbox_late_tell(ngx_http_sandbox_peer_t *p);
static ngx_uint_t ngx_http_sandbox_late_is(ngx_http_sandbox_peer_t *p,
    ngx_uint_t state);
static ssize_t ngx_http_sandbox_late_recv(ngx_connection_t *c, u_char *buf,
    size_t size);


void
ngx_http_sandbox_late_begin(ngx_http_sandbox_peer_t *p, ngx_uint_t unread)
{
    p->unread = unread;
    p->told = 0;
    p->patience = NGX_HTTP_SANDBOX_LATE;

    p->late.handler = ngx_http_sandbox_late;
    p->late.data = p;
    p->late.log = p->request->connection->log;

    ngx_add_timer(&p->late, p->patience);
}


void
ngx_http_sandbox_late_end(ngx_http_sandbox_peer_t *p)
{
    if (p->late.timer_set) {
        ngx_del_timer(&p->late);
    }
}


static void
ngx_http_sandbox_late(ngx_event_t *ev)
{
    ngx_connection_t         *c;
    ngx_http_sandbox_peer_t  *p;

    p = ev->data;
    c = p->request->upstream->peer.connection;

    if (c == NULL) {
        return;
    }

    if (c->read->ready) {

        /* something has come, and a limit keeps it from being read */

        ngx_add_timer(ev, p->patience);
        return;
    }

    if (p->unread || ngx_http_sandbox_late_is(p, NGX_HTTP_SANDBOX_UNREACHABLE))
    {
        c->recv = ngx_http_sandbox_late_recv;
        c->read->handler(c->read);
        return;
    }

    if (!p->told) {
        ngx_http_sandbox_late_tell(p);

        p->told = 1;
        ngx_add_timer(ev, NGX_HTTP_SANDBOX_LATE_LOOK);
        return;
    }

    p->told = 0;
    p->patience = ngx_min(2 * p->patience, NGX_HTTP_SANDBOX_LATE_MAX);
    ngx_add_timer(ev, p->patience);
}


/* Whether the run that was asked is in that state. */

static ngx_uint_t
ngx_http_sandbox_late_is(ngx_http_sandbox_peer_t *p, ngx_uint_t state)
{
    ngx_http_sandbox_info_t  info;

    return ngx_http_sandbox_zone_slot(ngx_http_sandbox_park_conf->zone,
                                      p->ctx->slot, &info)
           == NGX_OK
           && info.epoch == p->ctx->epoch
           && info.state == state;
}


/*
 * Lets sandboxd look at the agent, for the sake of those who come next: this
 * request asks for no other run, and waits for no answer.  One that is put to
 * sleep would be started again.
 */

static void
ngx_http_sandbox_late_tell(ngx_http_sandbox_peer_t *p)
{
    ngx_uint_t                create;
    ngx_http_sandbox_wake_t  *wake;

    if (!ngx_http_sandbox_late_is(p, NGX_HTTP_SANDBOX_RUNNING)) {
        return;
    }

    create = p->ctx->create;
    p->ctx->create = 0;

    wake = ngx_http_sandbox_wake_get(p->ctx, 1);

    p->ctx->create = create;

    if (wake) {
        ngx_http_sandbox_wake_free(wake);
    }
}


/* What nginx is told by a connection that was given up. */

static ssize_t
ngx_http_sandbox_late_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    ngx_uint_t                waits;
    ngx_http_request_t       *r;
    ngx_http_upstream_t      *u;
    ngx_http_sandbox_peer_t  *p;

    r = c->data;
    u = r->upstream;
    p = ngx_http_sandbox_peer(r);

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "sandbox \"%V\": the agent doesn't answer", &p->name);

    p->ctx->failure = NGX_HTTP_SANDBOX_FAIL_CONNECT;

    /* as nginx sees it: what may have had an effect isn't repeated */

    waits = !p->ctx->restarted
            && !(u->request_sent
                 && (r->request_body_no_buffering
                     || (r->method & (NGX_HTTP_POST|NGX_HTTP_LOCK
                                      |NGX_HTTP_PATCH))));

    if (waits) {
        p->again = 1;
        u->peer.tries++;

    } else if (p->unread) {
        ngx_http_sandbox_late_tell(p);
    }

    return NGX_ERROR;
}
