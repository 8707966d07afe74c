/* sources: agent/spool.c common/buffer.c */
/* libs: */

#include <stdlib.h>
#include <string.h>

#include "agent/spool.h"
#include "t/unit/tap.h"


/* Bytes that tell where they stand. */

static void
fill(char *p, size_t n, uint64_t off)
{
    size_t  i;

    for (i = 0; i < n; i++, off++) {
        p[i] = (char) (off % 251);
    }
}


static int
reads(spool *s, uint64_t from, uint64_t to)
{
    char      got[10007], want[10007];
    size_t    n;
    uint64_t  off;

    for (off = from; off < to; ) {
        fill(want, sizeof(want), off);
        n = spool_read(s, &off, got, sizeof(got));
        if (n == 0 || memcmp(got, want, n) != 0) {
            return 0;
        }
    }

    return off == to && spool_read(s, &off, got, 1) == 0;
}


static void
append(spool *s, size_t n)
{
    char  *p;

    p = malloc(n);
    fill(p, n, s->end);
    spool_append(s, p, n);
    free(p);
}


int
main(void)
{
    int       i;
    char      c;
    spool     s;
    uint64_t  off;

    memset(&s, 0, sizeof(s));
    off = 0;
    ok(spool_read(&s, &off, &c, 1) == 0, "nothing at first");

    append(&s, 1000);
    append(&s, 1);
    ok(reads(&s, 0, 1001), "little stays in memory");
    ok(s.fd == 0, "without a file");
    ok(reads(&s, 500, 1001), "from the middle");

    append(&s, SPOOL_MEMORY);
    ok(s.fd != 0 && s.mem.data == NULL, "more goes to a file");
    ok(reads(&s, 0, 1001 + SPOOL_MEMORY), "nothing is lost on the way");

    for (i = 0; i < 300; i++) {
        append(&s, 1000000);
    }
    ok(s.end == 1001 + SPOOL_MEMORY + 300000000ULL, "all is counted");
    ok(s.end - s.start >= (uint64_t) SPOOL_MAX
       && s.end - s.start < (uint64_t) SPOOL_MAX + 17 * 1024 * 1024,
       "the newest are kept");
    ok(reads(&s, s.start, s.end), "and are right");
    off = 0;
    spool_read(&s, &off, &c, 1);
    ok(off == s.start + 1, "an old offset moves to the oldest byte kept");
    spool_free(&s);

    spool_set_dir("/proc/nowhere");
    memset(&s, 0, sizeof(s));
    for (i = 0; i < 100; i++) {
        append(&s, 1000);
    }
    ok(s.failed != 0, "no place for a file is told");
    ok(s.end == 100000 && s.end - s.start == SPOOL_MEMORY,
       "memory keeps the newest");
    ok(reads(&s, s.start, s.end), "which are right");
    spool_free(&s);

    return done_testing();
}
