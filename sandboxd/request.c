/*
 * Open requests.  A request belongs to its handler until that has ended with
 * it; its connection may go away before, and its deadline may be answered
 * before: the handler doesn't notice.
 */

#include <stdlib.h>

#include "common/log.h"
#include "sandboxd/conn.h"


static void
request_unlink(request *req)
{
    if (req->c == NULL) {
        return;
    }

    *req->link = req->next;

    if (req->next != NULL) {
        req->next->link = req->link;
    }

    req->c->request_count--;
    req->c = NULL;
}


static void
request_free(request *req)
{
    request_unlink(req);

    if (req->sb != NULL) {
        item_unref(&req->sb->item);
    }

    json_decref(req->result);
    json_decref(req->frame);
    free(req);
}


static json_t *
error_frame(json_int_t id, const error *err)
{
    json_t  *object;

    object = json_pack("{s:s, s:i, s:s}", "code", err->code, "status",
                       err->status, "message", err->message);

    if (object == NULL) {
        /* The message holds bytes that are no UTF-8. */
        object = json_pack("{s:s, s:i, s:s}", "code", err->code, "status",
                           err->status, "message", "the reason can't be "
                           "shown");
    }

    if (err->field[0] != '\0') {
        json_object_set_new(object, "field", json_string(err->field));
    }

    if (err->limit != 0) {
        json_object_set_new(object, "limit", json_integer(err->limit));
    }

    if (err->retry_after != 0) {
        json_object_set_new(object, "retry_after",
                            json_integer(err->retry_after));
    }

    return json_pack("{s:I, s:b, s:o}", "id", id, "ok", 0, "error", object);
}


static void
request_send_error(conn *c, json_int_t id, const error *err)
{
    json_t  *frame;

    frame = error_frame(id, err);
    conn_send(c, frame);
    json_decref(frame);
}


void
request_answer(request *req, json_t *result)
{
    conn        *c;
    json_t      *frame;
    json_int_t   id;

    c = req->c;
    id = req->op.id;
    request_free(req);

    if (c != NULL) {
        frame = json_pack("{s:I, s:b, s:O}", "id", id, "ok", 1, "result",
                          result);
        conn_send(c, frame);
        json_decref(frame);
    }

    json_decref(result);
}


void
request_fail(request *req, error *err)
{
    conn        *c;
    json_int_t   id;

    c = req->c;
    id = req->op.id;
    request_free(req);

    if (c != NULL) {
        request_send_error(c, id, err);
    }

    error_free(err);
}


static bool
request_id_open(conn *c, json_int_t id)
{
    request  *req;

    for (req = c->requests; req != NULL; req = req->next) {
        if (req->op.id == id) {
            return true;
        }
    }

    return false;
}


void
request_begin(conn *c, const op *parsed, json_t *frame, error *err)
{
    server   *s;
    request  *req;

    s = c->s;

    if (request_id_open(c, parsed->id)) {
        error_free(err);
        conn_close(c, "the id of an open request");
        return;
    }

    if (err == NULL && c->request_count >= SERVER_REQUESTS_MAX) {
        error_set_field(&err, 503, "busy", "", SERVER_REQUESTS_MAX,
                        "%d requests are open already", SERVER_REQUESTS_MAX);
    }

    if (err != NULL) {
        request_send_error(c, parsed->id, err);
        error_free(err);
        return;
    }

    req = calloc(1, sizeof(request));
    if (req == NULL) {
        abort();
    }

    req->c = c;
    req->s = s;
    req->op = *parsed;
    req->frame = json_incref(frame);
    req->deadline = uv_now(s->loop) + SERVER_REQUEST_MS;

    req->next = c->requests;
    req->link = &c->requests;

    if (c->requests != NULL) {
        c->requests->link = &req->next;
    }

    c->requests = req;
    c->request_count++;

    s->handler(s->handler_data, req);
}


void
requests_expire(conn *c, uint64_t now)
{
    error      *err;
    request    *req, *next;
    json_int_t  id;

    for (req = c->requests; req != NULL && !c->closing; req = next) {
        next = req->next;

        if (req->deadline > now) {
            continue;
        }

        id = req->op.id;
        request_unlink(req);

        err = NULL;
        error_set(&err, 503, "timeout", "the operation takes too long; it "
                  "may still come to its end");
        err->retry_after = 5;
        request_send_error(c, id, err);
        error_free(err);
    }
}


void
requests_orphan(conn *c)
{
    while (c->requests != NULL) {
        request_unlink(c->requests);
    }
}
