/*
 * One descriptor watched by the event loop, handed from stage to stage (first
 * line, HTTP, tunnel) without being registered anew.  Owns its descriptor.
 */

#ifndef AGENT_IO_H
#define AGENT_IO_H

#include <uv.h>

#include "common/buffer.h"

typedef struct io io;

/* events: UV_READABLE, UV_WRITABLE, UV_DISCONNECT; an error of the descriptor
 * is told as all that was wanted, so that the next read or write meets it. */
typedef void (*io_ready)(io *w, int events);

struct io {
    uv_poll_t   poll;
    int         fd;
    int         events;
    io_ready    ready;
    void       *data;
};

/* The descriptor becomes non-blocking and close-on-exec.  On failure it is
 * closed and NULL returned. */
io *io_open(uv_loop_t *loop, int fd, io_ready ready, void *data);

void io_handover(io *w, io_ready ready, void *data);

void io_want(io *w, int events);

/* Sends what the socket takes of the buffer, which is freed when it is empty;
 * the number of bytes, or -1: nobody takes the rest any more. */
ssize_t io_send(io *w, buffer *out);

/* Closes the descriptor now; the memory goes at the loop's next turn.  NULL is
 * allowed. */
void io_close(io *w);

#endif
