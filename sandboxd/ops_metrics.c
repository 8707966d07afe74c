/* What sandboxd tells for metrics; see ops_part.h. */

#include "sandboxd/ops_part.h"
#include "sandboxd/starts.h"


/* What was promised, and of how much that is; null: there is no bound. */
static json_t *
promised_json(uint64_t promised, uint64_t budget)
{
    return json_pack("{s:I, s:o}", "promised", (json_int_t) promised, "budget",
                     budget != 0 ? json_integer((json_int_t) budget)
                                 : json_null());
}


void
op_metrics(service *sv, request *req)
{
    json_t     *starts;
    registry   *r;
    lifecycle  *lc;

    r = sv->r;
    lc = sv->lc;

    starts = starts_json(&lc->counts);

    json_object_set_new(starts, "queued",
                        json_integer((json_int_t) lc->starts.count));
    json_object_set_new(starts, "starting",
                        json_integer((json_int_t) lc->starting.count));

    request_answer(req, json_pack("{s:o, s:o, s:o, s:I}", "starts", starts,
        "disk", promised_json(r->disks.promised, r->disks.budget),
        "memory", promised_json(lc->promised, lc->memory_budget),
        "oomKills", (json_int_t) registry_kills(r)));
}
