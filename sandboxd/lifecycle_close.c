/* Making and ending a lifecycle, and its clock; see lifecycle.h. */

#include <stdlib.h>

#include "common/log.h"
#include "sandboxd/lifecycle_part.h"
#include "sandboxd/runfile.h"

#define TICK_MS             500
#define START_SLOW_MS      2000
#define START_GRACE_MS    10000     /* for a driver past its own time limit */

#define DEFAULT_MEMORY    (1ull << 30)
#define DEFAULT_PIDS      1024


static void
close_refuse_waiters(lifecycle *lc)
{
    sandbox       *sb;
    journal_node  *node;

    for (node = journal_next(&lc->r->aged, 0); node != NULL;
         node = journal_next(&lc->r->aged, node->seq))
    {
        sb = container_of(node, sandbox, age);

        waiters_refuse(sb, &sb->run.waiters, 503, "shutting_down", 3,
                       "sandboxd is being stopped");
        waiters_refuse(sb, &sb->run.sleepers, 503, "shutting_down", 3,
                       "sandboxd is being stopped");
    }
}


void
lifecycle_close_check(lifecycle *lc)
{
    bool   over;
    void (*closed)(void *data);

    if (!lc->closing || lc->closed == NULL) {
        return;
    }

    over = uv_now(lc->loop) >= lc->close_by;

    if (!over && (lc->starting.count || lc->stopping || lc->cleaning
                  || lc->cleanups.count || lc->forks || lc->r->changes))
    {
        return;
    }

    if (lc->starting.count || lc->stopping || lc->cleaning || lc->forks) {
        log_warn("stopping with %zu starts, %u stops, %u clean-ups and %u "
                 "forks not ended", lc->starting.count, lc->stopping,
                 lc->cleaning, lc->forks);
    }

    close_refuse_waiters(lc);

    closed = lc->closed;
    lc->closed = NULL;
    closed(lc->closed_data);
}


/*
 * A start that takes long waits for something and leaves the processors to
 * others: it doesn't count any more among those that are made at the same
 * time.  Its callers get an answer even if the driver never gives one.
 */
static void
starting_tick(lifecycle *lc, sandbox *sb)
{
    uint64_t  age;

    age = uv_now(lc->loop) - sb->run.since;

    if (age > START_SLOW_MS && !sb->run.slow) {
        sb->run.slow = true;
        lc->slow++;
    }

    if (age > spec_start_timeout(sb->spec) + START_GRACE_MS) {
        waiters_refuse(sb, &sb->run.waiters, 503, "start_timeout", 5,
                       "the start takes too long");
    }
}


static void
queued_tick(lifecycle *lc, sandbox *sb)
{
    if (uv_now(lc->loop) - sb->run.since > spec_queue_timeout(sb->spec)) {
        queue_remove(&lc->starts, sb);
        lifecycle_enter(lc, sb, RUN_NONE);
        waiters_succeed(lc, sb, &sb->run.sleepers);
        waiters_refuse(sb, &sb->run.waiters, 503, "busy", 5,
                       "too many other sandboxes are being started");
    }
}


static void
on_tick(uv_timer_t *timer)
{
    sandbox    *sb, *next;
    lifecycle  *lc;

    lc = timer->data;

    for (sb = lc->starting.first; sb != NULL; sb = sb->run.next) {
        starting_tick(lc, sb);
    }

    for (sb = lc->starts.first; sb != NULL; sb = next) {
        next = sb->run.next;
        queued_tick(lc, sb);
    }

    lifecycle_pump(lc);
    lifecycle_close_check(lc);
}


lifecycle *
lifecycle_create(registry *r, uv_loop_t *loop, int run_dir,
    unsigned starts_max)
{
    lifecycle  *lc;

    lc = calloc(1, sizeof(lifecycle));
    if (lc == NULL) {
        abort();
    }

    lc->r = r;
    lc->loop = loop;
    lc->run_dir = run_dir;
    lc->starts_max = starts_max;
    lc->defaults.memory = DEFAULT_MEMORY;
    lc->defaults.pids = DEFAULT_PIDS;
    queue_init(&lc->starts);
    queue_init(&lc->starting);
    queue_init(&lc->cleanups);

    uv_timer_init(loop, &lc->tick);
    lc->tick.data = lc;
    uv_timer_start(&lc->tick, on_tick, TICK_MS, TICK_MS);
    uv_timer_init(loop, &lc->idle_timer);
    lc->idle_timer.data = lc;
    expire_init(lc);

    return lc;
}


static void
on_tick_closed(uv_handle_t *handle)
{
    lifecycle  *lc;

    lc = handle->data;

    /* A driver that has not come to an end may still call back, and so may an
     * agent that is looked at. */
    if (lc->starting.count == 0 && lc->stopping == 0 && lc->cleaning == 0
        && lc->forks == 0 && lc->looks == 0)
    {
        deadlines_free(&lc->idle);
        deadlines_free(&lc->ttls);
        free(lc);
    }
}


/* One after another: the last one frees what they lie in. */
static void
on_timer_closed(uv_handle_t *handle)
{
    lifecycle  *lc;

    lc = handle->data;

    if (handle == (uv_handle_t *) &lc->idle_timer) {
        uv_close((uv_handle_t *) &lc->ttl_timer, on_timer_closed);

    } else {
        uv_close((uv_handle_t *) &lc->tick, on_tick_closed);
    }
}


void
lifecycle_free(lifecycle *lc)
{
    lc->closing = true;
    lc->r->disk_of = NULL;
    uv_close((uv_handle_t *) &lc->idle_timer, on_timer_closed);
}


static void
on_published(void *data)
{
    lifecycle_close_check(data);
}


static void
drivers_hurry(lifecycle *lc)
{
    driver    *d;
    unsigned   i;

    for (i = 0; i < lc->driver_count; i++) {
        d = lc->drivers[i];

        if (d->hurry != NULL) {
            d->hurry(d);
        }
    }
}


void
lifecycle_close(lifecycle *lc, bool stop_all, uint64_t limit_ms,
    void (*closed)(void *data), void *data)
{
    sandbox       *sb;
    journal_node  *node;

    lc->closing = true;
    lc->stop_all = stop_all;
    lc->close_by = uv_now(lc->loop) + limit_ms;
    lc->closed = closed;
    lc->closed_data = data;

    while ((sb = queue_shift(&lc->starts)) != NULL) {
        lifecycle_enter(lc, sb, RUN_NONE);
        waiters_refuse(sb, &sb->run.waiters, 503, "shutting_down", 3,
                       "sandboxd is being stopped");
    }

    for (node = journal_next(&lc->r->aged, 0); stop_all && node != NULL;
         node = journal_next(&lc->r->aged, node->seq))
    {
        sb = container_of(node, sandbox, age);

        if ((sb->run.state == RUN_UP || sb->run.state == RUN_SLEEPING)
            && !sb->gone && !spec_external(sb->spec))
        {
            idle_leave(lc, sb);
            runfile_remove(lc->run_dir, sb->slot);
            registry_set_state(lc->r, sb, STATE_ASLEEP,
                               "sandboxd was stopped");
            lifecycle_stop_run(lc, sb, lifecycle_grace(lc, sb));
        }
    }

    /* What was asked for before the end, such as a destroy, is done yet, as far
     * as the next sandboxd wouldn't do it. */
    drivers_hurry(lc);
    registry_wait(lc->r, lc->r->seq, on_published, lc);
    lifecycle_close_check(lc);
}
