/*
 * Names in an archive: which of them may be a place below a directory.
 * Pure functions: no allocation, no I/O.
 */

#ifndef AGENT_ARCHIVE_PATH_H
#define AGENT_ARCHIVE_PATH_H

#include <stddef.h>

/*
 * dst becomes the name without empty and `.` components and without a slash
 * at its end; "" is the directory itself.  Returns NULL, or what is wrong with
 * the name, in words: it is empty, absolute, too long, or has `..` in it.
 */
const char *archive_path_clean(char *dst, size_t room, const char *name);

#endif
