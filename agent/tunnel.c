/*
 * A tunnel: the bytes of one connection to and from a port inside, with
 * half-close and flow control in both directions.  Bytes go through one
 * shared scratch buffer; only what the other side doesn't take at once is
 * kept, at most TUNNEL_PIECE bytes a direction, and nothing more is read from
 * that side until it is gone.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/conn.h"
#include "common/buffer.h"
#include "common/log.h"

#define TUNNEL_PIECE       (64 * 1024)
#define TUNNEL_CONNECT_MS  10000
#define TUNNEL_LINGER_MS   5000

/* What tunnel_move() says. */
#define TUNNEL_FROM_LOST   1
#define TUNNEL_TO_LOST     2

typedef struct tunnel tunnel;

typedef struct {
    buffer  pending;        /* read from the other side, not yet sent here */
    int     eof;            /* this side sends no more */
    int     shut;           /* this side was told that nothing more comes */
    int     lost;           /* this side takes nothing any more */
} tunnel_side;

struct tunnel {
    tunnel       *next, *prev;
    io           *peer;     /* the edge */
    io           *app;
    tunnel_side   to_peer;
    tunnel_side   to_app;
    uint64_t      deadline; /* of the connect, or of lingering; 0: none */
    unsigned      port;
    int           v6;
    int           lingers;
};

unsigned       tunnel_count;
static tunnel  tunnel_list = { .next = &tunnel_list, .prev = &tunnel_list };
static char    tunnel_scratch[TUNNEL_PIECE];


static void tunnel_connect(tunnel *t);
static void tunnel_peer_ready(io *w, int events);
static void tunnel_app_ready(io *w, int events);


static void
tunnel_forget(tunnel *t)
{
    t->next->prev = t->prev;
    t->prev->next = t->next;
    tunnel_count--;
    buffer_free(&t->to_peer.pending);
    buffer_free(&t->to_app.pending);
    free(t);
}


static void
tunnel_close(tunnel *t)
{
    io_close(t->peer);
    io_close(t->app);
    tunnel_forget(t);
}


static void
tunnel_refuse(tunnel *t)
{
    io  *w;

    w = t->peer;
    io_close(t->app);
    tunnel_forget(t);
    conn_refuse(w, "ERR refused\n");
}


/* Sends what waits for one side; -1 if that side is broken. */

static int
tunnel_flush(io *w, tunnel_side *s)
{
    ssize_t  n;

    while (s->pending.len != 0) {
        n = send(w->fd, buffer_bytes(&s->pending), s->pending.len,
                 MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        }
        buffer_consume(&s->pending, (size_t) n);
    }

    if (s->pending.data != NULL) {
        buffer_free(&s->pending);
    }

    return 0;
}


/* Moves bytes from one side to the other until one of them has to wait, or
 * one of them is found to be lost. */

static int
tunnel_move(io *from, tunnel_side *from_side, io *to, tunnel_side *to_side)
{
    int      turns;
    ssize_t  n, sent;

    for (turns = 0; turns < 4; turns++) {
        if (from_side->eof || to_side->pending.len != 0) {
            return 0;
        }

        n = recv(from->fd, tunnel_scratch, sizeof(tunnel_scratch),
                 MSG_DONTWAIT);

        if (n < 0) {
            return errno == EAGAIN || errno == EINTR ? 0 : TUNNEL_FROM_LOST;
        }

        if (n == 0) {
            from_side->eof = 1;
            return 0;
        }

        if (to_side->lost) {
            continue;
        }

        sent = send(to->fd, tunnel_scratch, (size_t) n,
                    MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                return TUNNEL_TO_LOST;
            }
            sent = 0;
        }

        if (sent < n) {
            buffer_append(&to_side->pending, tunnel_scratch + sent,
                          (size_t) (n - sent));
        }

        if (n < (ssize_t) sizeof(tunnel_scratch)) {
            return 0;
        }
    }

    return 0;
}


/*
 * The app has closed without reading all that was sent to it.  It may have
 * answered before that, as servers do that refuse an upload: what it said is
 * passed on, and the edge's bytes are dropped.
 */

static void
tunnel_lose_app(tunnel *t)
{
    t->to_app.lost = 1;
    t->to_app.shut = 1;
    buffer_free(&t->to_app.pending);
}


static void
tunnel_linger(io *w, int events)
{
    int      turns;
    ssize_t  n;
    tunnel  *t;

    t = w->data;

    for (turns = 0; turns < 4; turns++) {
        n = recv(w->fd, tunnel_scratch, sizeof(tunnel_scratch), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }

        if (n <= 0) {
            tunnel_close(t);
            return;
        }
    }
}


/*
 * All has been said, but the edge may still be sending: an error there would
 * keep it from reading the answer.
 */

static void
tunnel_end(tunnel *t)
{
    if (!t->to_app.lost || t->to_peer.eof) {
        tunnel_close(t);
        return;
    }

    io_close(t->app);
    t->app = NULL;
    t->lingers = 1;
    t->deadline = uv_now(agent.loop) + TUNNEL_LINGER_MS;

    io_handover(t->peer, tunnel_linger, t);
    io_want(t->peer, UV_READABLE);
}


/* Passes on the end of one direction, and decides what to wait for. */

static void
tunnel_settle(tunnel *t)
{
    if (t->to_peer.eof && t->to_app.pending.len == 0 && !t->to_app.shut) {
        shutdown(t->app->fd, SHUT_WR);
        t->to_app.shut = 1;
    }

    if (t->to_app.eof && t->to_peer.pending.len == 0 && !t->to_peer.shut) {
        shutdown(t->peer->fd, SHUT_WR);
        t->to_peer.shut = 1;
    }

    if (t->to_peer.shut && t->to_app.shut) {
        tunnel_end(t);
        return;
    }

    io_want(t->peer,
            (t->to_peer.pending.len != 0 ? UV_WRITABLE : 0)
            | (!t->to_peer.eof && t->to_app.pending.len == 0 ? UV_READABLE
                                                             : 0));
    io_want(t->app,
            (t->to_app.pending.len != 0 ? UV_WRITABLE : 0)
            | (!t->to_app.eof && t->to_peer.pending.len == 0 ? UV_READABLE
                                                             : 0));
}


/* The edge's end is the tunnel's; the app's may have words behind it. */

static void
tunnel_turn(tunnel *t)
{
    int  up, down;

    if (tunnel_flush(t->peer, &t->to_peer) != 0) {
        tunnel_close(t);
        return;
    }

    if (tunnel_flush(t->app, &t->to_app) != 0) {
        tunnel_lose_app(t);
    }

    up = tunnel_move(t->peer, &t->to_peer, t->app, &t->to_app);

    if (up == TUNNEL_TO_LOST) {
        tunnel_lose_app(t);
    }

    down = tunnel_move(t->app, &t->to_app, t->peer, &t->to_peer);

    if (down == TUNNEL_FROM_LOST) {
        tunnel_lose_app(t);
        t->to_app.eof = 1;
    }

    if (up == TUNNEL_FROM_LOST || down == TUNNEL_TO_LOST) {
        tunnel_close(t);
        return;
    }

    tunnel_settle(t);
}


static void
tunnel_peer_ready(io *w, int events)
{
    tunnel_turn(w->data);
}


static void
tunnel_app_ready(io *w, int events)
{
    int         err;
    tunnel     *t;
    socklen_t   len;

    t = w->data;

    if (t->deadline == 0) {
        tunnel_turn(t);
        return;
    }

    err = 0;
    len = sizeof(err);
    if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err != 0) {
        io_close(t->app);
        t->app = NULL;

        if (t->v6) {
            tunnel_refuse(t);
            return;
        }

        t->v6 = 1;
        tunnel_connect(t);
        return;
    }

    t->deadline = 0;

    /* The answer goes before the first byte of the port. */
    if (send(t->peer->fd, "OK\n", 3, MSG_DONTWAIT | MSG_NOSIGNAL) != 3) {
        tunnel_close(t);
        return;
    }

    io_handover(t->peer, tunnel_peer_ready, t);
    tunnel_turn(t);
}


static void
tunnel_connect(tunnel *t)
{
    int                   fd, rc, on;
    struct sockaddr_in    in;
    struct sockaddr_in6   in6;

    for ( ;; ) {
        fd = socket(t->v6 ? AF_INET6 : AF_INET,
                    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd == -1) {
            goto next;
        }

        on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

        if (t->v6) {
            memset(&in6, 0, sizeof(in6));
            in6.sin6_family = AF_INET6;
            in6.sin6_port = htons((uint16_t) t->port);
            in6.sin6_addr = in6addr_loopback;
            rc = connect(fd, (struct sockaddr *) &in6, sizeof(in6));

        } else {
            memset(&in, 0, sizeof(in));
            in.sin_family = AF_INET;
            in.sin_port = htons((uint16_t) t->port);
            in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            rc = connect(fd, (struct sockaddr *) &in, sizeof(in));
        }

        if (rc == 0 || errno == EINPROGRESS) {
            break;
        }

        close(fd);

    next:

        if (t->v6) {
            tunnel_refuse(t);
            return;
        }
        t->v6 = 1;
    }

    t->app = io_open(agent.loop, fd, tunnel_app_ready, t);
    if (t->app == NULL) {
        tunnel_refuse(t);
        return;
    }

    if (rc == 0) {
        tunnel_app_ready(t->app, UV_WRITABLE);
        return;
    }

    /* Nothing is read from the peer before the port has accepted. */
    io_want(t->app, UV_WRITABLE);
    io_want(t->peer, 0);
}


void
tunnel_start(io *w, unsigned port, const char *p, size_t n)
{
    tunnel  *t;

    t = calloc(1, sizeof(tunnel));
    if (t == NULL) {
        io_close(w);
        return;
    }

    log_debug("tunnel to port %u", port);

    t->next = tunnel_list.next;
    t->prev = &tunnel_list;
    t->next->prev = t;
    tunnel_list.next = t;
    tunnel_count++;

    t->peer = w;
    t->port = port;
    t->deadline = uv_now(agent.loop) + TUNNEL_CONNECT_MS;
    buffer_append(&t->to_app.pending, p, n);

    io_handover(w, tunnel_peer_ready, t);
    tunnel_connect(t);
}


void
tunnel_sweep(uint64_t now)
{
    tunnel  *t, *next;

    for (t = tunnel_list.next; t != &tunnel_list; t = next) {
        next = t->next;
        if (t->deadline == 0 || t->deadline > now) {
            continue;
        }

        if (t->lingers) {
            tunnel_close(t);

        } else {
            tunnel_refuse(t);
        }
    }
}
