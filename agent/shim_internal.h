/*
 * What the files of a shim's own process share: shim_main.c sets it up and
 * takes what the agent says, shim_spawn.c starts the command, shim_tree.c
 * knows whose process is whose, shim_kill.c ends and signals.  The agent's
 * side is agent/shim.h; nothing of it runs here.
 */

#ifndef AGENT_SHIM_INTERNAL_H
#define AGENT_SHIM_INTERNAL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/proctree.h"
#include "agent/shim_proto.h"

typedef struct {
    pid_t     pid;
    uint32_t  number;
} shim_job;

typedef struct {
    int        null;
    pid_t      child;               /* the shell, or the command */
    int        is_shell;
    int        has_tty;
    int        had_children;
    shim_job   jobs[SHIM_JOBS_MAX];
    size_t     njobs;
    pid_t      marked[PROCTREE_MAX];
    size_t     nmarked;
    pid_t      list[PROCTREE_MAX];  /* what was listed last */
} shim_state;

extern shim_state  shim_self;

int64_t shim_now(void);
void shim_tell(shim_op op, int pid, int value, int extra);

/* Waits for all that has ended, and tells. */
void shim_reap(void);

void shim_spawn_child(const int *fds, int nfds);

/* What the shell may open: these, or nothing. */
void shim_hold(const int *fds, int nfds);
void shim_drop(void);

shim_job *shim_job_find(pid_t pid);

/* The job waits for its go: it and all that comes from it carry the mark. */
void shim_job_mark(pid_t pid, uint32_t number);

/* Each lists in shim_self.list and returns how many.  A job: itself, what is
 * below it, and those of our own children that carry its mark or are in its
 * process group, with what is below them.  The session's current command: not
 * the shell, not what lived before, no background job, nothing below those. */
size_t shim_list_job(pid_t pid, uint32_t number);
size_t shim_list_all(void);
size_t shim_list_current(void);

/* What lives now is not of the next command. */
void shim_mark(void);

/* Signals a list; returns how many of it were alive. */
size_t shim_signal_list(size_t n, int sig);

void shim_kill_start(pid_t pid, int sig, int grace);
int shim_kill_active(void);
void shim_kill_steps(void);

/* Ends all there is, and itself. */
void shim_kill_exit(void);

void shim_interrupt(int sig, int below);
void shim_pass(pid_t pid, int sig, int tree);

#endif
