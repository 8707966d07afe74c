/*
 * The table of background commands: sandbox-wide, visible from all sessions,
 * kept after their end (the newest PROCESS_KEPT of them, and of those with
 * output on disk the newest PROCESS_KEPT_FILES).
 */

#ifndef AGENT_PROCESS_H
#define AGENT_PROCESS_H

#include "agent/run.h"

#define PROCESS_MAX_RUNNING  2048
#define PROCESS_KEPT         1024
#define PROCESS_KEPT_FILES   128
#define PROCESS_ID_MAX       256

typedef struct process process;

struct process {
    process    *next, *prev;
    char       *id;
    char       *session;        /* its name */
    run        *of;
    run_watch   watch;
    char        start_time[32];
    char        end_time[32];   /* "" while it runs */
};

/* Enters a run that hasn't started.  id NULL or "": one is made.  NULL: error
 * set (409 if the id is taken). */
process *process_add(run *of, const char *id, const char *sid,
    error **err);

/* A run that could not be started at all. */
void process_remove(process *p);

process *process_find(const char *id);

/* "running", "completed", "failed", "killed" or "error". */
const char *process_status(const run *of);

/* Running ones first, then the others, the oldest first. */
void process_each(void (*cb)(process *p, void *data), void *data);

unsigned process_running(void);

#endif
