/*
 * Names that a scan has told as new: the queue of events tells them once more,
 * which isn't news.  Kept until what the queue held then has been read.
 */

#ifndef AGENT_WATCH_SEEN_H
#define AGENT_WATCH_SEEN_H

#include "agent/watch_tree.h"

void watch_seen_add(watch_node *n, const char *name);
bool watch_seen_take(watch_node *n, const char *name);
void watch_seen_clear(void);
bool watch_seen_any(void);

/* How many bytes of events they may be in, and how many were read. */
void watch_seen_expect(long bytes);
void watch_seen_passed(long bytes);

#endif
