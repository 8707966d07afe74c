/* See tsc.h. */

#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "common/small_file.h"
#include "sandboxd/tsc.h"

#ifdef __x86_64__

#include <x86intrin.h>

#define TSC_LEAST_NS   50000000LL       /* 100 ns of error are 2 ppm */
#define TSC_ENOUGH_NS  2000000000LL
#define TSC_TRIES      8

/* The kernel takes "tsc" out of it when it has seen it run wrong
 * (kernel/time/clocksource.c), which may be at any time. */
#define TSC_SOURCES    "/sys/devices/system/clocksource/clocksource0/"        \
                       "available_clocksource"

typedef struct {
    uint64_t  ticks;
    int64_t   ns;
} tsc_reading;

static tsc_reading  tsc_first;
static unsigned     tsc_known;


static int64_t
tsc_ns(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}


/* Both at once, as far as that goes: of some tries the one that was interrupted
 * least. */
static tsc_reading
tsc_read(void)
{
    int          i;
    int64_t      before, after, best;
    uint64_t     ticks;
    tsc_reading  r;

    r.ticks = 0;
    r.ns = 0;
    best = INT64_MAX;

    for (i = 0; i < TSC_TRIES; i++) {
        before = tsc_ns();
        ticks = __rdtsc();
        after = tsc_ns();

        if (after - before < best) {
            best = after - before;
            r.ticks = ticks;
            r.ns = before + best / 2;
        }
    }

    return r;
}


static int
tsc_trusted(void)
{
    char  text[256], *p, *more;

    /* Nothing is said against it where there is no such file. */
    if (small_file_text(TSC_SOURCES, text, sizeof(text)) <= 0) {
        return 1;
    }

    for (p = strtok_r(text, " \n", &more); p != NULL;
         p = strtok_r(NULL, " \n", &more))
    {
        if (strcmp(p, "tsc") == 0) {
            return 1;
        }
    }

    return 0;
}


void
tsc_begin(void)
{
    tsc_first = tsc_read();
}


unsigned
tsc_khz(void)
{
    double           khz;
    int64_t          ns;
    unsigned         known;
    tsc_reading      now;
    struct timespec  rest;

    if (!tsc_trusted()) {
        return 0;
    }

    known = __atomic_load_n(&tsc_known, __ATOMIC_RELAXED);

    if (known != 0) {
        return known;
    }

    ns = TSC_LEAST_NS - (tsc_ns() - tsc_first.ns);

    if (ns > 0) {
        rest.tv_sec = 0;
        rest.tv_nsec = ns;
        (void) nanosleep(&rest, NULL);
    }

    now = tsc_read();
    ns = now.ns - tsc_first.ns;
    khz = (double) (now.ticks - tsc_first.ticks) * 1e6 / (double) ns + 0.5;

    /* Of a counter that was set meanwhile nothing is to be had. */
    if (ns < TSC_LEAST_NS / 2 || khz < 1 || khz > (double) UINT_MAX) {
        return 0;
    }

    if (ns >= TSC_ENOUGH_NS) {
        __atomic_store_n(&tsc_known, (unsigned) khz, __ATOMIC_RELAXED);
    }

    return (unsigned) khz;
}

#else

void
tsc_begin(void)
{
}


unsigned
tsc_khz(void)
{
    return 0;
}

#endif
