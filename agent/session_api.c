/* /api/session/..., and the bridge's session routes. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/agent.h"
#include "agent/env.h"
#include "agent/exec.h"
#include "common/clock.h"

/* A deletion that waits until all of the session is dead. */
typedef struct {
    http_request  *r;           /* NULL: the client left */
    char          *id;
} session_deletion;


static void
session_make_id(char *out, size_t size)
{
    uint64_t  random;

    if (getrandom(&random, sizeof(random), 0) != sizeof(random)) {
        abort();
    }

    snprintf(out, size, "session_%llu_%012llx",
             (unsigned long long) clock_ms(CLOCK_REALTIME),
             (unsigned long long) (random & 0xffffffffffffULL));
}


typedef struct {
    const char    *id;
    const char    *cwd;
    const json_t  *env;
    uint64_t       timeout_ms;
} session_params;


static int
session_params_read(const json_t *o, session_params *p, error **err)
{
    json_t  *v;

    memset(p, 0, sizeof(*p));

    if (params_string(o, "id", &p->id, NULL, err) != 0
        || params_string(o, "cwd", &p->cwd, NULL, err) != 0
        || params_ms(o, "commandTimeoutMs", &p->timeout_ms, err) != 0
        || env_check(json_object_get(o, "env"), "env", err) != 0)
    {
        return -1;
    }

    v = json_object_get(o, "env");
    p->env = json_is_object(v) ? v : NULL;

    if (p->id != NULL && (p->id[strspn(p->id, " \t\r\n")] == '\0'
                          || strcmp(p->id, SESSION_NONE) == 0))
    {
        return error_set_field(err, 400, "validation_failed", "id", 0,
                               "id must not be blank nor '%s'",
                               SESSION_NONE);
    }

    if (p->cwd != NULL && p->cwd[0] == '\0') {
        p->cwd = NULL;
    }

    return 0;
}


/* The body may be absent or no JSON: then everything has its default. */

static json_t *
session_body_json(const char *body, size_t len)
{
    json_t  *o;

    o = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(o)) {
        json_decref(o);
        o = json_object();
    }

    return o;
}


static void
session_create_body(http_request *r, char *body, size_t len)
{
    char             made[64], ts[32];
    json_t          *o, *context;
    error           *err;
    session         *s;
    session_params   p;

    o = session_body_json(body, len);
    err = NULL;
    s = NULL;

    if (session_params_read(o, &p, &err) == 0) {
        if (p.id == NULL) {
            session_make_id(made, sizeof(made));
            p.id = made;
        }
        s = session_create(p.id, p.cwd, p.env, p.timeout_ms, &err);
    }

    if (s == NULL) {
        context = err->status != 409 ? NULL
            : json_pack("{s:s, s:n}", "sessionId", p.id,
                        "containerPlacementId");
        api_error_context(r, err, context);

    } else {
        http_timestamp(ts, sizeof(ts));
        http_send_json(r, 200, json_pack("{s:b, s:{s:s, s:b, s:s}, s:n, s:s}",
                       "success", 1, "data", "id", session_id(s), "ready", 1,
                       "cwd", session_pwd(s), "containerPlacementId",
                       "timestamp", ts));
    }

    json_decref(o);
}


static void
session_create_handler(http_request *r)
{
    http_read_body(r, HTTP_JSON_LIMIT, session_create_body);
}


static void
session_list_add(session *s, void *data)
{
    json_array_append_new(data, json_string(session_id(s)));
}


static void
session_list_handler(http_request *r)
{
    char     ts[32];
    json_t  *list;

    list = json_array();
    session_each(session_list_add, list);
    http_timestamp(ts, sizeof(ts));
    http_send_json(r, 200, json_pack("{s:b, s:o, s:s}", "success", 1, "data",
                   list, "timestamp", ts));
}


/* Deleting. */

static void
session_deleted(void *data)
{
    char               ts[32];
    http_request      *r;
    session_deletion  *d;

    d = data;
    r = d->r;

    if (r != NULL) {
        r->data = NULL;
        http_on_close(r, NULL);
        http_timestamp(ts, sizeof(ts));
        http_send_json(r, 200, json_pack("{s:b, s:s, s:s}", "success", 1,
                       "sessionId", d->id, "timestamp", ts));
    }

    free(d->id);
    free(d);
}


static void
session_delete_close(http_request *r)
{
    session_deletion  *d;

    d = r->data;
    d->r = NULL;
}


static void
session_delete_found(http_request *r, session *s)
{
    session_deletion  *d;

    d = calloc(1, sizeof(session_deletion));
    if (d == NULL) {
        abort();
    }

    d->r = r;
    d->id = strdup(session_id(s));
    r->data = d;
    http_on_close(r, session_delete_close);

    session_delete(s, session_deleted, d);
}


static void
session_delete_body(http_request *r, char *body, size_t len)
{
    json_t      *o;
    error       *err;
    session     *s;
    const char  *id;

    if (http_json_object(r, body, len, &o) != 0) {
        return;
    }

    err = NULL;
    id = NULL;

    if (params_string(o, "sessionId", &id, NULL, &err) != 0) {
        api_error(r, err);

    } else if (id == NULL || id[0] == '\0') {
        error_set_field(&err, 400, "validation_failed", "sessionId", 0,
                        "sessionId is required");
        api_error(r, err);

    } else if ((s = session_find(id)) == NULL) {
        error_set(&err, 500, "internal_error", "Session '%.200s' not found",
                  id);
        api_error_context(r, err, json_pack("{s:s, s:s}", "sessionId", id,
                          "originalError", "Session not found"));

    } else {
        session_delete_found(r, s);
    }

    json_decref(o);
}


static void
session_delete_handler(http_request *r)
{
    http_read_body(r, HTTP_JSON_LIMIT, session_delete_body);
}


/* The bridge's. */

static void
session_bridge_create_body(http_request *r, char *body, size_t len)
{
    char             made[64];
    json_t          *o;
    error           *err;
    session         *s;
    session_params   p;

    o = session_body_json(body, len);
    http_json_members(r, o);
    err = NULL;
    s = NULL;

    if (session_params_read(o, &p, &err) != 0) {
        strcpy(err->code, "invalid_request");

    } else if (p.id != NULL && !params_session_valid(p.id)) {
        error_set_field(&err, 400, "invalid_request", "id", 128,
                        "Invalid session ID format");

    } else {
        if (p.id == NULL) {
            session_make_id(made, sizeof(made));
            p.id = made;
        }

        s = session_create(p.id, p.cwd, p.env, p.timeout_ms, &err);
        if (s == NULL) {
            err->status = 502;
            strcpy(err->code, "session_error");
        }
    }

    if (s == NULL) {
        bridge_error(r, err);
    } else {
        http_send_json(r, 200, json_pack("{s:s}", "id", session_id(s)));
    }

    json_decref(o);
}


static void
session_bridge_create_handler(http_request *r)
{
    http_read_body(r, HTTP_JSON_LIMIT, session_bridge_create_body);
}


static void
session_bridge_delete_handler(http_request *r)
{
    error    *err;
    session  *s;

    err = NULL;

    if (!params_session_valid(r->param)) {
        error_set(&err, 400, "invalid_request", "Invalid session ID format");
        bridge_error(r, err);
        return;
    }

    s = session_find(r->param);

    if (s == NULL) {
        error_set(&err, 502, "session_error", "Session '%.128s' not found",
                  r->param);
        bridge_error(r, err);
        return;
    }

    session_delete_found(r, s);
}


void
session_routes(router *t)
{
    router_add(t, METHOD_POST, "/api/session/create",
               session_create_handler);
    router_add(t, METHOD_GET, "/api/session/list", session_list_handler);
    router_add(t, METHOD_POST, "/api/session/delete",
               session_delete_handler);
    router_add(t, METHOD_POST, "/bridge/session",
               session_bridge_create_handler);
    router_members(t, "id cwd env commandTimeoutMs");
    router_add(t, METHOD_DELETE, "/bridge/session/{sid}",
               session_bridge_delete_handler);
}
