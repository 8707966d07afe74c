/*
 * The bytes that a guest has written.  As for oci_tree.h: only by a helper
 * process without any privilege, only when all of the guest's processes are
 * gone, and it follows no link and leaves no filesystem.
 */

#ifndef SANDBOXD_OCI_SIZE_H
#define SANDBOXD_OCI_SIZE_H

#include <stdbool.h>
#include <stdint.h>

#define OCI_SIZE_DEPTH       64     /* directories */
#define OCI_SIZE_ENTRIES  200000
#define OCI_SIZE_MS         2000

/* On the disk, below an open directory, without itself; *partial: the tree is
 * larger, deeper or slower than one of the bounds. */
uint64_t oci_tree_size(int dir, bool *partial);

#endif
