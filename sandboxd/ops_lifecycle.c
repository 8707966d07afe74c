/* Operations on what a sandbox is to be: its options, its environment, asleep
 * or awake; see ops.h. */

#include <string.h>

#include "common/log.h"
#include "sandboxd/ops_part.h"
#include "sandboxd/record.h"
#include "sandboxd/tenant.h"

/* What a running sandbox has to be told. */
#define PART_ENV      1u
#define PART_NETWORK  2u


json_t *
ops_sandbox_result(service *sv, sandbox *sb)
{
    char     etag[RECORD_ETAG_LEN + 1];
    json_t  *record, *result;

    record = record_sandbox(sb, lifecycle_driver(sv->lc, sb),
                            &sv->lc->defaults);
    result = json_pack("{s:O}", "sandbox", record);

    if (record_etag(record, etag) == 0) {
        json_object_set_new(result, "etag", json_string(etag));
    }

    json_decref(record);

    return result;
}


/* If-Match: a list of entity tags, or "*". */
int
ops_match(service *sv, sandbox *sb, const char *match, error **err)
{
    char     etag[RECORD_ETAG_LEN + 1];
    json_t  *record;

    if (match == NULL || strcmp(match, "*") == 0) {
        return 0;
    }

    record = record_sandbox(sb, lifecycle_driver(sv->lc, sb),
                            &sv->lc->defaults);

    /* A weak tag never matches here, and ours has no quote in it. */
    if (record_etag(record, etag) == 0 && strstr(match, etag) != NULL) {
        json_decref(record);
        return 0;
    }

    json_decref(record);

    return error_set(err, 412, "precondition_failed", "the sandbox is not as "
                     "If-Match says: it has changed");
}


/* What was asked for with the change, and is true only now. */
static void
update_finish(request *req)
{
    json_t   *result, *warnings, *names, *value;
    service  *sv;
    const char  *name;

    sv = request_service(req);
    warnings = req->result;
    req->result = NULL;

    result = ops_sandbox_result(sv, req->sb);
    json_object_set_new(result, "warnings", warnings);

    if (req->op.kind == OP_ENV) {
        names = json_array();

        json_object_foreach(json_object_get(req->sb->spec, "env"), name,
                            value)
        {
            json_array_append_new(names, json_string(name));
        }

        json_object_set_new(result, "env", names);
    }

    request_answer(req, result);
}


/* What it was to lose, it has lost by now: nothing is left to it instead. */
static void
on_network_told(void *data, sandbox *sb, error *err)
{
    request  *req;

    req = data;

    if (err != NULL) {
        json_decref(req->result);
        req->result = NULL;
        request_fail(req, err);
        return;
    }

    update_finish(req);
}


static void
update_network(request *req)
{
    if ((req->parts & PART_NETWORK) && !req->sb->gone) {
        lifecycle_tell_network(request_service(req)->lc, req->sb,
                               on_network_told, req);
    } else {
        update_finish(req);
    }
}


static void
on_env_told(void *data, sandbox *sb, error *err)
{
    request  *req;

    req = data;

    if (err != NULL) {
        json_array_append_new(req->result, json_string(err->message));
        error_free(err);
    }

    update_network(req);
}


static void
update_durable(void *data)
{
    request  *req;

    req = data;

    if ((req->parts & PART_ENV) && !req->sb->gone) {
        lifecycle_tell_env(request_service(req)->lc, req->sb, on_env_told,
                           req);

    } else {
        update_network(req);
    }
}


int
ops_check_ttl(const sandbox *sb, json_t *spec, error **err)
{
    uint64_t  ttl;

    ttl = spec_ttl(spec);

    if (ttl == 0 || json_equal(json_object_get(sb->spec, "ttl"),
                               json_object_get(spec, "ttl"))
        || sb->created_at + (int64_t) ttl > wall_ms())
    {
        return 0;
    }

    return error_set_field(err, 400, "invalid_request", "ttl", 0, "ttl counts "
                           "from the creation, and would be over already: "
                           "destroy the sandbox instead");
}


/* Also if neither has it. */
static bool
same_member(const json_t *a, const json_t *b, const char *name)
{
    a = json_object_get(a, name);
    b = json_object_get(b, name);

    return a == b || json_equal(a, b);
}


static bool
network_same(json_t *old, json_t *spec)
{
    json_t  *a, *b;

    a = spec_network(old);
    b = spec_network(spec);

    return a == b || json_equal(a, b);
}


/* Files are where the limit was when they were written: with another one they
 * would be looked for elsewhere, or be bounded as before. */
static int
update_disk(service *sv, sandbox *sb, json_t *spec, error **err)
{
    driver_limits  old, new;

    if (spec_external(spec)) {
        return 0;
    }

    if (sb->now.state == STATE_CREATED && sb->now.epoch == 0) {
        options_disk(spec, &sv->host);
        return 0;
    }

    spec_limits(sb->spec, &old);
    spec_limits(spec, &new);

    if (old.disk == new.disk) {
        return 0;
    }

    return error_set_field(err, 422, "unenforceable", "resources.disk",
                           (long long) old.disk, "resources.disk can't be "
                           "changed once a sandbox has been started: its files "
                           "stay on the disk that it has");
}


/* Takes the options over. */
static int
update_apply(service *sv, request *req, sandbox *sb, create_options *options,
    error **err)
{
    bool     running;
    json_t  *old;

    if (json_equal(sb->spec, options->spec)) {
        return 0;
    }

    old = json_incref(sb->spec);

    if (update_disk(sv, sb, options->spec, err) < 0
        || ops_check_ttl(sb, options->spec, err) < 0
        || registry_update(sv->r, sb, json_incref(options->spec), err) < 0)
    {
        json_decref(old);
        return -1;
    }

    lifecycle_options(sv->lc, sb);
    running = sb->run.state != RUN_NONE && !spec_external(sb->spec);

    if (running && !same_member(old, sb->spec, "resources")) {
        json_array_append_new(options->warnings, json_string("resources: in "
                              "force from its next start on"));
    }

    req->parts = same_member(old, sb->spec, "env") ? 0 : PART_ENV;

    if (!spec_external(sb->spec) && !network_same(old, sb->spec)) {
        req->parts |= PART_NETWORK;
    }

    json_decref(old);

    return 0;
}


static void
update(service *sv, request *req, json_t *patch)
{
    error           *err;
    sandbox         *sb;
    create_options   options;

    sb = request_sandbox(req);
    if (sb == NULL) {
        return;
    }

    err = NULL;

    if (ops_match(sv, sb, req->op.match, &err) < 0
        || (spec_external(sb->spec)
            ? external_options_update(&options, sb->spec, patch, &err)
            : update_options_parse(&options, sb->spec, patch, &sv->host,
                                   &err))
           < 0)
    {
        request_fail(req, err);
        return;
    }

    if (update_apply(sv, req, sb, &options, &err) < 0) {
        create_options_free(&options);
        request_fail(req, err);
        return;
    }

    request_hold(req, sb);
    req->result = json_incref(options.warnings);
    create_options_free(&options);
    registry_wait(sv->r, sb->seq, update_durable, req);
}


void
op_update(service *sv, request *req)
{
    update(sv, req, req->op.options);
}


void
op_env(service *sv, request *req)
{
    json_t   *patch;
    sandbox  *sb;

    if (req->op.options != NULL) {
        patch = json_pack("{s:O}", "env", req->op.options);
        update(sv, req, patch);
        json_decref(patch);
        return;
    }

    sb = request_sandbox(req);

    if (sb != NULL) {
        request_hold(req, sb);
        req->result = json_array();
        update_finish(req);
    }
}


static void
on_lifecycle_done(void *data, sandbox *sb, error *err)
{
    request  *req;

    req = data;

    if (err != NULL) {
        request_fail(req, err);
        return;
    }

    request_answer(req, ops_sandbox_result(request_service(req), sb));
}


void
op_sleep(service *sv, request *req)
{
    sandbox  *sb;

    sb = request_sandbox(req);

    if (sb != NULL && !ops_unsupported(req, sb, "put it to sleep")) {
        request_hold(req, sb);
        lifecycle_sleep(sv->lc, sb, on_lifecycle_done, req);
    }
}


void
op_wake(service *sv, request *req)
{
    error    *err;
    sandbox  *sb;

    sb = request_sandbox(req);
    err = NULL;

    if (sb != NULL && ops_unsupported(req, sb, "start it")) {
        return;
    }

    if (sb != NULL && sb->run.state == RUN_NONE
        && tenant_count_start(sb->tenant, &req->op.caller, uv_now(sv->loop),
                              &err) < 0)
    {
        request_fail(req, err);

    } else if (sb != NULL) {
        request_hold(req, sb);
        req->deadline = ops_start_deadline(sv, sb);
        lifecycle_start(sv->lc, sb, on_lifecycle_done, req);
    }
}
