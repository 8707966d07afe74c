/*
 * Starting, dying, destroying; see lifecycle.h.  Waiting is in
 * lifecycle_wait.c, taking over in lifecycle_adopt.c, making and ending a
 * lifecycle in lifecycle_close.c.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "common/log.h"
#include "sandboxd/lifecycle_part.h"
#include "sandboxd/runfile.h"


static void cleanups_pump(lifecycle *lc);


void
lifecycle_enter(lifecycle *lc, sandbox *sb, run_state state)
{
    admit_enter(lc, sb, state);

    if (!spec_external(sb->spec)) {
        lc->up += (state == RUN_UP) - (sb->run.state == RUN_UP);
    }

    sb->run.state = state;
    sb->run.lc = lc;
    sb->run.since = uv_now(lc->loop);
}


static void
cleanup_add(lifecycle *lc, sandbox *sb)
{
    lifecycle_enter(lc, sb, RUN_CLEANUP);
    queue_add(&lc->cleanups, sb);
    cleanups_pump(lc);
}


static void
on_stopped(void *data, error *err)
{
    driver     *d;
    sandbox    *sb;
    lifecycle  *lc;

    sb = data;
    lc = sb->run.lc;

    if (spec_ephemeral(sb->spec) && !sb->run.dropped && !sb->gone
        && !fork_unrun(sb))
    {
        error_free(err);
        sb->run.dropped = true;
        d = lifecycle_driver(lc, sb);
        d->destroy(d, sb->slot, on_stopped, sb);
        return;
    }

    lc->stopping--;
    network_end(lc, sb);

    if (err != NULL) {
        log_error("%s: what is left of its run can't be cleared away: %s",
                  sb->id, err->message);
        error_free(err);
    }

    if (sb->now.state == STATE_SLEEPING && !sb->gone) {
        registry_set_state(lc->r, sb, STATE_ASLEEP,
                           sb->run.sleep_forced && sb->run.kept
                           ? "it was put to sleep, its memory is kept"
                           : sb->run.sleep_forced ? "it was put to sleep"
                           : sb->run.kept ? "it was idle, its memory is kept"
                           : "it was idle");
    }

    lifecycle_enter(lc, sb, RUN_NONE);
    waiters_succeed(lc, sb, &sb->run.sleepers);

    if (sb->run.doomed) {
        cleanup_add(lc, sb);

    } else if (sb->run.waiters.first != NULL && !sb->gone && !lc->closing) {
        lifecycle_enter(lc, sb, RUN_QUEUED);
        queue_add(&lc->starts, sb);
        lifecycle_pump(lc);
    }

    lifecycle_close_check(lc);
}


/* A container's files are the host's as soon as they are written. */
uint64_t
lifecycle_grace(lifecycle *lc, const sandbox *sb)
{
    return lifecycle_driver(lc, sb)->kernel_isolation ? MACHINE_GRACE_MS
                                                      : LIFECYCLE_GRACE_MS;
}


void
lifecycle_stop_run(lifecycle *lc, sandbox *sb, uint64_t grace_ms)
{
    driver  *d;

    d = lifecycle_driver(lc, sb);
    lifecycle_enter(lc, sb, RUN_STOPPING);
    sb->run.dropped = false;
    sb->run.kept = false;
    lc->stopping++;
    d->stop(d, sb->slot, grace_ms, on_stopped, sb);
}


static void
on_slept(void *data, bool memory, error *err)
{
    sandbox  *sb;

    sb = data;
    sb->run.kept = memory;
    on_stopped(sb, err);
}


/* What runs goes on when it wakes, where the driver can do that. */
void
lifecycle_sleep_run(lifecycle *lc, sandbox *sb)
{
    driver  *d;

    d = lifecycle_driver(lc, sb);

    if (d->sleep == NULL || spec_ephemeral(sb->spec)) {
        lifecycle_stop_run(lc, sb, lifecycle_grace(lc, sb));
        return;
    }

    lifecycle_enter(lc, sb, RUN_STOPPING);
    sb->run.dropped = false;
    sb->run.kept = false;
    lc->stopping++;
    d->sleep(d, sb->slot, LIFECYCLE_SLEEP_MS, on_slept, sb);
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

    lc->counts.failed++;
    sb->run.failures++;
    sb->run.retry_at = uv_now(lc->loop) + pause;

    log_warn("%s: start failed (%u in a row): %s", sb->id, sb->run.failures,
             err->message);

    registry_set_state(lc->r, sb,
                       sb->started_at != 0 || sb->forked
                       ? STATE_ASLEEP : STATE_CREATED, err->message);

    why = NULL;
    error_set(&why, 503, "start_failed", "the sandbox could not be started: "
              "%s", err->message);
    why->retry_after = (int) ((pause + 999) / 1000);
    waiters_fail(sb, &sb->run.waiters, why);
    error_free(why);

    lifecycle_stop_run(lc, sb, 0);
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
    starts_count(&lc->counts, uv_now(lc->loop) - sb->run.since);
    run_at(lc, sb);
    lifecycle_enter(lc, sb, RUN_UP);

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

    registry_set_state(lc->r, sb, STATE_RUNNING,
                       handle->forgot ? "it has booted: the memory that was "
                       "kept couldn't be used" : "");
    waiters_succeed(lc, sb, &sb->run.waiters);
    lifecycle_used(lc, sb);

    if (sb->run.env != json_object_get(sb->spec, "env")) {
        lifecycle_tell_env(lc, sb, NULL, NULL);
    }

    if (!spec_external(sb->spec)
        && !network_is(sb))
    {
        lifecycle_tell_network(lc, sb, NULL, NULL);
    }

    sleepers_look(lc, sb);

    if (lc->closing && lc->stop_all && sb->run.state == RUN_UP) {
        runfile_remove(lc->run_dir, sb->slot);
        registry_set_state(lc->r, sb, STATE_ASLEEP, "sandboxd was stopped");
        lifecycle_stop_run(lc, sb, lifecycle_grace(lc, sb));
    }
}


void
lifecycle_run_started(lifecycle *lc, sandbox *sb, const driver_handle *handle,
    error *err)
{
    queue_remove(&lc->starting, sb);
    lc->slow -= sb->run.slow;

    if (sb->run.doomed) {
        error_free(err);
        cleanup_add(lc, sb);

    } else if (sb->gone) {
        /* Its files stay until the disk knows that it is destroyed: it would
         * come back without them. */
        error_free(err);
        lifecycle_stop_run(lc, sb, 0);

    } else if (err != NULL) {
        start_failed(lc, sb, err);
        error_free(err);

    } else {
        start_succeeded(lc, sb, handle);
    }

    lifecycle_pump(lc);
    lifecycle_close_check(lc);
}


static void
on_started(void *data, const driver_handle *handle, error *err)
{
    sandbox    *sb;
    lifecycle  *lc;

    sb = data;
    lc = sb->run.lc;

    if (err == NULL && !sb->run.doomed && !sb->gone
        && network_begin(lc, sb, handle, &err) > 0)
    {
        return;
    }

    lifecycle_run_started(lc, sb, handle, err);
}


static void
start_dispatch(lifecycle *lc, sandbox *sb)
{
    bool          first;
    error        *err;
    driver       *d;
    driver_spec  *spec;

    err = NULL;
    d = lifecycle_driver(lc, sb);
    first = sb->now.epoch == 0 && !sb->forked;

    if (registry_next_run(lc->r, sb, &err) < 0) {
        lifecycle_enter(lc, sb, RUN_NONE);
        err->retry_after = 1;
        waiters_fail(sb, &sb->run.waiters, err);
        error_free(err);
        return;
    }

    /* The options may change before the driver is done with it. */
    json_decref(sb->run.env);
    sb->run.env = json_incref(json_object_get(sb->spec, "env"));
    sb->run.env_seq = 0;

    spec = &sb->run.spec;
    memset(spec, 0, sizeof(*spec));
    spec->id = name_id(sb->id);
    spec->slot = sb->slot;
    spec->epoch = sb->now.epoch;
    spec->key = sb->now.key;
    spec->image = spec_image(sb->spec);
    spec->env = sb->run.env;
    spec->defaults = lc->defaults;
    spec->first = first;
    spec_limits(sb->spec, &spec->limits);

    lifecycle_enter(lc, sb, RUN_STARTING);
    registry_set_state(lc->r, sb, STATE_STARTING, NULL);
    sb->run.slow = false;
    queue_add(&lc->starting, sb);

    log_debug("%s: starting, slot %08x, epoch %u", sb->id, sb->slot,
              sb->now.epoch);

    d->start(d, spec, spec_start_timeout(sb->spec), on_started, sb);
}


void
lifecycle_pump(lifecycle *lc)
{
    while (lc->starting.count - lc->slow < lc->starts_max
           && lc->starting.count < STARTS_WITH_DRIVER_MAX
           && lc->starts.first != NULL)
    {
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

    /* Another one would not find its files, or find those of another. */
    if (json_object_get(sb->spec, "runtime") != NULL
        && strcmp(lifecycle_driver(lc, sb)->name, spec_runtime(sb->spec))
           != 0)
    {
        error_set(err, 503, "start_failed", "its runtime \"%s\" is not among "
                  "those of this sandboxd", spec_runtime(sb->spec));
        (*err)->retry_after = 60;
        return -1;
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

    return admit_check(lc, sb, err);
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

    } else if (spec_external(sb->spec)) {
        external_start(lc, sb, cb, data);
        return;

    } else if (start_allowed(lc, sb, &err) == 0
               && waiters_add(&sb->run.waiters, cb, data, &err) == 0)
    {
        if (sb->run.state == RUN_UP || sleep_interrupt(lc, sb)) {
            silent_start(lc, sb);

        } else if (sb->run.state == RUN_NONE && sb->run.forks == 0) {
            lifecycle_enter(lc, sb, RUN_QUEUED);
            queue_add(&lc->starts, sb);
            lifecycle_pump(lc);
        }

        return;
    }

    cb(data, sb, err);
}


static void
exit_reason(int status, const char *why, char *dst, size_t size)
{
    if (why != NULL && why[0] != '\0') {
        snprintf(dst, size, "%s", why);

    } else if (status == -1) {
        snprintf(dst, size, "it ended");

    } else if (WIFEXITED(status)) {
        snprintf(dst, size, "it ended with exit code %d",
                 WEXITSTATUS(status));

    } else {
        snprintf(dst, size, "it was ended by signal %d", WTERMSIG(status));
    }
}


void
lifecycle_on_exited(void *data, uint32_t slot, int status, const char *why)
{
    char        reason[REASON_MAX];
    sandbox    *sb;
    lifecycle  *lc;

    lc = data;
    sb = registry_find_slot(lc->r, slot);

    if (sb != NULL && sb->run.state == RUN_STARTING && sb->run.networking) {
        sb->run.ended = true;
        return;
    }

    if (sb == NULL
        || (sb->run.state != RUN_UP && sb->run.state != RUN_SLEEPING))
    {
        return;
    }

    exit_reason(status, why, reason, sizeof(reason));
    log_info("%s: %s", sb->id, reason);

    idle_leave(lc, sb);
    runfile_remove(lc->run_dir, slot);
    registry_set_state(lc->r, sb, STATE_ASLEEP, reason);
    lifecycle_stop_run(lc, sb, 0);
}


static void
on_cleaned(void *data, error *err)
{
    sandbox    *sb;
    lifecycle  *lc;

    sb = data;
    lc = sb->run.lc;

    lc->cleaning--;
    network_end(lc, sb);

    if (err != NULL) {
        log_error("slot %08x of the destroyed %s can't be cleared away "
                  "before the next start of sandboxd: %s", sb->slot, sb->id,
                  err->message);
        error_free(err);
    }

    registry_release(lc->r, sb);
    cleanups_pump(lc);
    lifecycle_close_check(lc);
}


static void
cleanups_pump(lifecycle *lc)
{
    driver   *d;
    sandbox  *sb;

    while (lc->cleaning < CLEANUPS_MAX && lc->cleanups.first != NULL) {
        sb = queue_shift(&lc->cleanups);
        lc->cleaning++;
        d = lifecycle_driver(lc, sb);
        d->destroy(d, sb->slot, on_cleaned, sb);
    }
}


void
lifecycle_destroy(lifecycle *lc, sandbox *sb)
{
    sb->run.doomed = true;
    idle_leave(lc, sb);
    deadline_clear(&lc->ttls, &sb->run.ttl);

    waiters_refuse(sb, &sb->run.sleepers, 409, "operation_interrupted", 0,
                   "the sandbox was destroyed");
    waiters_refuse(sb, &sb->run.waiters, 409, "operation_interrupted", 0,
                   "the sandbox was destroyed");

    runfile_remove(lc->run_dir, sb->slot);

    switch (sb->run.state) {

    case RUN_QUEUED:
        queue_remove(&lc->starts, sb);
        /* fall through */

    case RUN_NONE:
    case RUN_UP:
    case RUN_SLEEPING:
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
