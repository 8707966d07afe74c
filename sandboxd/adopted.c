#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "sandboxd/adopted.h"
#include "common/log.h"

/* Longer than whoever waits for a child of its own takes on a busy machine. */
#define LOOK_MS  2000

struct adopted {
    uv_timer_t  timer;
    pid_t       ended;      /* it had at the last look; 0: none */
};


/* The first one that has ended hides the others until it is reaped. */
static pid_t
first_ended(void)
{
    siginfo_t  info;

    memset(&info, 0, sizeof(info));

    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1) {
        return 0;
    }

    return info.si_pid;
}


static void
adopted_look(uv_timer_t *timer)
{
    pid_t     pid;
    adopted  *a;

    a = timer->data;

    while ((pid = first_ended()) != 0 && pid == a->ended) {
        (void) waitpid(pid, NULL, WNOHANG);
        log_debug("reaped %d, a child that was adopted", (int) pid);

        /* The next may have been there as long. */
        a->ended = 0;
    }

    a->ended = pid;
}


adopted *
adopted_start(uv_loop_t *loop)
{
    adopted  *a;

    a = calloc(1, sizeof(adopted));

    if (a == NULL) {
        abort();
    }

    uv_timer_init(loop, &a->timer);
    a->timer.data = a;
    uv_timer_start(&a->timer, adopted_look, LOOK_MS, LOOK_MS);
    uv_unref((uv_handle_t *) &a->timer);

    return a;
}


static void
adopted_closed(uv_handle_t *handle)
{
    free(handle->data);
}


void
adopted_stop(adopted *a)
{
    uv_close((uv_handle_t *) &a->timer, adopted_closed);
}
