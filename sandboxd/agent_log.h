/*
 * What an agent says on its standard error: into sandboxd's log, with the
 * sandbox's slot, as slowly as an operator can bear.  The agent's end of the
 * pipe never blocks and never breaks: what doesn't fit is lost, and a
 * sandboxd that comes back finds the pipe through the agent's process.
 */

#ifndef SANDBOXD_AGENT_LOG_H
#define SANDBOXD_AGENT_LOG_H

#include <stdint.h>
#include <sys/types.h>

#include <uv.h>

typedef struct agent_log  agent_log;

/* Two descriptors of a pipe: reader and, for the agent, writer. */
int agent_log_pipe(int fds[2]);

/* A reader of the pipe of an agent that runs already; -1: there is none. */
int agent_log_find(pid_t pid);

/* fd is its own from here on; NULL if it can't be read.  said() is called when
 * there was something, also if the rest is lost. */
agent_log *agent_log_start(uv_loop_t *loop, uint32_t slot, int fd,
    void (*said)(void *data), void *data);

/* Takes the last words; does nothing for NULL. */
void agent_log_end(agent_log *log);

#endif
