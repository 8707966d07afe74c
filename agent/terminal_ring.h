/*
 * The newest output of a terminal: bytes with offsets, of which at most
 * TERMINAL_RING_MAX are kept.  Memory grows with what there is.  Knows neither
 * terminals nor the loop.
 */

#ifndef AGENT_TERMINAL_RING_H
#define AGENT_TERMINAL_RING_H

#include <stddef.h>
#include <stdint.h>

#define TERMINAL_RING_MAX  (256 * 1024)

typedef struct {
    char      *data;
    size_t     size;            /* a power of two */
    uint64_t   start, end;      /* offsets of what is kept */
} terminal_ring;

/* The oldest bytes make way. */
void terminal_ring_append(terminal_ring *r, const char *p, size_t n);

/* The bytes at an offset that lie in one piece; *n is 0 at the end.  An offset
 * that is older than what is kept is moved to it. */
const char *terminal_ring_at(const terminal_ring *r, uint64_t *off, size_t *n);

void terminal_ring_free(terminal_ring *r);

#endif
