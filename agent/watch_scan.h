/*
 * What of watching blocks: opening directories, having the kernel watch them,
 * reading their names.  Done on the thread pool in slices of bounded time and
 * size; only one runs at a time, and everything that changes the kernel's
 * watches is done in it, in order.
 */

#ifndef AGENT_WATCH_SCAN_H
#define AGENT_WATCH_SCAN_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buffer.h"

#define WATCH_SCAN_ITEMS  64            /* directories in a slice */
#define WATCH_SCAN_NAMES  (256 * 1024)  /* bytes of names in a slice */
#define WATCH_SCAN_MS     15            /* and time */

/* A tree's top. */
typedef struct {
    const char  *path;
    dev_t        dev;
    ino_t        ino;
    long         fs_type;
} watch_scan_top;

typedef struct {
    struct watch_node     *node;        /* whose it is */
    const watch_scan_top  *top;
    char                  *path;        /* below the top, "" for itself */
    uint32_t               mask;
    bool                   is_top;
    bool                   list;        /* read the names of directories, */
    bool                   files;       /* and of all others */

    DIR                   *dir;         /* goes on where it was */
    int                    wd;          /* -1 if it is watched already */
    int                    errnum;
    bool                   begun;
    bool                   done;        /* else it has to go on */
    watch_scan_top         found;       /* if is_top: what it is */
    size_t                 names;       /* how many, and */
    size_t                 names_at;    /* where they begin */
} watch_scan_item;

typedef struct {
    int               fd;               /* of inotify */
    const int        *drop;             /* watches to be removed first */
    size_t            drop_count;
    watch_scan_item   items[WATCH_SCAN_ITEMS];
    unsigned          count;
    buffer            names;            /* 'd' or 'f', name, NUL each */
} watch_scan;

void watch_scan_run(watch_scan *s);

/* NULL if the path is still that directory, else what became of it. */
const char *watch_scan_look(const watch_scan_top *top);

#endif
