/* What sandboxes' disks may be together; see disks.h. */

#include <stddef.h>

#include "sandboxd/disks.h"

#define DISKS_RETRY_S  5


/* The message tells nothing of what others have. */
static int
disks_fit(const disks *d, uint64_t counted, uint64_t more, uint64_t wants,
    error **err)
{
    if (d->budget == 0 || more == 0
        || (more <= d->budget && counted <= d->budget - more))
    {
        return 0;
    }

    error_set_field(err, 507, "insufficient_storage", "resources.disk",
                    (long long) d->budget, "its %llu MiB of disk are not left "
                    "of the %llu MiB that all sandboxes of this host may have "
                    "together", (unsigned long long) wants >> 20,
                    (unsigned long long) d->budget >> 20);

    if (err != NULL) {
        (*err)->retry_after = DISKS_RETRY_S;
    }

    return -1;
}


int
disks_check(const disks *d, uint64_t has, uint64_t wants, error **err)
{
    return disks_fit(d, d->promised, wants > has ? wants - has : 0, wants,
                     err);
}


void
disks_take(disks *d, uint64_t *has, uint64_t wants)
{
    uint64_t  all;

    d->promised = d->promised - *has + wants;
    *has = wants;
    all = d->promised + d->spare;

    if (d->budget != 0 && d->spare != 0 && d->yield != NULL && all > d->budget)
    {
        d->yield(d->yield_data, all - d->budget);
    }
}


int
disks_spare(disks *d, uint64_t bytes, error **err)
{
    if (disks_fit(d, d->promised + d->spare, bytes, bytes, err) < 0) {
        return -1;
    }

    d->spare += bytes;

    return 0;
}


void
disks_spare_end(disks *d, uint64_t bytes)
{
    d->spare -= bytes;
}
