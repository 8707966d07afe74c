/* sources: t/unit/lib/lifecycle.c */
/* libs: -luv -ljansson -lsqlite3 -lcrypto -lnftables -lpthread */

/* The disks of all sandboxes together: what is refused, and that the sum is
 * that of the records whatever happens to them. */

#include <string.h>

#include "t/unit/lib/lifecycle.h"
#include "t/unit/tap.h"

#define GIB   (1ull << 30)
#define MIB   (1ull << 20)


/* What there is no room for, and why. */
static bool
refused(error **err, const char *message)
{
    bool  same;

    same = *err != NULL && (*err)->status == 507
           && strcmp((*err)->code, "insufficient_storage") == 0
           && strcmp((*err)->field, "resources.disk") == 0
           && (*err)->retry_after == 5 && strcmp((*err)->message, message) == 0;
    error_free(*err);
    *err = NULL;

    return same;
}


static uint64_t  yielded;


static void
on_yield(void *data, uint64_t bytes)
{
    yielded += bytes;
}


static void
test_counts(fixture *f)
{
    disks      d;
    error     *err;
    uint64_t   a, b;

    memset(&d, 0, sizeof(d));
    a = b = 0;
    err = NULL;
    ok(disks_check(&d, 0, UINT64_MAX, &err) == 0, "without a budget there is "
       "no bound");

    d.budget = 100;
    disks_take(&d, &a, 60);
    ok(a == 60 && d.promised == 60 && disks_check(&d, 0, 40, &err) == 0,
       "to the last byte");
    ok(disks_check(&d, 0, 41, &err) == -1 && err->limit == 100
       && refused(&err, "its 0 MiB of disk are not left of the 0 MiB that all "
                  "sandboxes of this host may have together"), "and no more");
    ok(disks_check(&d, 0, UINT64_MAX, NULL) == -1, "numbers don't overflow");
    ok(disks_check(&d, 60, 100, &err) == 0
       && disks_check(&d, 60, 101, &err) == -1, "what grows needs the rest");
    error_free(err);
    err = NULL;

    d.budget = 50;
    ok(disks_check(&d, 60, 59, &err) == 0 && disks_check(&d, 0, 0, &err) == 0
       && disks_check(&d, 60, 60, &err) == 0,
       "over it, what takes nothing more is not refused");
    ok(disks_check(&d, 0, 1, NULL) == -1, "but what does");

    d.budget = 100;
    d.yield = on_yield;
    ok(disks_spare(&d, 40, &err) == 0 && disks_spare(&d, 1, NULL) == -1
       && d.spare == 40, "what is nobody's has what is left");
    ok(disks_check(&d, 0, 40, &err) == 0, "and is in nobody's way");
    disks_take(&d, &b, 15);
    ok(yielded == 15 && d.promised == 75, "it makes room, as much as needed");
    disks_spare_end(&d, 40);
    disks_take(&d, &a, 0);
    disks_take(&d, &b, 0);
    ok(d.promised == 0 && d.spare == 0 && a == 0 && b == 0, "all is back");
}


static sandbox *
add(fixture *f, const char *id, const char *spec, error **err)
{
    json_t   *json;
    sandbox  *sb;

    json = json_loads(spec, 0, NULL);
    sb = registry_add(f->r, id, json, err);
    json_decref(json);

    return sb;
}


static uint64_t
records_disks(registry *r)
{
    size_t       i;
    uint64_t     sum;
    table_node  *node;

    sum = 0;

    for (i = 0; i <= r->by_slot.mask; i++) {
        for (node = r->by_slot.buckets[i]; node != NULL; node = node->next) {
            sum += container_of(node, sandbox, by_slot)->disk;
        }
    }

    return sum;
}


/* A driver whose disks have 2 GiB if nobody says. */
static void
disks_open(fixture *f, uint64_t budget)
{
    fixture_open(f, 4);
    fake.d.enforces_disk = true;
    fake.d.disk_default = 2 * GIB;
    f->r->disks.budget = budget;
}


static void
destroy(fixture *f, sandbox *sb)
{
    registry_remove(f->r, sb);
    lifecycle_destroy(f->lc, sb);
}


static void
test_records(fixture *f)
{
    error    *err;
    outcome   o;
    sandbox  *one, *two;

    disks_open(f, 5 * GIB);
    err = NULL;
    memset(&o, 0, sizeof(o));
    one = add(f, "one", "{\"resources\":{\"disk\":1073741824}}", &err);
    two = add(f, "two", "{}", &err);
    ok(one->disk == GIB && two->disk == 2 * GIB
       && f->r->disks.promised == 3 * GIB, "what was asked for, and a default");
    ok(add(f, "none", "{\"external\":{}}", &err) != NULL
       && f->r->disks.promised == 3 * GIB, "what runs elsewhere has none here");
    ok(add(f, "large", "{\"resources\":{\"disk\":2147483649}}", &err) == NULL
       && err->limit == 5368709120
       && refused(&err, "its 2048 MiB of disk are not left of the 5120 MiB "
                  "that all sandboxes of this host may have together")
       && registry_find(f->r, "large") == NULL
       && f->r->disks.promised == 3 * GIB, "a byte too much, and there is no "
       "record of it");

    ok(registry_update(f->r, one, json_pack("{s:{s:I}}", "resources", "disk",
                                            (json_int_t) (3 * GIB + 1)), &err)
       == -1 && refused(&err, "its 3072 MiB of disk are not left of the 5120 "
                        "MiB that all sandboxes of this host may have together")
       && one->disk == GIB, "nor may one grow by that much");
    ok(registry_update(f->r, one, json_pack("{s:{s:I}}", "resources", "disk",
                                            (json_int_t) (3 * GIB)), &err) == 0
       && one->disk == 3 * GIB && f->r->disks.promised == 5 * GIB,
       "but up to it");
    ok(registry_update(f->r, one, json_pack("{s:{s:i}}", "resources", "pids",
                                            99), &err) == 0
       && one->disk == 2 * GIB && f->r->disks.promised == 4 * GIB,
       "and back to the default");

    lifecycle_start(f->lc, two, on_outcome, &o);
    run_until(f, o.good == 1);
    lifecycle_sleep(f->lc, two, on_outcome, &o);
    run_until(f, o.good == 2);
    ok(two->now.state == STATE_ASLEEP && f->r->disks.promised == 4 * GIB,
       "one that sleeps has its disk");

    destroy(f, two);
    ok(f->r->disks.promised == 4 * GIB, "so has one whose files are there yet");
    run_until(f, f->lc->cleaning == 0);
    ok(f->r->disks.promised == 2 * GIB, "it is back when they are gone");
    fixture_close(f);

}


static uint64_t  found;


static bool
fake_disk(driver *d, uint32_t slot, uint64_t *size)
{
    if (found != UINT64_MAX) {
        *size = found;
    }

    return found != UINT64_MAX;
}


/* Again, as the next sandboxd does it. */
static void
adopt(fixture *f)
{
    error  *err;

    err = NULL;
    fake.d.disk = fake_disk;
    (void) lifecycle_adopt(f->lc, &err);
}


static void
test_restart(fixture *f)
{
    error    *err;
    sandbox  *sb;

    disks_open(f, 0);
    err = NULL;
    (void) add(f, "asked", "{\"resources\":{\"disk\":1073741824}}", &err);
    sb = add(f, "default", "{}", &err);
    (void) add(f, "gone", "{}", &err);
    ok(f->r->disks.promised == 5 * GIB, "three");
    registry_remove(f->r, registry_find(f->r, "gone"));
    run_until(f, f->r->changes == NULL);
    fixture_close(f);

    disks_open(f, GIB);
    found = UINT64_MAX;
    adopt(f);
    ok(f->r->disks.promised == 3 * GIB && records_disks(f->r) == 3 * GIB,
       "the next sandboxd counts what there are records of");
    adopt(f);
    ok(f->r->disks.promised == 3 * GIB, "once each");
    sb = registry_find(f->r, "default");
    ok(sb != NULL && add(f, "more", "{}", &err) == NULL, "they stay, though "
       "more than may be; another one is refused");
    error_free(err);
    err = NULL;

    found = 7 * GIB;
    adopt(f);
    ok(sb->disk == 2 * GIB && f->r->disks.promised == 3 * GIB,
       "a disk that was prepared counts as large as the first start makes it");
    sb->forked = true;
    adopt(f);
    ok(sb->disk == 7 * GIB && f->r->disks.promised == 8 * GIB,
       "but not that of a fork, which it has had from its beginning");
    sb->forked = false;
    sb->now.epoch = 1;
    adopt(f);
    ok(sb->disk == 7 * GIB && f->r->disks.promised == 8 * GIB,
       "a disk that there is counts as large as it is, if its record says "
       "nothing");
    found = 0;
    adopt(f);
    ok(sb->disk == 0 && f->r->disks.promised == GIB, "files on none don't");
    f->lc->defaults.disk = 3 * GIB;
    found = UINT64_MAX;
    adopt(f);
    ok(sb->disk == 3 * GIB, "the host's limit is what one gets without files");
    fake.d.enforces_disk = false;
    adopt(f);
    ok(sb->disk == 0 && f->r->disks.promised == GIB,
       "where disks can't be bounded there are none");
    fixture_close(f);
}


/* All that can happen to records, by chance: they never have more than may be,
 * and what is counted is theirs. */
static void
test_chance(fixture *f)
{
    int       i, wrong, refusals;
    char      id[16];
    error    *err;
    json_t   *spec;
    sandbox  *sb;
    unsigned  seed;

    disks_open(f, 20 * GIB);
    seed = 4711;
    wrong = refusals = 0;

    for (i = 0; i < 3000; i++) {
        err = NULL;
        snprintf(id, sizeof(id), "s%d", rand_r(&seed) % 30);
        sb = registry_find(f->r, id);
        spec = json_pack("{s:{s:I}}", "resources", "disk",
                         (json_int_t) (rand_r(&seed) % 3000 * MIB));

        if (sb == NULL) {
            sb = registry_add(f->r, id, spec, &err);
            json_decref(spec);

        } else if (rand_r(&seed) % 2) {
            (void) registry_update(f->r, sb, spec, &err);

        } else {
            json_decref(spec);
            destroy(f, sb);
        }

        refusals += err != NULL;
        error_free(err);

        if (i % 100 == 0) {
            run_for(f, 2);
        }

        wrong += f->r->disks.promised > 20 * GIB
                 || f->r->disks.promised != records_disks(f->r);
    }

    ok(wrong == 0 && refusals > 100 && f->r->disks.promised > 10 * GIB,
       "3000 changes: the sum is that of the records, %d were refused",
       refusals);

    for (i = 0; i < 30; i++) {
        snprintf(id, sizeof(id), "s%d", i);
        sb = registry_find(f->r, id);

        if (sb != NULL) {
            destroy(f, sb);
        }
    }

    run_until(f, f->lc->cleaning == 0 && f->lc->cleanups.count == 0);
    ok(f->r->disks.promised == 0, "nothing is left of them");
    fixture_close(f);
}


int
main(void)
{
    static void  (*const tests[])(fixture *) = {
        test_counts, test_records, test_restart, test_chance
    };

    ok(fixtures_run(tests, sizeof(tests) / sizeof(tests[0])) == 0,
       "cleared away");

    return done_testing();
}
