/*
 * Putting to sleep, in two phases.  First the zones are told "sleeping", so
 * that every new request waits and asks for a start; then the workers are asked
 * what is still in flight and when it last moved.  Only then the sandbox is
 * stopped, or taken back: by an answer that it is used, or by a start.
 */

#include <stdlib.h>

#include "common/log.h"
#include "sandboxd/lifecycle_part.h"
#include "sandboxd/runfile.h"

#define SLEEP_FLIGHT_MS  2000   /* for what is in flight when somebody wants
                                   it to sleep at once */
#define SLEEP_AGAIN_MS    100


/* A question to the workers that has to wait until they have been told. */
typedef struct {
    lifecycle  *lc;
    sandbox    *sb;             /* holds a reference */
    uint32_t    epoch;
    unsigned    turn;           /* of its sleeping: it may begin anew */
} sleep_question;


static bool
question_holds(const sleep_question *q)
{
    return q->sb->run.state == RUN_SLEEPING && q->sb->now.epoch == q->epoch
           && q->sb->run.sleep_turn == q->turn && !q->sb->gone
           && !q->lc->closing;
}


static void
question_free(sleep_question *q)
{
    item_unref(&q->sb->item);
    free(q);
}


/* The zones may say again that it runs. */
static void
sleep_take_back(lifecycle *lc, sandbox *sb)
{
    log_debug("%s: stays awake", sb->id);

    lifecycle_enter(lc, sb, RUN_UP);
    registry_set_state(lc->r, sb, silent_is(sb) ? STATE_UNREACHABLE
                                                : STATE_RUNNING, NULL);
    idle_schedule(lc, sb);
}


static void
sleep_stop(lifecycle *lc, sandbox *sb)
{
    log_info("%s: goes to sleep, %s", sb->id,
             sb->run.sleep_forced ? "asked to" : "idle");

    runfile_remove(lc->run_dir, sb->slot);
    lifecycle_sleep_run(lc, sb);
}


static void
on_sleep_answer(void *data, const poll_answer *a, size_t n, bool complete)
{
    bool             idle, soon;
    sandbox         *sb;
    lifecycle       *lc;
    sleep_question  *q;

    q = data;
    sb = q->sb;
    lc = q->lc;

    if (question_holds(q)) {
        idle = idle_judge(lc, sb, a);
        soon = uv_now(lc->loop) - sb->run.since < SLEEP_FLIGHT_MS;

        if (sb->run.sleep_forced && a->in_flight != 0 && soon) {
            idle_wait(lc, sb, uv_now(lc->loop) + SLEEP_AGAIN_MS);

        } else if (sb->run.sleep_forced || (idle && complete)) {
            sleep_stop(lc, sb);

        } else {
            sleep_take_back(lc, sb);
        }
    }

    question_free(q);
}


static void
on_sleep_published(void *data)
{
    poll_answer      about = { 0 };
    sleep_question  *q;

    q = data;
    about.slot = q->sb->slot;
    about.epoch = q->epoch;

    if (!question_holds(q)) {
        question_free(q);

    } else if (q->lc->poll == NULL) {
        on_sleep_answer(q, &about, 1, false);

    } else {
        q->lc->poll(q->lc->poll_data, &about, 1, on_sleep_answer, q);
    }
}


void
sleep_ask(lifecycle *lc, sandbox *sb)
{
    sleep_question  *q;

    q = calloc(1, sizeof(sleep_question));
    if (q == NULL) {
        abort();
    }

    q->lc = lc;
    q->sb = sb;
    q->epoch = sb->now.epoch;
    q->turn = sb->run.sleep_turn;
    item_ref(&sb->item);

    registry_wait(lc->r, sb->seq, on_sleep_published, q);
}


void
sleep_begin(lifecycle *lc, sandbox *sb, bool forced)
{
    idle_leave(lc, sb);
    lifecycle_enter(lc, sb, RUN_SLEEPING);
    sb->run.sleep_forced = forced;
    sb->run.sleep_turn++;

    registry_set_state(lc->r, sb, STATE_SLEEPING, NULL);
    sleep_ask(lc, sb);
}


/* True if a start finds the sandbox still there. */
bool
sleep_interrupt(lifecycle *lc, sandbox *sb)
{
    if (sb->run.state != RUN_SLEEPING || sb->run.sleep_forced) {
        return false;
    }

    idle_used(lc, sb);
    sleep_take_back(lc, sb);

    return true;
}


/* A run has come up, and somebody wants it to sleep. */
void
sleepers_look(lifecycle *lc, sandbox *sb)
{
    if (sb->run.sleepers.first != NULL && sb->run.state == RUN_UP) {
        sleep_begin(lc, sb, true);
    }
}


void
lifecycle_sleep(lifecycle *lc, sandbox *sb, lifecycle_started cb, void *data)
{
    error        *err;
    waiter_list  *list;

    err = NULL;
    list = &sb->run.sleepers;

    if (waiters_add(list, cb, data, &err) < 0) {
        cb(data, sb, err);
        return;
    }

    if (lc->closing) {
        waiters_refuse(sb, list, 503, "shutting_down", 3,
                       "sandboxd is being stopped");

    } else if (sb->gone || sb->run.state == RUN_CLEANUP) {
        waiters_refuse(sb, list, 409, "operation_interrupted", 0,
                       "the sandbox was destroyed");

    } else if (sb->run.state == RUN_NONE) {
        waiters_succeed(lc, sb, list);

    } else if (sb->run.state == RUN_SLEEPING) {
        sb->run.sleep_forced = true;

    } else {
        sleepers_look(lc, sb);
    }
}
