/* Starting, dying, destroying; see lifecycle.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "common/log.h"
#include "sandboxd/lifecycle.h"
#include "sandboxd/runfile.h"

#define TICK_MS             500
#define START_GRACE_MS    10000     /* for a driver past its own time limit */
#define STOP_GRACE_MS      2000

#define DEFAULT_MEMORY    (1ull << 30)
#define DEFAULT_PIDS      1024


static void starts_pump(lifecycle *lc);
static void cleanups_pump(lifecycle *lc);
static void close_check(lifecycle *lc);


static void
queue_init(sandbox_queue *q)
{
    q->first = NULL;
    q->last = &q->first;
    q->count = 0;
}


static void
queue_add(sandbox_queue *q, sandbox *sb)
{
    sb->run.next = NULL;
    *q->last = sb;
    q->last = &sb->run.next;
    q->count++;
}


static void
queue_remove(sandbox_queue *q, sandbox *sb)
{
    sandbox  **p;

    for (p = &q->first; *p != NULL; p = &(*p)->run.next) {
        if (*p == sb) {
            *p = sb->run.next;
            q->count--;

            if (*p == NULL) {
                q->last = p;
            }

            return;
        }
    }
}


static sandbox *
queue_shift(sandbox_queue *q)
{
    sandbox  *sb;

    sb = q->first;

    if (sb != NULL) {
        queue_remove(q, sb);
    }

    return sb;
}


static void
run_enter(lifecycle *lc, sandbox *sb, run_state state)
{
    sb->run.state = state;
    sb->run.since = uv_now(lc->loop);
}


/* Each waiter gets an error of its own. */
static void
waiters_fail(sandbox *sb, const error *why)
{
    error         *err;
    start_waiter  *w;

    while (sb->run.waiters != NULL) {
        w = sb->run.waiters;
        sb->run.waiters = w->next;
        sb->run.waiter_count--;

        err = NULL;
        error_set_field(&err, why->status, why->code, why->field, why->limit,
                        "%s", why->message);
        err->retry_after = why->retry_after;

        w->cb(w->data, sb, err);
        free(w);
    }
}


static void
waiters_refuse(sandbox *sb, int status, const char *code, int retry_after,
    const char *message)
{
    error  *err;

    err = NULL;
    error_set(&err, status, code, "%s", message);
    err->retry_after = retry_after;
    waiters_fail(sb, err);
    error_free(err);
}


static int
waiter_add(sandbox *sb, lifecycle_started cb, void *data, error **err)
{
    start_waiter  *w, **p;

    if (sb->run.waiter_count >= START_WAITERS_MAX) {
        error_set_field(err, 503, "busy", "", START_WAITERS_MAX,
                        "%d callers wait for this sandbox to start already",
                        START_WAITERS_MAX);
        (*err)->retry_after = 3;
        return -1;
    }

    w = calloc(1, sizeof(start_waiter));
    if (w == NULL) {
        abort();
    }

    w->cb = cb;
    w->data = data;

    for (p = &sb->run.waiters; *p != NULL; p = &(*p)->next) {
        /* void */
    }

    *p = w;
    sb->run.waiter_count++;

    return 0;
}


/* The waiters of a start that went well, until its record is published. */
typedef struct {
    sandbox       *sb;
    start_waiter  *waiters;
} start_group;


static void
start_group_done(void *data)
{
    start_group   *g;
    start_waiter  *w;

    g = data;

    while (g->waiters != NULL) {
        w = g->waiters;
        g->waiters = w->next;
        w->cb(w->data, g->sb, NULL);
        free(w);
    }

    item_unref(&g->sb->item);
    free(g);
}


static void
waiters_succeed(lifecycle *lc, sandbox *sb)
{
    start_group  *g;

    if (sb->run.waiters == NULL) {
        return;
    }

    g = calloc(1, sizeof(start_group));
    if (g == NULL) {
        abort();
    }

    g->sb = sb;
    g->waiters = sb->run.waiters;
    item_ref(&sb->item);
    sb->run.waiters = NULL;
    sb->run.waiter_count = 0;

    registry_wait(lc->r, sb->seq, start_group_done, g);
}


static void
cleanup_add(lifecycle *lc, sandbox *sb)
{
    run_enter(lc, sb, RUN_CLEANUP);
    queue_add(&lc->cleanups, sb);
    cleanups_pump(lc);
}


static void
on_stopped(void *data, error *err)
{
    sandbox    *sb;
    lifecycle  *lc;

    sb = ((void **) data)[0];
    lc = ((void **) data)[1];
    free(data);

    lc->stopping--;

    if (err != NULL) {
        log_error("%s: what is left of its run can't be cleared away: %s",
                  sb->id, err->message);
        error_free(err);
    }

    run_enter(lc, sb, RUN_NONE);

    if (sb->gone) {
        cleanup_add(lc, sb);

    } else if (sb->run.waiters != NULL) {
        run_enter(lc, sb, RUN_QUEUED);
        queue_add(&lc->starts, sb);
        starts_pump(lc);
    }

    close_check(lc);
}


static void **
callback_data(lifecycle *lc, sandbox *sb)
{
    void  **data;

    data = calloc(2, sizeof(void *));
    if (data == NULL) {
        abort();
    }

    data[0] = sb;
    data[1] = lc;

    return data;
}


static void
run_stop(lifecycle *lc, sandbox *sb, uint64_t grace_ms)
{
    run_enter(lc, sb, RUN_STOPPING);
    lc->stopping++;
    lc->driver->stop(lc->driver, sb->slot, grace_ms, on_stopped,
                     callback_data(lc, sb));
}


static void
start_failed(lifecycle *lc, sandbox *sb, error *err)
{
    unsigned   shift;
    uint64_t   pause;
    error     *why;

    shift = sb->run.failures < 5 ? sb->run.failures : 5;
    pause = (uint64_t) BACKOFF_FIRST_MS << shift;
    pause = pause < BACKOFF_MAX_MS ? pause : BACKOFF_MAX_MS;

    sb->run.failures++;
    sb->run.retry_at = uv_now(lc->loop) + pause;

    log_warn("%s: start failed (%u in a row): %s", sb->id, sb->run.failures,
             err->message);

    registry_set_state(lc->r, sb,
                       sb->started_at != 0 ? STATE_ASLEEP : STATE_CREATED,
                       err->message);

    why = NULL;
    error_set(&why, 503, "start_failed", "the sandbox could not be started: "
              "%s", err->message);
    why->retry_after = (int) ((pause + 999) / 1000);
    waiters_fail(sb, why);
    error_free(why);

    run_stop(lc, sb, 0);
}


static void
start_succeeded(lifecycle *lc, sandbox *sb, const driver_handle *handle)
{
    error    *err;
    runfile   run;

    sb->run.handle = *handle;
    sb->run.failures = 0;
    sb->run.retry_at = 0;
    sb->started_at = wall_ms();
    run_enter(lc, sb, RUN_UP);

    memset(&run, 0, sizeof(run));
    run.slot = sb->slot;
    run.epoch = sb->now.epoch;
    run.started_at = sb->started_at;
    run.handle = *handle;
    strcpy(run.key, sb->now.key);

    err = NULL;

    if (runfile_write(lc->run_dir, &run, &err) < 0) {
        log_error("%s: it would not survive a restart of sandboxd: %s",
                  sb->id, err->message);
        error_free(err);
    }

    log_info("%s: running, slot %08x, epoch %u, pid %d", sb->id, sb->slot,
             sb->now.epoch, (int) handle->pid);

    registry_set_state(lc->r, sb, STATE_RUNNING, "");
    waiters_succeed(lc, sb);

    if (lc->closing && lc->stop_all) {
        runfile_remove(lc->run_dir, sb->slot);
        registry_set_state(lc->r, sb, STATE_ASLEEP, "sandboxd was stopped");
        run_stop(lc, sb, STOP_GRACE_MS);
    }
}


static void
on_started(void *data, const driver_handle *handle, error *err)
{
    sandbox    *sb;
    lifecycle  *lc;

    sb = ((void **) data)[0];
    lc = ((void **) data)[1];
    free(data);

    lc->starting--;

    if (sb->gone) {
        error_free(err);
        cleanup_add(lc, sb);

    } else if (err != NULL) {
        start_failed(lc, sb, err);
        error_free(err);

    } else {
        start_succeeded(lc, sb, handle);
    }

    starts_pump(lc);
    close_check(lc);
}


static void
start_dispatch(lifecycle *lc, sandbox *sb)
{
    error        *err;
    driver_spec  *spec;

    err = NULL;

    if (registry_next_run(lc->r, sb, &err) < 0) {
        run_enter(lc, sb, RUN_NONE);
        err->retry_after = 1;
        waiters_fail(sb, err);
        error_free(err);
        return;
    }

    spec = &sb->run.spec;
    memset(spec, 0, sizeof(*spec));
    spec->id = sb->id;
    spec->slot = sb->slot;
    spec->epoch = sb->now.epoch;
    spec->key = sb->now.key;
    spec->image = spec_image(sb->spec);
    spec->env = json_object_get(sb->spec, "env");
    spec->defaults = lc->defaults;
    spec_limits(sb->spec, &spec->limits);

    run_enter(lc, sb, RUN_STARTING);
    registry_set_state(lc->r, sb, STATE_STARTING, NULL);
    lc->starting++;

    log_debug("%s: starting, slot %08x, epoch %u", sb->id, sb->slot,
              sb->now.epoch);

    lc->driver->start(lc->driver, spec, spec_start_timeout(sb->spec),
                      on_started, callback_data(lc, sb));
}


static void
starts_pump(lifecycle *lc)
{
    while (lc->starting < lc->starts_max && lc->starts.first != NULL) {
        start_dispatch(lc, queue_shift(&lc->starts));
    }
}


static int
start_allowed(lifecycle *lc, sandbox *sb, error **err)
{
    uint64_t  now;

    if (sb->run.state != RUN_NONE) {
        return 0;
    }

    now = uv_now(lc->loop);

    if (now < sb->run.retry_at) {
        error_set(err, 503, "start_failed", "the sandbox could not be started "
                  "%u times in a row: %s", sb->run.failures, sb->reason);
        (*err)->retry_after = (int) ((sb->run.retry_at - now + 999) / 1000);
        return -1;
    }

    if (lc->starts.count >= STARTS_QUEUED_MAX) {
        error_set_field(err, 503, "busy", "", STARTS_QUEUED_MAX,
                        "%d sandboxes wait for their start already",
                        STARTS_QUEUED_MAX);
        (*err)->retry_after = 3;
        return -1;
    }

    return 0;
}


void
lifecycle_start(lifecycle *lc, sandbox *sb, lifecycle_started cb, void *data)
{
    error  *err;

    err = NULL;

    if (lc->closing) {
        error_set(&err, 503, "shutting_down", "sandboxd is being stopped");
        err->retry_after = 3;

    } else if (sb->gone || sb->run.state == RUN_CLEANUP) {
        error_set(&err, 409, "operation_interrupted",
                  "the sandbox was destroyed");

    } else if (start_allowed(lc, sb, &err) == 0
               && waiter_add(sb, cb, data, &err) == 0)
    {
        if (sb->run.state == RUN_UP) {
            waiters_succeed(lc, sb);

        } else if (sb->run.state == RUN_NONE) {
            run_enter(lc, sb, RUN_QUEUED);
            queue_add(&lc->starts, sb);
            starts_pump(lc);
        }

        return;
    }

    cb(data, sb, err);
}


static void
exit_reason(int status, char *dst, size_t size)
{
    if (status == -1) {
        snprintf(dst, size, "it ended");

    } else if (WIFEXITED(status)) {
        snprintf(dst, size, "it ended with exit code %d",
                 WEXITSTATUS(status));

    } else {
        snprintf(dst, size, "it was ended by signal %d", WTERMSIG(status));
    }
}


void
lifecycle_on_exited(void *data, uint32_t slot, int status)
{
    char        reason[REASON_MAX];
    sandbox    *sb;
    lifecycle  *lc;

    lc = data;
    sb = registry_find_slot(lc->r, slot);

    if (sb == NULL || sb->run.state != RUN_UP) {
        return;
    }

    exit_reason(status, reason, sizeof(reason));
    log_info("%s: %s", sb->id, reason);

    runfile_remove(lc->run_dir, slot);
    registry_set_state(lc->r, sb, STATE_ASLEEP, reason);
    run_stop(lc, sb, 0);
}


static void
on_cleaned(void *data, error *err)
{
    sandbox    *sb;
    lifecycle  *lc;

    sb = ((void **) data)[0];
    lc = ((void **) data)[1];
    free(data);

    lc->cleaning--;

    if (err != NULL) {
        log_error("slot %08x of the destroyed %s can't be cleared away "
                  "before the next start of sandboxd: %s", sb->slot, sb->id,
                  err->message);
        error_free(err);
    }

    registry_release(lc->r, sb);
    cleanups_pump(lc);
    close_check(lc);
}


static void
cleanups_pump(lifecycle *lc)
{
    sandbox  *sb;

    while (lc->cleaning < CLEANUPS_MAX && lc->cleanups.first != NULL) {
        sb = queue_shift(&lc->cleanups);
        lc->cleaning++;
        lc->driver->destroy(lc->driver, sb->slot, on_cleaned,
                            callback_data(lc, sb));
    }
}


void
lifecycle_destroy(lifecycle *lc, sandbox *sb)
{
    waiters_refuse(sb, 409, "operation_interrupted", 0,
                   "the sandbox was destroyed");

    runfile_remove(lc->run_dir, sb->slot);

    switch (sb->run.state) {

    case RUN_QUEUED:
        queue_remove(&lc->starts, sb);
        /* fall through */

    case RUN_NONE:
    case RUN_UP:
        cleanup_add(lc, sb);
        break;

    case RUN_STARTING:
    case RUN_STOPPING:
        /* The driver's callback goes on from here. */
        break;

    case RUN_CLEANUP:
        break;
    }
}


static void
adopt_found(void *data, const runfile *run)
{
    bool        same;
    sandbox    *sb;
    lifecycle  *lc;

    lc = data;
    sb = registry_find_slot(lc->r, run->slot);

    if (sb == NULL
        || !lc->driver->adopt(lc->driver, run->slot, &run->handle))
    {
        runfile_remove(lc->run_dir, run->slot);
        return;
    }

    same = sb->now.state == STATE_RUNNING && sb->now.epoch == run->epoch;

    sb->run.handle = run->handle;
    sb->started_at = run->started_at;
    sb->now.epoch = run->epoch;
    memcpy(sb->now.key, run->key, sizeof(sb->now.key));
    run_enter(lc, sb, RUN_UP);

    if (same) {
        sb->shown = sb->now;

    } else {
        registry_set_state(lc->r, sb, STATE_RUNNING, "");
    }

    log_info("%s: taken over, slot %08x, epoch %u, pid %d", sb->id, sb->slot,
             sb->now.epoch, (int) run->handle.pid);
}


static bool
sweep_keep(void *data, uint32_t slot, bool *running)
{
    sandbox    *sb;
    lifecycle  *lc;

    lc = data;
    sb = registry_find_slot(lc->r, slot);

    *running = sb != NULL && sb->run.state == RUN_UP;

    return sb != NULL;
}


int
lifecycle_adopt(lifecycle *lc, error **err)
{
    sandbox       *sb;
    journal_node  *node;

    if (runfile_each(lc->run_dir, adopt_found, lc, err) < 0) {
        return -1;
    }

    for (node = journal_next(&lc->r->aged, 0); node != NULL;
         node = journal_next(&lc->r->aged, node->seq))
    {
        sb = container_of(node, sandbox, age);

        if (sb->run.state == RUN_UP || sb->now.state == STATE_CREATED
            || sb->now.state == STATE_ASLEEP)
        {
            continue;
        }

        log_info("%s: did not live on", sb->id);
        registry_set_state(lc->r, sb,
                           sb->started_at != 0 ? STATE_ASLEEP : STATE_CREATED,
                           "it ended while sandboxd was away");
    }

    lc->driver->sweep(lc->driver, sweep_keep, lc);

    return 0;
}


/* Callers get an answer in time even if a start hangs or never comes up. */
static void
sandbox_tick(lifecycle *lc, sandbox *sb)
{
    uint64_t  age;

    age = uv_now(lc->loop) - sb->run.since;

    if (sb->run.state == RUN_STARTING
        && age > spec_start_timeout(sb->spec) + START_GRACE_MS)
    {
        waiters_refuse(sb, 503, "start_timeout", 5,
                       "the start takes too long");
    }

    if (sb->run.state == RUN_QUEUED
        && age > spec_queue_timeout(sb->spec))
    {
        queue_remove(&lc->starts, sb);
        run_enter(lc, sb, RUN_NONE);
        waiters_refuse(sb, 503, "busy", 5,
                       "too many other sandboxes are being started");
    }
}


static void
on_tick(uv_timer_t *timer)
{
    sandbox       *sb;
    lifecycle     *lc;
    journal_node  *node;

    lc = timer->data;

    if (lc->starting > 0 || lc->starts.count > 0) {
        for (node = journal_next(&lc->r->aged, 0); node != NULL;
             node = journal_next(&lc->r->aged, node->seq))
        {
            sb = container_of(node, sandbox, age);

            if (sb->run.waiters != NULL) {
                sandbox_tick(lc, sb);
            }
        }
    }

    close_check(lc);
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
    queue_init(&lc->cleanups);

    uv_timer_init(loop, &lc->tick);
    lc->tick.data = lc;
    uv_timer_start(&lc->tick, on_tick, TICK_MS, TICK_MS);

    return lc;
}


static void
on_tick_closed(uv_handle_t *handle)
{
    free(handle->data);
}


void
lifecycle_free(lifecycle *lc)
{
    uv_close((uv_handle_t *) &lc->tick, on_tick_closed);
}


static void
close_check(lifecycle *lc)
{
    bool   over;
    void (*closed)(void *data);

    if (!lc->closing || lc->closed == NULL) {
        return;
    }

    over = uv_now(lc->loop) >= lc->close_by;

    if (over && (lc->starting || lc->stopping || lc->cleaning)) {
        log_warn("stopping with %u starts, %u stops and %u clean-ups not "
                 "ended", lc->starting, lc->stopping, lc->cleaning);
    }

    if (over || (lc->starting == 0 && lc->stopping == 0 && lc->cleaning == 0
                 && lc->cleanups.count == 0))
    {
        closed = lc->closed;
        lc->closed = NULL;
        closed(lc->closed_data);
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
        run_enter(lc, sb, RUN_NONE);
        waiters_refuse(sb, 503, "shutting_down", 3,
                       "sandboxd is being stopped");
    }

    for (node = journal_next(&lc->r->aged, 0); stop_all && node != NULL;
         node = journal_next(&lc->r->aged, node->seq))
    {
        sb = container_of(node, sandbox, age);

        if (sb->run.state == RUN_UP && !sb->gone) {
            runfile_remove(lc->run_dir, sb->slot);
            registry_set_state(lc->r, sb, STATE_ASLEEP,
                               "sandboxd was stopped");
            run_stop(lc, sb, STOP_GRACE_MS);
        }
    }

    close_check(lc);
}
