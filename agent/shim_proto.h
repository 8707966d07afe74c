/*
 * What the agent and its shims say to one another.
 *
 * A shim is a small process between the agent and what a user runs: the parent
 * of a session's shell or of one command, and the subreaper of all that comes
 * from it, so that a double-forked child is still below it and dies with it.
 * It is started by executing the agent's own file again, so its memory holds
 * no key and nothing of another command, and it has no descriptors but the
 * ones of its own job.  It is what a shell's /proc/<shim>/fd/N names: the
 * agent itself can't be looked into.
 *
 * Messages are packets of one struct each on a SOCK_SEQPACKET pair; some carry
 * descriptors.
 */

#ifndef AGENT_SHIM_PROTO_H
#define AGENT_SHIM_PROTO_H

#include <stdint.h>

#define SHIM_ARGV0     "sandbox-shim"
#define SHIM_SOCKET    3
#define SHIM_MAX_FDS   8

/* Where a shim puts what it holds for the shell to open, in order. */
#define SHIM_HELD      10
#define SHIM_HELD_MAX  6
#define SHIM_HELD_GO   (SHIM_HELD + 4)      /* a job's go pipe, to write to */

#define SHIM_JOBS_MAX  256      /* watched at one time */

/* Where a session's shell finds its permanent descriptors when it starts:
 * output, error output, control, text of the current command.  It moves them
 * (shell_text.c). */
#define SHELL_FD_OUT      240
#define SHELL_FD_ERR      241
#define SHELL_FD_CONTROL  242
#define SHELL_FD_TEXT     243

/* The environment variable that marks what a background job started, by which
 * its orphans are found. */
#define SHIM_JOB_VAR   "SANDBOX_JOB"

/* And a second mark, which also a program keeps that forks itself into the
 * background, leaves its process group and empties its environment: the soft
 * limit of RLIMIT_RTTIME, a time that nobody reaches and nobody sets, plus the
 * job's number. */
#define SHIM_JOB_TIME  1000000000000000ULL

typedef enum {
    /* Agent to shim. */
    SHIM_SPAWN = 1,     /* fds: specification, stdin, stdout, stderr, and
                         * SHELL_FD_...; value: 1 if it is a session's shell,
                         * 2 if the three are a terminal that becomes its own */
    SHIM_HOLD,          /* fds: to be put at SHIM_HELD; answered by HELD */
    SHIM_DROP,          /* close what is held; value 1: the job that waits for
                         * that is not to begin */
    SHIM_WATCH,         /* pid: will become our child, tell of its end;
                         * value: its job number */
    SHIM_MARK,          /* value 0: what lives now is not of the next command;
                         * 1: nothing but that command lives */
    SHIM_INTERRUPT,     /* SIGINT to the shell (extra 1: not to it), signal
                         * `value` to what is of the current command; answered
                         * by INTERRUPTED */
    SHIM_KILL,          /* pid: a watched job, 0: all; value: milliseconds
                         * from the signal in extra (0: SIGTERM) to SIGKILL;
                         * answered by GONE */
    SHIM_SIGNAL,        /* pid: a watched job, 0: the command; value: what to
                         * send; extra: 1 to its whole tree */
    SHIM_QUIT,          /* kill all at once and exit */

    /* Shim to agent. */
    SHIM_SPAWNED,       /* pid */
    SHIM_FAILED,        /* value: errno; extra: 1 if it was the directory */
    SHIM_IS_HELD,
    SHIM_EXIT,          /* pid, value: wait status, extra: children left */
    SHIM_EMPTY,         /* the last child is gone, after an EXIT with some */
    SHIM_INTERRUPTED,
    SHIM_GONE           /* pid as in KILL; extra: 1 if SIGKILL was needed */
} shim_op;

typedef struct {
    uint32_t  op;
    int32_t   pid;
    int32_t   value;
    int32_t   extra;
} shim_msg;

/*
 * The specification of a process: a memory file with the working directory,
 * the number of arguments in decimal, the arguments and the environment, each
 * ended by a NUL; the first argument is also the path to execute.
 */

#endif
