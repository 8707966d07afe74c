/*
 * A file that appears whole or not at all: written beside its final place,
 * then renamed onto it.  Until the commit it has no name where the file system
 * allows that, so that even a killed agent leaves nothing behind.
 *
 * What it replaces passes on its mode and, where possible, its owner.  Hard
 * links to the old file keep the old content.
 *
 * Functions return 0, or -1 with errno (see file_error.h); after a failure
 * nothing is left to cancel.  They block, so they belong on the thread pool.
 */

#ifndef AGENT_FILE_WRITER_H
#define AGENT_FILE_WRITER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "agent/path.h"

typedef struct {
    int          dir;                   /* where the file will be */
    int          fd;                    /* what is written; -1: not open */
    int          replaced;              /* the old file; -1: not held */
    int64_t      written;
    struct stat  old;                   /* st_mode 0: there is no old file */
    char         name[PATH_NAME_ROOM];
    char         temp[48];              /* "" while it has no name */
} file_writer;

/* path is absolute.  root: NULL or where it has to stay (file_open.h). */
int file_writer_open(file_writer *w, const char *path, const char *root);

int file_writer_write(file_writer *w, const void *p, size_t n);

/* The file is in its place when this returns 0; what is left to be done is
 * file_writer_settle(), which nobody has to wait for: it has the data written
 * to the disk and closes. */
int file_writer_commit(file_writer *w);
void file_writer_settle(file_writer *w);

/* Drops what was written; allowed in any state after file_writer_open(), and
 * for a struct with fd -1. */
void file_writer_cancel(file_writer *w);

/* A name for something temporary beside its final place. */
void file_temp_name(char *dst, size_t room);

/* A file in a directory that has no name, and goes when it is closed without
 * one; EOPNOTSUPP: not there.  The link fails with EEXIST like any other. */
int file_nameless_open(int dir, mode_t mode);
int file_nameless_link(int fd, int dir, const char *name);

#endif
