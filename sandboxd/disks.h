/*
 * The disks of a host's sandboxes, all together: what they were promised, and
 * how much that may be.  Disks are sparse, so that more can be promised than
 * there is; whoever is over that is refused before it is made, and not when a
 * guest writes.  The sum is of what there is a record of, or will be in the
 * same turn of the loop: whoever takes a disk has looked in that turn.
 *
 * What is nobody's (the pool's) counts as well, but makes room.  Pure.
 */

#ifndef SANDBOXD_DISKS_H
#define SANDBOXD_DISKS_H

#include <stdint.h>

#include "common/error.h"

typedef struct {
    uint64_t   budget;          /* bytes; 0: no bound */
    uint64_t   promised;        /* to sandboxes, and to copies on their way */
    uint64_t   spare;           /* of what is nobody's, */
    void     (*yield)(void *data, uint64_t bytes);  /* which ends some of it; */
    void      *yield_data;                          /* NULL: there is none */
} disks;

/* Whether one that has so much may have so much instead.  Less always, also
 * where more was promised than may be by now. */
int disks_check(const disks *d, uint64_t has, uint64_t wants, error **err);

/* *has is what somebody has, and is counted with; whether it may be more is not
 * looked at. */
void disks_take(disks *d, uint64_t *has, uint64_t wants);

/* For what is nobody's.  -1: there is nothing left for it. */
int disks_spare(disks *d, uint64_t bytes, error **err);
void disks_spare_end(disks *d, uint64_t bytes);

#endif
