/* Files with several names; see archive_links.h. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/archive_links.h"


void
archive_links_init(archive_links *l)
{
    memset(l, 0, sizeof(archive_links));
}


static archive_link *
archive_links_place(archive_link *table, size_t room, dev_t dev, ino_t ino)
{
    uint64_t  h;

    h = ((uint64_t) ino ^ (uint64_t) dev << 40) * 0x9e3779b97f4a7c15ull;

    for (h >>= 32; ; h++) {
        if (table[h & (room - 1)].path == NULL
            || (table[h & (room - 1)].ino == ino
                && table[h & (room - 1)].dev == dev))
        {
            return &table[h & (room - 1)];
        }
    }
}


static int
archive_links_grow(archive_links *l)
{
    size_t         i, room;
    archive_link  *table;

    room = l->room ? 2 * l->room : 256;

    table = calloc(room, sizeof(archive_link));
    if (table == NULL) {
        return -1;
    }

    for (i = 0; i < l->room; i++) {
        if (l->table[i].path != NULL) {
            *archive_links_place(table, room, l->table[i].dev,
                                 l->table[i].ino) = l->table[i];
        }
    }

    free(l->table);
    l->table = table;
    l->room = room;

    return 0;
}


const char *
archive_links_find(archive_links *l, dev_t dev, ino_t ino, const char *path)
{
    size_t         len;
    archive_link  *p;

    if (l->count * 2 >= l->room && l->count < ARCHIVE_LINKS_MAX
        && archive_links_grow(l) != 0)
    {
        return NULL;
    }

    p = archive_links_place(l->table, l->room, dev, ino);

    if (p->path != NULL) {
        return p->path;
    }

    len = strlen(path) + 1;

    if (l->count < ARCHIVE_LINKS_MAX && l->bytes + len <= ARCHIVE_LINKS_BYTES) {
        p->path = strdup(path);
        if (p->path != NULL) {
            p->dev = dev;
            p->ino = ino;
            l->count++;
            l->bytes += len;
        }
    }

    return NULL;
}


void
archive_links_free(archive_links *l)
{
    size_t  i;

    for (i = 0; i < l->room; i++) {
        free(l->table[i].path);
    }

    free(l->table);
    archive_links_init(l);
}
