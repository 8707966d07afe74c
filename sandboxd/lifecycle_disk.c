/*
 * How large the disks of sandboxes are, which have one of their own: what they
 * asked for, or what their driver gives; of those from before, what there is.
 * Whether there is so much left is the registry's business (disks.h).
 */

#include "sandboxd/lifecycle_part.h"


/* NULL: it isn't among ours any more. */
static driver *
disk_driver(lifecycle *lc, json_t *spec)
{
    driver  *d;

    d = driver_named(lc, spec_runtime(spec));

    return d != NULL || json_object_get(spec, "runtime") != NULL ? d
                                                                 : lc->driver;
}


uint64_t
lifecycle_disk_default(lifecycle *lc, const driver *d)
{
    return !d->enforces_disk ? 0 : lc->defaults.disk != 0 ? lc->defaults.disk
                                                          : d->disk_default;
}


uint64_t
disk_of(void *data, json_t *spec)
{
    driver         *d;
    driver_limits   limits;

    if (spec_external(spec)) {
        return 0;
    }

    spec_limits(spec, &limits);

    if (limits.disk != 0) {
        return limits.disk;
    }

    d = disk_driver(data, spec);

    return d != NULL ? lifecycle_disk_default(data, d) : 0;
}


/* A default may have been another one when its files were made.  Those of one
 * that has never run are made anew with its first start. */
void
disk_adopt(lifecycle *lc, sandbox *sb)
{
    driver         *d;
    uint64_t        size;
    driver_limits   limits;

    size = disk_of(lc, sb->spec);
    spec_limits(sb->spec, &limits);
    d = spec_external(sb->spec) ? NULL : disk_driver(lc, sb->spec);

    if (limits.disk == 0 && d != NULL && d->disk != NULL
        && (sb->now.epoch != 0 || sb->forked))
    {
        (void) d->disk(d, sb->slot, &size);
    }

    disks_take(&lc->r->disks, &sb->disk, size);
}
