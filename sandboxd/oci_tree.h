/*
 * Deleting what a guest has written.  Called only by a helper process without
 * any privilege on the host and only when all of the guest's processes are
 * gone; still it follows no link, leaves no filesystem and needs no more
 * memory or descriptors for deep trees than for flat ones.
 */

#ifndef SANDBOXD_OCI_TREE_H
#define SANDBOXD_OCI_TREE_H

/* A directory below, to read: no link, of the same filesystem. */
int oci_tree_open(int dir, const char *name);

/* Removes everything in the directory, not itself; -1 with errno, after
 * having removed all that can be. */
int oci_tree_empty(int dir);

#endif
