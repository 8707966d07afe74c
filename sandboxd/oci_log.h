/*
 * What an agent says on its standard error: into sandboxd's log, with the
 * sandbox's slot, as slowly as an operator can bear.  The agent's end of the
 * pipe never blocks and never breaks: what doesn't fit is lost, and a
 * sandboxd that comes back finds the pipe through the agent's process.
 */

#ifndef SANDBOXD_OCI_LOG_H
#define SANDBOXD_OCI_LOG_H

#include <stdint.h>
#include <sys/types.h>

#include <uv.h>

typedef struct oci_log  oci_log;

/* Two descriptors of a pipe: reader and, for the agent, writer. */
int oci_log_pipe(int fds[2]);

/* A reader of the pipe of an agent that runs already; -1: there is none. */
int oci_log_find(pid_t pid);

/* fd is its own from here on; NULL if it can't be read. */
oci_log *oci_log_start(uv_loop_t *loop, uint32_t slot, int fd);

/* Takes the last words; does nothing for NULL. */
void oci_log_end(oci_log *log);

#endif
