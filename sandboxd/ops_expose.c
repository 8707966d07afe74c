/* Ports that are exposed; see ops_part.h. */

#include "sandboxd/ops_part.h"
#include "sandboxd/record.h"


void
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


void
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
