/*
 * Mode, time and owner of what an archive brings.  Owners are numbers and
 * only set by root; where one can't be passed on, set-user-ID and set-group-ID
 * aren't either.  Nothing here fails an extraction.
 */

#ifndef AGENT_ARCHIVE_ATTR_H
#define AGENT_ARCHIVE_ATTR_H

#include <archive_entry.h>
#include <time.h>

#include "agent/archive_place.h"

#define ARCHIVE_LATE_MAX    16384
#define ARCHIVE_LATE_BYTES  (1024 * 1024)   /* of names */

typedef struct {
    mode_t           mode;
    uid_t            uid;
    gid_t            gid;
    struct timespec  mtime;
    bool             timed;
} archive_attr;

void archive_attr_of(archive_attr *a, struct archive_entry *entry);

void archive_attr_set_fd(archive_attr *a, int fd);

/* Of a symbolic link itself. */
void archive_attr_set_link(archive_attr *a, int dir, const char *name);

/* Of something that was just made and is no link. */
void archive_attr_set_name(archive_attr *a, int dir, const char *name);


/* Directories get theirs when nothing is put into them any more: at the end,
 * or when there are too many to remember. */

typedef struct {
    char          *path;
    archive_attr   attr;
} archive_late_dir;

typedef struct {
    archive_late_dir  *dirs;
    size_t             count, room, bytes;
} archive_late;

void archive_late_add(archive_late *l, archive_place *place, const char *path,
    const archive_attr *a);

/* Innermost first; empties the list. */
void archive_late_apply(archive_late *l, archive_place *place);

#endif
