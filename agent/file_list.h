/*
 * Directories as the JSON of the API, a slice at a time: what is kept between
 * slices is the open directory and the names of those still to be visited,
 * never the listing.  Symbolic links are listed, not followed.
 *
 * Blocks: belongs on the thread pool.
 */

#ifndef AGENT_FILE_LIST_H
#define AGENT_FILE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "common/buffer.h"

/* The names of directories that wait to be visited, in bytes. */
#define FILE_LIST_PENDING  (8 * 1024 * 1024)

typedef struct file_list  file_list;

/* path is absolute and becomes the front of every absolutePath.  NULL with
 * errno. */
file_list *file_list_open(const char *path, bool recursive, bool hidden);

/* The same for a directory that is open already; fd is taken over, also when
 * that fails. */
file_list *file_list_open_fd(int fd, const char *path, bool recursive,
    bool hidden);

/* What an entry says of a file, from "type" to the end of its members. */
void file_list_describe(buffer *out, const struct stat *st);

/* Appends entries, separated by commas, until about `enough` bytes are in the
 * buffer, or less where many are hidden.  1: there may be more, 0: that was
 * all, -1 with errno: gone wrong (ENOMEM: more directories than may be
 * pending). */
int file_list_more(file_list *l, buffer *out, size_t enough);

size_t file_list_count(const file_list *l);
void file_list_close(file_list *l);

#endif
