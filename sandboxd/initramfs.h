/*
 * The first file system of a virtual machine: an archive with the agent as its
 * init and the modules that it needs to find its disks.
 */

#ifndef SANDBOXD_INITRAMFS_H
#define SANDBOXD_INITRAMFS_H

#include "common/error.h"

/* Writes it to path, which appears only when it is complete.  modules is a
 * directory; what ends in .ko is taken, in the order of its names, also of its
 * directory "erofs", which only an image of that type needs; so it is with
 * more, if that isn't NULL, which need not be there for a kernel without
 * modules.  -1: error set. */
int initramfs_write(const char *path, const char *agent, const char *modules,
    const char *more, error **err);

#endif
