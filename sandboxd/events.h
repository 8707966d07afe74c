/*
 * The latest changes of sandboxes, for clients that follow them: a ring in
 * memory of what was published, so that one who was away for a while misses
 * nothing.  After a restart of sandboxd it begins anew, and who asks for what
 * was before is told so.  Nothing secret is in it.
 *
 * Event loop's thread only.
 */

#ifndef SANDBOXD_EVENTS_H
#define SANDBOXD_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#define EVENTS_KEPT  4096
#define EVENTS_PAGE   500

typedef struct events  events;

/* Everything above floor will be told to events_add(). */
events *events_create(uint64_t floor);
void events_free(events *ev);

/* A change as it is published: id (the qualified name), state or gone, epoch,
 * at, reason.  Others than of sandboxes are passed over. */
void events_add(events *ev, uint64_t seq, const json_t *record);

/*
 * At most EVENTS_PAGE of those above since, by rising sequence; *more says
 * that there are others behind them.  NULL: what followed since is not known
 * any more.
 */
json_t *events_page(const events *ev, uint64_t since, bool *more);

/* The sequence of the newest, or the floor. */
uint64_t events_newest(const events *ev);

#endif
