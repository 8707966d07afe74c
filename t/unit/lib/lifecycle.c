/* sources: sandboxd/lifecycle.c sandboxd/lifecycle_adopt.c sandboxd/lifecycle_close.c sandboxd/lifecycle_wait.c sandboxd/lifecycle_idle.c sandboxd/lifecycle_sleep.c sandboxd/deadline.c sandboxd/registry.c sandboxd/registry_expose.c sandboxd/registry_load.c sandboxd/changes.c sandboxd/tenant.c sandboxd/domain.c sandboxd/bucket.c sandboxd/limits.c sandboxd/starts.c sandboxd/record.c sandboxd/store.c sandboxd/store_db.c sandboxd/store_db_load.c sandboxd/store_op.c sandboxd/table.c sandboxd/journal.c sandboxd/runfile.c sandboxd/spec.c sandboxd/options_expose.c sandboxd/options_part.c sandboxd/options_resources.c sandboxd/names.c common/json_get.c common/error.c common/log.c common/small_file.c common/process_start.c common/json_text.c common/utf8.c sandboxd/lifecycle_agent.c sandboxd/lifecycle_expire.c sandboxd/agent_call.c sandboxd/lifecycle_external.c sandboxd/endpoint.c sandboxd/lifecycle_net.c sandboxd/net.c sandboxd/net_host.c sandboxd/net_jobs.c sandboxd/net_watch.c sandboxd/net_filter.c sandboxd/net_link.c sandboxd/net_names.c sandboxd/net_policy.c sandboxd/slot_lock.c sandboxd/lifecycle_admit.c sandboxd/lifecycle_disk.c sandboxd/disks.c sandboxd/lifecycle_fork.c sandboxd/lifecycle_kills.c sandboxd/lifecycle_silent.c sandboxd/registry_kills.c */

/* A driver for tests; see lifecycle.h. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "t/unit/lib/lifecycle.h"

fake_driver  fake;


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


void
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


void
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


void
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


void
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


void
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


void
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


void
run_for(fixture *f, unsigned ms)
{
    uint64_t  end;

    end = uv_hrtime() + ms * 1000000ull;

    while (uv_hrtime() < end) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        usleep(500);
    }
}


void
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


void
on_closed(void *data)
{
    (*(int *) data)++;
}


sandbox *
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


int
fixtures_run(void (*const tests[])(fixture *f), size_t count)
{
    int      stay;
    char     command[128];
    size_t   i;
    fixture  f;

    stay = 0;
    log_set_level(LOG_ERROR);

    for (i = 0; i < count; i++) {
        memset(&f, 0, sizeof(f));
        memset(fake.up, 0, sizeof(fake.up));
        strcpy(f.dir, "/tmp/sbx-unit-XXXXXX");

        if (mkdtemp(f.dir) == NULL) {
            abort();
        }

        tests[i](&f);
        snprintf(command, sizeof(command), "rm -rf %s", f.dir);
        stay += system(command) != 0;
    }

    return stay;
}
