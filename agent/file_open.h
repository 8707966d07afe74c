/*
 * Opening files by path, and not leaving a directory where that is asked for.
 *
 * Confinement: what a path leads to is first pinned with an O_PATH descriptor
 * (which opens nothing: no FIFO waits, no device acts) and then asked where it
 * lies, through /proc/self/fd.  From there on only the descriptor is used, so
 * nothing that is renamed or replaced meanwhile changes what was checked.
 * RESOLVE_BENEATH would refuse a symbolic link to /workspace/x inside
 * /workspace, which is common and harmless; this takes it, refuses every link
 * that leads out, and works under seccomp profiles without openat2.
 *
 * Functions return a descriptor or 0, or -1 with errno (see file_error.h).
 * They block, so they belong on the thread pool.
 */

#ifndef AGENT_FILE_OPEN_H
#define AGENT_FILE_OPEN_H

#include <stdbool.h>
#include <sys/stat.h>

#include "agent/path.h"

/* A regular file for reading, with what it is in *st.  A directory is EISDIR,
 * anything else FILE_E_NOT_REGULAR.  root: NULL, or the directory that the
 * path has to lead into, else FILE_E_OUTSIDE. */
int file_open_read(const char *path, const char *root, struct stat *st);

/* A directory as an O_PATH descriptor; with create it and its parents are
 * made if they are missing. */
int file_open_dir(const char *path, const char *root, bool create);

/* Where the file named by an absolute path has to be created or replaced:
 * symbolic links followed to their end, parents made.  Returns its directory,
 * and its name there; *st is that of the existing regular file, or st_mode 0
 * if there is none. */
int file_open_target(const char *path, const char *root,
    char name[PATH_NAME_ROOM], struct stat *st);

/* Where a descriptor's file lies now. */
int file_real_path(int fd, char *dst, size_t room);

#endif
