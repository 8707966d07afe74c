/*
 * What the files of watch_notify.h share: watch_notify.c has the instance and
 * decides what is next, watch_notify_event.c takes what the queue says,
 * watch_notify_merge.c what a scan found.
 */

#ifndef AGENT_WATCH_NOTIFY_INTERNAL_H
#define AGENT_WATCH_NOTIFY_INTERNAL_H

#include "agent/watch_notify.h"
#include "agent/watch_scan.h"

typedef struct {
    int        fd;                      /* -1: no instance */
    unsigned   busy;                    /* inside of something */
    uint64_t   moved_at;
} watch_notify_state;

extern watch_notify_state  watch_notify;

/* Nothing if it has ended already; frees the error. */
void watch_notify_end(watch_tree *t, const char *reason, error *err);

/* Bytes in the kernel's queue. */
long watch_notify_waiting(void);

/* Reads one slice of events; the bytes, 0 if there was nothing. */
size_t watch_notify_read(void);

/* Something with a name in a directory. */
void watch_notify_tell(watch_node *n, unsigned type, const char *name,
    bool is_dir);

/* A directory that is to be watched, if the rules allow it. */
watch_node *watch_notify_enter(watch_node *parent, const char *name,
    bool fresh);

/* What a slice of scanning found of one directory. */
void watch_notify_merge(watch_scan_item *it, const char *names);

/* Trees of which nothing waits to be read any more. */
void watch_notify_armed(void);

#endif
