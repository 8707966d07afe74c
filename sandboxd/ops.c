/* The workers' operations; see ops.h. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "common/log.h"
#include "sandboxd/domain.h"
#include "sandboxd/ops_part.h"
#include "sandboxd/record.h"
#include "sandboxd/tenant.h"
#include "sandboxd/wakes.h"

/* A page of the list ends here even if there is room for more records: an
 * answer is one frame. */
#define LIST_BYTES_MAX   (512 * 1024)

/* One with a filter ends here, with a cursor, however little it has found. */
#define LIST_LOOKS_MAX   20000

#define START_MARGIN_MS  15000


service *
request_service(request *req)
{
    return req->s->handler_data;
}


void
request_hold(request *req, sandbox *sb)
{
    item_ref(&sb->item);
    req->sb = sb;
}


sandbox *
request_sandbox(request *req)
{
    error    *err;
    sandbox  *sb;

    sb = registry_find(request_service(req)->r, req->op.sandbox);

    /* One whose creation is not durable yet doesn't exist. */
    if (sb != NULL && sb->item.node.seq != 0) {
        return sb;
    }

    err = NULL;
    error_set(&err, 404, "not_found", "there is no sandbox \"%s\"",
              name_id(req->op.sandbox));
    request_fail(req, err);

    return NULL;
}


static void
op_sync(service *sv, request *req)
{
    error     *err;
    json_t    *records;
    uint64_t   next;

    err = NULL;
    records = registry_page(sv->r, req->op.seq, req->op.full, &next, &err);

    if (records == NULL) {
        request_fail(req, err);
        return;
    }

    request_answer(req, json_pack("{s:o, s:o, s:I}", "records", records,
                   "next", next ? json_integer((json_int_t) next)
                                : json_null(),
                   "seq", (json_int_t) sv->r->published));
}


static void
op_resolve(service *sv, request *req)
{
    error     *err;
    sandbox   *sb;
    exposure  *ex;

    if (req->op.label == NULL) {
        sb = request_sandbox(req);

        if (sb != NULL) {
            request_answer(req, json_pack("{s:[o]}", "records",
                                          record_item(&sb->item)));
        }

        return;
    }

    ex = host_find(sv->r, req->op.label);

    if (ex == NULL || ex->owner->item.node.seq == 0) {
        err = NULL;
        error_set(&err, 404, "not_found", "nothing has this host label");
        request_fail(req, err);
        return;
    }

    request_answer(req, json_pack("{s:[o, o]}", "records",
                   record_item(&ex->owner->item), record_item(&ex->item)));
}


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

    if (available < sv->disk_floor) {
        return error_set_field(err, 507, "insufficient_storage", "",
                               (long long) sv->disk_floor,
                               "only %llu MiB of disk are free, %llu MiB are "
                               "kept for records and logs",
                               (unsigned long long) available >> 20,
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


static void
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


static void
op_get(service *sv, request *req)
{
    sandbox  *sb;

    sb = request_sandbox(req);

    if (sb != NULL) {
        request_answer(req, ops_sandbox_result(sv, sb));
    }
}


/* A tenant's list costs what the tenant has, and not what others have. */
static journal_node *
list_next(registry *r, tenant *t, bool everybody, uint64_t at)
{
    if (everybody) {
        return journal_next(&r->aged, at);
    }

    return t != NULL ? journal_next(&t->aged, at) : NULL;
}


static bool
list_wanted(const sandbox *sb, const op *o)
{
    json_t      *labels, *wanted, *value;
    const char  *name;

    if (o->states != 0 && !(o->states & 1u << sb->now.state)) {
        return false;
    }

    labels = json_object_get(sb->spec, "labels");

    json_object_foreach(o->labels, name, wanted) {
        value = json_object_get(labels, name);

        if (value == NULL
            || (!json_is_null(wanted) && !json_equal(value, wanted)))
        {
            return false;
        }
    }

    return true;
}


static void
op_list(service *sv, request *req)
{
    json_t        *records, *record, *cursor;
    size_t         bytes;
    unsigned       looks;
    uint64_t       at;
    tenant        *t;
    sandbox       *sb;
    journal_node  *node;

    t = req->op.everybody ? NULL : tenant_find(sv->r, req->op.caller.tenant);
    at = req->op.cursor;
    bytes = 0;
    records = json_array();
    cursor = NULL;

    looks = 0;

    while ((node = list_next(sv->r, t, req->op.everybody, at)) != NULL) {

        sb = t ? container_of(node, sandbox, tenant_age)
               : container_of(node, sandbox, age);

        if (!list_wanted(sb, &req->op)) {
            at = node->seq;

            if (++looks == LIST_LOOKS_MAX) {
                cursor = json_sprintf("%llu", (unsigned long long) at);
                break;
            }

            continue;
        }

        record = record_sandbox(sb, lifecycle_driver(sv->lc, sb),
                                &sv->lc->defaults);
        bytes += json_dumpb(record, NULL, 0, JSON_COMPACT);

        if (json_array_size(records) >= req->op.limit
            || (bytes > LIST_BYTES_MAX && json_array_size(records) > 0))
        {
            json_decref(record);
            cursor = json_sprintf("%llu", (unsigned long long) at);
            break;
        }

        json_array_append_new(records, record);
        at = node->seq;
    }

    request_answer(req, json_pack("{s:o, s:o}", "sandboxes", records,
                                  "cursor", cursor ? cursor : json_null()));
}


static void
start_done(void *data, sandbox *sb, error *err)
{
    request  *req;

    req = data;

    if (err == NULL && sb->shown.state != STATE_RUNNING) {
        error_set(&err, 503, "start_failed", "the sandbox ended at once%s%s",
                  sb->reason[0] ? ": " : "", sb->reason);
        err->retry_after = 1;
    }

    if (err != NULL) {
        request_fail(req, err);
        return;
    }

    request_answer(req, json_pack("{s:[o], s:b}", "records",
                                  record_item(&sb->item), "created",
                                  req->made));
}


uint64_t
ops_start_deadline(service *sv, sandbox *sb)
{
    return uv_now(sv->loop) + spec_queue_timeout(sb->spec)
           + spec_start_timeout(sb->spec) + START_MARGIN_MS;
}


/* The first operation inside an id that was never seen. */
static sandbox *
start_create(service *sv, const op *o, error **err)
{
    tenant          *t;
    sandbox         *sb;
    create_options   options;

    t = tenant_of_name(sv->r, o->sandbox);

    if ((t != NULL && tenant_check_count(t, &o->caller, err) < 0)
        || ops_disk_check(sv, err) < 0
        || (t != NULL
            && tenant_count_start(t, &o->caller, uv_now(sv->loop), err) < 0)
        || create_options_parse(&options, NULL, &sv->host, err) < 0)
    {
        return NULL;
    }

    options_disk(options.spec, &sv->host);
    sb = registry_add(sv->r, o->sandbox, options.spec, err);
    create_options_free(&options);

    return sb;
}


/* The sandbox to start; whoever begins a start pays for it, who joins one or
 * finds it running doesn't. */
static sandbox *
start_find(service *sv, const op *o, error **err)
{
    sandbox  *sb;

    sb = registry_find(sv->r, o->sandbox);

    if (sb == NULL && o->create && o->caller.create) {
        sb = start_create(sv, o, err);

        if (sb != NULL) {
            log_info("%s: created by its first use, key \"%s\"", sb->id,
                     o->caller.key);
        }

        return sb;
    }

    if (sb == NULL) {
        error_set(err, 404, "not_found", "there is no sandbox \"%s\"",
                  name_id(o->sandbox));
        return NULL;
    }

    if (o->preview && o->port != 0 && !spec_external(sb->spec)
        && wakes_check(sb, o->port, o->wake, uv_now(sv->loop), err) < 0)
    {
        return NULL;
    }

    if (sb->run.state != RUN_UP && sb->run.waiters.first == NULL
        && !spec_external(sb->spec)
        && tenant_count_start(sb->tenant, &o->caller, uv_now(sv->loop), err)
           < 0)
    {
        return NULL;
    }

    return sb;
}


static void
op_start(service *sv, request *req)
{
    bool      made;
    error    *err;
    sandbox  *sb;

    err = NULL;
    made = registry_find(sv->r, req->op.sandbox) == NULL;
    sb = start_find(sv, &req->op, &err);

    if (sb == NULL) {
        request_fail(req, err);
        return;
    }

    request_hold(req, sb);
    req->made = made;
    req->deadline = ops_start_deadline(sv, sb);

    log_debug("%s: start asked for by %s", sb->id,
              req->op.preview ? "a preview" : "the API");

    lifecycle_start(sv->lc, sb, start_done, req);
}


void
request_done(void *data)
{
    request_answer(data, json_object());
}


void
request_settle(void *data)
{
    request  *req;

    req = data;
    zones_settle(request_service(req)->zones, request_done, req);
}


static void
destroy_durable(void *data)
{
    request  *req;
    service  *sv;

    req = data;
    sv = request_service(req);

    lifecycle_destroy(sv->lc, req->sb);
    zones_wait(sv->zones, req->sb->seq, uv_now(sv->loop), request_done, req);
}


static void
op_destroy(service *sv, request *req)
{
    error     *err;
    sandbox   *sb;
    uint64_t   seq;

    err = NULL;
    sb = registry_find(sv->r, req->op.sandbox);

    if (sb == NULL) {
        registry_wait(sv->r, sv->r->seq, request_settle, req);
        return;
    }

    if (ops_match(sv, sb, req->op.match, &err) < 0
        || store_check(sv->r->store, &err) < 0)
    {
        request_fail(req, err);
        return;
    }

    log_info("%s: destroyed, slot %08x", sb->id, sb->slot);

    request_hold(req, sb);
    seq = registry_remove(sv->r, sb);
    registry_wait(sv->r, seq, destroy_durable, req);
}


static void
change_part(void *data)
{
    json_t   *result;
    request  *req;

    req = data;

    if (--req->parts == 0) {
        result = req->result;
        req->result = NULL;
        request_answer(req, result);
    }
}


static void
change_revoked(void *data)
{
    request  *req;
    service  *sv;

    req = data;
    sv = request_service(req);
    zones_wait(sv->zones, req->revoked, uv_now(sv->loop), change_part, req);
}


void
request_changed(request *req)
{
    registry  *r;

    r = request_service(req)->r;

    /* What is taken away is a change of its own, before others. */
    req->parts = req->revoked ? 3 : 2;

    if (req->revoked) {
        registry_wait(r, req->revoked, change_revoked, req);
    }

    registry_wait(r, r->seq, change_part, req);
    change_part(req);
}


static void
op_expose(service *sv, request *req)
{
    error           *err;
    json_t          *warnings;
    sandbox         *sb;
    exposure        *ex;
    expose_options   options;

    sb = request_sandbox(req);
    if (sb == NULL) {
        return;
    }

    err = NULL;
    ex = NULL;
    warnings = json_array();

    if (expose_options_parse(&options, req->op.options, warnings, &err) == 0)
    {
        options.patch = req->op.patch;
        options.by_admin = req->op.admin;
        ex = registry_expose(sv->r, sb, &options, &req->revoked, &err);
    }

    if (ex == NULL) {
        json_decref(warnings);
        request_fail(req, err);
        return;
    }

    request_hold(req, sb);
    req->result = json_pack("{s:o, s:o}", "exposure", record_exposure(ex),
                            "warnings", warnings);

    request_changed(req);
}


void
request_revoked(void *data)
{
    request  *req;
    service  *sv;

    req = data;
    sv = request_service(req);
    zones_wait(sv->zones, req->revoked, uv_now(sv->loop), request_done, req);
}


static void
op_unexpose(service *sv, request *req)
{
    error    *err;
    sandbox  *sb;

    sb = request_sandbox(req);
    if (sb == NULL) {
        return;
    }

    err = NULL;

    if (store_check(sv->r->store, &err) < 0) {
        request_fail(req, err);
        return;
    }

    req->revoked = registry_unexpose(sv->r, sb, req->op.port);

    if (req->revoked == 0) {
        registry_wait(sv->r, sv->r->seq, request_settle, req);
        return;
    }

    registry_wait(sv->r, req->revoked, request_revoked, req);
}


static void
op_ports(service *sv, request *req)
{
    json_t    *records;
    sandbox   *sb;
    exposure  *ex;

    sb = request_sandbox(req);
    if (sb == NULL) {
        return;
    }

    records = json_array();

    for (ex = sb->exposures; ex != NULL; ex = ex->next) {

        /* As with sandboxes: what is not durable doesn't exist. */
        if (ex->item.node.seq != 0) {
            json_array_append_new(records, record_exposure(ex));
        }
    }

    request_answer(req, json_pack("{s:o}", "exposures", records));
}


void
ops_handle(void *data, request *req)
{
    static void (*const  handlers[])(service *, request *) = {
        [OP_SYNC] = op_sync,
        [OP_RESOLVE] = op_resolve,
        [OP_CREATE] = op_create,
        [OP_FORK] = op_fork,
        [OP_GET] = op_get,
        [OP_LIST] = op_list,
        [OP_START] = op_start,
        [OP_DESTROY] = op_destroy,
        [OP_EXPOSE] = op_expose,
        [OP_UNEXPOSE] = op_unexpose,
        [OP_EVENTS] = op_events,
        [OP_HEALTH] = op_health,
        [OP_PORTS] = op_ports,
        [OP_POOL_STATS] = op_pool_stats,
        [OP_POOL_PRIME] = op_pool_prime,
        [OP_POOL_SHUTDOWN] = op_pool_shutdown,
        [OP_STATS] = op_stats,
        [OP_METRICS] = op_metrics,
        [OP_TENANT] = op_tenant,
        [OP_DOMAINS] = op_domains,
        [OP_DOMAIN_PUT] = op_domain_put,
        [OP_DOMAIN_DELETE] = op_domain_delete,
        [OP_UPDATE] = op_update,
        [OP_ENV] = op_env,
        [OP_SLEEP] = op_sleep,
        [OP_WAKE] = op_wake,
        [OP_EXTERNAL] = op_external
    };

    handlers[req->op.kind](data, req);
}
