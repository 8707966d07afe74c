/* sources: sandboxd/bucket.c */
/* libs: */

/* How often something may happen. */

#include "sandboxd/bucket.h"
#include "t/unit/tap.h"


int
main(void)
{
    bucket    b = { 0, 0 };
    unsigned  i, n;

    n = 0;
    for (i = 0; i < 60; i++) {
        n += bucket_take(&b, 60, 1000000) == 0;
    }

    ok(n == 60, "as many at once as a minute brings");
    ok(bucket_take(&b, 60, 1000000) == 2, "one more: when to come again");
    ok(bucket_take(&b, 60, 1000000) == 2, "asking costs nothing");
    ok(bucket_take(&b, 60, 1001001) == 0, "a second later there is one");
    ok(bucket_take(&b, 60, 1001001) > 0, "and no second one");

    n = 0;
    for (i = 0; i < 100; i++) {
        n += bucket_take(&b, 60, 99000000) == 0;
    }

    ok(n == 60, "a long pause brings no more than a minute");
    ok(bucket_take(&b, 61, 99000000) == 0, "a higher rate holds at once");
    ok(bucket_take(&b, 1, 99000000) >= 60, "and so does a lower one");

    b.taken = 0;
    ok(bucket_take(&b, 1, 99000000) == 0 && bucket_take(&b, 1, 99000000) <= 61
       && bucket_take(&b, 1, 99060001) == 0, "one a minute");

    return done_testing();
}
