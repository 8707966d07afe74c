/*
 * A writable layer of bounded size: an ext4 filesystem in a sparse file,
 * mounted through a loop device that goes away with the mount.  Root only.
 * The mount is a detached one, handed to the helper: it never appears in the
 * host's mount table.  These functions block and belong into the thread pool.
 */

#ifndef SANDBOXD_OCI_DISK_H
#define SANDBOXD_OCI_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

/* Below this ext4 is mostly made of its own tables. */
#define OCI_DISK_MIN  (16 * 1024 * 1024)

/* Tries it out in the directory. */
bool oci_disk_works(const char *dir);

/* Makes the file "disk" in the directory if it isn't there, with an empty
 * layer owned by the ids; returns the detached mount. */
int oci_disk_open(int dir, uint64_t size, uid_t uid, gid_t gid, bool *fresh,
    error **err);

#endif
