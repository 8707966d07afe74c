/*
 * Shared by the files of the lifecycle, whose contract is lifecycle.h.
 */

#ifndef SANDBOXD_LIFECYCLE_PART_H
#define SANDBOXD_LIFECYCLE_PART_H

#include "sandboxd/lifecycle.h"
#include "sandboxd/runfile.h"

#define LIFECYCLE_GRACE_MS  2000    /* between SIGTERM and SIGKILL; of one */
#define MACHINE_GRACE_MS    10000   /* that has to write what is in memory */
#define LIFECYCLE_SLEEP_MS  120000  /* for what keeps memory */

void queue_init(sandbox_queue *q);
void queue_add(sandbox_queue *q, sandbox *sb);
void queue_remove(sandbox_queue *q, sandbox *sb);
sandbox *queue_shift(sandbox_queue *q);

/* Callers that wait for a sandbox, in its run.waiters to run or in run.sleepers
 * to sleep.  Each gets an error of its own. */
int waiters_add(waiter_list *list, lifecycle_started cb, void *data,
    error **err);
void waiters_fail(sandbox *sb, waiter_list *list, const error *why);
void waiters_refuse(sandbox *sb, waiter_list *list, int status,
    const char *code, int retry_after, const char *message);

/* Calls them once what there is of the sandbox is published. */
void waiters_succeed(lifecycle *lc, sandbox *sb, waiter_list *list);

void lifecycle_enter(lifecycle *lc, sandbox *sb, run_state state);
uint64_t lifecycle_grace(lifecycle *lc, const sandbox *sb);
void lifecycle_stop_run(lifecycle *lc, sandbox *sb, uint64_t grace_ms);
void lifecycle_sleep_run(lifecycle *lc, sandbox *sb);

/* Is there memory for it to run?  Else 503 (lifecycle_admit.c). */
int admit_check(lifecycle *lc, sandbox *sb, error **err);
/* It is about to enter the state. */
void admit_enter(lifecycle *lc, sandbox *sb, run_state state);

/* NULL: it is none of this sandboxd's. */
driver *driver_named(lifecycle *lc, const char *name);

/* The disk that a spec asks for, for the registry; and that of a record that
 * was found (lifecycle_disk.c). */
uint64_t disk_of(void *data, json_t *spec);
void disk_adopt(lifecycle *lc, sandbox *sb);

/* When a sandbox is looked at again (lifecycle_idle.c). */
void idle_used(lifecycle *lc, sandbox *sb);
void idle_schedule(lifecycle *lc, sandbox *sb);
void idle_wait(lifecycle *lc, sandbox *sb, uint64_t at);
void idle_leave(lifecycle *lc, sandbox *sb);
bool idle_judge(lifecycle *lc, sandbox *sb, const poll_answer *a);

/* Going to sleep (lifecycle_sleep.c): begins it, asks the workers (again),
 * takes it back for a start.  sleep_prepare() looks at its processes first
 * (lifecycle_agent.c). */
void sleep_prepare(lifecycle *lc, sandbox *sb);
void sleep_begin(lifecycle *lc, sandbox *sb, bool forced);
void sleep_ask(lifecycle *lc, sandbox *sb);
bool sleep_interrupt(lifecycle *lc, sandbox *sb);

void sleepers_look(lifecycle *lc, sandbox *sb);

/* When its ttl ends (lifecycle_expire.c). */
void expire_init(lifecycle *lc);
void expire_schedule(lifecycle *lc, sandbox *sb);

/* Of one that runs and isn't others' (lifecycle_silent.c): its agent is known
 * not to answer; who waits for it is answered, now or after a look; a look that
 * nobody waits for. */
bool silent_is(const sandbox *sb);
void silent_start(lifecycle *lc, sandbox *sb);
void silent_look_at(lifecycle *lc, sandbox *sb);

/* Its network (lifecycle_net.c): begun after the driver has started it, 1: it
 * is being made, and lifecycle_run_started() is called then; of one that was
 * taken over. */
int network_begin(lifecycle *lc, sandbox *sb, const driver_handle *handle,
    error **err);
/* It has what its options say. */
bool network_is(sandbox *sb);
void network_end(lifecycle *lc, sandbox *sb);
void network_adopt(lifecycle *lc, sandbox *sb);

/* Where its run of this epoch is, if not at its socket: the endpoint that is
 * registered now, or what the driver says (lifecycle_external.c). */
void run_at(lifecycle *lc, sandbox *sb);

/* Its start is over, with an error (the callee's) or without. */
void lifecycle_run_started(lifecycle *lc, sandbox *sb,
    const driver_handle *handle, error *err);

/* Those that others run (lifecycle_external.c): looks at one unless somebody
 * does; a start, after a look; what is left of an earlier sandboxd's. */
void external_look_at(lifecycle *lc, sandbox *sb);
void external_start(lifecycle *lc, sandbox *sb, lifecycle_started cb,
    void *data);
void external_adopted(lifecycle *lc, sandbox *sb);
bool external_same(const sandbox *sb, const runfile *run);

/* Starts what may be started now. */
void lifecycle_pump(lifecycle *lc);

/* It has files, and has never run (lifecycle_fork.c). */
bool fork_unrun(const sandbox *sb);

/* Calls back who waits for the end, if this is it. */
void lifecycle_close_check(lifecycle *lc);

#endif
