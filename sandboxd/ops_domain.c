/* The workers' questions for domains; see ops.h. */

#include "common/log.h"
#include "sandboxd/domain.h"
#include "sandboxd/ops_part.h"
#include "sandboxd/tenant.h"


void
op_domains(service *sv, request *req)
{
    tenant  *t;

    t = req->op.everybody ? NULL : tenant_find(sv->r, req->op.caller.tenant);

    request_answer(req, json_pack("{s:o}", "domains",
                                  domain_records(sv->r, t,
                                                 req->op.everybody)));
}


void
op_domain_put(service *sv, request *req)
{
    error   *err;
    domain  *d;
    tenant  *t;

    err = NULL;
    d = NULL;
    t = NULL;

    if (req->op.everybody
        || (t = tenant_get(sv->r, req->op.caller.tenant, &err)) != NULL)
    {
        d = domain_put(sv->r, req->op.domain, t, &req->revoked, &err);
    }

    if (d == NULL) {
        request_fail(req, err);
        return;
    }

    log_info("the domain %s is for %s%s%s", d->name + 1,
             t == NULL ? "everybody" : "the tenant \"",
             t == NULL ? "" : t->name, t == NULL ? "" : "\"");

    req->result = json_pack("{s:o}", "domain", domain_record(d));
    request_changed(req);
}


void
op_domain_delete(service *sv, request *req)
{
    error   *err;
    domain  *d;

    err = NULL;

    if (store_check(sv->r->store, &err) < 0) {
        request_fail(req, err);
        return;
    }

    d = domain_find(sv->r, req->op.domain);

    if (d == NULL) {
        registry_wait(sv->r, sv->r->seq, request_settle, req);
        return;
    }

    log_info("the domain %s is no more", d->name + 1);

    req->revoked = domain_delete(sv->r, d);
    registry_wait(sv->r, req->revoked, request_revoked, req);
}
