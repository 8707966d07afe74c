/*
 * Points in time at which something is to be done, the earliest first: a heap
 * whose nodes lie in what they belong to.  Knows no clock and calls nobody.
 */

#ifndef SANDBOXD_DEADLINE_H
#define SANDBOXD_DEADLINE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t  at;
    size_t    place;            /* in the heap, from 1; 0: in none */
} deadline;

typedef struct {
    deadline  **nodes;
    size_t      count;
    size_t      size;
} deadlines;

/* Puts a node in, or moves it to another time. */
void deadline_set(deadlines *ds, deadline *d, uint64_t at);

/* Takes it out, if it is in. */
void deadline_clear(deadlines *ds, deadline *d);

/* The earliest, or NULL. */
deadline *deadline_first(const deadlines *ds);

/* The memory of the heap, not of its nodes. */
void deadlines_free(deadlines *ds);

#endif
