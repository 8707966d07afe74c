/*
 * How often something may happen: a bucket that holds as many as a minute
 * brings, and fills as the minute goes by.  Pure; an empty one is all zeros.
 */

#ifndef SANDBOXD_BUCKET_H
#define SANDBOXD_BUCKET_H

#include <stdint.h>

typedef struct {
    double    taken;            /* of the last minute, as they wear off */
    uint64_t  at;               /* loop time (ms) of that figure */
} bucket;

/* Takes one: 0, or in how many seconds there is one again. */
unsigned bucket_take(bucket *b, unsigned per_minute, uint64_t now);

#endif
