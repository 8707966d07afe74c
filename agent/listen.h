/*
 * The listening socket when the agent makes its own: a Unix socket, vsock in a
 * virtual machine, or TCP where there is neither.
 */

#ifndef AGENT_LISTEN_H
#define AGENT_LISTEN_H

#include "agent/options.h"
#include "common/error.h"

/* -1: error set. */
int listen_open(const listen_address *a, error **err);

/* Removes what listen_open() has put into the file system. */
void listen_close(const listen_address *a);

/* May this peer speak to us at all?  Over vsock only one cid may, usually
 * the host: programs of the same machine reach the port as well. */
int listen_peer_allowed(int fd);

#endif
