/*
 * A sparse file of a given size with an empty ext4 file system: the writable
 * layer of a sandbox, which can't grow beyond it.  Blocks: belongs into the
 * thread pool.
 */

#ifndef SANDBOXD_DISK_FILE_H
#define SANDBOXD_DISK_FILE_H

#include <stdint.h>

#include "common/error.h"

/* How large a file in the directory can be, in whole MiB, if that is less than
 * limit; else 0, also where it isn't known.  A sparse one is tried. */
uint64_t disk_file_most(const char *dir, uint64_t limit);

/* Makes the file of this name in the directory, which appears only when it is
 * complete; returns it open.  -1: error set. */
int disk_file_create(int dir, const char *name, uint64_t size, error **err);

/* Copies the file of this name from one directory into another, where there is
 * none, as a clone where the file system can do that, else without its holes
 * and only if so many bytes stay free.  -1: error set. */
int disk_file_copy(int from, int to, const char *name, uint64_t floor,
    error **err);

#endif
