/* Input for running commands; see feed.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/feed.h"

static size_t  feed_total;


feed *
feed_new(void)
{
    feed  *f;

    f = calloc(1, sizeof(feed));
    if (f == NULL) {
        abort();
    }

    return f;
}


static void
feed_drop(feed *f)
{
    feed_total -= f->queue.len;
    buffer_free(&f->queue);
    io_close(f->w);
    f->w = NULL;
}


void
feed_close(feed *f)
{
    feed_drop(f);
    f->closed = 1;
    f->ended = 1;
}


void
feed_free(feed *f)
{
    if (f != NULL) {
        feed_drop(f);
        free(f);
    }
}


/* Writes what the pipe takes.  Returns 1 if there is news. */

static int
feed_write(feed *f)
{
    int      any;
    ssize_t  n;

    any = 0;

    while (f->queue.len != 0) {
        n = write(f->w->fd, buffer_bytes(&f->queue), f->queue.len);

        if (n < 0 && errno == EINTR) {
            continue;
        }

        if (n < 0 && errno == EAGAIN) {
            io_want(f->w, UV_WRITABLE);
            return any;
        }

        if (n < 0) {
            feed_close(f);
            return 1;
        }

        buffer_consume(&f->queue, (size_t) n);
        feed_total -= (size_t) n;
        any = 1;
    }

    if (f->ended) {
        feed_drop(f);

    } else {
        io_want(f->w, 0);
    }

    return any;
}


static void
feed_ready(io *w, int events)
{
    feed  *f;

    f = w->data;

    if (feed_write(f) && f->room != NULL) {
        f->room(f);
    }
}


int
feed_open(feed *f)
{
    int  fds[2];

    if (f->opened || pipe2(fds, O_CLOEXEC) != 0) {
        return -1;
    }

    f->opened = 1;
    fcntl(fds[1], F_SETFL, O_NONBLOCK);

    f->w = io_open(agent.loop, fds[1], feed_ready, f);
    if (f->w == NULL) {
        close(fds[0]);
        return -1;
    }

    feed_write(f);

    return fds[0];
}


size_t
feed_room_total(void)
{
    return feed_total < FEED_TOTAL_MAX ? FEED_TOTAL_MAX - feed_total : 0;
}


size_t
feed_room(const feed *f)
{
    size_t  own, all;

    own = f->queue.len < FEED_MAX ? FEED_MAX - f->queue.len : 0;
    all = feed_room_total();

    return own < all ? own : all;
}


void
feed_add(feed *f, const void *p, size_t n)
{
    if (f->ended) {
        return;
    }

    buffer_append(&f->queue, p, n);
    feed_total += n;

    if (f->w != NULL) {
        feed_write(f);
    }
}


void
feed_end(feed *f)
{
    f->ended = 1;

    if (f->w != NULL && f->queue.len == 0) {
        feed_drop(f);
    }
}
