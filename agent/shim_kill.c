/* A shim ends and signals what is below it; see shim_internal.h. */

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/shim_internal.h"

#define SHIM_KILLS_MAX  (SHIM_JOBS_MAX + 1)
#define SHIM_TOLD_MAX   1024

typedef struct {
    pid_t  pid;
    int    spared;                  /* helps another to end */
} shim_told;

typedef struct {
    pid_t      pid;                 /* 0: everything */
    uint32_t   number;
    int64_t    deadline;            /* of the grace period */
    int        active;
    int        killed;
    int        asked;               /* all that was there at the start */
    int        sig;                 /* that asks */
    size_t     ntold;               /* who has had it */
    shim_told  told[SHIM_TOLD_MAX];
} shim_kill;

static shim_kill  shim_kills[SHIM_KILLS_MAX];
static unsigned   shim_nkills;      /* that are active: the table is large, and
                                     * no shim but one that ends something has
                                     * to touch it */


static size_t
shim_list_for(const shim_kill *k)
{
    return k->pid == 0 ? shim_list_all() : shim_list_job(k->pid, k->number);
}


/* A tree that forks faster than one can kill has to be stopped first. */

static void
shim_kill_hard(const shim_kill *k)
{
    int     i;
    size_t  n, last;

    last = 0;

    for (i = 0; i < 16; i++) {
        n = shim_list_for(k);
        shim_signal_list(n, SIGSTOP);
        if (n == last) {
            break;
        }
        last = n;
    }

    shim_signal_list(shim_list_for(k), SIGKILL);
}


static int
shim_stops(int sig)
{
    return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN
           || sig == SIGTTOU;
}


static const shim_told *
shim_told_find(const shim_kill *k, pid_t pid)
{
    size_t  i;

    for (i = 0; i < k->ntold; i++) {
        if (k->told[i].pid == pid) {
            return &k->told[i];
        }
    }

    return NULL;
}


/* Was it begun by one that was asked and has a handler for that?  What such a
 * handler runs, say to save its state, must not be ended under its hands. */

static int
shim_is_helper(const shim_kill *k, pid_t pid)
{
    const shim_told  *parent;

    parent = shim_told_find(k, proctree_parent(pid));

    return parent != NULL
           && (parent->spared || proctree_catches(parent->pid, k->sig));
}


/* Asks each of them once; a child that was just being born when its parent got
 * the signal is met the next time.  Returns how many are alive. */

static size_t
shim_kill_ask(shim_kill *k)
{
    char        state;
    pid_t       pid;
    size_t      i, n, alive;
    shim_told  *told;

    n = shim_list_for(k);
    alive = 0;

    for (i = 0; i < n; i++) {
        pid = shim_self.list[i];
        state = proctree_state(pid, NULL);
        if (state == 0 || state == 'Z' || state == 'X') {
            continue;
        }

        alive++;

        if (k->ntold == SHIM_TOLD_MAX || shim_now() >= k->deadline
            || shim_told_find(k, pid) != NULL)
        {
            continue;
        }

        told = &k->told[k->ntold];
        told->pid = pid;
        told->spared = k->asked && shim_is_helper(k, pid);
        k->ntold++;

        if (told->spared) {
            continue;
        }

        kill(pid, k->sig);
        if (!shim_stops(k->sig)) {
            kill(pid, SIGCONT);
        }
    }

    k->asked = 1;

    return alive;
}


void
shim_kill_start(pid_t pid, int sig, int grace)
{
    size_t      i;
    shim_job   *job;
    shim_kill  *k;

    for (i = 0; i < SHIM_KILLS_MAX - 1 && shim_kills[i].active; i++) {
        if (shim_kills[i].pid == pid) {
            /* Asked twice: the shorter patience counts. */
            if (shim_now() + grace < shim_kills[i].deadline) {
                shim_kills[i].deadline = shim_now() + grace;
            }
            return;
        }
    }

    k = &shim_kills[i];
    job = shim_job_find(pid);
    shim_nkills += !k->active;      /* the last place may be taken again */
    k->pid = pid;
    k->number = job != NULL ? job->number : 0;
    k->deadline = shim_now() + grace;
    k->active = 1;
    k->killed = 0;
    k->asked = 0;
    k->sig = sig != 0 ? sig : SIGTERM;
    k->ntold = 0;

    if (grace > 0) {
        shim_kill_ask(k);

        /* An interactive shell takes no notice of SIGTERM. */
        if (pid == 0 && shim_self.child != 0 && shim_self.is_shell) {
            kill(shim_self.child, SIGHUP);
        }
    }
}


static void
shim_kill_step(shim_kill *k)
{
    if (shim_kill_ask(k) == 0) {
        shim_reap();
        k->active = 0;
        shim_nkills--;
        shim_tell(SHIM_GONE, k->pid, 0, k->killed);
        return;
    }

    if (shim_now() >= k->deadline) {
        k->killed = 1;
        shim_kill_hard(k);
    }
}


int
shim_kill_active(void)
{
    return shim_nkills != 0;
}


void
shim_kill_steps(void)
{
    int  i;

    for (i = 0; i < SHIM_KILLS_MAX && shim_nkills != 0; i++) {
        if (shim_kills[i].active) {
            shim_kill_step(&shim_kills[i]);
        }
    }
}


void
shim_kill_exit(void)
{
    int        i;
    shim_kill  all;

    memset(&all, 0, sizeof(all));

    for (i = 0; i < 400; i++) {
        shim_kill_hard(&all);
        while (waitpid(-1, NULL, WNOHANG) > 0) { /* reap */ }
        if (shim_signal_list(shim_list_all(), 0) == 0) {
            break;
        }
        usleep(5000);
    }

    _exit(0);
}


void
shim_interrupt(int sig, int below)
{
    size_t  n;

    n = shim_list_current();

    /* The shell first: it gives up the rest of its list only if it has seen
     * the signal before its child dies of it. */
    if (shim_self.child != 0 && !below) {
        kill(shim_self.child, SIGINT);
    }

    shim_signal_list(n, sig);
    shim_tell(SHIM_INTERRUPTED, 0, 0, 0);
}


/* Our own children haven't been waited for, so their numbers are theirs. */

void
shim_pass(pid_t pid, int sig, int tree)
{
    shim_job  *job;

    job = pid != 0 ? shim_job_find(pid) : NULL;

    if (pid == 0) {
        pid = shim_self.child;
    } else if (job == NULL) {
        return;
    }

    if (pid == 0) {
        return;
    }

    if (!tree) {
        kill(pid, sig);
        return;
    }

    shim_signal_list(job != NULL ? shim_list_job(pid, job->number)
                                 : shim_list_all(), sig);
}
