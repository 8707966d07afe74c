/*
 * Mounts by descriptor: cloning a tree, changing its attributes and putting
 * it somewhere, so that no path of the host has to be visible where it ends
 * up.  Thin over the kernel's calls; every function reports through errno.
 */

#ifndef SANDBOXD_MOUNT_H
#define SANDBOXD_MOUNT_H

#include <stdint.h>

/* A detached copy of what is mounted at path: of it alone where that is
 * allowed, with what is mounted below it where the kernel wants that. */
int mount_clone(const char *path);

/* The same, always with what is mounted below. */
int mount_clone_tree(const char *path);

/* Sets MOUNT_ATTR_* flags, on everything that was cloned. */
int mount_restrict(int fd, uint64_t attributes);

/* Shifts the owners of files by the user namespace's map; the clone has to be
 * of one mount, detached. */
int mount_idmap(int fd, int userns);

/* Attaches a detached mount at an existing file or directory. */
int mount_attach(int fd, const char *target);

/* clone + restrict + attach. */
int mount_bind(const char *source, const char *target, uint64_t attributes);

#endif
