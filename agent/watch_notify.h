/*
 * Watched trees: one inotify instance for all of them (the kernel allows few),
 * there while there is a tree.  Events are read in bounded pieces between
 * slices of scanning, never at the same time, so that what a scan has found
 * and what the queue says can be told apart.
 */

#ifndef AGENT_WATCH_NOTIFY_H
#define AGENT_WATCH_NOTIFY_H

#include "agent/watch_tree.h"
#include "common/error.h"

/* What an owner is told.  watch_tell_end() is the last; it has closed the tree
 * when it returns, and frees the error. */
void watch_tell_armed(watch_tree *t);
void watch_tell_event(watch_tree *t, unsigned type, const char *path,
    bool is_dir);               /* path: below t->path */
void watch_tell_lost(watch_tree *t, bool again);    /* what was lost; */
                                /* again: all is watched again */
void watch_tell_end(watch_tree *t, const char *reason, error *err);
void watch_tell_settled(void);

/* t->path, rules, events, recursive and owner are set, the rest is zero.  -1:
 * nothing has begun; watch_tree_free() is for the caller to call. */
int watch_notify_open(watch_tree *t, error **err);

/* t may be freed when done() is called, once nothing looks at it any more. */
void watch_notify_close(watch_tree *t, void (*done)(watch_tree *t));

/* Reads what has happened so far.  true: that is all; false: there are still
 * directories to look at, watch_tell_settled() follows. */
bool watch_notify_settle(void);

/* Once a second: is every top still what it was? */
void watch_notify_sweep(void);

#endif
