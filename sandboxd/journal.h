/*
 * What there is, in the order of its last change: a vector of nodes by rising
 * sequence number.  A node that changes moves to the end, so a reader who
 * comes back with the last number that it saw misses nothing.  No I/O.
 */

#ifndef SANDBOXD_JOURNAL_H
#define SANDBOXD_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t  seq;              /* 0: in no journal */
    size_t    pos;
} journal_node;

typedef struct {
    uint64_t       seq;
    journal_node  *node;        /* NULL: moved on or removed */
} journal_entry;

typedef struct {
    journal_entry  *entries;
    size_t          count;
    size_t          live;
    size_t          size;
} journal;

void journal_free(journal *j);

/* seq must be above every number that was put before. */
void journal_put(journal *j, journal_node *node, uint64_t seq);
void journal_remove(journal *j, journal_node *node);

/* The first node above seq, or NULL. */
journal_node *journal_next(const journal *j, uint64_t seq);

#endif
