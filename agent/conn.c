/* Accepting connections and their first line; see conn.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/conn.h"
#include "agent/first_line.h"
#include "agent/listen.h"
#include "agent/terminal.h"
#include "agent/ws_conn.h"
#include "common/log.h"

#define CONN_DRAIN_MAX  (64 * 1024)
#define CONN_DRAIN_MS   1000

typedef struct conn conn;

/* A connection whose first line is awaited, or that was refused and drains. */
struct conn {
    conn      *next, *prev;
    io        *w;
    uint64_t   deadline;
    size_t     drained;
    size_t     len;
    int        refused;
    char       line[4096];
};

static conn          conn_list = { .next = &conn_list, .prev = &conn_list };
static io           *conn_listener;
static unsigned      conn_pending;
static uv_timer_t    conn_timer;
static int           conn_spare = -1;   /* a descriptor for the worst case */
static int           conn_full;         /* none was left lately */


static void
conn_free(conn *c)
{
    c->next->prev = c->prev;
    c->prev->next = c->next;
    conn_pending--;
    free(c);
}


static void
conn_close(conn *c)
{
    io_close(c->w);
    conn_free(c);
}


static void
conn_drain(io *w, int events)
{
    char      scratch[4096];
    conn     *c;
    ssize_t   n;

    c = w->data;

    do {
        n = recv(w->fd, scratch, sizeof(scratch), MSG_DONTWAIT);
        if (n > 0) {
            c->drained += (size_t) n;
        }
    } while (n > 0 && c->drained < CONN_DRAIN_MAX);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    conn_close(c);
}


static conn *
conn_add(io *w)
{
    conn  *c;

    c = calloc(1, sizeof(conn));
    if (c == NULL) {
        io_close(w);
        return NULL;
    }

    c->w = w;
    c->next = conn_list.next;
    c->prev = &conn_list;
    c->next->prev = c;
    conn_list.next = c;
    conn_pending++;

    return c;
}


static void
conn_refuse_known(conn *c, const char *line)
{
    log_debug("connection refused: %.*s", (int) strcspn(line, "\n"), line);

    (void) !send(c->w->fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(c->w->fd, SHUT_WR);

    c->refused = 1;
    c->deadline = uv_now(agent.loop) + CONN_DRAIN_MS;
    io_handover(c->w, conn_drain, c);
    io_want(c->w, UV_READABLE);
}


void
conn_refuse(io *w, const char *line)
{
    conn  *c;

    c = conn_add(w);
    if (c != NULL) {
        conn_refuse_known(c, line);
    }
}


/* The line is complete: the descriptor leaves this file. */

static void
conn_dispatch(conn *c, first_line_kind kind, const first_line *line)
{
    io      *w;
    char     rest[sizeof(c->line)];
    size_t   n;

    if (kind == FIRST_LINE_BAD) {
        conn_refuse_known(c, "ERR key\n");
        return;
    }

    if ((kind == FIRST_LINE_CONTROL ? http_conn_count >= CONN_MAX_CONTROL
                                    : tunnel_count >= CONN_MAX_TUNNEL))
    {
        conn_refuse_known(c, "ERR limit\n");
        return;
    }

    w = c->w;
    n = c->len - line->used;
    memcpy(rest, c->line + line->used, n);
    conn_free(c);

    if (kind == FIRST_LINE_CONTROL) {
        http_conn_start(w, rest, n);

    } else {
        tunnel_start(w, line->port, rest, n);
    }
}


static void
conn_ready(io *w, int events)
{
    conn             *c;
    ssize_t           n;
    first_line        line;
    first_line_kind   kind;

    c = w->data;

    n = recv(w->fd, c->line + c->len, sizeof(c->line) - c->len, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n <= 0) {
        conn_close(c);
        return;
    }

    c->len += (size_t) n;

    kind = first_line_parse(c->line, c->len, agent.key, &line);
    if (kind != FIRST_LINE_MORE) {
        conn_dispatch(c, kind, &line);
    }
}


/* No descriptor is left.  The one kept for this takes the connection, so that
 * it hears why it is refused, rather than being waiting for ever while the loop
 * is woken for it again and again. */

static void
conn_accept_refuse(io *w)
{
    int  fd;

    if (conn_spare != -1) {
        close(conn_spare);
        fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd != -1) {
            (void) !send(fd, "ERR limit\n", 10, MSG_DONTWAIT | MSG_NOSIGNAL);
            close(fd);
        }
        conn_spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }

    if (!conn_full) {
        log_warn("connections are refused: %s", strerror(errno));
    }

    if (conn_spare == -1) {
        /* Not even that: look again at the next tick. */
        io_want(w, 0);
    }

    conn_full = 1;
}


static void
conn_accept(io *w, int events)
{
    int    fd, i;
    io    *peer;
    conn  *c;

    for (i = 0; i < 64; i++) {
        fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd == -1) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS
                || errno == ENOMEM)
            {
                conn_accept_refuse(w);
            }
            return;
        }

        if (!listen_peer_allowed(fd)) {
            close(fd);
            continue;
        }

        peer = io_open(agent.loop, fd, conn_ready, NULL);
        if (peer == NULL) {
            continue;
        }

        c = conn_add(peer);
        if (c == NULL) {
            continue;
        }

        peer->data = c;

        if (conn_pending > CONN_MAX_PENDING) {
            conn_refuse_known(c, "ERR limit\n");
            continue;
        }

        c->deadline = uv_now(agent.loop) + CONN_LINE_MS;
        io_want(peer, UV_READABLE);

        /* The line is usually there already. */
        conn_ready(peer, UV_READABLE);
    }
}


static void
conn_tick(uv_timer_t *timer)
{
    conn      *c, *next;
    uint64_t   now;

    now = uv_now(agent.loop);

    if (conn_spare == -1) {
        conn_spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }

    conn_full = 0;
    if (conn_listener != NULL) {
        io_want(conn_listener, UV_READABLE);
    }

    for (c = conn_list.next; c != &conn_list; c = next) {
        next = c->next;
        if (c->deadline <= now) {
            conn_close(c);
        }
    }

    http_conn_sweep(now);
    ws_sweep(now);
    terminal_sweep(now);
    tunnel_sweep(now);
}


int
conn_listen(int fd)
{
    conn_listener = io_open(agent.loop, fd, conn_accept, NULL);
    if (conn_listener == NULL) {
        return -1;
    }

    io_want(conn_listener, UV_READABLE);
    conn_spare = open("/dev/null", O_RDONLY | O_CLOEXEC);

    uv_timer_init(agent.loop, &conn_timer);
    uv_timer_start(&conn_timer, conn_tick, 1000, 1000);

    return 0;
}


void
conn_stop(void)
{
    io_close(conn_listener);
    conn_listener = NULL;
}
