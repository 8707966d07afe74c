/*
 * The small world in which the helper, crun and the sandboxes' mounts live:
 *
 *   /usr /bin /lib ...  the host's programs, read-only (crun's libraries)
 *   /proc /sys /dev     what a container's own are made from
 *   /i/<n>              the images, with owners shifted where we are root
 *   /i/usr              what the image "host" gets as its /usr
 *   /s                  the writable layers, <state dir>/sandboxes
 *   /agent              a private copy of the agent
 *   /b                  the mount point for what one start needs
 *
 * So crun never sees the host's files, and no path of the host shows in a
 * sandbox's mount table.
 */

#ifndef SANDBOXD_OCI_ROOT_H
#define SANDBOXD_OCI_ROOT_H

#include "common/error.h"
#include "sandboxd/driver.h"
#include "sandboxd/userns.h"

typedef struct {
    const driver_host  *host;
    const char         *layers;     /* <state_dir>/sandboxes */
    int                 crun;       /* out: a sealed copy to execute */
    bool                host_image; /* number image_count is "host" */
} oci_root;

/* For the freshly forked, single-threaded helper: enters the user and mount
 * namespaces and changes its root; map->count may shrink to 1. */
int oci_root_enter(oci_root *root, userns_map *map, error **err);

#endif
