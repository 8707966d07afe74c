/* The latest changes of sandboxes; see events.h. */

#include <stdlib.h>
#include <string.h>

#include "sandboxd/events.h"


typedef struct {
    uint64_t  seq;
    json_t   *json;
} event;


struct events {
    uint64_t  floor;        /* what is above it is here */
    uint64_t  newest;
    size_t    first;        /* the oldest */
    size_t    count;
    event     ring[EVENTS_KEPT];
};


events *
events_create(uint64_t floor)
{
    events  *ev;

    ev = calloc(1, sizeof(events));
    if (ev == NULL) {
        abort();
    }

    ev->floor = floor;
    ev->newest = floor;

    return ev;
}


void
events_free(events *ev)
{
    size_t  i;

    for (i = 0; i < ev->count; i++) {
        json_decref(ev->ring[(ev->first + i) % EVENTS_KEPT].json);
    }

    free(ev);
}


void
events_add(events *ev, uint64_t seq, const json_t *record)
{
    size_t       i;
    event       *e;
    json_t      *value;
    const char  *kind;

    static const char *const  members[] = { "id", "state", "epoch", "at",
                                            "reason", "oomKills", "gone",
                                            "tenant" };

    if (seq > ev->newest) {
        ev->newest = seq;
    }

    kind = json_string_value(json_object_get(record, "kind"));

    if (kind == NULL || strcmp(kind, "sandbox") != 0) {
        return;
    }

    if (ev->count == EVENTS_KEPT) {
        e = &ev->ring[ev->first];
        ev->floor = e->seq;
        json_decref(e->json);
        ev->first = (ev->first + 1) % EVENTS_KEPT;
        ev->count--;
    }

    e = &ev->ring[(ev->first + ev->count++) % EVENTS_KEPT];
    e->seq = seq;
    e->json = json_pack("{s:I}", "seq", (json_int_t) seq);

    for (i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        value = json_object_get(record, members[i]);
        if (value != NULL) {
            json_object_set(e->json, members[i], value);
        }
    }
}


json_t *
events_page(const events *ev, uint64_t since, bool *more)
{
    size_t        low, high, middle;
    json_t       *list;
    const event  *e;

    *more = false;

    if (since < ev->floor || since > ev->newest) {
        return NULL;
    }

    /* The first that is newer. */
    low = 0;
    high = ev->count;

    while (low < high) {
        middle = (low + high) / 2;

        if (ev->ring[(ev->first + middle) % EVENTS_KEPT].seq > since) {
            high = middle;

        } else {
            low = middle + 1;
        }
    }

    list = json_array();

    for ( /* void */ ; low < ev->count; low++) {

        if (json_array_size(list) == EVENTS_PAGE) {
            *more = true;
            break;
        }

        e = &ev->ring[(ev->first + low) % EVENTS_KEPT];
        json_array_append(list, e->json);
    }

    return list;
}


uint64_t
events_newest(const events *ev)
{
    return ev->newest;
}
