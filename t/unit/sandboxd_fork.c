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


/* An ephemeral one, as ops_fork.c makes it. */
static sandbox *
fork_new(fixture *f, const char *id, uint32_t slot)
{
    error    *err;
    json_t   *spec;
    sandbox  *sb;

    err = NULL;
    spec = json_loads(EPHEMERAL, 0, NULL);
    sb = registry_add_fork(f->r, id, spec, slot, 0, &err);
    json_decref(spec);
    registry_set_state(f->r, sb, STATE_ASLEEP, "it is a fork");

    return sb;
}


static void
test_fork(fixture *f)
{
    int       closed;
    error    *err;
    sandbox  *sb;
    outcome   o, started;

    fixture_open(f, 1);
    memset(&o, 0, sizeof(o));
    memset(&started, 0, sizeof(started));
    closed = 0;
    err = NULL;
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
    sb = fork_new(f, "fork", 101);
    (void) fork_new(f, "killed", 102);
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

    /* sandboxd is killed during its first start. */
    sb = registry_find(f->r, "killed");
    fake.hang = true;
    lifecycle_start(f->lc, sb, on_outcome, &started);
    ok(sb->now.state == STATE_STARTING, "the first start of a fork");
    run_until(f, f->r->changes == NULL);
    fixture_give_up(f);
    error_set(&err, 503, "x", "nobody hears it");
    fake.held.started(fake.held.data, NULL, err);
    fixture_given_up(f);

    fixture_open(f, 1);
    sb = registry_find(f->r, "killed");
    ok(sb->now.state == STATE_ASLEEP && sb->started_at == 0
       && fake.use[sb->slot % SLOTS] == SLOT_IDLE,
       "that was cut off: it is asleep again, and has its files");
    memset(&started, 0, sizeof(started));
    lifecycle_start(f->lc, sb, on_outcome, &started);
    run_until(f, started.good == 1);
    lifecycle_on_exited(f->lc, sb->slot, 0, NULL);
    run_until(f, f->lc->stopping == 0 && fake.destroys > 0);
    ok(started.good == 1 && fake.destroys == 1,
       "it starts, and then an ephemeral one's files end with it");
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
