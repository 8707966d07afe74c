/* sources: agent/terminal_ring.c */
/* libs: */

/* The ring of a terminal: what is kept is the newest, at its offset. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/terminal_ring.h"
#include "t/unit/tap.h"


static char
byte_at(uint64_t off)
{
    return (char) (off * 2654435761u >> 13);
}


static void
fill(terminal_ring *r, size_t n)
{
    char    *p;
    size_t   i;

    p = malloc(n ? n : 1);
    for (i = 0; i < n; i++) {
        p[i] = byte_at(r->end + i);
    }
    terminal_ring_append(r, p, n);
    free(p);
}


static int
holds(const terminal_ring *r, uint64_t from, size_t want)
{
    size_t       i, n, total;
    uint64_t     off;
    const char  *p;

    total = 0;

    for (off = from; ; off += n) {
        p = terminal_ring_at(r, &off, &n);
        if (n == 0) {
            return total == want;
        }
        for (i = 0; i < n; i++) {
            if (p[i] != byte_at(off + i)) {
                return 0;
            }
        }
        total += n;
    }
}


int
main(void)
{
    int                   good;
    size_t                i;
    uint64_t              old;
    terminal_ring         r;
    static const size_t   steps[] = { 1, 5, 4095, 4096, 4097, 10000, 65536 };

    memset(&r, 0, sizeof(r));
    ok(holds(&r, 0, 0) && r.size == 0, "empty, and costs nothing");

    fill(&r, 100);
    ok(holds(&r, 0, 100) && r.size == 4096, "little costs little");
    ok(holds(&r, 60, 40), "from the middle");

    good = 1;
    for (i = 0; i < 3000; i++) {
        old = r.end - r.start;
        fill(&r, steps[i % 7]);
        old += steps[i % 7];
        good = good && r.end - r.start
               == (old > TERMINAL_RING_MAX ? TERMINAL_RING_MAX : old)
               && r.size <= TERMINAL_RING_MAX;
        if (i % 50 == 0 || i < 30) {
            good = good && holds(&r, r.start, (size_t) (r.end - r.start));
        }
    }
    ok(good, "the newest of many pieces");
    ok(holds(&r, 0, TERMINAL_RING_MAX), "an old offset begins at what is kept");
    ok(holds(&r, r.end, 0), "the end");

    fill(&r, 3 * TERMINAL_RING_MAX + 7);
    ok(holds(&r, 0, TERMINAL_RING_MAX), "a piece larger than all");

    terminal_ring_free(&r);
    ok(r.data == NULL && r.end == 0, "freed");

    return done_testing();
}
