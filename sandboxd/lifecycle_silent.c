/*
 * Sandboxes of ours whose agent doesn't answer: what runs inside may take its
 * network away, stop the agent or be stuck itself.
 *
 *   RUN_UP: running <-> unreachable
 *
 * Nobody looks at an agent that nothing is asked of.  A worker whose request
 * got no answer from a run names that with the start it asks for, and then the
 * agent is asked for a sign of life, for LOOK_MS: one that is only busy, or
 * whose queue is full, has that long again.  A silent one is not ended, since
 * what runs in it may be worth more than its answers.  It is looked at after
 * pauses that double, and led to again as soon as it answers.  What it can do
 * with this is bounded by the time that a look takes.
 */

#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "sandboxd/agent_call.h"
#include "sandboxd/lifecycle_part.h"

#define LOOK_MS         10000
#define LOOK_AGAIN_MS     250       /* after an attempt that failed at once */
#define LOOKS_MAX          64       /* at once */
#define LOOKS_FULL_MS    1000
#define SILENT_REASON   "its agent doesn't answer"


typedef struct {
    lifecycle   *lc;
    sandbox     *sb;                /* holds a reference */
    uint32_t     epoch;
    uint64_t     until;             /* loop time */
    uv_timer_t   timer;
} silent_look;


static void look_try(silent_look *look);


bool
silent_is(const sandbox *sb)
{
    return sb->run.silent_epoch != 0 && sb->run.silent_epoch == sb->now.epoch;
}


static bool
silent_looked_at(const sandbox *sb)
{
    return sb->run.look_epoch != 0 && sb->run.look_epoch == sb->now.epoch;
}


static void
silent_refuse(lifecycle *lc, sandbox *sb)
{
    uint64_t  now;

    now = uv_now(lc->loop);

    waiters_refuse(sb, &sb->run.waiters, 503, "sandbox_unreachable",
                   sb->run.silent_until > now
                   ? (int) ((sb->run.silent_until - now + 999) / 1000) : 1,
                   "the sandbox's agent doesn't answer");
}


static void
silent_lost(lifecycle *lc, sandbox *sb)
{
    uint64_t  pause;

    sb->run.silences = silent_is(sb) ? sb->run.silences + 1 : 0;

    pause = (uint64_t) BACKOFF_FIRST_MS
            << (sb->run.silences < 5 ? sb->run.silences : 5);
    pause = pause < BACKOFF_MAX_MS ? pause : BACKOFF_MAX_MS;

    sb->run.silent_until = uv_now(lc->loop) + pause;

    if (!silent_is(sb)) {
        sb->run.silent_epoch = sb->now.epoch;
        log_warn("%s: its agent doesn't answer", sb->id);
        registry_set_state(lc->r, sb, STATE_UNREACHABLE, SILENT_REASON);
    }

    silent_refuse(lc, sb);
}


static void
silent_found(lifecycle *lc, sandbox *sb)
{
    if (silent_is(sb)) {
        sb->run.silent_epoch = 0;
        log_info("%s: its agent answers again", sb->id);
        registry_set_state(lc->r, sb, STATE_RUNNING, "");
    }

    waiters_succeed(lc, sb, &sb->run.waiters);
}


static void
on_look_closed(uv_handle_t *handle)
{
    silent_look  *look;

    look = handle->data;
    item_unref(&look->sb->item);
    free(look);
}


static void
look_end(silent_look *look, bool found)
{
    sandbox    *sb;
    lifecycle  *lc;

    sb = look->sb;
    lc = look->lc;
    lc->looks--;

    if (sb->run.look_epoch == look->epoch) {
        sb->run.look_epoch = 0;
    }

    /* Those who wait for a run that ends meanwhile wait for the next one. */
    if (!lc->closing && !sb->gone && sb->now.epoch == look->epoch
        && (sb->run.state == RUN_UP
            || (sb->run.waiters.first != NULL && sleep_interrupt(lc, sb))))
    {
        if (found) {
            silent_found(lc, sb);
        } else {
            silent_lost(lc, sb);
        }

        idle_schedule(lc, sb);
    }

    uv_close((uv_handle_t *) &look->timer, on_look_closed);
}


static void
on_look_timer(uv_timer_t *timer)
{
    look_try(timer->data);
}


static void
on_look_answer(void *data, int status, json_t *result)
{
    uint64_t      now;
    sandbox      *sb;
    silent_look  *look;

    look = data;
    sb = look->sb;
    now = uv_now(look->lc->loop);

    if (status == 0 && now + LOOK_AGAIN_MS < look->until && !sb->gone
        && !look->lc->closing && sb->now.epoch == look->epoch
        && (sb->run.state == RUN_UP || sb->run.state == RUN_SLEEPING))
    {
        uv_timer_start(&look->timer, on_look_timer, LOOK_AGAIN_MS, 0);
        return;
    }

    /* One that is being copied stands still. */
    look_end(look, status != 0 || (sb->run.forks != 0 && !silent_is(sb)));
}


static void
look_try(silent_look *look)
{
    char      path[108];
    uint64_t  now;

    now = uv_now(look->lc->loop);
    snprintf(path, sizeof(path), "%s/s/%08x", look->lc->run_path,
             look->sb->slot);
    agent_call_within(look->lc->loop, look->until > now ? look->until - now : 1,
                      path, look->sb->now.key, "GET", "/api/ping", NULL,
                      on_look_answer, look);
}


static void
look_begin(lifecycle *lc, sandbox *sb)
{
    silent_look  *look;

    look = calloc(1, sizeof(silent_look));
    if (look == NULL) {
        abort();
    }

    look->lc = lc;
    look->sb = sb;
    look->epoch = sb->now.epoch;
    look->until = uv_now(lc->loop) + LOOK_MS;
    uv_timer_init(lc->loop, &look->timer);
    look->timer.data = look;
    item_ref(&sb->item);

    sb->run.look_epoch = sb->now.epoch;
    lc->looks++;

    look_try(look);
}


/* It runs: those who wait for it are answered, now or after a look. */
void
silent_start(lifecycle *lc, sandbox *sb)
{
    if (silent_looked_at(sb)) {
        return;
    }

    if (!silent_is(sb)) {
        waiters_succeed(lc, sb, &sb->run.waiters);

    } else if (uv_now(lc->loop) < sb->run.silent_until
               || lc->looks >= LOOKS_MAX)
    {
        silent_refuse(lc, sb);

    } else {
        look_begin(lc, sb);
    }
}


/* The time for it has come: looks, and is called again afterwards. */
void
silent_look_at(lifecycle *lc, sandbox *sb)
{
    if (lc->looks >= LOOKS_MAX) {
        idle_wait(lc, sb, uv_now(lc->loop) + LOOKS_FULL_MS);

    } else if (!silent_looked_at(sb)) {
        look_begin(lc, sb);
    }
}


void
lifecycle_tried(lifecycle *lc, sandbox *sb, uint32_t epoch)
{
    if (epoch == sb->now.epoch && epoch != 0 && sb->run.state == RUN_UP
        && lc->run_path != NULL && !sb->gone && !lc->closing
        && !spec_external(sb->spec) && !silent_is(sb)
        && !silent_looked_at(sb) && lc->looks < LOOKS_MAX)
    {
        look_begin(lc, sb);
    }
}
