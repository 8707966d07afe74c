/*
 * Where files with several names were seen first.  Bounded: what doesn't fit
 * any more is forgotten, and its names become files of their own.
 */

#ifndef AGENT_ARCHIVE_LINKS_H
#define AGENT_ARCHIVE_LINKS_H

#include <stddef.h>
#include <sys/types.h>

#define ARCHIVE_LINKS_MAX    65536
#define ARCHIVE_LINKS_BYTES  (8 * 1024 * 1024)  /* of names */

typedef struct {
    dev_t   dev;
    ino_t   ino;
    char   *path;               /* NULL: a free place */
} archive_link;

typedef struct {
    archive_link  *table;       /* a power of two of places */
    size_t         room, count, bytes;
} archive_links;

void archive_links_init(archive_links *l);

/* The path under which the file was seen first, or NULL and it is now. */
const char *archive_links_find(archive_links *l, dev_t dev, ino_t ino,
    const char *path);

void archive_links_free(archive_links *l);

#endif
