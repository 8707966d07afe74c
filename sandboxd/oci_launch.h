/*
 * One start: runs in a child of the helper, mounts the sandbox's root in a
 * mount namespace of its own, has crun start the agent in it, and reports.
 * Nothing of it stays behind: if it fails, or its driver goes away before the
 * sandbox is handed over, it kills whatever it has started.
 */

#ifndef SANDBOXD_OCI_LAUNCH_H
#define SANDBOXD_OCI_LAUNCH_H

#include "sandboxd/oci_wire.h"

#define OCI_LAUNCH_NAME  "sandboxd-crun"

typedef struct {
    const oci_request  *request;
    const char         *config;     /* of request->config_len bytes */
    int                 crun;
    int                 host_image; /* the number of the image "host"; -1 */
    int                 answer;     /* descriptors; disk may be -1 */
    int                 lock;
    int                 listen;
    int                 boot;
    int                 log;
    int                 disk;
} oci_launch;

void oci_launch_run(const oci_launch *launch)
    __attribute__((noreturn));

/* In a child of the helper too: tells a sandbox that was prepared its name.
 * Nobody has run anything in it yet. */
void oci_launch_name(const oci_request *request, int answer, int pidfd)
    __attribute__((noreturn));

/* In a child of the helper too: empties the layer of a directory. */
void oci_launch_remove(const oci_request *request, int answer)
    __attribute__((noreturn));

/* In a child of the helper too: the bytes of a directory's layer. */
void oci_launch_size(const oci_request *request, int answer)
    __attribute__((noreturn));

/* Sends OCI_FAILED with the message. */
void oci_launch_failed(int answer, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
