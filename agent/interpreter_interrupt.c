/*
 * How a cell is interrupted: SIGINT to the interpreter and to what the cell has
 * started, again and again, a word to the guard of a Node.js that doesn't take
 * notice, and in the end the death of the process.  See interpreter_executor.h.
 */

#include <signal.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/interpreter.h"

#define EXECUTOR_STOP_MS    200             /* from SIGINT to the guard */
#define EXECUTOR_RETRY_MS   1000
#define EXECUTOR_TRIES      5
#define EXECUTOR_SYNC_MS    5000


static void
executor_deaf(uv_timer_t *timer)
{
    executor  *x;

    x = timer->data;
    x->killed = 1;
    executor_die(x, NULL);
}


/*
 * A run is over.  If it was interrupted, its signals must not meet the next
 * one: they have been sent, and whoever answers a request after that has seen
 * them.
 */

void
executor_done(executor *x)
{
    if (x->signals != 0) {
        x->done = 1;
        return;
    }

    x->done = 0;

    if (x->tries != 0 && !x->syncing) {
        x->syncing = 1;
        executor_timer_start(x, &x->timer, EXECUTOR_SYNC_MS, executor_deaf);
        executor_send(x, json_pack("{s:s, s:I}", "op", "sync", "id",
                                   (json_int_t) x->run));
        return;
    }

    x->syncing = 0;
    x->run = 0;
    x->tries = 0;
    executor_timer_stop(&x->timer);

    if (x->cb != NULL) {
        x->cb(x, EXECUTOR_DONE, NULL, 0);
    }
}


static void
executor_interrupt_again(uv_timer_t *timer)
{
    int32_t    id;
    uint64_t   ms;
    executor  *x;

    x = timer->data;
    ms = EXECUTOR_RETRY_MS;

    if (x->tries > EXECUTOR_TRIES) {
        x->killed = 1;
        executor_die(x, NULL);
        return;
    }

    if (x->tries == 0) {
        ms = EXECUTOR_STOP_MS;

    } else if (x->stop_fd != -1) {
        id = (int32_t) x->run;
        (void) !write(x->stop_fd, &id, sizeof(id));
    }

    if (x->tries != 1 && x->pid != 0) {
        x->signals++;
        shim_send(x->sh, SHIM_INTERRUPT, 0, SIGINT, NULL, 0);
    }

    x->tries++;
    executor_timer_start(x, &x->timer, ms, executor_interrupt_again);
}


void
executor_interrupt(executor *x)
{
    if (x->run == 0 || x->tries != 0 || x->exited) {
        return;
    }

    executor_timer_start(x, &x->timer, 0, executor_interrupt_again);
    executor_interrupt_again(x->timer);
}
