/* The operations that look at sandboxd as a whole: events and health. */

#include "sandboxd/events.h"
#include "sandboxd/ops_part.h"


/*
 * Without `since` the client begins now.  What is published behind this answer
 * comes behind it on the same connection.
 */
void
op_events(service *sv, request *req)
{
    bool     more, lost;
    json_t  *list;

    lost = false;
    more = false;
    list = req->op.since ? events_page(sv->events, req->op.seq, &more) : NULL;

    if (list == NULL) {
        lost = req->op.since;
        list = json_array();
    }

    request_answer(req, json_pack("{s:o, s:b, s:b, s:I}", "events", list,
                                  "more", more, "lost", lost, "seq",
                                  (json_int_t) events_newest(sv->events)));
}


static void
health_add(json_t *errors, error *err)
{
    json_array_append_new(errors, json_string(err->message));
    error_free(err);
}


void
op_health(service *sv, request *req)
{
    error   *err;
    json_t  *errors;

    errors = json_array();
    err = NULL;

    if (store_check(sv->r->store, &err) < 0) {
        health_add(errors, err);
        err = NULL;
    }

    if (ops_disk_check(sv, &err) < 0) {
        health_add(errors, err);
    }

    request_answer(req, json_pack("{s:o}", "errors", errors));
}
