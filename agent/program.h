/*
 * Programs of the image that the agent runs for itself (git, mksquashfs,
 * curl): a line of bash, run like a user's command, so under a shim, with its
 * end, its output up to a bound, and a limit of time.  What must not be seen
 * in a list of processes goes through its input.
 */

#ifndef AGENT_PROGRAM_H
#define AGENT_PROGRAM_H

#include <jansson.h>

#include "agent/run.h"
#include "common/buffer.h"

typedef struct program program;

/* All of it has ended; the program is gone when this returns. */
typedef void (*program_done)(program *p);

typedef struct {
    const char    *text;            /* for bash */
    const char    *session;         /* NULL: none */
    const char    *cwd;             /* NULL: the session's, the default */
    json_t        *env;             /* stolen; NULL: none */
    const char    *input;           /* NULL: none */
    size_t         input_len;
    int            fd;              /* becomes RUN_FD; taken; 0: none; only
                                     * without a session */
    uint64_t       timeout_ms;
    size_t         limit;           /* of each output, else it is ended */
} program_spec;

struct program {
    run_watch      watch;
    run           *of;              /* exit_code, timed_out, failure */
    program_done   done;
    void          *data;
    size_t         limit;
    int            flooded;         /* it wrote more than the limit */
    int            cancelled;
    int            starting;
    int            over;
};

/* NULL: error set, nothing was started and done() is not called. */
program *program_start(const program_spec *spec, program_done done,
    void *data, error **err);

/* Nobody waits for it any more: SIGTERM, SIGKILL.  done() is called. */
void program_cancel(program *p);

/* What it wrote, without the last line feed; NUL-terminated besides. */
void program_output(program *p, spool *from, buffer *to);

/* How it failed, in its own words or, if it had none, in ours: for the end of
 * an error's message. */
void program_complaint(program *p, buffer *to);

#endif
