/* Starts that are asked for, with or without a record; see ops_part.h. */

#include "common/log.h"
#include "sandboxd/ops_part.h"
#include "sandboxd/record.h"
#include "sandboxd/tenant.h"
#include "sandboxd/wakes.h"

#define START_MARGIN_MS  15000


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


void
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

    lifecycle_tried(sv->lc, sb, req->op.tried);
    lifecycle_start(sv->lc, sb, start_done, req);
}
