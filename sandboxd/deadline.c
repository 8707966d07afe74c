/* A heap of points in time; see deadline.h. */

#include <stdlib.h>

#include "sandboxd/deadline.h"


static void
deadline_put(deadlines *ds, deadline *d, size_t place)
{
    ds->nodes[place - 1] = d;
    d->place = place;
}


static void
deadline_up(deadlines *ds, deadline *d)
{
    size_t  place;

    for (place = d->place;
         place > 1 && ds->nodes[place / 2 - 1]->at > d->at;
         place /= 2)
    {
        deadline_put(ds, ds->nodes[place / 2 - 1], place);
    }

    deadline_put(ds, d, place);
}


static void
deadline_down(deadlines *ds, deadline *d)
{
    size_t  place, child;

    for (place = d->place; place * 2 <= ds->count; place = child) {
        child = place * 2;

        if (child < ds->count
            && ds->nodes[child]->at < ds->nodes[child - 1]->at)
        {
            child++;
        }

        if (ds->nodes[child - 1]->at >= d->at) {
            break;
        }

        deadline_put(ds, ds->nodes[child - 1], place);
    }

    deadline_put(ds, d, place);
}


void
deadline_set(deadlines *ds, deadline *d, uint64_t at)
{
    d->at = at;

    if (d->place == 0) {

        if (ds->count == ds->size) {
            ds->size = ds->size ? ds->size * 2 : 64;
            ds->nodes = realloc(ds->nodes, ds->size * sizeof(deadline *));
            if (ds->nodes == NULL) {
                abort();
            }
        }

        ds->count++;
        deadline_put(ds, d, ds->count);
    }

    deadline_up(ds, d);
    deadline_down(ds, d);
}


void
deadline_clear(deadlines *ds, deadline *d)
{
    deadline  *last;

    if (d->place == 0) {
        return;
    }

    last = ds->nodes[--ds->count];

    if (last != d) {
        deadline_put(ds, last, d->place);
        deadline_up(ds, last);
        deadline_down(ds, last);
    }

    d->place = 0;
}


deadline *
deadline_first(const deadlines *ds)
{
    return ds->count ? ds->nodes[0] : NULL;
}


void
deadlines_free(deadlines *ds)
{
    free(ds->nodes);
    ds->nodes = NULL;
    ds->count = ds->size = 0;
}
