/*
 * The agent's side of its shims: a pool of idle ones, so that a command
 * doesn't wait for one to start, and the messages.  Owns the shim processes;
 * sessions and runs borrow them.
 */

#ifndef AGENT_SHIM_H
#define AGENT_SHIM_H

#include <sys/types.h>

#include "agent/io.h"
#include "agent/shim_proto.h"

#define SHIM_MAX  1024              /* processes at one time */

typedef struct shim shim;

/* m NULL: the shim is dead, and what was below it is being killed; the shim
 * must not be used any more. */
typedef void (*shim_cb)(shim *s, const shim_msg *m);

struct shim {
    shim     *next, *prev;
    io       *w;
    pid_t     pid;
    shim_cb   cb;                   /* NULL: idle, or left */
    void     *data;
    int       idle;
    int       killed;               /* it didn't end by itself */
};

/* Starts the first one, before there is a loop. */
void shim_prepare(void);

/* Keeps one idle shim ready from now on; ahead: has it at once, instead of when
 * the loop runs. */
void shim_pool_start(int ahead);

/* In how many ms to make what nobody has asked for yet: in so many, but not
 * while the agent is new.  Others may be starting at the same time, and those
 * who wait for their first commands need the processors. */
uint64_t shim_spare_ms(uint64_t ms);

/* NULL if none can be had. */
shim *shim_take(shim_cb cb, void *data);

/* Descriptors are borrowed for the call.  Returns 0, or -1: the shim is about
 * to die. */
int shim_send(shim *s, shim_op op, pid_t pid, int value, const int *fds,
    int nfds);

/* Ends a watched job, or with pid 0 everything: by `sig` (0: SIGTERM), and
 * after grace_ms by SIGKILL.  Answered by GONE. */
void shim_end(shim *s, pid_t pid, int sig, int grace_ms);

/* A signal to what the session's current command has started, not to the
 * shell; answered by INTERRUPTED.  Returns what shim_send() does. */
int shim_interrupt_below(shim *s, int sig);

/* A signal to a watched job, or with pid 0 to the command: to its process, or
 * to its whole tree. */
void shim_signal(shim *s, pid_t pid, int sig, int tree);

/* The owner has no more use for it: with empty, it has no children and goes
 * back to the pool; else it stays until its last child is gone. */
void shim_leave(shim *s, int empty);

/* Kills everything below it and the shim itself; nothing is told. */
void shim_quit(shim *s);

/* The agent ends: all of them.  shim_stop() has them (but one that is to be
 * spared) end what is below them, with SIGTERM first if there is a grace
 * period, shim_count() tells how many are left, shim_kill_all() doesn't ask. */
void shim_stop(int grace_ms, const shim *spared);
unsigned shim_count(void);
void shim_kill_all(void);

/* Is it one of ours?  For the reaper, which also tells when it has waited for
 * a process. */
int shim_known(pid_t pid);
void shim_reaped(pid_t pid, int status);

/* A specification (shim_proto.h) in a memory file; -1 on failure. */
int shim_spec(const char *cwd, char *const *argv, char *const *env);

/* The soft limit of descriptors that commands shall have. */
void shim_set_nofile(unsigned long soft);

#endif
