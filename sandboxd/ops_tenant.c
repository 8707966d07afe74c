/* The workers' questions for tenants; see ops.h. */

#include "sandboxd/ops.h"
#include "sandboxd/tenant.h"


static void
tenant_durable(void *data)
{
    request  *req;
    service  *sv;

    req = data;
    sv = req->s->handler_data;

    request_answer(req, json_pack("{s:s}", "prefix",
                   tenant_find(sv->r, req->op.caller.tenant)->prefix));
}


void
op_tenant(service *sv, request *req)
{
    error   *err;
    tenant  *t;

    err = NULL;
    t = tenant_get(sv->r, req->op.caller.tenant, &err);

    if (t == NULL) {
        request_fail(req, err);
        return;
    }

    registry_wait(sv->r, t->seq, tenant_durable, req);
}
