/*
 * The directories of watched trees, and which of the kernel's watches stand
 * for them: a node is a directory of one tree, a mark a watch, which is the
 * same for all trees (and all places) that have the directory.  Nothing but
 * directories is kept.
 *
 * Data only: no I/O, no libuv.  What has to be taken from the kernel or looked
 * at is put into lists for watch_notify.c.
 */

#ifndef AGENT_WATCH_TREE_H
#define AGENT_WATCH_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "agent/watch_pattern.h"

#define WATCH_DIRS_MAX  100000      /* in all trees together */
#define WATCH_PATH_MAX  8192        /* below the watched directory */

enum {
    WATCH_CREATE    = 1,
    WATCH_MODIFY    = 2,
    WATCH_DELETE    = 4,
    WATCH_MOVE_FROM = 8,
    WATCH_MOVE_TO   = 16,
    WATCH_ATTRIB    = 32
};

typedef struct watch_tree  watch_tree;
typedef struct watch_node  watch_node;
typedef struct watch_mark  watch_mark;

struct watch_mark {
    watch_mark  *next;              /* of the same hash */
    watch_node  *nodes;
    int          wd;
};

struct watch_node {
    watch_tree  *tree;
    watch_node  *parent;            /* NULL: the top, or moved away */
    watch_node  *next;              /* of the same hash */
    watch_mark  *mark;
    watch_node  *mark_next;
    DIR         *dir;               /* while it is being read */
    watch_node **ref;               /* to be cleared if this is freed */
    uint64_t     serial;
    uint32_t     cookie;            /* of the move that took it away */
    uint32_t     round;             /* of reading it; */
    uint32_t     found;             /* the parent's in which it was seen */
    bool         pending;           /* has to be read */
    bool         queued;            /* and is in the queue */
    bool         deep;              /* what is below it, too */
    bool         fresh;             /* what is in it is new: tell */
    bool         included;          /* so is all that is below it */

    LIST_HEAD(, watch_node)   children;
    LIST_ENTRY(watch_node)    sibling;      /* or the moved ones */
    TAILQ_ENTRY(watch_node)   queue;

    char         name[];
};

struct watch_tree {
    LIST_ENTRY(watch_tree)  link;
    void        *owner;
    char        *path;              /* of the top, as it is told */
    char        *only;              /* one name in it is watched, or NULL */
    watch_node  *top;
    watch_rules  rules;
    unsigned     events;
    dev_t        dev;               /* of the top, once it was opened */
    ino_t        ino;
    long         fs_type;
    bool         recursive;
    bool         armed;
    bool         lost;              /* read all of it again */
    bool         again;             /* which goes on */
    bool         ended;             /* waits for being freed */
    uint64_t     lost_at;
};

typedef LIST_HEAD(, watch_tree)    watch_tree_list;
typedef LIST_HEAD(, watch_node)    watch_node_list;
typedef TAILQ_HEAD(, watch_node)   watch_node_queue;

/* All there is, in one place. */
typedef struct {
    watch_tree_list    trees;
    watch_node_queue   queue;       /* to be read */
    watch_node_list    moving;      /* not where they were, nor elsewhere */
    watch_node       **nodes;       /* by parent and name */
    size_t             node_buckets, node_count;
    watch_mark       **marks;
    size_t             mark_buckets, mark_count;
    watch_node        *cursor;      /* of a walk over a mark's nodes */
    int               *dropped;     /* watches that nobody needs any more */
    size_t             dropped_count, dropped_size;
    uint64_t           serial;
} watch_forest;

extern watch_forest  watch_all;

/* -1 if there are too many directories. */
int watch_tree_init(watch_tree *t);

/* Frees everything below and in *t, but not t. */
void watch_tree_free(watch_tree *t);

/* NULL if the limit is reached. */
watch_node *watch_node_add(watch_node *parent, const char *name);
watch_node *watch_node_child(const watch_node *parent, const char *name);
void watch_node_remove(watch_node *n);      /* with all that is below */

void watch_node_enqueue(watch_node *n);
void watch_node_again(watch_node *n);       /* before all others */

/* Takes it from its parent, and gives it another; what is pending below isn't
 * in the queue in between. */
void watch_node_detach(watch_node *n, uint32_t cookie);
int watch_node_attach(watch_node *n, watch_node *parent, const char *name);

/* Its path below the top, and a name behind it if there is one.  Returns the
 * name's place in out, or NULL: too long, or not in the tree. */
char *watch_node_path(const watch_node *n, const char *name,
    char out[WATCH_PATH_MAX]);

void watch_mark_drop(int wd);       /* takes it from the kernel, later */
watch_mark *watch_mark_find(int wd);
void watch_mark_set(watch_node *n, int wd);     /* it stands for n now */
void watch_mark_gone(watch_mark *m);            /* the kernel dropped it */

#endif
