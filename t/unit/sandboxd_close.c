/* sources: t/unit/lib/lifecycle.c */
/* libs: -luv -ljansson -lsqlite3 -lcrypto -lnftables -lpthread */

/* The end of the lifecycle: what it waits for, and for how long. */

#include <string.h>

#include "t/unit/lib/lifecycle.h"
#include "t/unit/tap.h"


static void
test_close(fixture *f)
{
    int        closed;
    error     *err;
    sandbox   *sb, *late;
    outcome    o;

    fixture_open(f, 1);
    memset(&o, 0, sizeof(o));
    closed = 0;
    sb = sandbox_new(f, "up", NULL);
    late = sandbox_new(f, "late", NULL);
    lifecycle_start(f->lc, sb, on_outcome, &o);
    run_until(f, o.good == 1);
    fake.delay = 300;
    lifecycle_start(f->lc, late, on_outcome, &o);
    lifecycle_start(f->lc, sandbox_new(f, "queued", NULL), on_outcome, &o);
    lifecycle_close(f->lc, true, 5000, on_closed, &closed);
    ok(o.bad == 1 && strcmp(o.code, "shutting_down") == 0,
       "who waits in the queue is sent away");
    lifecycle_start(f->lc, sb, on_outcome, &o);
    ok(o.bad == 2, "nothing more is started");
    ok(closed == 0, "not closed while the driver is at it");
    run_until(f, closed == 1);
    ok(closed == 1 && !fake.up[sb->slot % SLOTS]
       && !fake.up[late->slot % SLOTS],
       "all ended, the one that was just starting too");
    ok(sb->now.state == STATE_ASLEEP, "asleep");
    ok(fake.grace == 2000, "after a while for its processes");
    fixture_close(f);

    fixture_open(f, 1);
    fake.d.kernel_isolation = true;
    closed = 0;
    memset(&o, 0, sizeof(o));
    lifecycle_start(f->lc, registry_find(f->r, "up"), on_outcome, &o);
    run_until(f, o.good == 1);
    lifecycle_close(f->lc, true, 5000, on_closed, &closed);
    run_until(f, closed == 1);
    ok(closed == 1 && fake.grace == 10000,
       "a machine has more: it has to write what it has in memory");
    fixture_close(f);

    fixture_open(f, 1);
    closed = 0;
    fake.hang = true;
    lifecycle_start(f->lc, registry_find(f->r, "up"), on_outcome, &o);
    lifecycle_close(f->lc, false, 700, on_closed, &closed);
    run_for(f, 300);
    ok(closed == 0, "a start under way is waited for");
    run_until(f, closed == 1);
    ok(closed == 1, "but not for ever");
    fake_later(fake.held.slot, fake.held.started, NULL, fake.held.data);
    run_until(f, f->lc->starting.count == 0);
    fixture_close(f);

    /* One that fails when nothing is written any more. */
    fixture_open(f, 1);
    closed = 0;
    err = NULL;
    memset(&o, 0, sizeof(o));
    fake.hang = true;
    lifecycle_start(f->lc, registry_find(f->r, "queued"), on_outcome, &o);
    lifecycle_close(f->lc, false, 0, on_closed, &closed);
    ok(closed == 1 && o.bad == 1, "no start is waited for without time");
    fixture_give_up(f);
    error_set(&err, 503, "start_timeout", "it didn't start");
    fake.held.started(fake.held.data, NULL, err);
    ok(registry_find(f->r, "queued")->now.state == STATE_CREATED,
       "what it changes then is nobody's any more");
    fixture_given_up(f);
}


int
main(void)
{
    static void  (*const tests[])(fixture *) = {
        test_close
    };

    ok(fixtures_run(tests, sizeof(tests) / sizeof(tests[0])) == 0,
       "cleared away");

    return done_testing();
}
