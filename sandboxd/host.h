/*
 * What sandboxd finds and leaves on the host: its directories, the lock
 * against a second one, the secret, the bound control socket.  Refuses what
 * somebody else could have put there.
 */

#ifndef SANDBOXD_HOST_H
#define SANDBOXD_HOST_H

#include <sys/types.h>

#include "common/error.h"
#include "common/frame.h"
#include "sandboxd/config.h"

typedef struct {
    char   *state_dir;          /* absolute */
    char   *run_dir;            /* absolute, short enough for sockets */
    int     state_lock;
    int     run_lock;
    int     runs_dir;           /* of the run files, open */
    gid_t   socket_gid;         /* (gid_t) -1: the process's own */
    char    secret[FRAME_SECRET_MAX + 1];
} host;

/* Directories, locks and the secret. */
int host_open(host *h, const config *cf, error **err);

/* The bound control socket, not yet listening; or -1. */
int host_socket(host *h, error **err);

/* Removes the socket and releases the locks. */
void host_close(host *h);

/* Tells systemd or whoever asked with NOTIFY_SOCKET. */
void host_notify(const char *state);

#endif
