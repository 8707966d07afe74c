/* The workers' operations; see ops.h. */

#include "common/log.h"
#include "sandboxd/domain.h"
#include "sandboxd/ops_part.h"
#include "sandboxd/record.h"


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


static void
op_get(service *sv, request *req)
{
    sandbox  *sb;

    sb = request_sandbox(req);

    if (sb != NULL) {
        request_answer(req, ops_sandbox_result(sv, sb));
    }
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


void
request_revoked(void *data)
{
    request  *req;
    service  *sv;

    req = data;
    sv = request_service(req);
    zones_wait(sv->zones, req->revoked, uv_now(sv->loop), request_done, req);
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
