/*
 * A run's output as server-sent events, for one client: at the client's pace,
 * from an offset, whole UTF-8 characters only, and exactly one last event.
 * The run goes on if the client leaves.
 */

#ifndef AGENT_FOLLOW_H
#define AGENT_FOLLOW_H

#include "agent/http.h"
#include "agent/run.h"

typedef enum {
    FOLLOW_EXEC,        /* frames of /api/execute/stream */
    FOLLOW_PROCESS,     /* of /api/process/{id}/stream; text names it */
    FOLLOW_BRIDGE       /* events of the bridge's exec */
} follow_kind;

/* Begins when the run has started.  If it fails before, fail() answers
 * instead (it must end the answer).  name is copied. */
void follow_start(http_request *r, run *of, follow_kind kind,
    const char *name, void (*fail)(http_request *r, run *of));

/* The same for a process's client that comes back: from offsets (bytes) of
 * its output and error output, with the offsets in the events if `tell`. */
void follow_from(http_request *r, run *of, const char *name,
    const uint64_t off[2], int tell);

/* The exit code that is told: 124 after a timeout. */
int follow_exit_code(const run *of);

#endif
