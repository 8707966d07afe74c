/*
 * User namespaces: which ids a sandbox's ids are on the host, and making the
 * namespace in which the driver's helper and all sandboxes live.
 *
 * As root, one fixed range of host ids stands for the ids 0 to 65535 of every
 * sandbox.  As an ordinary user, id 0 is that user and the others come from
 * the user's line in /etc/subuid and /etc/subgid through newuidmap; without
 * such a line (or without newuidmap) there is id 0 alone.
 */

#ifndef SANDBOXD_USERNS_H
#define SANDBOXD_USERNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

/* The range that stands for a sandbox's ids when sandboxd is root: beyond what
 * useradd hands out as subordinate ids (up to 600100000) and what systemd takes
 * for its containers (up to 0x6fffffff), so that nobody else is these users. */
#define USERNS_BASE   0x70000000
#define USERNS_COUNT  65536

typedef struct {
    bool      root;             /* sandboxd is the host's root */
    uid_t     uid;              /* the host's id of id 0 inside */
    gid_t     gid;
    uint32_t  count;            /* ids inside: 0 to count - 1 */
    uid_t     subuid;           /* ordinary user: where 1 and up begin */
    gid_t     subgid;
} userns_map;

/* Finds the first range of at least min ids for the user, who is named by
 * name or number, in the text of /etc/subuid or /etc/subgid.  Pure. */
bool userns_subid_find(const char *text, const char *name, uid_t uid,
    uint32_t min, uint32_t *start, uint32_t *count);

/* Decides on the map for the caller; reads files, changes nothing. */
void userns_map_choose(userns_map *map);

/* As root: makes a namespace with the map and returns a descriptor of it. */
int userns_create(const userns_map *map, error **err);

/* As an ordinary user: moves the calling, single-threaded process into a new
 * namespace with the map, as its root; map->count becomes 1 if the subordinate
 * ids can't be had. */
int userns_enter_new(userns_map *map, error **err);

/* Moves the calling process, which is root, into the namespace as its root. */
int userns_enter(int fd, error **err);

#endif
