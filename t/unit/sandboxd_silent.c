/* sources: t/unit/lib/lifecycle.c */
/* libs: -luv -ljansson -lsqlite3 -lcrypto -lnftables -lpthread */

/* Agents that are looked at while sandboxd ends: nothing is freed that a look
 * still needs. */

#include <string.h>

#include "t/unit/lib/lifecycle.h"
#include "t/unit/tap.h"


static void
test_end(fixture *f)
{
    outcome   o;
    sandbox  *sb;

    fixture_open(f, 4);
    memset(&o, 0, sizeof(o));
    sb = sandbox_new(f, "sb", NULL);
    lifecycle_start(f->lc, sb, on_outcome, &o);
    run_until(f, o.good == 1);

    /* Nobody is there: it is asked again and again. */
    f->lc->run_path = f->dir;
    lifecycle_tried(f->lc, sb, sb->now.epoch + 1);
    ok(f->lc->looks == 0, "of another run nobody says anything");
    lifecycle_tried(f->lc, sb, sb->now.epoch);
    lifecycle_tried(f->lc, sb, sb->now.epoch);
    ok(f->lc->looks == 1, "one that gave no answer is looked at, once");
    run_for(f, 50);
    ok(f->lc->looks == 1, "for a while");

    fixture_give_up(f);
    ok(f->lc->looks == 1, "sandboxd ends meanwhile");
    run_until(f, f->lc->looks == 0);
    ok(f->lc->looks == 0, "so does the look");
    fixture_given_up(f);
}


int
main(void)
{
    static void  (*const tests[])(fixture *) = { test_end };

    ok(fixtures_run(tests, sizeof(tests) / sizeof(tests[0])) == 0,
       "cleared away");

    return done_testing();
}
