/* The first answer of an agent that others run; see external.h. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandboxd/external.h"

#define EXPECTED  "OK\nHTTP/1.1 200"

struct external_probe {
    uv_poll_t        poll;
    uv_timer_t       timer;
    external_probed  cb;
    void            *data;
    int              fd;
    unsigned         open;          /* handles */
    bool             connected;
    bool             ended;
    bool             vmm;           /* its answer comes first */
    size_t           len;
    char             answer[64];
    size_t           sent;
    size_t           text_len;
    char             text[160];
};


static void
probe_end(external_probe *p, error *err)
{
    if (p->ended) {
        error_free(err);
        return;
    }

    p->ended = true;
    uv_poll_stop(&p->poll);
    uv_timer_stop(&p->timer);
    p->cb(p->data, err);
}


static void
probe_fail(external_probe *p, const char *what, int code)
{
    error  *err;

    err = NULL;
    error_set(&err, 503, "unreachable", "%s%s%s", what, code ? ": " : "",
              code ? strerror(code) : "");
    probe_end(p, err);
}


static void
on_probe_timer(uv_timer_t *timer)
{
    error           *err;
    external_probe  *p;

    p = timer->data;
    err = NULL;
    error_set(&err, 503, "no_answer", p->connected
              ? "its agent takes too long to answer"
              : "nobody answers where its agent should be");
    probe_end(p, err);
}


/* Takes away "OK <number>\n"; false while that isn't there, or is none. */
static bool
probe_vmm(external_probe *p)
{
    char    *end;
    size_t   line, digits;

    end = memchr(p->answer, '\n', p->len);
    line = end != NULL ? (size_t) (end - p->answer) : p->len;
    p->answer[p->len] = '\0';
    digits = line > 3 ? strspn(p->answer + 3, "0123456789") : 0;

    if (memcmp(p->answer, "OK ", line < 3 ? line : 3) != 0
        || (line > 3 && digits != line - 3) || digits > 10
        || (end != NULL && digits == 0))
    {
        probe_fail(p, "what answers is no virtual machine's socket", 0);
        return false;
    }

    if (end == NULL) {
        return false;
    }

    p->len -= line + 1;
    memmove(p->answer, end + 1, p->len);
    p->vmm = false;

    return true;
}


/* What the agent says to a wrong key is worth telling apart. */
static void
probe_read(external_probe *p)
{
    size_t   len;
    ssize_t  n;

    n = recv(p->fd, p->answer + p->len, sizeof(p->answer) - 1 - p->len,
             MSG_DONTWAIT);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n <= 0) {
        probe_fail(p, p->len >= 7 && memcmp(p->answer, "ERR key", 7) == 0
                   ? "its agent has another key"
                   : p->vmm ? "nobody listens on its vsock port"
                   : "its agent closed the connection", n == -1 ? errno : 0);
        return;
    }

    p->len += (size_t) n;

    if (p->vmm && !probe_vmm(p)) {
        return;
    }

    len = p->len < sizeof(EXPECTED) - 1 ? p->len : sizeof(EXPECTED) - 1;

    if (memcmp(p->answer, "ERR key\n", len < 8 ? len : 8) == 0 && len > 0) {
        if (len >= 8) {
            probe_fail(p, "its agent has another key", 0);
        }
        return;
    }

    if (memcmp(p->answer, EXPECTED, len) != 0) {
        probe_fail(p, "what answers is no agent that is well", 0);
        return;
    }

    if (len == sizeof(EXPECTED) - 1) {
        probe_end(p, NULL);
    }
}


static void
on_probe_ready(uv_poll_t *handle, int status, int events)
{
    int              code;
    ssize_t          n;
    socklen_t        len;
    external_probe  *p;

    p = handle->data;

    /* libuv says no more than that there is an error. */
    if (status < 0 || !p->connected) {
        code = 0;
        len = sizeof(code);

        if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &code, &len) == -1) {
            code = errno;
        }

        if (p->connected && p->sent == p->text_len) {

            /* Why may have been said before. */
            probe_read(p);

            if (p->ended) {
                return;
            }
        }

        if (status < 0 || code != 0) {
            probe_fail(p, "its agent can't be reached", code);
            return;
        }

        p->connected = true;
    }

    if (p->sent < p->text_len) {
        n = send(p->fd, p->text + p->sent, p->text_len - p->sent,
                 MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n == -1 && errno != EAGAIN && errno != EINTR) {

            /* Why may have been said before. */
            probe_read(p);

            if (!p->ended) {
                probe_fail(p, "its agent closed the connection", 0);
            }

            return;
        }

        p->sent += n > 0 ? (size_t) n : 0;

        if (p->sent == p->text_len) {
            uv_poll_start(&p->poll, UV_READABLE, on_probe_ready);
        }

        return;
    }

    if (events & UV_READABLE) {
        probe_read(p);
    }
}


external_probe *
external_probe_start(uv_loop_t *loop, const struct sockaddr *addr,
    socklen_t len, uint32_t vsock_port, const char *key, external_probed cb,
    void *data, error **err)
{
    int              fd, n;
    external_probe  *p;

    fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                0);

    if (fd == -1) {
        error_set(err, 503, "unreachable", "this host has no such sockets: "
                  "%s", strerror(errno));
        return NULL;
    }

    if (connect(fd, addr, len) == -1 && errno != EINPROGRESS) {
        error_set(err, 503, errno == EAGAIN ? "no_answer" : "unreachable",
                  "its agent can't be reached: %s", strerror(errno));
        close(fd);
        return NULL;
    }

    p = calloc(1, sizeof(external_probe));
    if (p == NULL) {
        abort();
    }

    p->fd = fd;
    p->cb = cb;
    p->data = data;
    p->open = 2;
    p->vmm = vsock_port != 0;

    n = p->vmm ? snprintf(p->text, sizeof(p->text), "CONNECT %u\n",
                          vsock_port) : 0;
    p->text_len = (size_t) n;
    n = snprintf(p->text + n, sizeof(p->text) - (size_t) n, "CONTROL %s\n"
                 "GET /api/ping HTTP/1.1\r\nHost: localhost\r\n"
                 "Connection: close\r\n\r\n", key);
    p->text_len += (size_t) n;

    uv_poll_init(loop, &p->poll, fd);
    uv_timer_init(loop, &p->timer);
    p->poll.data = p->timer.data = p;
    uv_timer_start(&p->timer, on_probe_timer, EXTERNAL_PROBE_MS, 0);
    uv_poll_start(&p->poll, UV_WRITABLE, on_probe_ready);

    return p;
}


static void
on_probe_closed(uv_handle_t *handle)
{
    external_probe  *p;

    p = handle->data;

    if (--p->open == 0) {
        close(p->fd);
        free(p);
    }
}


void
external_probe_stop(external_probe *p)
{
    p->ended = true;

    if (!uv_is_closing((uv_handle_t *) &p->poll)) {
        uv_close((uv_handle_t *) &p->poll, on_probe_closed);
        uv_close((uv_handle_t *) &p->timer, on_probe_closed);
    }
}
