/* sources: sandboxd/zones.c */

/* Acknowledgements of zones. */

#include <stdlib.h>
#include <string.h>

#include "sandboxd/zones.h"
#include "t/unit/tap.h"


static zone  *dropped;


static void
on_done(void *data)
{
    (*(int *) data)++;
}


static void
on_drop(void *data, zone *z)
{
    dropped = z;
}


static void
test_wait(void)
{
    int     a, b, c;
    zone   *x, *y;
    zones   zs = { .drop = on_drop };

    a = b = c = 0;

    zones_wait(&zs, 1, 0, on_done, &a);
    ok(a == 1, "without zones there is nothing to wait for");

    x = zones_join(&zs, "x");
    y = zones_join(&zs, "y");
    ok(zones_join(&zs, "x") == x && x->members == 2, "workers share a zone");

    a = 0;
    zones_wait(&zs, 10, 0, on_done, &a);
    zones_wait(&zs, 12, 0, on_done, &b);
    zone_ack(x, 10, 0);
    ok(a == 0, "one of two zones is not enough");
    zone_ack(y, 9, 0);
    ok(a == 0, "nor an older number");
    zone_ack(y, 12, 0);
    ok(a == 1 && b == 0, "a later number stands for the earlier");
    zone_ack(x, 99, 0);
    ok(b == 1, "and all is heard");

    zones_wait(&zs, 20, 0, on_done, &c);
    zone_ack(x, 30, 25);
    zone_ack(y, 30, 0);
    ok(c == 0, "a connection from after the change can't speak for it");
    zone_ack(x, 30, 19);
    ok(c == 1, "one from before can");

    a = b = 0;
    zones_wait(&zs, 40, 0, on_done, &a);
    zones_wait(&zs, 50, 0, on_done, &b);
    zone_ack(y, 50, 0);
    zone_ack(x, 50, 45);
    ok(a == 0 && b == 0, "what was before it goes first");
    zone_ack(x, 50, 0);
    ok(a == 1 && b == 1, "once its zone has caught up, it speaks for all");
    zone_ack(x, 1000, 0);
    ok(c == 1, "more acknowledgements than waits do no harm");

    zones_free(&zs);
}


static void
test_leave_and_time(void)
{
    int     a, b, c;
    zone   *x, *y;
    zones   zs = { .drop = on_drop };

    a = b = c = 0;
    x = zones_join(&zs, "x");
    y = zones_join(&zs, "y");
    zones_join(&zs, "x");

    zones_wait(&zs, 5, 1000, on_done, &a);
    zone_ack(y, 5, 0);
    zone_leave(&zs, x);
    ok(a == 0, "a zone is there as long as one of its workers");
    zone_leave(&zs, x);
    ok(a == 1 && zs.count == 1, "with the last it is not waited for");

    zones_settle(&zs, on_done, &b);
    ok(b == 1, "nothing pending, nothing to settle");

    zones_wait(&zs, 6, 1000, on_done, &c);
    b = 0;
    zones_settle(&zs, on_done, &b);
    ok(b == 0, "who settles waits for what is pending");
    zones_tick(&zs, 1000 + ZONE_ACK_MS - 1);
    ok(dropped == NULL && c == 0, "there is time");
    zones_tick(&zs, 1000 + ZONE_ACK_MS);
    ok(dropped == y && c == 1 && b == 1, "until there is none");

    zones_free(&zs);
    ok(zs.count == 0, "freed");
}


int
main(void)
{
    test_wait();
    test_leave_and_time();

    return done_testing();
}
