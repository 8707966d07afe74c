/*
 * What the agent is told when it starts: the boot object on a pipe, or a key
 * file when it is started by hand.
 */

#ifndef AGENT_BOOT_H
#define AGENT_BOOT_H

#include "agent/agent.h"
#include "common/error.h"

#define BOOT_MAX       (1024 * 1024)
#define BOOT_ARGS_MAX  1024

/* Reads fd to its end and closes it. */
int boot_read_fd(agent_state *a, int fd, error **err);

/* A boot object in a file, or at the start of a small drive of a virtual
 * machine, where zeros follow it.  It is wiped if it can be: what runs inside
 * must not find the key. */
int boot_read_file(agent_state *a, const char *path, error **err);

/* The first line of a file is the key; all else has its default. */
int boot_read_key_file(agent_state *a, const char *path, error **err);

/* Pure: fills the state from the text of a boot object. */
int boot_parse(agent_state *a, const char *text, size_t len, error **err);

#endif
