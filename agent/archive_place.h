/*
 * Places below one directory, found name by name without ever following a
 * symbolic link: what isn't a directory and is in the way of one makes way.
 *
 * Functions return a descriptor or 0, or -1 with errno.
 */

#ifndef AGENT_ARCHIVE_PLACE_H
#define AGENT_ARCHIVE_PLACE_H

#include "agent/archive_tar.h"

typedef struct {
    int   root;
    int   dir;                          /* the one that was asked for last */
    char  path[ARCHIVE_PATH_MAX];       /* its name; "" is the root's own */
} archive_place;

/* The directory and its parents are made; links in its own path are followed.
 * archive_place_close() is allowed after a failure. */
int archive_place_open(archive_place *p, const char *dir);
void archive_place_close(archive_place *p);

/* The directory of a clean path (archive_path.h), made if need be; *name is
 * the rest of the path.  The descriptor is borrowed until the next call. */
int archive_place_parent(archive_place *p, const char *path,
    const char **name);

/* The same, but nothing is made, and the descriptor is the caller's. */
int archive_place_other(archive_place *p, const char *path,
    const char **name);

/* A directory that is there afterwards; mode is only that of a new one. */
int archive_place_mkdir(int dir, const char *name, mode_t mode);

#endif
