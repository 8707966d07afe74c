/*
 * Looks at files that surely cost no wait, so that the loop may take them
 * itself: a turn of the thread pool costs more than they do.
 *
 * The path is resolved from the kernel's cache alone (openat2() with
 * RESOLVE_CACHED, which asks no disk and no file server), what is opened lies
 * on a file system whose open() asks nobody, and only bytes are taken that are
 * in the page cache.  Whatever isn't so, or isn't known here, is for a thread.
 */

#ifndef AGENT_FILE_QUICK_H
#define AGENT_FILE_QUICK_H

#include <sys/types.h>

#define FILE_QUICK_MAX  (64 * 1024)

/* Once, when /proc is there. */
void file_quick_init(void);

/* Does the path, links followed, lead to something?  -1: ask a thread. */
int file_quick_exists(const char *path);

/* And to a directory? */
int file_quick_is_dir(const char *path);

/* A regular file of 1 to FILE_QUICK_MAX bytes, from its beginning to its end;
 * *data is to be freed.  Returns the length, or -1: ask a thread. */
ssize_t file_quick_read(const char *path, size_t spare, char **data);

#endif
