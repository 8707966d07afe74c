/* Registering sandboxes that others run; see ops.h. */

#include <string.h>

#include "common/log.h"
#include "sandboxd/ops_part.h"
#include "sandboxd/record.h"
#include "sandboxd/tenant.h"


bool
ops_unsupported(request *req, const sandbox *sb, const char *what)
{
    error  *err;

    if (!spec_external(sb->spec)) {
        return false;
    }

    err = NULL;
    error_set(&err, 501, "unsupported", "this sandbox runs elsewhere: the "
              "driver \"external\" can't %s", what);
    request_fail(req, err);

    return true;
}


/* The endpoint is for whoever may register; the key for nobody. */
static json_t *
external_result(service *sv, sandbox *sb)
{
    json_t  *result;

    result = ops_sandbox_result(sv, sb);
    json_object_set(result, "endpoint", json_object_get(
                    json_object_get(sb->spec, "external"), "endpoint"));

    return result;
}


static void
external_looked(void *data, sandbox *sb, error *err)
{
    json_t   *result;
    request  *req;

    req = data;

    /* The record says why it isn't reached; it is registered all the same. */
    error_free(err);

    result = external_result(request_service(req), sb);
    json_object_update(result, req->result);
    json_decref(req->result);
    req->result = NULL;
    request_answer(req, result);
}


static void
external_durable(void *data)
{
    request  *req;
    service  *sv;

    req = data;
    sv = request_service(req);

    /* As it was, and reached: there is nothing to look at. */
    if (req->sb->gone || (req->parts == 0 && req->sb->run.state == RUN_UP)) {
        external_looked(req, req->sb, NULL);
        return;
    }

    lifecycle_look(sv->lc, req->sb, external_looked, req);
}


static sandbox *
external_add(service *sv, request *req, const create_options *options,
    error **err)
{
    tenant   *t;
    sandbox  *sb;

    t = tenant_of_name(sv->r, req->op.sandbox);

    if (t == NULL) {
        error_set(err, 404, "not_found", "the sandbox's tenant is unknown");
        return NULL;
    }

    if (strlen(req->op.sandbox) > ENDPOINT_ID_MAX) {
        error_set_field(err, 400, "invalid_id", "id", ENDPOINT_ID_MAX,
                        "the id of a sandbox that others run has at most %d "
                        "characters, with its tenant's prefix",
                        ENDPOINT_ID_MAX);
        return NULL;
    }

    if (tenant_check_count(t, &req->op.caller, err) < 0
        || ops_disk_check(sv, err) < 0)
    {
        return NULL;
    }

    sb = registry_add(sv->r, req->op.sandbox, options->spec, err);

    if (sb != NULL) {
        log_info("%s: registered, runs elsewhere, slot %08x", sb->id,
                 sb->slot);
        lifecycle_options(sv->lc, sb);
        req->parts = 1;
    }

    return sb;
}


/* req->parts: whether it is to be reached in another way than before. */
static int
external_change(service *sv, request *req, sandbox *sb,
    const create_options *options, error **err)
{
    if (!spec_external(sb->spec)) {
        return error_set_field(err, 409, "exists", "id", 0, "the sandbox "
                               "\"%s\" exists, and runs here",
                               name_id(sb->id));
    }

    if (ops_match(sv, sb, req->op.match, err) < 0) {
        return -1;
    }

    if (json_equal(sb->spec, options->spec)) {
        return 0;
    }

    if (ops_check_ttl(sb, options->spec, err) < 0
        || store_check(sv->r->store, err) < 0)
    {
        return -1;
    }

    req->parts = !json_equal(json_object_get(sb->spec, "external"),
                             json_object_get(options->spec, "external"));

    if (req->parts != 0) {
        lifecycle_withdraw(sv->lc, sb);
    }

    if (registry_update(sv->r, sb, json_incref(options->spec), err) < 0) {
        return -1;
    }

    log_info("%s: registered anew, slot %08x", sb->id, sb->slot);
    lifecycle_options(sv->lc, sb);

    return 0;
}


static void
external_put(service *sv, request *req, const create_options *options)
{
    bool      created;
    error    *err;
    sandbox  *sb;

    err = NULL;
    req->parts = 0;
    sb = registry_find(sv->r, req->op.sandbox);
    created = sb == NULL;

    if (created) {
        sb = external_add(sv, req, options, &err);

    } else if (external_change(sv, req, sb, options, &err) < 0) {
        sb = NULL;
    }

    if (sb == NULL) {
        request_fail(req, err);
        return;
    }

    request_hold(req, sb);
    req->result = json_pack("{s:b, s:O}", "created", created, "warnings",
                            options->warnings);
    registry_wait(sv->r, sb->seq, external_durable, req);
}


void
op_external(service *sv, request *req)
{
    error           *err;
    sandbox         *sb;
    endpoint         e;
    create_options   options;

    err = NULL;

    if (req->op.options == NULL) {
        sb = request_sandbox(req);

        if (sb != NULL && !spec_external(sb->spec)) {
            error_set(&err, 404, "not_found", "the sandbox \"%s\" runs here",
                      name_id(sb->id));
            request_fail(req, err);

        } else if (sb != NULL) {
            request_answer(req, external_result(sv, sb));
        }

        return;
    }

    if (external_options_parse(&options, req->op.options, &err) < 0) {
        request_fail(req, err);
        return;
    }

    if (endpoint_parse(&e, json_object_get(req->op.options, "endpoint"), &err)
        < 0 || endpoint_check(&e, sv->external, &err) < 0)
    {
        request_fail(req, err);

    } else {
        external_put(sv, req, &options);
    }

    create_options_free(&options);
}
