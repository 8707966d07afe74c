/*
 * The listening socket of a sandbox's agent, under its name in the directory
 * that only sandboxd writes to.
 */

#ifndef SANDBOXD_AGENT_SOCKET_H
#define SANDBOXD_AGENT_SOCKET_H

#include <sys/types.h>

#include "common/error.h"

#define AGENT_SOCKET_MAX  90        /* bytes of its path */

/* Replaces what is there.  gid (gid_t) -1: the group stays as it is; the mode
 * is 0660.  -1: error set. */
int agent_socket(const char *path, gid_t gid, error **err);

#endif
