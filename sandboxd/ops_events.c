/* The operations that look at sandboxd as a whole: events and health. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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


/* Anybody may ask nginx how it is: no figures, no paths. */
static void
health_add(json_t *errors, error *err)
{
    json_array_append_new(errors, json_string(err->message));
    error_free(err);
}


/* The store learns of a disk that was made read-only with its next write,
 * which may be long in coming. */
static int
health_state_check(service *sv, error **err)
{
    if (access(sv->state_dir, W_OK | X_OK) == 0) {
        return 0;
    }

    return error_set(err, 503, "storage_failed", "the state directory can't "
                     "be written: %s", strerror(errno));
}


void
op_health(service *sv, request *req)
{
    error     *err;
    driver    *d;
    json_t    *errors;
    unsigned   i;

    errors = json_array();
    err = NULL;

    if (store_check(sv->r->store, &err) < 0) {
        health_add(errors, err);
        err = NULL;
    }

    if (health_state_check(sv, &err) < 0) {
        health_add(errors, err);
        err = NULL;
    }

    if (ops_disk_check(sv, &err) < 0) {
        snprintf(err->message, sizeof(err->message), "less disk is free than "
                 "is kept for records and logs");
        health_add(errors, err);
        err = NULL;
    }

    for (i = 0; i < sv->lc->driver_count; i++) {
        d = sv->lc->drivers[i];

        if (d->health != NULL && d->health(d, &err) < 0) {
            health_add(errors, err);
            err = NULL;
        }
    }

    request_answer(req, json_pack("{s:o}", "errors", errors));
}
