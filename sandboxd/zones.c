/* Zones and their acknowledgements; see zones.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandboxd/zones.h"


struct zone_wait {
    unsigned     left;          /* zones to hear from */
    zones_done   cb;
    void        *data;
};

struct zone_pending {
    zone_pending  *next;
    uint64_t       seq;
    uint64_t       deadline;
    zone_wait     *wait;
};


static void *
zone_alloc(size_t size)
{
    void  *p;

    p = calloc(1, size);
    if (p == NULL) {
        abort();
    }

    return p;
}


static void
wait_done(zone_wait *w)
{
    if (--w->left == 0) {
        w->cb(w->data);
        free(w);
    }
}


static void
pending_add(zone *z, uint64_t seq, uint64_t deadline, zone_wait *w)
{
    zone_pending  *p;

    p = zone_alloc(sizeof(zone_pending));
    p->seq = seq;
    p->deadline = deadline;
    p->wait = w;
    w->left++;

    *z->pending_last = p;
    z->pending_last = &p->next;
}


static void
pending_pop(zone *z)
{
    zone_wait     *w;
    zone_pending  *p;

    p = z->pending;
    w = p->wait;
    z->pending = p->next;

    if (z->pending == NULL) {
        z->pending_last = &z->pending;
    }

    free(p);
    wait_done(w);
}


zone *
zones_join(zones *zs, const char *id)
{
    zone  *z;

    for (z = zs->first; z != NULL; z = z->next) {
        if (strcmp(z->id, id) == 0) {
            z->members++;
            return z;
        }
    }

    z = zone_alloc(sizeof(zone));
    snprintf(z->id, sizeof(z->id), "%s", id);
    z->members = 1;
    z->pending_last = &z->pending;
    z->next = zs->first;
    zs->first = z;
    zs->count++;

    return z;
}


void
zone_leave(zones *zs, zone *z)
{
    zone  **p;

    if (--z->members > 0) {
        return;
    }

    for (p = &zs->first; *p != z; p = &(*p)->next) {
        /* void */
    }

    *p = z->next;
    zs->count--;

    while (z->pending != NULL) {
        pending_pop(z);
    }

    free(z);
}


void
zones_wait(zones *zs, uint64_t seq, uint64_t now, zones_done cb, void *data)
{
    zone       *z;
    zone_wait  *w;

    w = zone_alloc(sizeof(zone_wait));
    w->left = 1;
    w->cb = cb;
    w->data = data;

    for (z = zs->first; z != NULL; z = z->next) {
        pending_add(z, seq, now + ZONE_ACK_MS, w);
    }

    wait_done(w);
}


void
zones_settle(zones *zs, zones_done cb, void *data)
{
    zone          *z;
    zone_wait     *w;
    zone_pending  *last;

    w = zone_alloc(sizeof(zone_wait));
    w->left = 1;
    w->cb = cb;
    w->data = data;

    for (z = zs->first; z != NULL; z = z->next) {
        if (z->pending == NULL) {
            continue;
        }

        for (last = z->pending; last->next != NULL; last = last->next) {
            /* void */
        }

        pending_add(z, last->seq, last->deadline, w);
    }

    wait_done(w);
}


void
zone_ack(zone *z, uint64_t seq, uint64_t since)
{
    /* A change from before this connection was not told to it: its zone may
     * not have caught up yet, and the worker says so when it has. */
    while (z->pending != NULL && z->pending->seq <= seq
           && z->pending->seq > since)
    {
        pending_pop(z);
    }
}


void
zones_tick(zones *zs, uint64_t now)
{
    zone  *z;

    for (z = zs->first; z != NULL; z = z->next) {
        if (z->pending == NULL || z->pending->deadline > now) {
            continue;
        }

        zs->drop(zs->data, z);

        while (z->pending != NULL) {
            pending_pop(z);
        }
    }
}


void
zones_free(zones *zs)
{
    zone  *z;

    while ((z = zs->first) != NULL) {
        z->members = 1;
        zone_leave(zs, z);
    }
}
