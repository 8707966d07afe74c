/*
 * How starts went, for metrics: counted since sandboxd began, times as a
 * histogram.  Pure.
 */

#ifndef SANDBOXD_STARTS_H
#define SANDBOXD_STARTS_H

#include <stdint.h>

#include <jansson.h>

#define STARTS_BOUNDS  14

typedef struct {
    uint64_t  ok;
    uint64_t  failed;
    uint64_t  counts[STARTS_BOUNDS + 1];    /* the last one has no bound */
    uint64_t  sum_ms;
} start_counts;

void starts_count(start_counts *s, uint64_t ms);

/* {"ok","failed","bounds":[ms],"counts":[],"sum":ms} */
json_t *starts_json(const start_counts *s);

#endif
