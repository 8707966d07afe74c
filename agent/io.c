/* Watched descriptors; see io.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/io.h"


static void
io_event(uv_poll_t *poll, int status, int events)
{
    io   *w;
    int   wanted;

    w = poll->data;

    if (status >= 0) {
        w->ready(w, events);
        return;
    }

    /* libuv has stopped the watcher: pass on what was waited for and let the
     * read or write that follows find out why. */
    wanted = w->events;
    w->events = 0;
    w->ready(w, wanted | UV_READABLE | UV_DISCONNECT);

    if (w->fd != -1 && w->events == 0) {
        io_want(w, wanted);
    }
}


io *
io_open(uv_loop_t *loop, int fd, io_ready ready, void *data)
{
    io  *w;

    w = calloc(1, sizeof(io));
    if (w == NULL) {
        close(fd);
        return NULL;
    }

    fcntl(fd, F_SETFD, FD_CLOEXEC);

    if (uv_poll_init(loop, &w->poll, fd) != 0) {
        close(fd);
        free(w);
        return NULL;
    }

    w->fd = fd;
    w->ready = ready;
    w->data = data;
    w->poll.data = w;

    return w;
}


void
io_handover(io *w, io_ready ready, void *data)
{
    w->ready = ready;
    w->data = data;
}


void
io_want(io *w, int events)
{
    if (events == w->events) {
        return;
    }

    w->events = events;

    if (events == 0) {
        uv_poll_stop(&w->poll);

    } else {
        uv_poll_start(&w->poll, events, io_event);
    }
}


static void
io_closed(uv_handle_t *handle)
{
    free(handle->data);
}


ssize_t
io_send(io *w, buffer *out)
{
    ssize_t  n, sent;

    for (sent = 0; out->len != 0; sent += n) {
        n = send(w->fd, buffer_bytes(out), out->len,
                 MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0) {
            if (errno == EAGAIN || errno == EINTR) {
                return sent;
            }

            buffer_free(out);
            return -1;
        }

        buffer_consume(out, (size_t) n);
    }

    if (out->data != NULL) {
        buffer_free(out);
    }

    return sent;
}


void
io_close(io *w)
{
    if (w == NULL) {
        return;
    }

    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *) &w->poll, io_closed);
    close(w->fd);
    w->fd = -1;
}
