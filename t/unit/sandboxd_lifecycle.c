/* sources: sandboxd/lifecycle.c sandboxd/lifecycle_adopt.c sandboxd/lifecycle_close.c sandboxd/lifecycle_wait.c sandboxd/lifecycle_idle.c sandboxd/lifecycle_sleep.c sandboxd/deadline.c sandboxd/registry.c sandboxd/registry_load.c sandboxd/changes.c sandboxd/tenant.c sandboxd/domain.c sandboxd/bucket.c sandboxd/limits.c sandboxd/starts.c sandboxd/record.c sandboxd/store.c sandboxd/store_db.c sandboxd/store_db_load.c sandboxd/store_op.c sandboxd/table.c sandboxd/journal.c sandboxd/runfile.c sandboxd/spec.c sandboxd/options_expose.c sandboxd/options_part.c sandboxd/options_resources.c sandboxd/names.c common/json_get.c common/error.c common/log.c common/json_text.c common/utf8.c sandboxd/lifecycle_agent.c sandboxd/lifecycle_expire.c sandboxd/agent_call.c sandboxd/lifecycle_external.c sandboxd/endpoint.c sandboxd/lifecycle_net.c sandboxd/net.c sandboxd/net_jobs.c sandboxd/net_filter.c sandboxd/net_link.c sandboxd/net_names.c sandboxd/net_policy.c sandboxd/slot_lock.c sandboxd/lifecycle_admit.c sandboxd/lifecycle_fork.c */
/* libs: -luv -ljansson -lsqlite3 -lcrypto -lnftables -lpthread */

/*
 * Registry, store and lifecycle with a driver that does as it is told: what
 * can't be had from a real one on demand.
 */

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <sqlite3.h>

#include "common/log.h"
#include "sandboxd/lifecycle.h"
#include "t/unit/tap.h"

#define SLOTS      256
#define EPHEMERAL  "{\"image\":\"x\",\"env\":{},\"ephemeral\":true}"


typedef struct {
    uv_timer_t      timer;
    driver_started  started;
    driver_done     done;
    void           *data;
    uint32_t        slot;
} fake_call;

/* Answers each call after `delay`, and counts. */
static struct {
    driver     d;
    uv_loop_t *loop;
    unsigned   delay;
    bool       fail;
    bool       hang;            /* starts are held back */
    unsigned   starts, stops, destroys;
    uint64_t   grace;           /* of the last stop */
    unsigned   at_once, most_at_once;
    bool       up[SLOTS];
    slot_use   use[SLOTS];      /* as the last sweep was told */
    fake_call  held;            /* the last one that hangs */
} fake;

typedef struct {
    uv_loop_t    loop;
    char         dir[64];
    int          run_dir;
    store       *store;
    registry    *r;
    lifecycle   *lc;
    unsigned     published;
} fixture;


static void
free_handle(uv_handle_t *handle)
{
    free(handle->data);
}


static void
fake_answer(uv_timer_t *timer)
{
    error          *err;
    fake_call      *call;
    driver_handle   handle = { .pid = 4711, .start_time = 1 };

    call = timer->data;
    err = NULL;

    if (call->started == NULL) {
        call->done(call->data, NULL);

    } else {
        fake.at_once--;

        if (fake.fail) {
            error_set(&err, 500, "x", "it was told to fail");
            call->started(call->data, NULL, err);

        } else {
            fake.up[call->slot % SLOTS] = true;
            call->started(call->data, &handle, NULL);
        }
    }

    uv_close((uv_handle_t *) timer, free_handle);
}


static void
fake_later(uint32_t slot, driver_started started, driver_done done,
    void *data)
{
    fake_call  *call;

    call = calloc(1, sizeof(fake_call));
    call->started = started;
    call->done = done;
    call->data = data;
    call->slot = slot;
    uv_timer_init(fake.loop, &call->timer);
    call->timer.data = call;
    uv_timer_start(&call->timer, fake_answer, fake.delay, 0);
}


static void
fake_start(driver *d, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data)
{
    fake.starts++;
    fake.at_once++;

    if (fake.at_once > fake.most_at_once) {
        fake.most_at_once = fake.at_once;
    }

    if (fake.hang) {
        fake.held.slot = spec->slot;
        fake.held.started = cb;
        fake.held.data = data;

    } else {
        fake_later(spec->slot, cb, NULL, data);
    }
}


static void
fake_stop(driver *d, uint32_t slot, uint64_t grace_ms, driver_done cb,
    void *data)
{
    fake.stops++;
    fake.grace = grace_ms;
    fake.up[slot % SLOTS] = false;
    fake_later(slot, NULL, cb, data);
}


static void
fake_destroy(driver *d, uint32_t slot, driver_done cb, void *data)
{
    fake.destroys++;
    fake.up[slot % SLOTS] = false;
    fake_later(slot, NULL, cb, data);
}


/* Held back, until fake_cloned(). */
static struct {
    driver_slept  cb;
    void         *data;
} fake_clones[2];


static void
fake_clone(driver *d, uint32_t from, uint32_t to, driver_slept cb, void *data)
{
    fake_clones[to].cb = cb;
    fake_clones[to].data = data;
}


static void
fake_cloned(unsigned i)
{
    fake_clones[i].cb(fake_clones[i].data, true, NULL);
}


static bool
fake_adopt(driver *d, uint32_t slot, const driver_handle *handle)
{
    return fake.up[slot % SLOTS] && handle->pid == 4711;
}


static void
fake_sweep(driver *d, driver_slot_use use, void *data)
{
    uint32_t  slot;

    for (slot = 1; slot < SLOTS; slot++) {
        fake.use[slot] = use(data, slot);

        if (fake.use[slot] != SLOT_RUNS) {
            fake.up[slot] = false;
        }
    }
}


static void
on_publish(void *data, uint64_t seq, bool ack, json_t *record)
{
    ((fixture *) data)->published++;
}


static void
fixture_open(fixture *f, unsigned starts_max)
{
    error       *err;
    store_meta   meta;

    err = NULL;
    f->published = 0;
    uv_loop_init(&f->loop);
    f->store = store_open(f->dir, &meta, &err);
    f->r = registry_create(f->store, &meta, &err);

    if (f->r == NULL) {
        fprintf(stderr, "%s\n", err->message);
        abort();
    }

    f->r->publish = on_publish;
    f->r->publish_data = f;
    store_run(f->store, &f->loop, registry_on_committed, f->r, &err);

    memset(&fake.d, 0, sizeof(fake.d));
    fake.d.name = "fake";
    fake.d.start = fake_start;
    fake.d.stop = fake_stop;
    fake.d.destroy = fake_destroy;
    fake.d.clone = fake_clone;
    fake.d.adopt = fake_adopt;
    fake.d.sweep = fake_sweep;
    fake.loop = &f->loop;
    fake.delay = 1;
    fake.fail = fake.hang = false;
    fake.starts = fake.stops = fake.destroys = 0;
    fake.at_once = fake.most_at_once = 0;

    f->run_dir = open(f->dir, O_RDONLY | O_DIRECTORY);
    f->lc = lifecycle_create(f->r, &f->loop, f->run_dir, starts_max);
    f->lc->driver = &fake.d;

    if (lifecycle_adopt(f->lc, &err) < 0) {
        fprintf(stderr, "%s\n", err->message);
        abort();
    }
}


static void
fixture_close(fixture *f)
{
    store_close(f->store);
    lifecycle_free(f->lc);

    while (uv_run(&f->loop, UV_RUN_NOWAIT) != 0) {
        usleep(1000);
    }

    registry_free(f->r);
    store_free(f->store);
    close(f->run_dir);
    uv_loop_close(&f->loop);
}


/* As sandboxd does it where a driver is late; that may come then. */
static void
fixture_give_up(fixture *f)
{
    int  turns;

    store_close(f->store);
    lifecycle_free(f->lc);

    for (turns = 0; turns < 50; turns++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
}


static void
fixture_given_up(fixture *f)
{
    while (uv_run(&f->loop, UV_RUN_NOWAIT) != 0) {
        usleep(1000);
    }

    deadlines_free(&f->lc->idle);
    deadlines_free(&f->lc->ttls);
    free(f->lc);
    registry_free(f->r);
    store_free(f->store);
    close(f->run_dir);
    uv_loop_close(&f->loop);
}


static void
run_for(fixture *f, unsigned ms)
{
    uint64_t  end;

    end = uv_hrtime() + ms * 1000000ull;

    while (uv_hrtime() < end) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        usleep(500);
    }
}


/* Runs the loop until something holds, for at most ten seconds. */
#define run_until(f, cond)                                                   \
    do {                                                                     \
        int  turns_ = 0;                                                     \
                                                                             \
        while (!(cond) && turns_++ < 5000) {                                 \
            run_for(f, 2);                                                   \
        }                                                                    \
    } while (0)


typedef struct {
    unsigned  good, bad;
    int       status, retry_after;
    char      code[32];
} outcome;


static void
on_outcome(void *data, sandbox *sb, error *err)
{
    outcome  *o;

    o = data;

    if (err == NULL) {
        o->good++;
        return;
    }

    o->bad++;
    o->status = err->status;
    o->retry_after = err->retry_after;
    strcpy(o->code, err->code);
    error_free(err);
}


static sandbox *
sandbox_new(fixture *f, const char *id, const char *spec)
{
    error    *err;
    json_t   *json;
    sandbox  *sb;

    err = NULL;
    json = json_loads(spec ? spec : "{\"image\":\"x\",\"env\":{}}", 0, NULL);
    sb = registry_add(f->r, id, json, &err);
    json_decref(json);

    if (sb == NULL) {
        printf("# %s: %s\n", id, err->message);
        error_free(err);
    }

    return sb;
}


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


static void
on_closed(void *data)
{
    (*(int *) data)++;
}


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
    ok(closed == 1 && !fake.up[sb->slot % SLOTS] && !fake.up[late->slot % SLOTS],
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
          == SLOT_NOBODYS, "files of an ephemeral fork that has not run are still its");
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
    fixture        f;
    unsigned       i;
    static void  (*const tests[])(fixture *) = {
        test_start, test_failure, test_waiting, test_destroy, test_adoption,
        test_disk_full, test_pages, test_close, test_fork, test_spare
    };

    log_set_level(LOG_ERROR);

    for (i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        char  command[128];

        memset(&f, 0, sizeof(f));
        memset(fake.up, 0, sizeof(fake.up));
        strcpy(f.dir, "/tmp/sbx-unit-XXXXXX");

        if (mkdtemp(f.dir) == NULL) {
            return 1;
        }

        tests[i](&f);
        snprintf(command, sizeof(command), "rm -rf %s", f.dir);
        ok(system(command) == 0, "cleared away");
    }

    return done_testing();
}
