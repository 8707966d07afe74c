/*
 * A sandbox from another one: its files, and its memory where there is one.
 * The record is made when there is something that it is of: a crash before
 * leaves files of nobody, which are swept.  See ops_part.h.
 */

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "sandboxd/ops_part.h"
#include "sandboxd/tenant.h"

#define FORKS_MAX  64

typedef struct ops_fork  ops_fork;

struct ops_fork {
    ops_fork        *next;          /* all that are being made */
    service         *sv;
    request         *req;
    driver          *driver;
    tenant          *tenant;
    char             name[QUALIFIED_MAX + 1];
    uint32_t         slot;
    uint64_t         disk;          /* that it is counted with */
    json_t          *asked;         /* what makes it the same request */
    create_options   options;
};


/* From here to its end its tenant has one more. */
static void
fork_link(ops_fork *f)
{
    f->next = f->sv->forks;
    f->sv->forks = f;
    f->tenant->coming++;
}


static void
fork_unlink(ops_fork *f)
{
    ops_fork  **p;

    for (p = &f->sv->forks; *p != f; p = &(*p)->next) {
        /* void */
    }

    *p = f->next;
    f->tenant->coming--;
}


static void
fork_free(ops_fork *f)
{
    create_options_free(&f->options);
    json_decref(f->asked);
    free(f);
}


static void
on_fork_dropped(void *data, error *err)
{
    ops_fork  *f;

    f = data;

    if (err != NULL) {
        log_error("what a fork has left stays: %s", err->message);
        error_free(err);
    }

    disks_take(&f->sv->r->disks, &f->disk, 0);
    fork_free(f);
}


/* Its disk counts until it is gone. */
static void
fork_failed(ops_fork *f, error *err)
{
    request  *req;

    req = f->req;
    f->driver->destroy(f->driver, f->slot, on_fork_dropped, f);
    request_fail(req, err);
}


/* Others may have come meanwhile. */
static int
fork_check(const ops_fork *f, error **err)
{
    if (tenant_check_count(f->tenant, &f->req->op.caller, err) < 0) {
        return -1;
    }

    if (registry_find(f->sv->r, f->name) != NULL) {
        return error_set_field(err, 409, "exists", "id", 0, "the sandbox "
                               "\"%s\" exists", name_id(f->name));
    }

    return ops_disk_check(f->sv, err);
}


static sandbox *
fork_add(ops_fork *f, bool memory, error **err)
{
    sandbox   *sb;
    uint64_t   disk;

    if (fork_check(f, err) < 0) {
        return NULL;
    }

    disk = f->disk;
    disks_take(&f->sv->r->disks, &f->disk, 0);
    sb = registry_add_fork(f->sv->r, f->name, f->options.spec, f->slot, disk,
                           err);

    if (sb == NULL) {
        disks_take(&f->sv->r->disks, &f->disk, disk);

    } else {
        lifecycle_options(f->sv->lc, sb);
        registry_set_state(f->sv->r, sb, STATE_ASLEEP, memory
                           ? "it is a fork, with its memory" : "it is a fork");
    }

    return sb;
}


static void
on_forked(void *data, bool memory, error *err)
{
    request   *req;
    service   *sv;
    sandbox   *sb;
    uint64_t   seq;
    ops_fork  *f;

    f = data;
    sv = f->sv;
    req = f->req;
    fork_unlink(f);

    if (err != NULL) {
        fork_failed(f, err);
        return;
    }

    /* The record and what was answered are one commit. */
    store_hold(sv->r->store);
    sb = fork_add(f, memory, &err);

    if (sb == NULL) {
        store_release(sv->r->store);
        fork_failed(f, err);
        return;
    }

    seq = sb->seq;
    request_hold(req, sb);
    req->result = ops_create_result(true, f->options.warnings);
    ops_create_note(sv, req, f->asked, seq);
    store_release(sv->r->store);

    log_info("%s: forked from %s", sb->id, req->op.sandbox);
    fork_free(f);
    registry_wait(sv->r, seq, ops_create_done, req);
}


static int
fork_source(service *sv, const sandbox *sb, error **err)
{
    driver  *d;

    d = lifecycle_driver(sv->lc, sb);

    if (d->clone == NULL) {
        return error_set(err, 501, "unsupported", "the driver \"%s\" of this "
                         "sandbox can't fork it: that needs a virtual machine",
                         d->name);
    }

    if (sb->run.state != RUN_UP && sb->run.state != RUN_NONE) {
        error_set(err, 409, "busy", "the sandbox starts or ends: a fork can be "
                  "made of one that runs or sleeps");
        (*err)->retry_after = 1;
        return -1;
    }

    return 0;
}


/* One key makes one fork, also while that is being made. */
static int
fork_pending(const ops_fork *f, error **err)
{
    unsigned         n;
    const char      *key;
    const ops_fork  *other;

    n = 0;
    key = f->req->op.idempotency;

    for (other = f->sv->forks; other != NULL; other = other->next) {
        n++;

        if (strcmp(other->name, f->name) == 0
            || (key != NULL && other->tenant == f->tenant
                && other->req->op.idempotency != NULL
                && strcmp(other->req->op.idempotency, key) == 0))
        {
            error_set(err, 409, "busy", "this fork is being made");
            (*err)->retry_after = 1;
            return -1;
        }
    }

    if (n >= FORKS_MAX) {
        error_set_field(err, 503, "busy", "", FORKS_MAX, "%d forks are being "
                        "made already", FORKS_MAX);
        (*err)->retry_after = 2;
        return -1;
    }

    return 0;
}


static int
fork_begin(ops_fork *f, sandbox *sb, error **err)
{
    request  *req;

    req = f->req;

    if (fork_source(f->sv, sb, err) < 0
        || fork_options_parse(&f->options, req->op.options, sb->spec, err) < 0)
    {
        return -1;
    }

    f->driver = lifecycle_driver(f->sv->lc, sb);
    f->tenant = tenant_get(f->sv->r, req->op.caller.tenant, err);

    if (f->tenant == NULL
        || (f->options.id[0] == '\0' && id_generate(f->options.id, err) < 0))
    {
        return -1;
    }

    tenant_qualify(f->tenant, f->options.id, f->name);

    return fork_check(f, err) < 0 || fork_pending(f, err) < 0
           || disks_check(&f->sv->r->disks, 0, sb->disk, err) < 0
           || registry_slot(f->sv->r, &f->slot, err) < 0 ? -1 : 0;
}


void
op_fork(service *sv, request *req)
{
    error     *err;
    json_t    *asked;
    sandbox   *sb;
    ops_fork  *f;

    err = NULL;
    asked = json_pack("{s:s, s:O?}", "fork", req->op.sandbox, "options",
                      req->op.options);

    if (ops_create_again(sv, req, asked)) {
        json_decref(asked);
        return;
    }

    sb = request_sandbox(req);

    if (sb == NULL || ops_unsupported(req, sb, "fork it")) {
        json_decref(asked);
        return;
    }

    f = calloc(1, sizeof(ops_fork));
    if (f == NULL) {
        abort();
    }

    f->sv = sv;
    f->req = req;
    f->asked = asked;

    if (fork_begin(f, sb, &err) < 0) {
        fork_free(f);
        request_fail(req, err);
        return;
    }

    fork_link(f);
    disks_take(&sv->r->disks, &f->disk, sb->disk);
    lifecycle_fork(sv->lc, sb, f->slot, on_forked, f);
}
