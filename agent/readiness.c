/* Probes of ports; see readiness.h. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/io.h"
#include "agent/readiness.h"
#include "agent/readiness_http.h"
#include "common/buffer.h"
#include "common/log.h"

#define PROBE_PIECE  4096
#define PROBE_BINDS  4

struct probe {
    uv_timer_t   timer;
    io          *w;
    unsigned     port;
    unsigned     hops;
    int          v6;
    int          connected;
    int          result;
    int          http;
    probe_cb     cb;
    void        *data;
    buffer       out;
    buffer       in;
    char         path[READINESS_PATH_MAX];
};

typedef union {
    struct sockaddr       any;
    struct sockaddr_in    in;
    struct sockaddr_in6   in6;
} probe_address;


static void probe_connect(probe *p);


static void
probe_closed(uv_handle_t *handle)
{
    free(handle->data);
}


void
probe_stop(probe *p)
{
    if (p == NULL) {
        return;
    }

    io_close(p->w);
    buffer_free(&p->out);
    buffer_free(&p->in);
    uv_close((uv_handle_t *) &p->timer, probe_closed);
}


static void
probe_tell(probe *p)
{
    int        result;
    void      *data;
    probe_cb   cb;

    result = p->result;
    cb = p->cb;
    data = p->data;

    probe_stop(p);
    cb(data, result);
}


static void
probe_expired(uv_timer_t *timer)
{
    probe_tell(timer->data);
}


/* Told from the loop: whoever started the probe may not be ready for it. */

static void
probe_finish(probe *p, int result)
{
    p->result = result;
    io_close(p->w);
    p->w = NULL;
    uv_timer_start(&p->timer, probe_expired, 0, 0);
}


/* Addresses. */

static socklen_t
probe_loopback(probe_address *a, int v6, unsigned port)
{
    memset(a, 0, sizeof(*a));

    if (v6) {
        a->in6.sin6_family = AF_INET6;
        a->in6.sin6_port = htons((uint16_t) port);
        a->in6.sin6_addr = in6addr_loopback;
        return sizeof(a->in6);
    }

    a->in.sin_family = AF_INET;
    a->in.sin_port = htons((uint16_t) port);
    a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    return sizeof(a->in);
}


/*
 * A socket with a port of its own that isn't the one to be probed.  Without
 * that the kernel may choose just that one, and a connection to a port that
 * nobody listens on succeeds: with itself.
 */

static int
probe_socket(int v6, unsigned port)
{
    int            fd, i, tried[PROBE_BINDS];
    socklen_t      len;
    probe_address  a;

    fd = -1;

    for (i = 0; i < PROBE_BINDS; i++) {
        tried[i] = socket(v6 ? AF_INET6 : AF_INET,
                          SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (tried[i] == -1) {
            break;
        }

        len = probe_loopback(&a, v6, 0);

        if (bind(tried[i], &a.any, len) != 0
            || getsockname(tried[i], &a.any, &len) != 0)
        {
            close(tried[i]);
            break;
        }

        /* in_port and sin6_port are at one place. */
        if (ntohs(a.in.sin_port) != port) {
            fd = tried[i];
            break;
        }
    }

    while (i-- > 0) {
        close(tried[i]);
    }

    return fd;
}


static void
probe_next(probe *p)
{
    io_close(p->w);
    p->w = NULL;

    if (p->v6) {
        probe_finish(p, -1);
        return;
    }

    p->v6 = 1;
    probe_connect(p);
}


/* HTTP. */

static void
probe_request(probe *p)
{
    buffer_consume(&p->out, p->out.len);
    buffer_consume(&p->in, p->in.len);

    buffer_printf(&p->out, "GET %s HTTP/1.1\r\nHost: localhost:%u\r\n"
                  "User-Agent: sandbox-agent\r\nAccept: */*\r\n"
                  "Connection: close\r\n\r\n", p->path, p->port);
}


static void
probe_answered(probe *p, const readiness_answer *a)
{
    if (p->hops != 0 && readiness_is_redirect(a->status)
        && a->location[0] != '\0'
        && readiness_follow(a->location, &p->port, p->path))
    {
        if (--p->hops == 0) {
            probe_finish(p, -1);        /* in a circle */
            return;
        }

        io_close(p->w);
        p->w = NULL;
        p->v6 = 0;
        probe_request(p);
        probe_connect(p);
        return;
    }

    probe_finish(p, a->status);
}


static void
probe_read(probe *p)
{
    int                       rc;
    ssize_t                   n;
    static readiness_answer   a;

    n = recv(p->w->fd, buffer_room(&p->in, PROBE_PIECE), PROBE_PIECE,
             MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n <= 0) {
        probe_finish(p, -1);
        return;
    }

    buffer_added(&p->in, (size_t) n);

    rc = readiness_parse(buffer_bytes(&p->in), p->in.len, &a);

    if (rc < 0) {
        probe_finish(p, -1);
    } else if (rc > 0) {
        probe_answered(p, &a);
    }
}


static void
probe_write(probe *p)
{
    ssize_t  n;

    n = send(p->w->fd, buffer_bytes(&p->out), p->out.len,
             MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n < 0) {
        probe_finish(p, -1);
        return;
    }

    buffer_consume(&p->out, (size_t) n);
    if (p->out.len == 0) {
        io_want(p->w, UV_READABLE);
    }
}


static void
probe_ready(io *w, int events)
{
    int         err;
    probe      *p;
    socklen_t   len;

    p = w->data;

    if (p->connected) {
        if (p->out.len != 0) {
            probe_write(p);
        } else {
            probe_read(p);
        }
        return;
    }

    err = 0;
    len = sizeof(err);
    if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err != 0) {
        probe_next(p);
        return;
    }

    p->connected = 1;

    if (!p->http) {
        probe_finish(p, 0);
        return;
    }

    probe_write(p);
}


static void
probe_connect(probe *p)
{
    int            fd;
    socklen_t      len;
    probe_address  a;

    p->connected = 0;

    fd = probe_socket(p->v6, p->port);
    if (fd == -1) {
        probe_next(p);
        return;
    }

    p->w = io_open(agent.loop, fd, probe_ready, p);
    if (p->w == NULL) {
        probe_finish(p, -1);
        return;
    }

    len = probe_loopback(&a, p->v6, p->port);

    if (connect(fd, &a.any, len) != 0 && errno != EINPROGRESS) {
        probe_next(p);
        return;
    }

    io_want(p->w, UV_WRITABLE);
}


probe *
probe_start(unsigned port, const char *path, unsigned hops, probe_cb cb,
    void *data)
{
    probe  *p;

    p = calloc(1, sizeof(probe));
    if (p == NULL) {
        abort();
    }

    p->port = port;
    p->hops = hops;
    p->result = -1;
    p->cb = cb;
    p->data = data;

    uv_timer_init(agent.loop, &p->timer);
    p->timer.data = p;
    uv_timer_start(&p->timer, probe_expired, READINESS_PROBE_MS, 0);

    if (path != NULL) {
        p->http = 1;
        strcpy(p->path, path);
        probe_request(p);
    }

    probe_connect(p);

    return p;
}
