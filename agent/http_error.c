/* The two forms of errors, and requests that are JSON; see http.h. */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/http_conn.h"
#include "common/utf8.h"


#define HTTP_WARNINGS_MAX  16


typedef struct {
    const char  *code;
    const char  *text;
} http_error_hint;


/* What can be done about an error; people read it, clients only pass it on. */

static const http_error_hint  http_error_hints[] = {
    { "FILE_NOT_FOUND", "Make sure that the file exists" },
    { "FILE_EXISTS", "Use another path, or remove what is there" },
    { "FILE_TOO_LARGE", "Read or write it as a stream, or in parts" },
    { "IS_DIRECTORY", "The path leads to a directory; name a file" },
    { "NOT_DIRECTORY", "The path leads to a file; name a directory" },
    { "PERMISSION_DENIED", "Check the owner and the mode of the path" },
    { "READ_ONLY", "Write to another place: this one is read-only" },
    { "NO_SPACE", "Remove files that are not needed" },
    { "NAME_TOO_LONG", "A name has at most 255 bytes, a path 4096" },
    { "INVALID_COMMAND", "Send a command that is not empty" },
    { "COMMAND_NOT_FOUND", "Only a process that is running can be killed" },
    { "PROCESS_NOT_FOUND", "Check the process id; list the processes" },
    { "VALIDATION_FAILED", "Check the request's members and their types" },
    { "RESOURCE_BUSY", "Use another name, or try again later" },
    { "SESSION_ALREADY_EXISTS", "Use this session, or another id" },
    { "CONTEXT_NOT_FOUND", "Create a context first, or list the contexts" },
    { "PYTHON_NOT_AVAILABLE", "Use an image that has Python, or install it" },
    { "JAVASCRIPT_NOT_AVAILABLE", "Use an image that has Node.js, or install "
                                  "it" },
    { "INTERPRETER_NOT_READY", "Try again in a moment" },
    { "SESSION_DESTROYED", "Use the id again to get a new session" },
    { "SESSION_TERMINATED", "The session's state is gone; using the id again "
                            "makes a new one" }
};


static const char *
http_error_suggestion(const char *code)
{
    size_t  i;

    for (i = 0; i < sizeof(http_error_hints) / sizeof(http_error_hint); i++) {
        if (strcmp(http_error_hints[i].code, code) == 0) {
            return http_error_hints[i].text;
        }
    }

    return NULL;
}


/* A message quotes paths, commands and names: any bytes, cut anywhere. */

static void
http_error_clean(error *err)
{
    char  text[sizeof(err->message)];

    utf8_clean(text, sizeof(text), err->message, strlen(err->message));
    memcpy(err->message, text, sizeof(text));
}


static void
http_error_retry(http_request *r, const error *err)
{
    char  text[32];

    if (err->retry_after > 0 || err->status == 503) {
        snprintf(text, sizeof(text), "%d",
                 err->retry_after > 0 ? err->retry_after : 1);
        http_set_header(r, "Retry-After", text);
    }
}


json_t *
http_text(const char *p)
{
    char    *text;
    size_t   n, room;
    json_t  *v;

    n = strlen(p);

    if (utf8_valid(p, n) == n) {
        return json_string(p);
    }

    room = n * 3 + 1;
    text = malloc(room);
    if (text == NULL) {
        abort();
    }

    utf8_clean(text, room, p, n);
    v = json_string(text);
    free(text);

    return v;
}


/* Without a body, for want of memory or of text, nothing can be said. */

static void
http_error_answer(http_request *r, error *err, json_t *body)
{
    if (body == NULL) {
        http_abort(r);
    } else {
        http_send_json(r, err->status, body);
    }

    error_free(err);
}


/* with_field: the bridge of the SDK has no such members; our additions do. */

static void
bridge_error_send(http_request *r, error *err, int with_field)
{
    char    *p;
    json_t  *body;

    http_error_clean(err);
    http_error_retry(r, err);

    for (p = err->code; *p != '\0'; p++) {
        *p = (char) tolower((unsigned char) *p);
    }

    body = json_pack("{s:s, s:s}", "error", err->message, "code", err->code);

    if (body != NULL && with_field && err->field[0] != '\0') {
        json_object_set_new(body, "field", http_text(err->field));
    }

    if (body != NULL && with_field && err->limit != 0) {
        json_object_set_new(body, "limit", json_integer(err->limit));
    }

    http_error_answer(r, err, body);
}


void
bridge_error(http_request *r, error *err)
{
    bridge_error_send(r, err, 0);
}


/* What a handler of the container API says on a route of the bridge: the same
 * codes in its spelling, and the member that is wrong. */

static void
bridge_error_context(http_request *r, error *err, json_t *context)
{
    const char  *field;

    field = json_string_value(json_object_get(json_array_get(
                json_object_get(context, "validationErrors"), 0), "field"));

    if (field != NULL && err->field[0] == '\0') {
        snprintf(err->field, sizeof(err->field), "%s", field);
    }

    if (strcasecmp(err->code, "validation_failed") == 0) {
        strcpy(err->code, "invalid_request");
    }

    json_decref(context);
    bridge_error_send(r, err, 1);
}


void
api_error_context(http_request *r, error *err, json_t *context)
{
    char     code[sizeof(err->code)], ts[32];
    size_t   i;
    json_t  *body, *operation;

    if (r->bridge) {
        bridge_error_context(r, err, context);
        return;
    }

    for (i = 0; err->code[i] != '\0'; i++) {
        code[i] = (char) toupper((unsigned char) err->code[i]);
    }
    code[i] = '\0';

    http_error_clean(err);

    if (context == NULL) {
        context = err->field[0] == '\0' ? json_object()
            : json_pack("{s:[{s:s, s:s, s:s}]}", "validationErrors",
                        "field", err->field, "message", err->message,
                        "code", code);
    }

    http_timestamp(ts, sizeof(ts));
    operation = json_object_get(context, "operation");

    body = json_pack("{s:s, s:s, s:o, s:O*, s:i, s:s, s:s*}",
                     "code", code, "message", err->message,
                     "context", context, "operation", operation,
                     "httpStatus", err->status, "timestamp", ts,
                     "suggestion", http_error_suggestion(code));

    http_error_retry(r, err);

    http_error_answer(r, err, body);
}


void
api_error(http_request *r, error *err)
{
    api_error_context(r, err, NULL);
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


static int
http_member_known(const char *members, const char *name)
{
    size_t  n, len;

    len = strlen(name);

    for ( ;; ) {
        n = strcspn(members, " ");

        if (n == len && memcmp(members, name, n) == 0) {
            return 1;
        }

        if (members[n] == '\0') {
            return 0;
        }

        members += n + 1;
    }
}


void
http_json_members(http_request *r, json_t *object)
{
    json_t      *value;
    const char  *name;

    if (r->members == NULL) {
        return;
    }

    json_object_foreach(object, name, value) {

        if (http_member_known(r->members, name)) {
            continue;
        }

        if (r->warnings == NULL) {
            r->warnings = json_array();
        }

        if (json_array_size(r->warnings) == HTTP_WARNINGS_MAX) {
            break;
        }

        json_array_append_new(r->warnings,
                              json_sprintf("unknown member \"%.64s\" was "
                                           "ignored", name));
    }
}


int
http_json_object(http_request *r, const char *body, size_t len, json_t **out)
{
    error         *err;
    json_error_t   why;

    *out = json_loadb(body, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
                      &why);

    if (json_is_object(*out)) {
        http_json_members(r, *out);
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
