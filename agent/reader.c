/* Pipes of commands; see reader.h. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/reader.h"

#define READER_PIECE  (64 * 1024)

static reader    reader_list = { .next = &reader_list, .prev = &reader_list };
static unsigned  reader_left;
static char      reader_scratch[READER_PIECE];


static void
reader_free(reader *r)
{
    if (r->left) {
        r->next->prev = r->prev;
        r->prev->next = r->next;
        reader_left--;
    }

    io_close(r->w);
    free(r);
}


/* At most `turns` pieces.  Returns 1 at the end, 0 if more may come; *got is
 * set if there was something. */

static int
reader_take(reader *r, int turns, int *got)
{
    ssize_t  n;

    while (r->w != NULL && turns-- != 0) {
        n = read(r->w->fd, reader_scratch, sizeof(reader_scratch));

        if (n < 0 && errno == EINTR) {
            continue;
        }

        if (n < 0 && errno == EAGAIN) {
            return 0;
        }

        if (n <= 0) {
            io_close(r->w);
            r->w = NULL;
            return 1;
        }

        *got = 1;
        if (r->to != NULL) {
            spool_append(r->to, reader_scratch, (size_t) n);
        }
    }

    return r->w == NULL;
}


static void
reader_ready(io *w, int events)
{
    int      got, ended;
    reader  *r;

    r = w->data;
    got = 0;
    ended = reader_take(r, 4, &got);

    if (ended && r->left) {
        reader_free(r);
        return;
    }

    if (got && r->cb != NULL) {
        r->cb(r->data);
    }
}


reader *
reader_open(int *write_end, spool *to, void (*cb)(void *), void *data)
{
    int      fds[2];
    reader  *r;

    if (pipe2(fds, O_CLOEXEC) != 0) {
        return NULL;
    }

    r = calloc(1, sizeof(reader));
    if (r == NULL) {
        close(fds[0]);
        close(fds[1]);
        return NULL;
    }

    r->w = io_open(agent.loop, fds[0], reader_ready, r);
    if (r->w == NULL) {
        close(fds[1]);
        free(r);
        return NULL;
    }

    io_want(r->w, UV_READABLE);
    reader_aim(r, to, cb, data);
    *write_end = fds[1];

    return r;
}


void
reader_aim(reader *r, spool *to, void (*cb)(void *), void *data)
{
    r->to = to;
    r->cb = cb;
    r->data = data;
}


int
reader_drain(reader *r)
{
    int  got;

    got = 0;

    /* A writer that never stops must not hold us: what a command has written
     * before its end is in the pipe, which holds at most 1 MiB. */
    return reader_take(r, 1024 * 1024 / READER_PIECE + 1, &got);
}


void
reader_drain_both(reader *a, reader *b)
{
    struct pollfd  p[2];

    p[0].fd = a->w == NULL ? -1 : a->w->fd;
    p[0].events = POLLIN;
    p[1].fd = b->w == NULL ? -1 : b->w->fd;
    p[1].events = POLLIN;

    if (poll(p, 2, 0) <= 0) {
        return;
    }

    if (p[0].revents != 0) {
        reader_drain(a);
    }
    if (p[1].revents != 0) {
        reader_drain(b);
    }
}


void
reader_leave(reader *r)
{
    if (r == NULL) {
        return;
    }

    reader_aim(r, NULL, NULL, NULL);

    if (r->w == NULL) {
        free(r);
        return;
    }

    if (reader_left == READER_LEFT_MAX) {
        reader_free(reader_list.prev);
    }

    r->left = 1;
    r->next = reader_list.next;
    r->prev = &reader_list;
    r->next->prev = r;
    reader_list.next = r;
    reader_left++;
}
