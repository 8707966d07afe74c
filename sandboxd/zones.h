/*
 * The shared-memory zones of the nginx instances that are connected, and who
 * waits for them to have taken a revocation.  Several workers share one zone:
 * an acknowledgement of any of them is the zone's.  Knows no connections and
 * no libuv; time comes from the caller.
 */

#ifndef SANDBOXD_ZONES_H
#define SANDBOXD_ZONES_H

#include <stdint.h>

#define ZONE_ID_LEN   32
#define ZONE_ACK_MS   3000

typedef struct zone          zone;
typedef struct zone_wait     zone_wait;
typedef struct zone_pending  zone_pending;

typedef void (*zones_done)(void *data);

struct zone {
    zone           *next;
    char            id[ZONE_ID_LEN + 1];
    unsigned        members;        /* its live connections */
    zone_pending   *pending;        /* by seq */
    zone_pending  **pending_last;
};

typedef struct {
    zone       *first;
    unsigned    count;

    /* Drops all connections of a zone that doesn't answer; each of them
     * calls zone_leave() later, never from here. */
    void      (*drop)(void *data, zone *z);
    void       *data;
} zones;

/* zone_leave() must not be called from any of the callbacks. */
zone *zones_join(zones *zs, const char *id);
void zone_leave(zones *zs, zone *z);

/* Calls back once each zone that is live now has acknowledged seq, or has no
 * connection left.  Perhaps at once. */
void zones_wait(zones *zs, uint64_t seq, uint64_t now, zones_done cb,
    void *data);

/* The same for whatever is being waited for already. */
void zones_settle(zones *zs, zones_done cb, void *data);

/* An acknowledgement of everything from above `since` up to seq: a connection
 * is told every change since it began; of what was before it speaks only when
 * its zone holds that as well (then since is 0). */
void zone_ack(zone *z, uint64_t seq, uint64_t since);

/* Drops the zones whose time is up; to be called now and then. */
void zones_tick(zones *zs, uint64_t now);

void zones_free(zones *zs);

#endif
