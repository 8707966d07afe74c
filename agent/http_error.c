/* The two forms of errors, and requests that are JSON; see http.h. */

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "agent/http_conn.h"


void
api_error_context(http_request *r, error *err, json_t *context)
{
    char     code[sizeof(err->code)], ts[32];
    size_t   i;
    json_t  *body, *operation;

    for (i = 0; err->code[i] != '\0'; i++) {
        code[i] = (char) toupper((unsigned char) err->code[i]);
    }
    code[i] = '\0';

    if (context == NULL) {
        context = err->field[0] == '\0' ? json_object()
            : json_pack("{s:[{s:s, s:s, s:s}]}", "validationErrors",
                        "field", err->field, "message", err->message,
                        "code", code);
    }

    http_timestamp(ts, sizeof(ts));
    operation = json_object_get(context, "operation");

    body = json_pack("{s:s, s:s, s:o, s:O*, s:i, s:s}",
                     "code", code, "message", err->message,
                     "context", context, "operation", operation,
                     "httpStatus", err->status, "timestamp", ts);

    if (err->retry_after > 0) {
        snprintf(ts, sizeof(ts), "%d", err->retry_after);
        http_set_header(r, "Retry-After", ts);
    }

    if (body == NULL) {
        http_abort(r);
    } else {
        http_send_json(r, err->status, body);
    }

    error_free(err);
}


void
api_error(http_request *r, error *err)
{
    api_error_context(r, err, NULL);
}


void
bridge_error(http_request *r, error *err)
{
    json_t  *body;

    body = json_pack("{s:s, s:s}", "error", err->message, "code", err->code);

    if (body == NULL) {
        http_abort(r);
    } else {
        http_send_json(r, err->status, body);
    }

    error_free(err);
}


void
http_error(http_request *r, error *err)
{
    if (r->bridge) {
        bridge_error(r, err);
    } else {
        api_error(r, err);
    }
}


/* A request that never got a handler: answered and the connection closed. */

void
http_reply_bad(http_conn *c, int status, const char *message)
{
    error          *err;
    http_exchange  *x;

    x = c->x;

    if (x == NULL) {
        http_conn_abort(c);
        return;
    }

    x->dispatched = 1;
    x->keep_alive = 0;
    x->mode = HTTP_BODY_DISCARD;

    err = NULL;
    error_set(&err, status, "validation_failed", "%s", message);
    api_error(&x->pub, err);
}


int
http_json_object(http_request *r, const char *body, size_t len, json_t **out)
{
    error         *err;
    json_error_t   why;

    *out = json_loadb(body, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
                      &why);

    if (json_is_object(*out)) {
        return 0;
    }

    err = NULL;
    if (*out == NULL) {
        error_set(&err, 400, r->bridge ? "invalid_request"
                                       : "validation_failed",
                  r->bridge ? "Invalid JSON body: %s"
                            : "Invalid request body: %s", why.text);
    } else {
        error_set(&err, 400, r->bridge ? "invalid_request"
                                       : "validation_failed",
                  "The request body must be a JSON object");
    }

    json_decref(*out);
    *out = NULL;
    http_error(r, err);

    return -1;
}
