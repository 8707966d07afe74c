/*
 * The command of an image (its CMD) beside the server: started once the server
 * listens, under a shim of its own.  Its output goes to the log at debug, or
 * straight through; its end decides the agent's where it is not 0.
 */

#ifndef AGENT_SUPERVISOR_H
#define AGENT_SUPERVISOR_H

#include <stdint.h>

#include "agent/shim.h"

/* code: what the agent is to exit with. */
typedef void (*supervisor_end)(int code);

/* argv and env as for execve(), argv[0] looked up in env's PATH.  raw: it gets
 * the agent's own standard descriptors.  end is called at most once, later,
 * when the command failed or could not be started. */
void supervisor_start(char *const *argv, char *const *env, const char *cwd,
    int raw, supervisor_end end);

/* Hands a signal on to the command alone. */
void supervisor_signal(int sig);

/* The agent ends (agent.stopping is set): the command gets sig, its tree after
 * grace_ms SIGKILL.  Returns its shim, which goes when all of it is gone; NULL
 * if nothing runs. */
shim *supervisor_stop(int sig, uint64_t grace_ms);

#endif
