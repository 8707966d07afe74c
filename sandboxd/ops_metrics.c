/* What sandboxd tells for metrics; see ops_part.h. */

#include "sandboxd/ops_part.h"
#include "sandboxd/starts.h"


void
op_metrics(service *sv, request *req)
{
    json_t  *starts;

    starts = starts_json(&sv->lc->counts);

    json_object_set_new(starts, "queued",
                        json_integer((json_int_t) sv->lc->starts.count));
    json_object_set_new(starts, "starting",
                        json_integer((json_int_t) sv->lc->starting.count));

    request_answer(req, json_pack("{s:o}", "starts", starts));
}
