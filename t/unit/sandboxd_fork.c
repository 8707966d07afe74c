/* sources: t/unit/lib/lifecycle.c */
/* libs: -luv -ljansson -lsqlite3 -lcrypto -lnftables -lpthread */

/* Sandboxes that are copies of others. */

#include <string.h>

#include "t/unit/lib/lifecycle.h"
#include "t/unit/tap.h"


static void
on_fork(void *data, bool memory, error *err)
{
    on_outcome(data, NULL, err);
}


static void
test_fork(fixture *f)
{
    int       closed;
    sandbox  *sb;
    outcome   o, started;

    fixture_open(f, 1);
    memset(&o, 0, sizeof(o));
    memset(&started, 0, sizeof(started));
    closed = 0;
    sb = sandbox_new(f, "asleep", NULL);
    lifecycle_fork(f->lc, sb, 0, on_fork, &o);
    lifecycle_fork(f->lc, sb, 1, on_fork, &o);
    lifecycle_start(f->lc, sb, on_outcome, &started);
    fake_cloned(0);
    ok(o.good == 1 && fake.starts == 0, "no start while a copy is made");
    fake_cloned(1);
    run_until(f, started.good == 1);
    ok(o.good == 2 && started.good == 1, "and one after the last");

    lifecycle_fork(f->lc, sb, 0, on_fork, &o);
    lifecycle_fork(f->lc, sb, 1, on_fork, &o);
    lifecycle_close(f->lc, false, 700, on_closed, &closed);
    run_for(f, 300);
    fake_cloned(0);
    ok(o.good == 3 && closed == 0, "a copy is waited for at the end");
    run_until(f, closed == 1);
    ok(closed == 1, "not for ever");
    fake_cloned(1);
    ok(o.good == 3 && o.bad == 1 && strcmp(o.code, "shutting_down") == 0,
       "one that is too late has failed: nobody could write its record");

    /* As a fork is, and as one that has slept. */
    sb = sandbox_new(f, "fork", EPHEMERAL);
    registry_set_state(f->r, sb, STATE_ASLEEP, "");
    sb = sandbox_new(f, "slept", EPHEMERAL);
    sb->started_at = 1;
    registry_set_state(f->r, sb, STATE_ASLEEP, "");

    /* As one that was about to sleep, and one that was started. */
    sb = sandbox_new(f, "sleeping", NULL);
    sb->started_at = 1;
    registry_set_state(f->r, sb, STATE_SLEEPING, "");
    sb = sandbox_new(f, "starting", NULL);
    sb->started_at = 1;
    registry_set_state(f->r, sb, STATE_STARTING, "");
    fixture_close(f);

    fixture_open(f, 1);
    ok(fake.use[registry_find(f->r, "sleeping")->slot % SLOTS] == SLOT_ENDING
       && fake.use[registry_find(f->r, "starting")->slot % SLOTS]
          == SLOT_IDLE, "one that was about to sleep may come to that");
    ok(fake.use[registry_find(f->r, "fork")->slot % SLOTS] == SLOT_ENDING
       && fake.use[registry_find(f->r, "slept")->slot % SLOTS]
          == SLOT_NOBODYS, "files of an ephemeral fork that has not run are "
       "still its");
    fixture_close(f);

    /* It may come when all is taken apart. */
    fixture_open(f, 1);
    sb = registry_find(f->r, "asleep");
    lifecycle_fork(f->lc, sb, 0, on_fork, &o);
    lifecycle_close(f->lc, false, 0, on_closed, &closed);
    fixture_give_up(f);
    fake_cloned(0);
    ok(o.bad == 2, "also when the lifecycle is given up");
    fixture_given_up(f);
}


int
main(void)
{
    static void  (*const tests[])(fixture *) = {
        test_fork
    };

    ok(fixtures_run(tests, sizeof(tests) / sizeof(tests[0])) == 0,
       "cleared away");

    return done_testing();
}
