/*
 * Whether there is memory for one more that runs: by what those that run were
 * promised, their limits, and by what the host has left.  Those that were
 * taken over count, even if they are more than may be by now; those that are
 * nobody's count as well, but are in nobody's way.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/small_file.h"
#include "sandboxd/lifecycle_part.h"

#define ADMIT_RETRY_S  5


static uint64_t
admit_promise(lifecycle *lc, sandbox *sb)
{
    driver_limits  limits;

    spec_limits(sb->spec, &limits);

    return limits.memory != 0 ? limits.memory : lc->defaults.memory;
}


void
admit_enter(lifecycle *lc, sandbox *sb, run_state state)
{
    bool  runs;

    runs = state != RUN_NONE && state != RUN_CLEANUP
           && !spec_external(sb->spec);

    if (runs && !sb->run.admitted) {
        sb->run.promised = admit_promise(lc, sb);
        lc->promised += sb->run.promised;

        if (lc->spare_of != NULL) {
            lc->spare -= lc->spare_of(lc->spare_data, sb->slot, true);
        }

    } else if (!runs && sb->run.admitted) {
        lc->promised -= sb->run.promised;
    }

    sb->run.admitted = runs;
}


/* What can be had without swapping; UINT64_MAX: it isn't known. */
static uint64_t
memory_available(void)
{
    char                text[1024], *p;
    unsigned long long  kib;

    (void) small_file_text("/proc/meminfo", text, sizeof(text));
    p = strstr(text, "\nMemAvailable:");

    return p != NULL && sscanf(p, "\nMemAvailable: %llu kB", &kib) == 1
           ? kib * 1024 : UINT64_MAX;
}


static int
admit_host(lifecycle *lc, error **err)
{
    uint64_t  available;

    if (lc->memory_floor == 0) {
        return 0;
    }

    available = memory_available();

    /* How much there is, is others' business. */
    if (available < lc->memory_floor) {
        error_set_field(err, 503, "insufficient_memory", "memory",
                        (long long) lc->memory_floor, "this host has less "
                        "memory left than the %llu MiB that are kept for what "
                        "runs", (unsigned long long) lc->memory_floor >> 20);
        (*err)->retry_after = ADMIT_RETRY_S;
        return -1;
    }

    return 0;
}


static int
admit_budget(lifecycle *lc, uint64_t promised, uint64_t memory, error **err)
{
    if (lc->memory_budget == 0
        || (memory <= lc->memory_budget
            && promised <= lc->memory_budget - memory))
    {
        return 0;
    }

    error_set_field(err, 503, "insufficient_memory", "memory",
                    (long long) lc->memory_budget, "its %llu MiB of "
                    "memory are not left of the %llu MiB that all which "
                    "run on this host may have together",
                    (unsigned long long) memory >> 20,
                    (unsigned long long) lc->memory_budget >> 20);
    (*err)->retry_after = ADMIT_RETRY_S;

    return -1;
}


/* What is nobody's makes room for what is somebody's. */
int
admit_check(lifecycle *lc, sandbox *sb, error **err)
{
    uint64_t  memory, own, all;

    memory = admit_promise(lc, sb);

    if (admit_budget(lc, lc->promised, memory, err) != 0
        || admit_host(lc, err) != 0)
    {
        return -1;
    }

    if (lc->memory_budget != 0 && lc->spare != 0 && lc->spare_yield != NULL) {
        own = lc->spare_of(lc->spare_data, sb->slot, false);
        all = lc->promised + memory + lc->spare - own;

        if (all > lc->memory_budget) {
            lc->spare_yield(lc->spare_data, all - lc->memory_budget);
        }
    }

    return 0;
}


int
lifecycle_spare(void *data, uint64_t memory, error **err)
{
    lifecycle  *lc;

    lc = data;

    if (admit_budget(lc, lc->promised + lc->spare, memory, err) != 0
        || admit_host(lc, err) != 0)
    {
        return -1;
    }

    lc->spare += memory;

    return 0;
}


void
lifecycle_spare_end(void *data, uint64_t memory)
{
    ((lifecycle *) data)->spare -= memory;
}
