/*
 * Filling the pool, one after another, and what of the memory of those that are
 * nobody's it has; see pool.h.
 */

#include <stdlib.h>

#include "common/log.h"
#include "sandboxd/pool_part.h"

#define PREPARE_TIMEOUT_MS  60000
#define PAUSE_MIN_MS           20
#define RETRY_FIRST_MS       1000
#define RETRY_MAX_MS        60000
#define SPARE_RETRY_MS       5000   /* where there was none for more */


static void  on_fill(uv_timer_t *timer);


void
pool_fill_in(pool *p, uint64_t ms)
{
    if (!p->closing) {
        uv_timer_start(&p->fill, on_fill, ms, 0);
    }
}


static void
image_failed(pool_image *image, uint64_t now, const error *err)
{
    unsigned  shift;
    uint64_t  pause;

    shift = image->failures < 6 ? image->failures : 6;
    pause = (uint64_t) RETRY_FIRST_MS << shift;
    pause = pause < RETRY_MAX_MS ? pause : RETRY_MAX_MS;

    image->failures++;
    image->retry_at = now + pause;

    log_warn("pool: a sandbox of the image \"%s\" could not be prepared (%u "
             "in a row): %s", image->name, image->failures, err->message);
}


static void
on_prepared(void *data, const driver_handle *handle, error *err)
{
    pool        *p;
    uint64_t     took;
    pool_entry  *e;

    e = data;
    p = e->p;
    took = uv_now(p->lc->loop) - e->since;

    if (err != NULL) {
        image_failed(e->image, uv_now(p->lc->loop), err);
        error_free(err);
        pool_destroy(e);
        return;
    }

    log_debug("pool: slot %08x waits, pid %d", e->spec.slot,
              (int) handle->pid);

    e->image->failures = 0;
    pool_enter(e, ENTRY_WARM);

    if (e->unwanted) {
        pool_end(e);
    }

    /* Half of the time is for others. */
    pool_fill_in(p, took > PAUSE_MIN_MS ? took : PAUSE_MIN_MS);
}


/* Where there is no memory or disk for more, the pool waits: that is no
 * failure. */
static bool
image_admit(pool *p, pool_image *image, uint64_t disk)
{
    error  *err;

    err = NULL;

    if (disks_spare(&p->r->disks, disk, &err) == 0) {
        if (lifecycle_spare(p->lc, p->lc->defaults.memory, &err) == 0) {
            image->short_of = false;
            return true;
        }

        disks_spare_end(&p->r->disks, disk);
    }

    if (!image->short_of) {
        log_info("pool: no more sandboxes of the image \"%s\" for now: %s",
                 image->name, err->message);
    }

    image->short_of = true;
    image->retry_at = uv_now(p->lc->loop) + SPARE_RETRY_MS;
    error_free(err);

    return false;
}


static void
image_prepare(pool *p, pool_image *image)
{
    error       *err;
    driver      *d;
    uint32_t     slot;
    uint64_t     disk;
    pool_entry  *e;

    err = NULL;
    d = image->driver;
    disk = lifecycle_disk_default(p->lc, d);

    if (!image_admit(p, image, disk)) {
        return;
    }

    if (registry_slot(p->r, &slot, &err) < 0) {
        lifecycle_spare_end(p->lc, p->lc->defaults.memory);
        disks_spare_end(&p->r->disks, disk);
        image_failed(image, uv_now(p->lc->loop), err);
        error_free(err);
        return;
    }

    e = calloc(1, sizeof(pool_entry));
    if (e == NULL) {
        abort();
    }

    e->p = p;
    e->image = image;
    e->next = p->entries;
    p->entries = e;
    image->counts[ENTRY_PREPARING]++;
    e->memory = p->lc->defaults.memory;
    e->disk = disk;
    e->since = uv_now(p->lc->loop);

    e->spec.slot = slot;
    e->spec.id = "";
    e->spec.key = "";
    e->spec.image = image->name;
    e->spec.env = p->no_env;
    e->spec.defaults = p->lc->defaults;

    d->prepare(d, &e->spec, PREPARE_TIMEOUT_MS, on_prepared, e);
}


/* The image that is furthest from what it should have. */
static pool_image *
image_next(pool *p)
{
    unsigned     i, have, lack, most;
    uint64_t     now;
    pool_image  *image, *found;

    now = uv_now(p->lc->loop);
    found = NULL;
    most = 0;

    for (i = 0; i < p->image_count; i++) {
        image = &p->images[i];
        have = image->counts[ENTRY_PREPARING] + image->counts[ENTRY_WARM];
        lack = image->target > have ? image->target - have : 0;

        if (lack > most && now >= image->retry_at && image->driver != NULL) {
            most = lack;
            found = image;
        }
    }

    return found;
}


static void
on_fill(uv_timer_t *timer)
{
    pool        *p;
    pool_image  *image;

    p = timer->data;

    if (p->closing || p->emptied) {
        return;
    }

    /* Real starts go first. */
    if (p->lc->starts.first != NULL || p->lc->starting.count > p->lc->slow) {
        if (image_next(p) != NULL) {
            pool_fill_in(p, POOL_BUSY_MS);
        }

        return;
    }

    while (pool_count(p, ENTRY_PREPARING) < p->batch
           && (image = image_next(p)) != NULL)
    {
        image_prepare(p, image);
    }
}


/* The lifecycle's: what a slot has of the memory that is nobody's. */
uint64_t
pool_spare_of(void *data, uint32_t slot, bool take)
{
    uint64_t     memory;
    pool_entry  *e;

    e = pool_find(data, slot);

    if (e == NULL) {
        return 0;
    }

    memory = e->memory;

    if (take) {
        e->memory = 0;
    }

    return memory;
}


/* of: how much of what is needed an entry has.  Those that end already are
 * enough for as much. */
static void
pool_yield(pool *p, uint64_t needed, uint64_t (*of)(const pool_entry *e))
{
    uint64_t     now, has;
    pool_entry  *e, *next;

    now = uv_now(p->lc->loop);

    for (e = p->entries; e != NULL; e = e->next) {
        if (e->unwanted || e->state == ENTRY_ENDING) {
            has = of(e);
            needed = needed > has ? needed - has : 0;
        }
    }

    for (e = p->entries; e != NULL && needed > 0; e = next) {
        next = e->next;
        has = of(e);

        if (has == 0 || e->unwanted
            || (e->state != ENTRY_WARM && e->state != ENTRY_PREPARING))
        {
            continue;
        }

        needed = needed > has ? needed - has : 0;
        e->image->retry_at = now + SPARE_RETRY_MS;
        pool_end(e);
    }
}


static uint64_t
entry_memory(const pool_entry *e)
{
    return e->memory;
}


static uint64_t
entry_disk(const pool_entry *e)
{
    return e->disk;
}


void
pool_spare_yield(void *data, uint64_t memory)
{
    pool_yield(data, memory, entry_memory);
}


void
pool_disk_yield(void *data, uint64_t bytes)
{
    pool_yield(data, bytes, entry_disk);
}
