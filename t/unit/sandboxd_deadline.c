/* sources: sandboxd/deadline.c */
/* libs: */

/* The heap of points in time. */

#include <stdlib.h>

#include "sandboxd/deadline.h"
#include "t/unit/tap.h"

#define MANY  1000


int
main(void)
{
    int              i, wrong;
    uint64_t         before;
    deadline        *d;
    static deadline  nodes[MANY];
    deadlines        ds = { 0 };

    ok(deadline_first(&ds) == NULL, "an empty heap has no first");
    deadline_clear(&ds, &nodes[0]);
    ok(ds.count == 0, "who is in none can be taken out of it");

    srandom(1);

    for (i = 0; i < MANY; i++) {
        deadline_set(&ds, &nodes[i], (uint64_t) random() % 500);
    }

    for (i = 0; i < MANY; i += 3) {
        deadline_set(&ds, &nodes[i], (uint64_t) random() % 500);
    }

    for (i = 1; i < MANY; i += 3) {
        deadline_clear(&ds, &nodes[i]);
        deadline_clear(&ds, &nodes[i]);
    }

    ok(ds.count == MANY - MANY / 3, "a third was taken out, once");

    before = 0;
    wrong = 0;

    while ((d = deadline_first(&ds)) != NULL) {
        wrong += d->at < before || (d - nodes) % 3 == 1;
        before = d->at;
        deadline_clear(&ds, d);
        wrong += d->place != 0;
    }

    ok(wrong == 0 && ds.count == 0, "the others come in their order");

    deadlines_free(&ds);

    return done_testing();
}
