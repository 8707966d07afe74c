/*
 * What a backup leaves out, as the lines of an exclude file of mksquashfs
 * (-wildcards -ef).  Pure; fuzzed.
 */

#ifndef AGENT_BACKUP_EXCLUDE_H
#define AGENT_BACKUP_EXCLUDE_H

#include <stddef.h>

#include "common/buffer.h"

#define BACKUP_EXCLUDE_MAX    1024              /* bytes of a pattern */
#define BACKUP_EXCLUDES_MAX   1000              /* patterns */
#define BACKUP_LINES_MAX      (8 * 1024 * 1024) /* bytes of all lines */

/*
 * Appends the lines of one glob.  Without a slash it is looked for at any
 * depth, else from dir (which may stand before it) on; a component `**` is any
 * number of directories, up to 16.  text[len] is NUL.  Returns NULL, or what
 * is wrong with it.
 */
const char *backup_exclude_glob(buffer *lines, const char *text, size_t len,
    const char *dir);

/* Appends a line for each of the paths, ended by NUL, that are meant as they
 * are. */
const char *backup_exclude_paths(buffer *lines, const char *p, size_t n);

#endif
