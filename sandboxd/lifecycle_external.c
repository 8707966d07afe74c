/*
 * Sandboxes that others run.  They are not started but looked at: when they are
 * registered, every LOOK_MS while they answer, after a pause that doubles while
 * they don't, and whenever somebody has asked for one that doesn't run or
 * couldn't be reached.
 *
 *   RUN_NONE (created, unreachable) <-> RUN_UP (running) -> RUN_CLEANUP
 *
 * Each time that one is reached anew, or that another agent answers, is a run
 * with an epoch of its own: so no connection from before is taken for one to
 * it.  One that takes too long once may be busy; one that refuses is gone.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "sandboxd/lifecycle_part.h"
#include "sandboxd/runfile.h"

#define LOOK_MS          15000
#define LOOK_AGAIN_MS     1000     /* after the first that took too long */
#define LOOKS_MAX           64     /* at once */
#define LOOKS_FULL_MS      100
#define TIMEOUTS_MAX         2     /* in a row */


typedef struct {
    lifecycle     *lc;
    sandbox       *sb;              /* holds a reference */
    endpoint       where;
    driver_spec    spec;
    char           key[KEY_LEN + 1];
} external_look;


driver *
driver_named(lifecycle *lc, const char *name)
{
    unsigned  i;

    for (i = 0; i < lc->driver_count; i++) {
        if (strcmp(lc->drivers[i]->name, name) == 0) {
            return lc->drivers[i];
        }
    }

    return NULL;
}


driver *
lifecycle_driver(lifecycle *lc, const sandbox *sb)
{
    driver  *d;

    if (spec_external(sb->spec)) {
        return lc->external;
    }

    d = driver_named(lc, spec_runtime(sb->spec));

    return d != NULL ? d : lc->driver;
}


static const char *
external_key(json_t *spec)
{
    const char  *key;

    key = json_string_value(json_object_get(json_object_get(spec, "external"),
                                            "key"));

    return key != NULL ? key : "";
}


static uint64_t
look_pause(const sandbox *sb)
{
    unsigned   shift;
    uint64_t   pause;

    shift = sb->run.failures > 6 ? 5 : sb->run.failures - 1;
    pause = (uint64_t) BACKOFF_FIRST_MS << shift;

    return pause < BACKOFF_MAX_MS ? pause : BACKOFF_MAX_MS;
}


static void
unreachable_refuse(lifecycle *lc, sandbox *sb)
{
    uint64_t  now;

    now = uv_now(lc->loop);

    waiters_refuse(sb, &sb->run.waiters, 503, "sandbox_unreachable",
                   sb->run.retry_at > now
                   ? (int) ((sb->run.retry_at - now + 999) / 1000) : 1,
                   "the sandbox runs elsewhere, and its agent can't be "
                   "reached");
}


static void
on_forgotten(void *data, error *err)
{
    error_free(err);
}


/* From here on nobody is led to it. */
static void
external_leave(lifecycle *lc, sandbox *sb, const char *reason)
{
    runfile_remove(lc->run_dir, sb->slot);
    lc->external->stop(lc->external, sb->slot, 0, on_forgotten, NULL);
    lifecycle_enter(lc, sb, RUN_NONE);
    registry_set_state(lc->r, sb, STATE_UNREACHABLE, reason);
}


static void
external_lost(lifecycle *lc, sandbox *sb, const error *err)
{
    sb->run.failures++;

    if (sb->run.state == RUN_UP && strcmp(err->code, "no_answer") == 0
        && sb->run.failures < TIMEOUTS_MAX)
    {
        sb->run.retry_at = 0;
        idle_wait(lc, sb, uv_now(lc->loop) + LOOK_AGAIN_MS);
        unreachable_refuse(lc, sb);
        return;
    }

    sb->run.retry_at = uv_now(lc->loop) + look_pause(sb);
    idle_wait(lc, sb, sb->run.retry_at);

    if (sb->run.state == RUN_UP) {
        log_warn("%s: it runs elsewhere, and can't be reached: %s", sb->id,
                 err->message);
        external_leave(lc, sb, err->message);

    } else {
        /* An endpoint from before may have answered meanwhile. */
        lc->external->stop(lc->external, sb->slot, 0, on_forgotten, NULL);

        if (sb->now.state != STATE_UNREACHABLE
            || strcmp(sb->reason, err->message) != 0)
        {
            registry_set_state(lc->r, sb, STATE_UNREACHABLE, err->message);
        }
    }

    unreachable_refuse(lc, sb);
}


static void
external_keep(lifecycle *lc, sandbox *sb)
{
    error    *err;
    runfile   run;

    memset(&run, 0, sizeof(run));
    run.slot = sb->slot;
    run.epoch = sb->now.epoch;
    run.started_at = sb->started_at;
    run.handle = sb->run.handle;
    strcpy(run.key, sb->now.key);

    err = NULL;

    if (runfile_write(lc->run_dir, &run, &err) < 0) {
        log_error("%s: it would not survive a restart of sandboxd: %s",
                  sb->id, err->message);
        error_free(err);
    }
}


void
run_at(lifecycle *lc, sandbox *sb)
{
    driver    *d;
    endpoint   e;

    d = lifecycle_driver(lc, sb);
    json_decref(sb->run.where);
    sb->run.where = NULL;
    sb->run.where_epoch = sb->now.epoch;

    if (spec_external(sb->spec)) {
        sb->run.where = json_incref(json_object_get(
                            json_object_get(sb->spec, "external"),
                            "endpoint"));

    } else if (d->where != NULL && d->where(d, sb->slot, &e)) {
        sb->run.where = endpoint_json(&e);
    }
}


static void
external_found(external_look *look, bool changed)
{
    error      *err;
    sandbox    *sb;
    lifecycle  *lc;

    sb = look->sb;
    lc = look->lc;
    err = NULL;

    if (sb->run.state != RUN_UP || changed
        || strcmp(sb->now.key, look->key) != 0)
    {
        if (registry_next_run(lc->r, sb, &err) < 0) {
            external_lost(lc, sb, err);
            error_free(err);
            return;
        }

        strcpy(sb->now.key, look->key);
        sb->run.handle.pid = 0;
        sb->run.handle.start_time = endpoint_tag(&look->where);
        sb->started_at = wall_ms();
        run_at(lc, sb);
        lifecycle_enter(lc, sb, RUN_UP);
        external_keep(lc, sb);

        log_info("%s: runs elsewhere, slot %08x, epoch %u", sb->id, sb->slot,
                 sb->now.epoch);

        registry_set_state(lc->r, sb, STATE_RUNNING, "");
    }

    sb->run.failures = 0;
    sb->run.retry_at = 0;
    idle_wait(lc, sb, uv_now(lc->loop) + LOOK_MS);
    waiters_succeed(lc, sb, &sb->run.waiters);
}


static void
on_looked(void *data, bool changed, error *err)
{
    sandbox        *sb;
    lifecycle      *lc;
    external_look  *look;

    look = data;
    sb = look->sb;
    lc = look->lc;

    sb->run.polled = false;
    lc->looks--;

    if (sb->gone || sb->run.state == RUN_CLEANUP || lc->closing) {

        /* Who destroys or closes answers the waiters. */

    } else if (sb->run.again) {
        external_look_at(lc, sb);

    } else if (err != NULL) {
        external_lost(lc, sb, err);

    } else {
        external_found(look, changed);
    }

    error_free(err);
    item_unref(&sb->item);
    free(look);
}


void
external_look_at(lifecycle *lc, sandbox *sb)
{
    external_look  *look;

    if (sb->run.polled || sb->gone || lc->closing || lc->external == NULL
        || sb->run.state == RUN_CLEANUP)
    {
        return;
    }

    if (lc->looks >= LOOKS_MAX) {
        idle_wait(lc, sb, uv_now(lc->loop) + LOOKS_FULL_MS);
        return;
    }

    look = calloc(1, sizeof(external_look));
    if (look == NULL) {
        abort();
    }

    /* Both were checked before they were stored; an endpoint of zeros leads
     * nowhere. */
    (void) endpoint_parse(&look->where,
                          json_object_get(json_object_get(sb->spec,
                                                          "external"),
                                          "endpoint"), NULL);
    snprintf(look->key, sizeof(look->key), "%s",
             external_key(sb->spec));

    look->lc = lc;
    look->sb = sb;
    look->spec.id = name_id(sb->id);
    look->spec.slot = sb->slot;
    look->spec.key = look->key;
    look->spec.endpoint = &look->where;
    item_ref(&sb->item);

    idle_leave(lc, sb);
    sb->run.lc = lc;
    sb->run.polled = true;
    sb->run.again = false;
    lc->looks++;

    lc->external->check(lc->external, &look->spec, on_looked, look);
}


void
external_start(lifecycle *lc, sandbox *sb, lifecycle_started cb, void *data)
{
    error  *err;

    err = NULL;

    if (waiters_add(&sb->run.waiters, cb, data, &err) < 0) {
        cb(data, sb, err);

    } else if (sb->run.state == RUN_NONE && !sb->run.polled
               && uv_now(lc->loop) < sb->run.retry_at)
    {
        unreachable_refuse(lc, sb);

    } else {
        external_look_at(lc, sb);
    }
}


void
lifecycle_look(lifecycle *lc, sandbox *sb, lifecycle_started cb, void *data)
{
    error  *err;

    err = NULL;

    if (lc->closing || waiters_add(&sb->run.waiters, cb, data, &err) < 0) {
        error_free(err);
        cb(data, sb, NULL);
        return;
    }

    sb->run.retry_at = 0;

    external_look_at(lc, sb);
}


void
lifecycle_withdraw(lifecycle *lc, sandbox *sb)
{
    sb->run.failures = 0;
    sb->run.retry_at = 0;
    sb->run.again = sb->run.polled;

    if (sb->run.state == RUN_UP) {
        external_leave(lc, sb, "it was registered anew");
        idle_wait(lc, sb, uv_now(lc->loop) + LOOK_AGAIN_MS);
    }
}


/* Whether what was left is what is registered. */
bool
external_same(const sandbox *sb, const runfile *run)
{
    endpoint  e;

    return endpoint_parse(&e, json_object_get(json_object_get(sb->spec,
                                                              "external"),
                                              "endpoint"), NULL) == 0
           && endpoint_tag(&e) == run->handle.start_time
           && strcmp(external_key(sb->spec), run->key) == 0;
}


/* After what could be adopted was: the others are looked at as if they were
 * new, those that go on to see whether they do. */
void
external_adopted(lifecycle *lc, sandbox *sb)
{
    lifecycle_enter(lc, sb, sb->run.state);

    if (sb->run.state != RUN_UP && sb->now.state != STATE_UNREACHABLE) {
        registry_set_state(lc->r, sb, STATE_UNREACHABLE,
                           "sandboxd was started anew");
    }

    idle_wait(lc, sb, uv_now(lc->loop));
}
