/*
 * The helper process: forked by the driver, in the sandboxes' user namespace
 * and with a root of its own (oci_root.h), it does nothing but fork a child
 * for each request.  It ends when the driver's end of its socket is closed.
 *
 * In the helper and below, processes are made with _Fork(), not with fork():
 * libuv's handler for forks would close descriptors by numbers that mean
 * something else there.
 */

#ifndef SANDBOXD_OCI_HELPER_H
#define SANDBOXD_OCI_HELPER_H

#include "common/error.h"
#include "sandboxd/driver.h"
#include "sandboxd/userns.h"

typedef struct {
    pid_t  pid;             /* 0: there is none; once it has ended, it may be
                               anybody's */
    int    pidfd;
    int    sock;            /* the driver's end, close-on-exec, blocking */
} oci_helper;

/* Waits until the helper is set up; map->count is what came of it. */
int oci_helper_start(oci_helper *helper, const driver_host *host,
    const char *layers, userns_map *map, error **err);

void oci_helper_stop(oci_helper *helper);

#endif
