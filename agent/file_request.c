/* What the file routes have in common; see file_request.h. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/file_request.h"
#include "agent/path.h"
#include "agent/session.h"


int
file_request_invalid(http_request *r, const char *field, const char *code,
    const char *why, const char *fmt, ...)
{
    char      text[400];
    error    *err;
    va_list   args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    err = NULL;
    error_set(&err, 400, "VALIDATION_FAILED", "%s: %s", text, why);

    api_error_context(r, err, json_pack("{s:[{s:s, s:s, s:s}]}",
                                        "validationErrors", "field", field,
                                        "message", why, "code", code));
    return -1;
}


void
file_request_error(http_request *r, error *err, const char *path,
    const char *operation, const char *detail)
{
    api_error_context(r, err, json_pack("{s:o, s:s, s:s*}",
                                        "path", http_text(path),
                                        "operation", operation,
                                        "stderr", detail));
}


void
file_request_success(http_request *r, json_t *stolen)
{
    char  ts[32];

    http_timestamp(ts, sizeof(ts));
    json_object_set_new(stolen, "timestamp", json_string(ts));
    http_send_json(r, 200, stolen);
}


void
file_request_too_large(http_request *r, const char *path,
    const char *operation, int64_t limit, int64_t size)
{
    error  *err;

    err = NULL;
    error_set(&err, 413, "FILE_TOO_LARGE", "%s %lld bytes: the limit is %lld",
              path ? "The file has" : "The request body has",
              (long long) size, (long long) limit);

    api_error_context(r, err, json_pack("{s:s*, s:s, s:I, s:I}", "path", path,
                                        "operation", operation,
                                        "maxSize", (json_int_t) limit,
                                        "actualSize", (json_int_t) size));
}


void
file_request_bad_json(http_request *r, error *err)
{
    api_error_context(r, err, json_pack("{s:[{s:s, s:s, s:s}]}",
                                        "validationErrors", "field", "body",
                                        "message", err->message,
                                        "code", "INVALID_JSON"));
}


int
file_request_parse(http_request *r, json_flat_object *o, char *body,
    size_t len)
{
    error  *err;

    err = NULL;

    if (json_flat_parse(o, body, len, &err) != 0) {
        file_request_bad_json(r, err);
        return -1;
    }

    return 0;
}


/*
 * Where relative paths begin: where the session is.  Its shell isn't asked, so
 * that a command that runs in it is not waited for; and one that isn't there
 * isn't made, since it would begin at the default.
 */

static int
file_request_base(http_request *r, const json_flat_object *o,
    const char **base)
{
    size_t            i;
    session          *s;
    const char       *id;
    const json_flat  *m;

    id = "default";
    m = json_flat_get(o, "sessionId");
    *base = agent.cwd;

    if (m->type == JSON_FLAT_ABSENT || m->type == JSON_FLAT_NULL) {
        goto found;
    }

    if (m->type != JSON_FLAT_STRING || strlen(m->text) != m->len) {
        return file_request_invalid(r, "sessionId", "INVALID_SESSION_ID",
                                    "sessionId must be a string",
                                    "Invalid session");
    }

    for (i = 0; i < m->len && strchr(" \t\r\n", m->text[i]); i++) {
        /* void */
    }

    if (i == m->len) {
        return file_request_invalid(r, "sessionId", "INVALID_SESSION_ID",
                               "sessionId must not be empty or whitespace",
                               "Invalid session");
    }

    id = m->text;

found:

    if (strcmp(id, SESSION_NONE) != 0) {
        s = session_find(id);
        *base = s != NULL && session_pwd(s)[0] == '/' ? session_pwd(s)
                                                      : agent.cwd;
    }

    return 0;
}


int
file_request_path(http_request *r, const json_flat_object *o,
    const char *name, const char **given, char **full)
{
    int               shown;
    size_t            room;
    const char       *base, *why;
    const json_flat  *m;

    *full = NULL;
    m = json_flat_get(o, name);

    if (m->type != JSON_FLAT_STRING) {
        return file_request_invalid(r, name, "INVALID_PATH",
                                    "Path must be a non-empty string",
                                    "Invalid path format for '%s'",
                                    m->type == JSON_FLAT_ABSENT ? "undefined"
                                    : m->type == JSON_FLAT_NULL ? "null"
                                    : name);
    }

    why = path_problem(m->text, m->len);

    if (why != NULL) {
        shown = m->len > 200 ? 200 : (int) m->len;
        return file_request_invalid(r, name, "INVALID_PATH", why,
                                    "Invalid path format for '%.*s%s'", shown,
                                    m->text, m->len > 200 ? "..." : "");
    }

    if (file_request_base(r, o, &base) != 0) {
        return -1;
    }

    room = strlen(base) + m->len + 2;
    *full = malloc(room);

    if (*full == NULL || path_join(*full, room, base, m->text) != 0) {
        abort();
    }

    *given = m->text;

    return 0;
}


char *
file_request_query_path(http_request *r)
{
    char        *full;
    size_t       len, room;
    const char  *path, *why;

    len = 0;
    path = http_query(r, "path", &len);
    why = path_problem(path, len);

    if (why != NULL) {
        file_request_invalid(r, "path", "INVALID_PATH", why,
                             path == NULL ? "The query has no valid 'path'"
                                          : "Invalid path format");
        return NULL;
    }

    room = strlen(agent.workspace) + len + 2;
    full = malloc(room);

    if (full == NULL || path_join(full, room, agent.workspace, path) != 0) {
        abort();
    }

    return full;
}


int
file_request_bool(http_request *r, const json_flat_object *o,
    const char *name, bool *value)
{
    const json_flat  *m;

    m = json_flat_get(o, name);
    *value = m->type == JSON_FLAT_TRUE;

    if (m->type == JSON_FLAT_TRUE || m->type == JSON_FLAT_FALSE
        || m->type == JSON_FLAT_NULL || m->type == JSON_FLAT_ABSENT)
    {
        return 0;
    }

    return file_request_invalid(r, name, "INVALID_TYPE",
                                "must be true or false",
                                "Invalid value for '%s'", name);
}


int
file_request_encoding(http_request *r, const json_flat_object *o,
    file_encoding *encoding)
{
    const json_flat  *m;

    m = json_flat_get(o, "encoding");
    *encoding = FILE_ENCODING_NONE;

    if (m->type == JSON_FLAT_ABSENT || m->type == JSON_FLAT_NULL) {
        return 0;
    }

    if (m->type == JSON_FLAT_STRING) {
        if (strcmp(m->text, "utf-8") == 0 || strcmp(m->text, "utf8") == 0) {
            *encoding = FILE_ENCODING_UTF8;
            return 0;
        }

        if (strcmp(m->text, "base64") == 0) {
            *encoding = FILE_ENCODING_BASE64;
            return 0;
        }
    }

    return file_request_invalid(r, "encoding", "INVALID_ENCODING",
                                "must be utf-8, utf8 or base64",
                                "Unsupported encoding");
}
