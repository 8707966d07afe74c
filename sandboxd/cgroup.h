/*
 * The limits of a sandbox: one group per sandbox and hierarchy, below one
 * group of this sandboxd's own.  Works with version 1, version 2 and hybrid
 * hosts, and says honestly what it can enforce: it has tried.
 *
 * The functions that take a slot block for as long as the kernel does and are
 * called from the thread pool; what cgroup_open() returns doesn't change.
 */

#ifndef SANDBOXD_CGROUP_H
#define SANDBOXD_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "sandboxd/driver.h"

typedef struct cgroup_host  cgroup_host;

/* tag tells this sandboxd's groups from another's.  Never fails for want of
 * cgroups: then nothing is enforced. */
cgroup_host *cgroup_open(const char *tag);

/* Removes the own group too if no sandbox is in it. */
void cgroup_close(cgroup_host *cg);

/* CGROUP_* bits of what is enforced. */
unsigned cgroup_enforced(const cgroup_host *cg);

/* Makes the groups (again) with the limits; 0 in a limit: without it. */
int cgroup_create(const cgroup_host *cg, uint32_t slot,
    const driver_limits *limits, error **err);

int cgroup_join(const cgroup_host *cg, uint32_t slot, pid_t pid, error **err);

/* Thaws what is frozen, so that it can die. */
void cgroup_thaw(const cgroup_host *cg, uint32_t slot);

/* Calls f with every process of the sandbox. */
void cgroup_processes(const cgroup_host *cg, uint32_t slot,
    void (*f)(void *data, pid_t pid), void *data);

/* What the sandbox uses, as far as the groups tell: all but the disk.  Where
 * they don't count processor time, it is that of the processes in them and of
 * those that they have waited for. */
void cgroup_stats(const cgroup_host *cg, uint32_t slot, driver_stats *stats);

/* Processes in it that were ended for want of memory; -1: not known. */
int64_t cgroup_kills(const cgroup_host *cg, uint32_t slot);

/* A descriptor that becomes readable, or if *urgent has urgent data, when there
 * may be more of them, until cgroup_kills_seen(); for the caller to close.
 * -1: there is none. */
int cgroup_kills_watch(const cgroup_host *cg, uint32_t slot, bool *urgent);
void cgroup_kills_seen(int fd);

/* Removes the groups; waits for a moment if processes are still leaving. */
int cgroup_remove(const cgroup_host *cg, uint32_t slot);

/* Calls f with every slot that has a group. */
void cgroup_slots(const cgroup_host *cg, void (*f)(void *data, uint32_t slot),
    void *data);

#endif
