/* sources: t/unit/lib/lifecycle.c */
/* libs: -luv -ljansson -lsqlite3 -lcrypto -lnftables -lpthread */

/* Processes that were ended for want of memory: counted once each over all runs
 * of a sandbox, whatever sandboxd misses, and shown. */

#include <string.h>

#include <sqlite3.h>

#include "sandboxd/record.h"
#include "t/unit/lib/lifecycle.h"
#include "t/unit/tap.h"

static json_int_t  published;           /* the last one that had any */


static void
on_record(void *data, uint64_t seq, bool ack, json_t *record)
{
    json_t  *kills;

    ((fixture *) data)->published++;
    kills = json_object_get(record, "oomKills");

    if (kills != NULL) {
        published = json_integer_value(kills);
    }
}


static void
killed(fixture *f, const sandbox *sb, unsigned count, int64_t at,
    const char *process)
{
    driver_kills  kills;

    memset(&kills, 0, sizeof(kills));
    kills.count = count;
    kills.at = at;
    strcpy(kills.process, process);
    lifecycle_on_killed(f->lc, sb->slot, &kills);
}


static bool
shown(const sandbox *sb, json_int_t count, const char *at, const char *process)
{
    bool           same;
    json_t        *record, *want;
    driver_limits  defaults;

    memset(&defaults, 0, sizeof(defaults));
    record = record_sandbox(sb, &fake.d, &defaults);
    want = json_pack("{s:I, s:s?, s:s?}", "kills", count, "at", at, "process",
                     process);
    same = json_equal(json_object_get(record, "oom"), want);
    json_decref(record);
    json_decref(want);

    return same;
}


static void
test_count(fixture *f)
{
    sandbox   *sb;
    outcome    o;
    unsigned   before;

    fixture_open(f, 1);
    f->r->publish = on_record;
    memset(&o, 0, sizeof(o));
    sb = sandbox_new(f, "one", NULL);
    ok(shown(sb, 0, NULL, NULL), "there were none");
    lifecycle_start(f->lc, sb, on_outcome, &o);
    run_until(f, o.good == 1);

    killed(f, sb, 2, 1000, "node");
    ok(shown(sb, 2, "1970-01-01T00:00:01.000Z", "node"), "two");
    run_until(f, f->r->changes == NULL);
    ok(published == 2, "whoever looks on is told");
    before = f->published;
    killed(f, sb, 2, 2000, "node");
    run_until(f, f->r->changes == NULL);
    ok(f->published == before
       && shown(sb, 2, "1970-01-01T00:00:01.000Z", "node"),
       "the same two are nothing new, and nothing is written");
    killed(f, sb, 5, 3000, "a\"\n\xff");
    ok(shown(sb, 5, "1970-01-01T00:00:03.000Z", "a\"??"),
       "three more, the last with a strange name");
    ok(sb->now.state == STATE_RUNNING && sb->now.key[0] != '\0',
       "it runs on");

    /* As after a start that was begun anew: that counts from the beginning. */
    killed(f, sb, 1, 4000, "");
    ok(shown(sb, 6, "1970-01-01T00:00:04.000Z", NULL), "a smaller number");

    lifecycle_on_exited(f->lc, sb->slot, 9, NULL);
    lifecycle_start(f->lc, sb, on_outcome, &o);
    run_until(f, o.good == 2);
    killed(f, sb, 1, 5000, "sh");
    ok(shown(sb, 7, "1970-01-01T00:00:05.000Z", "sh"),
       "another run's are others, also if they are as many");

    killed(f, sandbox_new(f, "other", NULL), 0, 0, "");
    ok(shown(registry_find(f->r, "other"), 0, NULL, NULL), "none are none");
    lifecycle_on_killed(f->lc, 250, &(driver_kills) { .count = 1 });

    run_until(f, registry_kills(f->r) == 7);
    ok(registry_kills(f->r) == 7, "all of them are counted");
    registry_remove(f->r, sb);
    killed(f, sb, 9, 6000, "late");
    killed(f, sb, 9, 6000, "late");
    ok(sb->kills->total == 7, "of one that is destroyed nothing is noted");
    run_until(f, registry_kills(f->r) == 15);
    ok(registry_kills(f->r) == 15, "but it counts, once");
    lifecycle_destroy(f->lc, sb);
    run_until(f, f->lc->cleaning == 0);
    fixture_close(f);
}


static void
test_durable(fixture *f)
{
    char      path[128];
    sqlite3  *db;
    sandbox  *sb;
    outcome   o;

    fixture_open(f, 1);
    memset(&o, 0, sizeof(o));
    sb = sandbox_new(f, "one", NULL);
    lifecycle_start(f->lc, sb, on_outcome, &o);
    run_until(f, o.good == 1);
    killed(f, sb, 3, 1000, "node");
    ok(registry_kills(f->r) == 0, "before the disk knows it is not counted, "
       "since the next sandboxd would be told again");
    killed(f, sb, 4, 1000, "node");
    run_until(f, registry_kills(f->r) == 4);
    ok(registry_kills(f->r) == 4, "then it is");
    fixture_close(f);

    fixture_open(f, 1);
    ok(registry_kills(f->r) == 0, "each sandboxd counts from nothing");
    sb = registry_find(f->r, "one");
    ok(sb->now.state == STATE_RUNNING
       && shown(sb, 4, "1970-01-01T00:00:01.000Z", "node"),
       "known to the next sandboxd");
    killed(f, sb, 4, 1000, "node");
    ok(sb->kills->total == 4, "who isn't told the same ones as new");
    killed(f, sb, 5, 2000, "node");
    ok(sb->kills->total == 5, "but what it has missed");
    run_until(f, registry_kills(f->r) == 1);
    ok(registry_kills(f->r) == 1, "that alone it counts");
    registry_update(f->r, sb, json_pack("{s:s, s:{}}", "image", "y", "env"),
                    NULL);
    fake.up[sb->slot % SLOTS] = false;
    fixture_close(f);

    fixture_open(f, 1);
    sb = registry_find(f->r, "one");
    ok(sb->now.state == STATE_ASLEEP
       && shown(sb, 5, "1970-01-01T00:00:02.000Z", "node"),
       "known after it has ended, and with other options");
    fixture_close(f);

    snprintf(path, sizeof(path), "%s/sandboxd.db", f->dir);
    sqlite3_open(path, &db);
    sqlite3_exec(db, "UPDATE sandboxes SET kills = '{\"total\":1}'", NULL,
                 NULL, NULL);
    sqlite3_close(db);

    fixture_open(f, 1);
    ok(shown(registry_find(f->r, "one"), 0, NULL, NULL),
       "what is damaged is no reason not to start");
    fixture_close(f);
}


int
main(void)
{
    static void  (*const tests[])(fixture *) = { test_count, test_durable };

    ok(fixtures_run(tests, sizeof(tests) / sizeof(tests[0])) == 0,
       "cleared away");

    return done_testing();
}
