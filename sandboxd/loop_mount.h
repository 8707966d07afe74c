/*
 * A file system in a file, mounted through a loop device that goes away with
 * the mount.  Root only.  The mount is a detached one: it never appears in the
 * host's mount table, and ends with whoever has it last.  Blocks.
 */

#ifndef SANDBOXD_LOOP_MOUNT_H
#define SANDBOXD_LOOP_MOUNT_H

#include <stdbool.h>

#include "common/error.h"

/* Without devices and privileges; the types are tried one after the other, up
 * to a NULL.  The file may be closed.  -1: error set. */
int loop_mount(int file, const char *const *types, bool readonly, error **err);

#endif
