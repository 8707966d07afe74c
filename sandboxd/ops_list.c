/* The list of sandboxes; see ops_part.h. */

#include "sandboxd/ops_part.h"
#include "sandboxd/record.h"
#include "sandboxd/tenant.h"

/* A page of the list ends here even if there is room for more records: an
 * answer is one frame. */
#define LIST_BYTES_MAX   (512 * 1024)

/* One with a filter ends here, with a cursor, however little it has found. */
#define LIST_LOOKS_MAX   20000


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


void
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
