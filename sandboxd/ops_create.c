/* Sandboxes that are created; see ops_part.h. */

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "sandboxd/ops_part.h"
#include "sandboxd/tenant.h"


json_t *
ops_create_result(bool created, json_t *warnings)
{
    return json_pack("{s:b, s:O}", "created", created, "warnings", warnings);
}


/* Records and logs need room that sandboxes must not take from them. */
int
ops_disk_check(service *sv, error **err)
{
    uint64_t        available;
    struct statvfs  fs;

    if (statvfs(sv->state_dir, &fs) == -1) {
        return error_set(err, 503, "storage_failed", "statvfs: %s",
                         strerror(errno));
    }

    available = (uint64_t) fs.f_bavail * fs.f_frsize;

    /* How much there is, is others' business. */
    if (available < sv->disk_floor) {
        return error_set_field(err, 507, "insufficient_storage", "",
                               (long long) sv->disk_floor,
                               "this host has less disk left than the %llu MiB "
                               "that are kept for records and logs",
                               (unsigned long long) sv->disk_floor >> 20);
    }

    return 0;
}


void
ops_create_done(void *data)
{
    json_t   *result, *record;
    request  *req;

    req = data;
    result = req->result;
    req->result = NULL;

    record = ops_sandbox_result(request_service(req), req->sb);
    json_object_update(result, record);
    json_decref(record);
    request_answer(req, result);
}


static sandbox *
create_existing(sandbox *sb, const create_options *options, error **err)
{
    if (json_equal(sb->spec, options->spec)) {
        return sb;
    }

    error_set_field(err, 409, "exists", "id", 0, "the sandbox \"%s\" exists "
                    "with other options", name_id(sb->id));

    return NULL;
}


static void
create_answered(void *data)
{
    json_t   *result;
    request  *req;

    req = data;
    result = req->result;
    req->result = NULL;
    request_answer(req, result);
}


bool
ops_create_again(service *sv, request *req, const json_t *asked)
{
    int        found;
    error     *err;
    uint64_t   seq;

    if (req->op.idempotency == NULL) {
        return false;
    }

    err = NULL;
    found = idempotency_find(sv->answers, req->op.caller.tenant,
                             req->op.idempotency, asked, wall_ms(),
                             &req->result, &seq, &err);

    if (found < 0) {
        request_fail(req, err);

    } else if (found > 0) {
        json_object_set_new(req->result, "replayed", json_true());
        registry_wait(sv->r, seq, create_answered, req);
    }

    return found != 0;
}


void
ops_create_note(service *sv, request *req, const json_t *asked, uint64_t seq)
{
    json_t  *record;

    if (req->op.idempotency != NULL) {
        record = ops_sandbox_result(sv, req->sb);
        json_object_update(req->result, record);
        json_decref(record);

        idempotency_put(sv->answers, req->op.caller.tenant,
                        req->op.idempotency, asked, wall_ms(), req->result,
                        seq);
    }
}


void
op_create(service *sv, request *req)
{
    bool            created;
    char            name[QUALIFIED_MAX + 1];
    error          *err;
    tenant         *t;
    sandbox        *sb;
    create_options  options;

    err = NULL;

    if (ops_create_again(sv, req, req->op.options)) {
        return;
    }

    if (create_options_parse(&options, req->op.options, &sv->host, &err) < 0)
    {
        request_fail(req, err);
        return;
    }

    /* The record and what was answered are one commit. */
    store_hold(sv->r->store);

    t = tenant_get(sv->r, req->op.caller.tenant, &err);
    sb = NULL;

    if (t != NULL && options.id[0]) {
        tenant_qualify(t, options.id, name);
        sb = registry_find(sv->r, name);
    }

    created = sb == NULL;

    /* One from before the limit is still the same as asked for without. */
    if (created || !json_equal(sb->spec, options.spec)) {
        options_disk(options.spec, &sv->host);
    }

    if (sb != NULL) {
        sb = create_existing(sb, &options, &err);

    } else if (t != NULL
               && tenant_check_count(t, &req->op.caller, &err) == 0
               && (options.id[0] || id_generate(options.id, &err) == 0)
               && ops_disk_check(sv, &err) == 0)
    {
        tenant_qualify(t, options.id, name);
        sb = registry_add(sv->r, name, options.spec, &err);
    }

    if (sb == NULL) {
        store_release(sv->r->store);
        create_options_free(&options);
        request_fail(req, err);
        return;
    }

    if (created) {
        lifecycle_options(sv->lc, sb);
    }

    request_hold(req, sb);
    req->result = ops_create_result(created, options.warnings);
    create_options_free(&options);
    ops_create_note(sv, req, req->op.options, created ? sb->seq : sb->born);

    store_release(sv->r->store);

    registry_wait(sv->r, created ? sb->seq : sb->born, ops_create_done, req);
}
