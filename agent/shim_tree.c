/* Whose process is whose, below a shim; see shim_internal.h. */

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/shim_internal.h"


shim_job *
shim_job_find(pid_t pid)
{
    size_t  i;

    for (i = 0; i < shim_self.njobs; i++) {
        if (shim_self.jobs[i].pid == pid) {
            return &shim_self.jobs[i];
        }
    }

    return NULL;
}


void
shim_job_mark(pid_t pid, uint32_t number)
{
    struct rlimit  lim;

    if (prlimit(pid, RLIMIT_RTTIME, NULL, &lim) == 0
        && lim.rlim_max == RLIM_INFINITY)
    {
        lim.rlim_cur = SHIM_JOB_TIME + number;
        prlimit(pid, RLIMIT_RTTIME, &lim, NULL);
    }
}


static int
shim_job_marked(pid_t pid, uint32_t number)
{
    char           entry[64];
    struct rlimit  lim;

    if (prlimit(pid, RLIMIT_RTTIME, NULL, &lim) == 0
        && lim.rlim_cur == SHIM_JOB_TIME + number)
    {
        return 1;
    }

    snprintf(entry, sizeof(entry), SHIM_JOB_VAR "=%u", number);

    return proctree_env_has(pid, entry);
}


size_t
shim_list_job(pid_t pid, uint32_t number)
{
    pid_t   group;
    size_t  i, n, from;

    n = proctree_children(getpid(), shim_self.list, 0, PROCTREE_MAX);
    from = 0;

    for (i = 0; i < n; i++) {
        if (shim_self.list[i] == shim_self.child) {
            continue;
        }

        group = 0;

        if (shim_self.list[i] == pid
            || (shim_job_find(shim_self.list[i]) == NULL
                && ((proctree_state(shim_self.list[i], &group) && group == pid)
                    || shim_job_marked(shim_self.list[i], number))))
        {
            shim_self.list[from++] = shim_self.list[i];
        }
    }

    return proctree_below(shim_self.list, 0, from, PROCTREE_MAX, NULL, 0);
}


size_t
shim_list_all(void)
{
    size_t  n;

    n = proctree_children(getpid(), shim_self.list, 0, PROCTREE_MAX);

    return proctree_below(shim_self.list, 0, n, PROCTREE_MAX, NULL, 0);
}


size_t
shim_list_current(void)
{
    pid_t   spare[PROCTREE_MAX];
    size_t  i, n, from, spared;

    spared = 0;

    for (i = 0; i < shim_self.nmarked; i++) {
        spare[spared++] = shim_self.marked[i];
    }
    for (i = 0; i < shim_self.njobs && spared < PROCTREE_MAX; i++) {
        spare[spared++] = shim_self.jobs[i].pid;
    }

    shim_self.list[0] = getpid();
    n = proctree_below(shim_self.list, 0, 1, PROCTREE_MAX, spare, spared);

    for (i = 1, from = 0; i < n; i++) {
        if (shim_self.list[i] != shim_self.child) {
            shim_self.list[from++] = shim_self.list[i];
        }
    }

    return from;
}


void
shim_mark(void)
{
    size_t  i, n;

    n = shim_list_all();
    shim_self.nmarked = 0;

    for (i = 0; i < n; i++) {
        if (shim_self.list[i] != shim_self.child) {
            shim_self.marked[shim_self.nmarked++] = shim_self.list[i];
        }
    }
}


size_t
shim_signal_list(size_t n, int sig)
{
    size_t  i, alive;
    char    state;

    alive = 0;

    for (i = 0; i < n; i++) {
        state = proctree_state(shim_self.list[i], NULL);
        if (state != 0 && state != 'Z' && state != 'X') {
            alive++;
            if (sig != 0) {
                kill(shim_self.list[i], sig);
            }
        }
    }

    return alive;
}
