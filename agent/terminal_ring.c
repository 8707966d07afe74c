/* The newest output of a terminal; see terminal_ring.h. */

#include <stdlib.h>
#include <string.h>

#include "agent/terminal_ring.h"

#define RING_FIRST  4096


static void
terminal_ring_grow(terminal_ring *r, size_t want)
{
    char      *data;
    size_t     size, n, done;
    uint64_t   at;

    size = r->size == 0 ? RING_FIRST : r->size;
    while (size < want && size < TERMINAL_RING_MAX) {
        size += size;
    }

    if (size == r->size) {
        return;
    }

    data = malloc(size);
    if (data == NULL) {
        abort();
    }

    /* A byte's place follows from its offset. */
    for (at = r->start; at < r->end; at += done) {
        n = size - (size_t) (at & (size - 1));
        done = r->size - (size_t) (at & (r->size - 1));
        if (done > n) {
            done = n;
        }
        if (done > r->end - at) {
            done = (size_t) (r->end - at);
        }
        memcpy(data + (at & (size - 1)), r->data + (at & (r->size - 1)), done);
    }

    free(r->data);
    r->data = data;
    r->size = size;
}


void
terminal_ring_append(terminal_ring *r, const char *p, size_t n)
{
    size_t  piece;

    if (n > TERMINAL_RING_MAX) {
        r->end += n - TERMINAL_RING_MAX;
        p += n - TERMINAL_RING_MAX;
        n = TERMINAL_RING_MAX;
        r->start = r->end;
    }

    terminal_ring_grow(r, (size_t) (r->end - r->start) + n);

    while (n != 0) {
        piece = r->size - (size_t) (r->end & (r->size - 1));
        if (piece > n) {
            piece = n;
        }
        memcpy(r->data + (r->end & (r->size - 1)), p, piece);
        r->end += piece;
        p += piece;
        n -= piece;
    }

    if (r->end - r->start > r->size) {
        r->start = r->end - r->size;
    }
}


const char *
terminal_ring_at(const terminal_ring *r, uint64_t *off, size_t *n)
{
    size_t  piece;

    if (*off < r->start) {
        *off = r->start;
    }

    *n = (size_t) (r->end - *off);
    if (*n == 0) {
        return "";
    }

    piece = r->size - (size_t) (*off & (r->size - 1));
    if (*n > piece) {
        *n = piece;
    }

    return r->data + (*off & (r->size - 1));
}


void
terminal_ring_free(terminal_ring *r)
{
    free(r->data);
    memset(r, 0, sizeof(*r));
}
