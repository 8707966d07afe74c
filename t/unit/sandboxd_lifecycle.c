/* sources: t/unit/lib/lifecycle.c */
/* libs: -luv -ljansson -lsqlite3 -lcrypto -lnftables -lpthread */

/* Starts and their failures, waiting, the end of a sandbox, what is left of an
 * earlier sandboxd, pages of records. */

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <sqlite3.h>

#include "t/unit/lib/lifecycle.h"
#include "t/unit/tap.h"


static void
test_start(fixture *f)
{
    int       i;
    sandbox  *sb;
    outcome   o;

    fixture_open(f, 2);
    memset(&o, 0, sizeof(o));
    sb = sandbox_new(f, "a", NULL);

    for (i = 0; i < 10; i++) {
        lifecycle_start(f->lc, sb, on_outcome, &o);
    }

    ok(o.good == 0 && fake.starts == 1, "ten callers, one start");
    run_until(f, o.good + o.bad == 10);
    ok(o.good == 10 && o.bad == 0, "all of them hear of it");
    ok(sb->shown.state == STATE_RUNNING && sb->shown.epoch == 1
       && strlen(sb->shown.key) == KEY_LEN, "it is shown running");
    lifecycle_start(f->lc, sb, on_outcome, &o);
    ok(o.good == 11 && fake.starts == 1, "the next hears at once");

    lifecycle_on_exited(f->lc, sb->slot, 9, NULL);
    ok(sb->now.state == STATE_ASLEEP && sb->now.key[0] == '\0',
       "it dies: asleep, without a key");
    lifecycle_start(f->lc, sb, on_outcome, &o);
    ok(fake.starts == 1 && fake.stops == 1,
       "a start waits until the rest is cleared away");
    run_until(f, o.good == 12);
    ok(o.good == 12 && fake.starts == 2 && sb->now.epoch == 2,
       "and then it starts");
    lifecycle_on_exited(f->lc, 200, 9, NULL);
    ok(sb->now.state == STATE_RUNNING, "the death of a stranger");

    fake.most_at_once = 0;
    fake.delay = 10;
    memset(&o, 0, sizeof(o));

    for (i = 0; i < 9; i++) {
        char  id[16];

        snprintf(id, sizeof(id), "many%d", i);
        lifecycle_start(f->lc, sandbox_new(f, id, NULL), on_outcome, &o);
    }

    run_until(f, o.good == 9);
    ok(o.good == 9 && fake.most_at_once == 2, "nine starts, two at a time");

    fixture_close(f);
}


static void
test_failure(fixture *f)
{
    sandbox   *sb;
    outcome    o;
    uint64_t   first;

    fixture_open(f, 2);
    memset(&o, 0, sizeof(o));
    fake.fail = true;
    sb = sandbox_new(f, "bad", NULL);

    lifecycle_start(f->lc, sb, on_outcome, &o);
    lifecycle_start(f->lc, sb, on_outcome, &o);
    run_until(f, sb->run.state == RUN_NONE && sb->run.failures);
    ok(o.bad == 2 && o.status == 503 && o.retry_after == 1
       && strcmp(o.code, "start_failed") == 0, "a start that fails: 503");
    ok(sb->now.state == STATE_CREATED
       && strstr(sb->reason, "told to fail") != NULL, "with the reason");
    first = sb->run.retry_at;

    lifecycle_start(f->lc, sb, on_outcome, &o);
    ok(o.bad == 3 && fake.starts == 1 && o.retry_after >= 1,
       "not tried again at once");

    sb->run.retry_at = 0;
    lifecycle_start(f->lc, sb, on_outcome, &o);
    run_until(f, sb->run.state == RUN_NONE && sb->run.failures == 2);
    ok(fake.starts == 2 && o.retry_after == 2
       && sb->run.retry_at > first + 900, "the pause doubles");

    sb->run.failures = 40;
    sb->run.retry_at = 0;
    lifecycle_start(f->lc, sb, on_outcome, &o);
    run_until(f, sb->run.state == RUN_NONE && sb->run.failures == 41);
    ok(o.retry_after == BACKOFF_MAX_MS / 1000, "up to a bound");

    fake.fail = false;
    sb->run.retry_at = 0;
    lifecycle_start(f->lc, sb, on_outcome, &o);
    run_until(f, o.good == 1);
    ok(o.good == 1 && sb->run.failures == 0 && sb->reason[0] == '\0',
       "success forgets it");

    fixture_close(f);
}


static void
test_waiting(fixture *f)
{
    sandbox  *sb, *queued;
    outcome   o, q;

    fixture_open(f, 1);
    memset(&o, 0, sizeof(o));
    memset(&q, 0, sizeof(q));
    fake.hang = true;

    sb = sandbox_new(f, "hangs", "{\"createTimeoutMs\":1000}");
    queued = sandbox_new(f, "queued", "{\"containerTimeouts\":"
                         "{\"instanceGetTimeoutMS\":100}}");
    lifecycle_start(f->lc, sb, on_outcome, &o);
    lifecycle_start(f->lc, queued, on_outcome, &q);
    run_until(f, q.bad == 1);
    ok(q.bad == 1 && strcmp(q.code, "busy") == 0 && q.retry_after > 0,
       "who waits too long for a free start is told");
    ok(queued->run.state == RUN_NONE, "and is out of the queue");

    fake.hang = false;
    memset(&q, 0, sizeof(q));
    queued = sandbox_new(f, "passes", NULL);
    lifecycle_start(f->lc, queued, on_outcome, &q);
    sb->run.since = uv_now(&f->loop);
    run_for(f, 600);
    ok(q.good == 0, "one at a time means one");
    run_until(f, q.good == 1);
    ok(q.good == 1 && sb->run.state == RUN_STARTING,
       "but a start that hangs does not hold up the others");

    sb->run.since -= 20000;
    run_until(f, o.bad == 1);
    ok(o.bad == 1 && strcmp(o.code, "start_timeout") == 0,
       "a driver that never answers does not hold the callers");

    fake_later(fake.held.slot, fake.held.started, NULL, fake.held.data);
    run_until(f, f->lc->starting.count == 0);
    fixture_close(f);
}


static void
on_waited(void *data)
{
    (*(int *) data)++;
}


static void
test_destroy(fixture *f)
{
    int        durable;
    sandbox   *sb, *again;
    outcome    o;
    uint32_t   slot;
    uint64_t   seq;

    fixture_open(f, 2);
    memset(&o, 0, sizeof(o));
    durable = 0;
    fake.hang = true;

    sb = sandbox_new(f, "gone", NULL);
    slot = sb->slot;
    lifecycle_start(f->lc, sb, on_outcome, &o);
    seq = registry_remove(f->r, sb);
    registry_wait(f->r, seq, on_waited, &durable);
    ok(registry_find(f->r, "gone") == NULL, "its id is free at once");
    again = sandbox_new(f, "gone", NULL);
    ok(again != NULL && again->slot != slot, "a new one has another slot");

    run_until(f, durable == 1);
    lifecycle_destroy(f->lc, sb);
    ok(o.bad == 1 && o.status == 409, "who waited for it hears so");
    ok(fake.destroys == 0, "the driver is not disturbed in its start");
    fake_later(fake.held.slot, fake.held.started, NULL, fake.held.data);
    run_until(f, registry_find_slot(f->r, slot) == NULL);
    ok(fake.destroys == 1 && !fake.up[slot % SLOTS]
       && registry_find_slot(f->r, slot) == NULL,
       "then it clears everything away");
    run_until(f, again->item.node.seq != 0);
    ok(registry_find(f->r, "gone") == again
       && again->shown.state == STATE_CREATED, "the new one is untouched");

    /* A start that ends before the disk knows of the destroy. */
    sb = again;
    slot = sb->slot;
    lifecycle_start(f->lc, sb, on_outcome, &o);
    registry_remove(f->r, sb);
    fake_later(fake.held.slot, fake.held.started, NULL, fake.held.data);
    run_for(f, 50);
    ok(fake.destroys == 1 && fake.stops == 1 && o.bad == 1,
       "no file is deleted before the record is, for good");
    lifecycle_destroy(f->lc, sb);
    run_until(f, registry_find_slot(f->r, slot) == NULL);
    ok(fake.destroys == 2 && o.bad == 2 && o.status == 409,
       "but then they are");

    fixture_close(f);
}


static void
test_adoption(fixture *f)
{
    char       key[KEY_LEN + 1];
    sandbox   *sb;
    outcome    o;
    uint32_t   epoch, lost_slot, runs_slot;
    uint64_t   seq;

    fixture_open(f, 4);
    memset(&o, 0, sizeof(o));
    sb = sandbox_new(f, "runs", NULL);
    runs_slot = sb->slot;
    lifecycle_start(f->lc, sb, on_outcome, &o);
    lifecycle_start(f->lc, sandbox_new(f, "lost", NULL), on_outcome, &o);
    run_until(f, o.good == 2);
    ok(o.good == 2, "two run");
    strcpy(key, sb->now.key);
    epoch = sb->now.epoch;
    lost_slot = registry_find(f->r, "lost")->slot;
    fake.up[99] = true;
    seq = f->r->seq;
    fixture_close(f);

    fake.up[lost_slot % SLOTS] = false;
    fixture_open(f, 4);
    sb = registry_find(f->r, "runs");
    ok(sb->now.state == STATE_RUNNING && sb->now.epoch == epoch
       && strcmp(sb->shown.key, key) == 0 && sb->slot == runs_slot,
       "one is taken over with its epoch and key");
    ok(sb->item.node.seq <= seq, "for the workers nothing has changed");
    ok(registry_find(f->r, "lost")->now.state == STATE_ASLEEP,
       "the other is known to be asleep");
    ok(!fake.up[99], "what nobody knows is swept");

    lifecycle_on_exited(f->lc, runs_slot, 0, NULL);
    lifecycle_start(f->lc, sb, on_outcome, &o);
    run_until(f, o.good == 3);
    ok(sb->now.epoch > epoch + 60, "epochs that may have been used are not "
       "used again (%u)", sb->now.epoch);
    fixture_close(f);
}


/* The disk is full: as good as a limit on the size of files. */
static void
test_disk_full(fixture *f)
{
    error          *err;
    sandbox        *sb;
    int             i, durable, status;
    unsigned        before;
    struct rlimit   old, small;

    fixture_open(f, 4);
    run_for(f, 30);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 4096;
    setrlimit(RLIMIT_FSIZE, &small);

    durable = 0;
    before = f->published;
    sb = sandbox_new(f, "stuck", NULL);
    registry_wait(f->r, sb->seq, on_waited, &durable);
    run_until(f, store_check(f->store, NULL) < 0);
    ok(durable == 0 && f->published == before,
       "what can't be written is neither told nor answered");

    err = NULL;
    status = store_check(f->store, &err) < 0 ? err->status : 0;
    ok(status == 503 || status == 507, "more changes are refused (%d)",
       status);
    error_free(err);
    ok(sandbox_new(f, "refused", NULL) == NULL, "creations too");

    for (i = 0; i <= STORE_QUEUE_MAX; i++) {
        registry_set_state(f->r, sb, STATE_CREATED, NULL);
    }

    err = NULL;
    ok(registry_next_run(f->r, sb, &err) < 0
       && strcmp(err->code, "busy") == 0,
       "and starts, before what waits for the disk has no bound");
    error_free(err);

    setrlimit(RLIMIT_FSIZE, &old);
    run_until(f, durable == 1);
    ok(durable == 1 && sb->shown.state == STATE_CREATED,
       "with room again it is written, told and answered");
    run_until(f, store_check(f->store, NULL) == 0);
    ok(store_check(f->store, NULL) == 0, "and changes are taken");
    fixture_close(f);

    fixture_open(f, 4);
    ok(registry_find(f->r, "stuck") != NULL
       && registry_find(f->r, "refused") == NULL, "as the disk says");
    fixture_close(f);
}


static void
test_pages(fixture *f)
{
    int        i;
    char       id[16], path[128];
    error     *err;
    json_t    *page;
    sqlite3   *db;
    uint64_t   next, floor, suspect;

    fixture_open(f, 4);

    for (i = 0; i < 1200; i++) {
        snprintf(id, sizeof(id), "p%d", i);
        sandbox_new(f, id, NULL);
    }

    run_until(f, f->r->published == f->r->seq);
    page = registry_page(f->r, 0, true, &next, NULL);
    ok(json_array_size(page) == PAGE_MAX && next > 0, "a page has 500");
    json_decref(page);

    floor = f->r->seq;
    for (i = 0; i < 1200; i++) {
        snprintf(id, sizeof(id), "p%d", i);
        lifecycle_destroy(f->lc, registry_find(f->r, id));
        registry_remove(f->r, registry_find(f->r, id));
    }

    run_until(f, f->r->published == f->r->seq);
    page = registry_page(f->r, floor, false, &next, NULL);
    ok(json_array_size(page) == PAGE_MAX, "tombstones come in pages as well");
    json_decref(page);
    page = registry_page(f->r, floor, true, &next, NULL);
    ok(json_array_size(page) == 0 && next == 0, "but not in a full list");
    json_decref(page);

    f->r->tombstone_floor = floor + 10;
    err = NULL;
    ok(registry_page(f->r, floor, false, &next, &err) == NULL
       && strcmp(err->code, "resync") == 0, "nor when some were dropped");
    error_free(err);
    run_until(f, f->lc->cleaning == 0);
    fixture_close(f);

    fixture_open(f, 4);
    err = NULL;
    ok(registry_page(f->r, f->r->seq, false, &next, &err) == NULL,
       "a number that was perhaps given before a crash is not trusted");
    error_free(err);
    err = NULL;
    suspect = f->r->gaps[f->r->gap_count - 1].above + 1;
    sandbox_new(f, "after", NULL);
    run_until(f, f->r->changes == NULL);
    fixture_close(f);

    fixture_open(f, 4);
    ok(registry_page(f->r, suspect, false, &next, &err) == NULL,
       "nor any time later");
    error_free(err);
    page = registry_page(f->r, suspect - 1, false, &next, NULL);
    ok(json_array_size(page) == 1, "the one before it is");
    json_decref(page);
    fixture_close(f);

    snprintf(path, sizeof(path), "%s/sandboxd.db", f->dir);
    sqlite3_open(path, &db);
    sqlite3_exec(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1"
                 " FROM n WHERE i < 1100) INSERT INTO gaps"
                 " SELECT 4000 + 2 * i, 4001 + 2 * i FROM n", NULL, NULL,
                 NULL);
    sqlite3_close(db);

    fixture_open(f, 4);
    ok(f->r->gap_count <= GAPS_MAX && f->r->tombstone_floor > 4000,
       "starts without number leave no more than %zu gaps",
       f->r->gap_count);
    ok(f->r->tombstones == NULL && f->r->tombstone_count == 0,
       "what is before them is forgotten");
    fixture_close(f);
}


/* What a pool or a template's machine would have. */
static struct {
    uint32_t  slot;
    uint64_t  memory, yielded;
} spare;


static uint64_t
spare_of(void *data, uint32_t slot, bool take)
{
    uint64_t  memory;

    memory = slot == spare.slot ? spare.memory : 0;

    if (take && memory != 0) {
        spare.memory = 0;
    }

    return memory;
}


static void
spare_yield(void *data, uint64_t memory)
{
    spare.yielded += memory;
    lifecycle_spare_end(data, memory);
}


/* Sandboxes have 1 GiB each here. */
static void
test_spare(fixture *f)
{
    error    *err;
    outcome   o;
    sandbox  *sb;

    fixture_open(f, 2);
    memset(&o, 0, sizeof(o));
    memset(&spare, 0, sizeof(spare));
    err = NULL;
    f->lc->memory_floor = 0;
    f->lc->memory_budget = 3ull << 30;
    f->lc->spare_of = spare_of;
    f->lc->spare_yield = spare_yield;
    f->lc->spare_data = f->lc;

    ok(lifecycle_spare(f->lc, 1ull << 30, &err) == 0
       && lifecycle_spare(f->lc, 1ull << 30, &err) == 0
       && f->lc->spare == 2ull << 30, "memory for what is nobody's");
    sb = sandbox_new(f, "own", NULL);
    lifecycle_start(f->lc, sb, on_outcome, &o);
    ok(spare.yielded == 0 && f->lc->promised == 1ull << 30,
       "a start beside it");
    ok(lifecycle_spare(f->lc, 1, &err) == -1 && err != NULL
       && strcmp(err->code, "insufficient_memory") == 0, "no more of it then");
    error_free(err);

    lifecycle_start(f->lc, sandbox_new(f, "next", NULL), on_outcome, &o);
    ok(spare.yielded == 1ull << 30 && f->lc->spare == 1ull << 30,
       "it makes room for another start, as much as that needs");

    /* One that has the slot of what was prepared. */
    sb = sandbox_new(f, "prepared", NULL);
    spare.slot = sb->slot;
    spare.memory = 1ull << 30;
    lifecycle_start(f->lc, sb, on_outcome, &o);
    ok(spare.yielded == 1ull << 30 && f->lc->spare == 0
       && f->lc->promised == 3ull << 30, "and is counted once where it is that");

    lifecycle_start(f->lc, sandbox_new(f, "late", NULL), on_outcome, &o);
    ok(o.bad == 1 && strcmp(o.code, "insufficient_memory") == 0,
       "then nothing is left");
    run_until(f, o.good == 3);
    ok(o.good == 3, "the others run");

    f->lc->spare_of = NULL;
    f->lc->spare_yield = NULL;
    fixture_close(f);
}


int
main(void)
{
    static void  (*const tests[])(fixture *) = {
        test_start, test_failure, test_waiting, test_destroy, test_adoption,
        test_disk_full, test_pages, test_spare
    };

    ok(fixtures_run(tests, sizeof(tests) / sizeof(tests[0])) == 0,
       "cleared away");

    return done_testing();
}
