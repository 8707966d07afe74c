/*
 * Who may sleep.  A sandbox that runs has a point in time at which it will have
 * been idle for long enough, as far as sandboxd knows; then the workers are
 * asked, whose zones hold when it was used last.  The answer moves that point,
 * or begins its sleep (lifecycle_sleep.c).
 */

#include <string.h>

#include "common/log.h"
#include "sandboxd/lifecycle_part.h"

#define IDLE_STEP_MS     20     /* the clock of all this */
#define IDLE_UNKNOWN_MS  1000   /* until workers are asked again that did not
                                   say enough */


static void on_idle_timer(uv_timer_t *timer);


static void
idle_arm(lifecycle *lc)
{
    uint64_t   now;
    deadline  *first;

    first = deadline_first(&lc->idle);

    if (first == NULL || lc->closing) {
        uv_timer_stop(&lc->idle_timer);
        return;
    }

    now = uv_now(lc->loop);
    uv_timer_start(&lc->idle_timer, on_idle_timer,
                   first->at > now + IDLE_STEP_MS ? first->at - now
                                                  : IDLE_STEP_MS, 0);
}


void
idle_wait(lifecycle *lc, sandbox *sb, uint64_t at)
{
    deadline_set(&lc->idle, &sb->run.idle, at);
    idle_arm(lc);
}


void
idle_leave(lifecycle *lc, sandbox *sb)
{
    deadline_clear(&lc->idle, &sb->run.idle);
}


void
idle_schedule(lifecycle *lc, sandbox *sb)
{
    uint64_t  at, after;

    if (sb->run.state != RUN_UP || sb->run.polled
        || spec_external(sb->spec))
    {
        return;
    }

    after = spec_sleep_after(sb->spec);
    at = after != 0 ? sb->run.used + after : UINT64_MAX;

    if (silent_is(sb) && sb->run.silent_until < at) {
        at = sb->run.silent_until;
    }

    if (at == UINT64_MAX || sb->gone) {
        idle_leave(lc, sb);

    } else {
        idle_wait(lc, sb, at);
    }
}


/* It isn't to sleep yet, but to be looked at. */
static bool
idle_silent(lifecycle *lc, sandbox *sb)
{
    uint64_t  after;

    after = spec_sleep_after(sb->spec);

    return sb->run.state == RUN_UP && silent_is(sb)
           && (after == 0 || uv_now(lc->loop) < sb->run.used + after);
}


void
idle_used(lifecycle *lc, sandbox *sb)
{
    sb->run.used = uv_now(lc->loop);
}


void
lifecycle_used(lifecycle *lc, sandbox *sb)
{
    idle_used(lc, sb);
    idle_schedule(lc, sb);
}


void
lifecycle_options(lifecycle *lc, sandbox *sb)
{
    idle_schedule(lc, sb);
    expire_schedule(lc, sb);
}


/* Whether it was idle for long enough, by what the workers say. */
bool
idle_judge(lifecycle *lc, sandbox *sb, const poll_answer *a)
{
    uint64_t  now, used, after;

    now = uv_now(lc->loop);
    after = spec_sleep_after(sb->spec);

    if (a->in_flight != 0) {
        sb->run.used = now;

    } else if (a->known) {
        used = a->idle_ms < now ? now - a->idle_ms : 0;
        sb->run.used = used > sb->run.used ? used : sb->run.used;
    }

    return after != 0 && now - sb->run.used >= after;
}


static void
idle_answered(lifecycle *lc, const poll_answer *a, bool complete)
{
    bool      idle;
    sandbox  *sb;

    sb = registry_find_slot(lc->r, a->slot);

    if (sb == NULL) {
        return;
    }

    sb->run.polled = false;

    if (sb->run.state != RUN_UP || sb->now.epoch != a->epoch || sb->gone) {
        return;
    }

    idle = idle_judge(lc, sb, a);

    if (idle && complete) {
        sleep_prepare(lc, sb);

    } else if (idle) {
        idle_wait(lc, sb, uv_now(lc->loop) + IDLE_UNKNOWN_MS);

    } else {
        idle_schedule(lc, sb);
    }
}


static void
on_idle_answers(void *data, const poll_answer *answers, size_t n,
    bool complete)
{
    size_t      i;
    lifecycle  *lc;

    lc = data;

    for (i = 0; i < n && !lc->closing; i++) {
        idle_answered(lc, &answers[i], complete);
    }
}


static void
on_idle_timer(uv_timer_t *timer)
{
    size_t        n;
    sandbox      *sb;
    deadline     *first;
    lifecycle    *lc;
    poll_answer   about[POLL_SLOTS_MAX];

    lc = timer->data;
    n = 0;

    while (n < POLL_SLOTS_MAX && (first = deadline_first(&lc->idle)) != NULL
           && first->at <= uv_now(lc->loop))
    {
        sb = container_of(first, sandbox, run.idle);
        idle_leave(lc, sb);

        if (spec_external(sb->spec)) {
            external_look_at(lc, sb);
            continue;
        }

        if (sb->run.state == RUN_SLEEPING) {
            sleep_ask(lc, sb);
            continue;
        }

        if (idle_silent(lc, sb)) {
            silent_look_at(lc, sb);
            continue;
        }

        if (lc->poll == NULL) {
            idle_wait(lc, sb, uv_now(lc->loop) + IDLE_UNKNOWN_MS);
            continue;
        }

        sb->run.polled = true;
        memset(&about[n], 0, sizeof(poll_answer));
        about[n].slot = sb->slot;
        about[n].epoch = sb->now.epoch;
        n++;
    }

    if (n != 0) {
        lc->poll(lc->poll_data, about, n, on_idle_answers, lc);
    }

    idle_arm(lc);
}
