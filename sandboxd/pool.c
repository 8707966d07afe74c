/* The warm pool; see pool.h. */

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "sandboxd/pool_part.h"

#define RESERVED_MS  60000      /* from a record's making to its start */


void
pool_enter(pool_entry *e, entry_state state)
{
    e->image->counts[e->state]--;
    e->state = state;
    e->image->counts[e->state]++;
    e->since = uv_now(e->p->lc->loop);
}


pool_entry *
pool_find(pool *p, uint32_t slot)
{
    pool_entry  *e;

    for (e = p->entries; e != NULL && e->spec.slot != slot; e = e->next) {
        /* void */
    }

    return e;
}


static void
close_check(pool *p)
{
    void (*closed)(void *data);

    if (p->closing && p->entries == NULL && p->closed != NULL) {
        closed = p->closed;
        p->closed = NULL;
        closed(p->closed_data);
    }
}


static void
entry_remove(pool_entry *e)
{
    pool         *p;
    pool_entry  **at;

    p = e->p;

    for (at = &p->entries; *at != e; at = &(*at)->next) {
        /* void */
    }

    *at = e->next;
    e->image->counts[e->state]--;

    if (p->timers == 0) {
        lifecycle_spare_end(p->lc, e->memory);
        disks_spare_end(&p->r->disks, e->disk);
    }

    free(e);

    close_check(p);
}


static void
entry_ended(void *data, error *err)
{
    pool        *p;
    pool_entry  *e;

    e = data;
    p = e->p;

    if (err != NULL) {
        log_error("pool: slot %08x can't be cleared away before the next "
                  "start of sandboxd: %s", e->spec.slot, err->message);
        error_free(err);
    }

    entry_remove(e);
    pool_fill_in(p, 0);
}


void
pool_destroy(pool_entry *e)
{
    driver  *d;

    d = e->image->driver;
    pool_enter(e, ENTRY_ENDING);
    d->destroy(d, e->spec.slot, entry_ended, e);
}


void
pool_end(pool_entry *e)
{
    if (e->state == ENTRY_PREPARING) {
        e->unwanted = true;

    } else if (e->state == ENTRY_WARM) {
        e->image->dropped++;
        pool_destroy(e);
    }
}


/* A record has the slot: what happens to it is the lifecycle's business, but
 * until its first start it doesn't know that something runs there. */
static void
entry_release(pool_entry *e, bool end)
{
    sandbox    *sb;
    lifecycle  *lc;

    lc = e->p->lc;
    sb = registry_find_slot(lc->r, e->spec.slot);

    if (end && sb != NULL && sb->run.state == RUN_NONE && !sb->gone) {
        log_debug("%s: not started in time, what was prepared for it ends",
                  sb->id);
        e->image->dropped++;
        lifecycle_stop_run(lc, sb, 0);
    }

    entry_remove(e);
}


unsigned
pool_count(const pool *p, entry_state state)
{
    unsigned  i, n;

    for (i = 0, n = 0; i < p->image_count; i++) {
        n += p->images[i].counts[state];
    }

    return n;
}


/* True if it still can be given to somebody; else it ends. */
static bool
entry_usable(pool_entry *e)
{
    driver  *d;

    d = e->image->driver;

    if (d->prepared(d, &e->spec)) {
        return true;
    }

    log_info("pool: slot %08x is not what its image is now", e->spec.slot);
    pool_end(e);

    return false;
}


/* Forgets those that their records have started, and ends those that waited
 * for it too long. */
static void
reserved_look(pool *p)
{
    sandbox     *sb;
    uint64_t     now;
    pool_entry  *e, *next;

    now = uv_now(p->lc->loop);

    for (e = p->entries; e != NULL; e = next) {
        next = e->next;

        if (e->state != ENTRY_RESERVED) {
            continue;
        }

        sb = registry_find_slot(p->r, e->spec.slot);

        if (sb == NULL || sb->gone || sb->now.state != STATE_CREATED
            || sb->run.state != RUN_NONE)
        {
            entry_release(e, false);

        } else if (now - e->since > RESERVED_MS) {
            entry_release(e, true);
        }
    }
}


static void
on_look(uv_timer_t *timer)
{
    pool        *p;
    pool_entry  *e, *next;

    p = timer->data;

    for (e = p->entries; e != NULL; e = next) {
        next = e->next;

        if (e->state == ENTRY_WARM) {
            (void) entry_usable(e);
        }
    }

    reserved_look(p);
    pool_fill_in(p, 0);
}


/* The one that waits longest. */
static pool_entry *
entry_warm(pool *p, const pool_image *image)
{
    pool_entry  *e, *oldest;

    do {
        oldest = NULL;

        /* New ones are put in front. */
        for (e = p->entries; e != NULL; e = e->next) {
            if (e->image == image && e->state == ENTRY_WARM) {
                oldest = e;
            }
        }

    } while (oldest != NULL && !entry_usable(oldest));

    return oldest;
}


static bool
spec_fits(const pool *p, const driver *of, json_t *spec)
{
    uint64_t              disk;
    driver_limits         asked;
    const driver_limits  *d;

    d = &p->lc->defaults;
    disk = lifecycle_disk_default(p->lc, of);
    spec_limits(spec, &asked);

    return (asked.cpu == 0 || asked.cpu == d->cpu)
           && (asked.memory == 0 || asked.memory == d->memory)
           && (asked.disk == 0 || asked.disk == disk)
           && (asked.pids == 0 || asked.pids == d->pids);
}


/* The registry's source of slots. */
static uint32_t
pool_take(void *data, json_t *spec)
{
    pool        *p;
    unsigned     i;
    pool_entry  *e;
    pool_image  *image;

    p = data;
    image = NULL;

    for (i = 0; i < p->image_count; i++) {
        if (strcmp(p->images[i].name, spec_image(spec)) == 0) {
            image = &p->images[i];
        }
    }

    /* Another runtime may have the same image. */
    if (image == NULL || image->target == 0 || p->closing
        || image->driver == NULL
        || strcmp(spec_runtime(spec), image->driver->name) != 0
        || !spec_fits(p, image->driver, spec))
    {
        return 0;
    }

    if (image->counts[ENTRY_RESERVED] >= image->target) {
        reserved_look(p);
    }

    e = image->counts[ENTRY_RESERVED] < image->target ? entry_warm(p, image)
                                                      : NULL;
    if (e == NULL) {
        image->misses++;
        return 0;
    }

    image->hits++;
    pool_enter(e, ENTRY_RESERVED);

    /* From now on it is counted as the record's. */
    disks_spare_end(&p->r->disks, e->disk);
    e->disk = 0;
    pool_fill_in(p, POOL_BUSY_MS);

    return e->spec.slot;
}


bool
pool_on_exited(pool *p, uint32_t slot)
{
    pool_entry  *e;

    e = p != NULL ? pool_find(p, slot) : NULL;

    if (e == NULL || e->state == ENTRY_PREPARING) {
        return false;
    }

    if (e->state == ENTRY_WARM) {
        log_warn("pool: slot %08x has ended by itself", slot);
        pool_end(e);
        return true;
    }

    /* Its record's start makes a run from the beginning; if it runs already,
     * its end is the lifecycle's. */
    if (e->state == ENTRY_RESERVED) {
        entry_release(e, false);
        return false;
    }

    return true;
}


json_t *
pool_stats(pool *p)
{
    json_t             *images;
    unsigned            i, target;
    const pool_image   *image;

    /* A sandbox that was started has its own since then. */
    reserved_look(p);

    images = json_object();
    target = 0;

    for (i = 0; i < p->image_count; i++) {
        image = &p->images[i];
        target += image->target;

        json_object_set_new(images, image->name,
            json_pack("{s:i, s:i, s:i, s:i, s:I, s:I, s:I}",
                      "target", (int) image->target,
                      "warm", (int) image->counts[ENTRY_WARM],
                      "preparing", (int) image->counts[ENTRY_PREPARING],
                      "reserved", (int) image->counts[ENTRY_RESERVED],
                      "hits", (json_int_t) image->hits,
                      "misses", (json_int_t) image->misses,
                      "dropped", (json_int_t) image->dropped));
    }

    i = pool_count(p, ENTRY_WARM);

    return json_pack("{s:i, s:i, s:i, s:{s:i, s:I, s:i, s:i}, s:n, s:b, s:o}",
                     "warm", (int) i,
                     "assigned", (int) p->lc->up,
                     "total", (int) (i + p->lc->up),
                     "config", "warmTarget", (int) target,
                               "refreshInterval", (json_int_t) p->interval,
                               "maxInstances", 0,
                               "scaleBatchSize", (int) p->batch,
                     "maxInstances",
                     "emptied", p->emptied,
                     "images", images);
}


void
pool_prime(pool *p)
{
    unsigned  i;

    for (i = 0; i < p->image_count; i++) {
        p->images[i].retry_at = 0;
    }

    p->emptied = false;
    pool_fill_in(p, 0);
}


static void
pool_end_all(pool *p)
{
    pool_entry  *e, *next;

    for (e = p->entries; e != NULL; e = next) {
        next = e->next;
        pool_end(e);
    }
}


void
pool_empty(pool *p)
{
    p->emptied = true;
    pool_end_all(p);
}


void
pool_close(pool *p, void (*closed)(void *data), void *data)
{
    pool_entry  *e, *next;

    p->closing = true;
    p->closed = closed;
    p->closed_data = data;

    for (e = p->entries; e != NULL; e = next) {
        next = e->next;

        if (e->state == ENTRY_RESERVED) {
            entry_release(e, true);
        } else {
            pool_end(e);
        }
    }

    close_check(p);
}


pool *
pool_create(lifecycle *lc, driver *(*of)(void *data, const char *image),
    void *of_data, const pool_config *config)
{
    pool      *p;
    unsigned   i;

    p = calloc(1, sizeof(pool));
    if (p == NULL) {
        abort();
    }

    p->lc = lc;
    p->r = lc->r;
    p->batch = config->batch;
    p->interval = config->interval_ms;
    p->no_env = json_object();

    for (i = 0; i < config->count; i++) {
        p->images[i].name = config->targets[i].image;
        p->images[i].target = config->targets[i].target;
        p->images[i].driver = of(of_data, config->targets[i].image);
    }

    p->image_count = config->count;

    uv_timer_init(lc->loop, &p->fill);
    uv_timer_init(lc->loop, &p->look);
    p->fill.data = p;
    p->look.data = p;
    pool_fill_in(p, 0);
    uv_timer_start(&p->look, on_look, p->interval, p->interval);

    p->r->slot_source = pool_take;
    p->r->slot_data = p;
    lc->spare_of = pool_spare_of;
    lc->spare_yield = pool_spare_yield;
    lc->spare_data = p;
    p->r->disks.yield = pool_disk_yield;
    p->r->disks.yield_data = p;

    return p;
}


static void
on_timer_closed(uv_handle_t *handle)
{
    pool  *p;

    p = handle->data;

    /* The driver may still call back for what has not come to an end. */
    if (--p->timers == 0 && p->entries == NULL) {
        json_decref(p->no_env);
        free(p);
    }
}


void
pool_free(pool *p)
{
    p->r->slot_source = NULL;
    p->lc->spare_of = NULL;
    p->lc->spare_yield = NULL;
    p->r->disks.yield = NULL;
    p->timers = 2;

    uv_close((uv_handle_t *) &p->look, on_timer_closed);
    uv_close((uv_handle_t *) &p->fill, on_timer_closed);
}
