/* /api/contexts, /api/execute/code and /api/interpreter/health. */

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/env.h"
#include "agent/http.h"
#include "agent/interpreter.h"
#include "agent/params.h"
#include "agent/run.h"


/* Members that clients spell in two ways. */

static const json_t *
api_member(const json_t *o, const char *name, const char *alias)
{
    const json_t  *v;

    v = json_object_get(o, name);

    return v == NULL || json_is_null(v) ? json_object_get(o, alias) : v;
}


static int
api_env(const json_t *o, const json_t **out, error **err)
{
    *out = api_member(o, "env_vars", "envVars");
    if (json_is_null(*out)) {
        *out = NULL;
    }

    return env_check(*out, "env_vars", err);
}


static int
api_language(const json_t *o, int fallback, int *out, error **err)
{
    const char  *name;

    name = NULL;
    *out = fallback;

    if (params_string(o, "language", &name, NULL, err) != 0) {
        return -1;
    }

    if (name != NULL) {
        *out = language_parse(name);
        if (*out == -1) {
            return error_set_field(err, 400, "validation_failed", "language",
                                   0, "language '%.100s' is unknown; there "
                                   "are python, javascript and typescript",
                                   name);
        }
    }

    return 0;
}


static int
api_timeout(const json_t *o, uint64_t *out, error **err)
{
    *out = 0;

    return params_ms(o, "timeout", out, err) != 0
           || params_ms(o, "timeoutMs", out, err) != 0
           || params_ms(o, "timeout_ms", out, err) != 0 ? -1 : 0;
}


/* What fails in /api/execute/code has a form of its own. */

static void
api_code_error(http_request *r, error *err, json_t *details)
{
    char     code[sizeof(err->code)];
    size_t   i;
    json_t  *text;

    if (r->bridge) {
        api_error_context(r, err, details);
        return;
    }

    for (i = 0; err->code[i] != '\0'; i++) {
        code[i] = (char) toupper((unsigned char) err->code[i]);
    }
    code[i] = '\0';

    text = http_text(err->message);

    if (details == NULL) {
        details = err->field[0] == '\0' ? json_object()
            : json_pack("{s:[{s:s, s:O, s:s}]}", "validationErrors", "field",
                        err->field, "message", text, "code", code);
    }

    if (err->status == 503) {
        http_set_header(r, "Retry-After", "1");
    }

    http_send_json(r, err->status, json_pack("{s:o, s:s, s:o}", "error", text,
                                             "code", code, "details",
                                             details));
    error_free(err);
}


static void
api_health(http_request *r)
{
    char  ts[32];

    http_timestamp(ts, sizeof(ts));
    http_send_json(r, 200, json_pack("{s:b, s:s, s:s}", "success", 1,
                                     "status", "healthy", "timestamp", ts));
}


/* POST /api/contexts */

static void
api_create_left(http_request *r)
{
    context  *c;

    c = r->data;
    c->data = NULL;
}


static void
api_created(context *c, error *err)
{
    char           ts[32];
    json_t        *context_;
    http_request  *r;

    r = c->data;

    if (r == NULL) {
        /* The client left: nobody knows it. */
        error_free(err);
        if (err == NULL) {
            context_delete(c);
        }
        return;
    }

    r->data = NULL;
    http_on_close(r, NULL);

    if (err != NULL) {
        context_ = err->status == 501
            ? json_pack("{s:s}", "language", language_name(c->lang)) : NULL;
        api_error_context(r, err, context_);
        return;
    }

    http_timestamp(ts, sizeof(ts));
    http_send_json(r, 200, json_pack("{s:b, s:s, s:s, s:s, s:s}",
                   "success", 1, "contextId", c->id, "language",
                   language_name(c->lang), "cwd", c->cwd, "timestamp", ts));
}


static void
api_create_body(http_request *r, char *body, size_t len)
{
    int            lang;
    error         *err;
    json_t        *o;
    context       *c;
    uint64_t       timeout_ms;
    const char    *cwd;
    const json_t  *env;

    o = NULL;
    if (len == 0) {
        o = json_object();
    } else if (http_json_object(r, body, len, &o) != 0) {
        return;
    }

    c = NULL;
    err = NULL;
    cwd = NULL;

    if (api_language(o, LANGUAGE_PYTHON, &lang, &err) == 0
        && api_env(o, &env, &err) == 0
        && api_timeout(o, &timeout_ms, &err) == 0
        && params_string(o, "cwd", &cwd, NULL, &err) == 0)
    {
        if (cwd == NULL || cwd[0] == '\0') {
            cwd = run_default_cwd();
        }

        if (cwd[0] != '/' || strlen(cwd) >= 4096) {
            error_set_field(&err, 400, "validation_failed", "cwd", 4095,
                            "cwd must be an absolute path of at most 4095 "
                            "bytes");
        } else {
            c = context_create(lang, cwd, env, timeout_ms, api_created, r,
                               &err);
        }
    }

    if (c == NULL) {
        api_error_context(r, err, err->status != 501 ? NULL
                          : json_pack("{s:s}", "language",
                                      language_name(lang)));
    } else {
        r->data = c;
        http_on_close(r, api_create_left);
    }

    json_decref(o);
}


static void
api_create(http_request *r)
{
    http_read_body(r, 1024 * 1024, api_create_body);
}


/* GET /api/contexts, DELETE /api/contexts/{id} */

static void
api_list_one(context *c, void *list)
{
    json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "id", c->id,
                          "language", language_name(c->lang), "cwd", c->cwd));
}


static void
api_list(http_request *r)
{
    char     ts[32];
    json_t  *list;

    list = json_array();
    context_each(api_list_one, list);
    http_timestamp(ts, sizeof(ts));
    http_send_json(r, 200, json_pack("{s:b, s:o, s:s}", "success", 1,
                                     "contexts", list, "timestamp", ts));
}


static void
api_delete(http_request *r)
{
    char      ts[32];
    error    *err;
    json_t   *id;
    context  *c;

    id = http_text(r->param);
    c = context_find(r->param);

    if (c == NULL) {
        err = NULL;
        error_set(&err, 404, "context_not_found",
                  "Code context '%.200s' not found", r->param);
        api_error_context(r, err, json_pack("{s:o}", "contextId", id));
        return;
    }

    context_delete(c);
    http_timestamp(ts, sizeof(ts));
    http_send_json(r, 200, json_pack("{s:b, s:o, s:s}", "success", 1,
                                     "contextId", id, "timestamp", ts));
}


/* POST /api/execute/code */

static void
api_wrong_language(http_request *r, const context *c, int lang)
{
    char    why[256];
    error  *err;

    snprintf(why, sizeof(why), "Context %s was created for %s, cannot execute "
             "%s code", c->id, language_name(c->lang), language_name(lang));

    err = NULL;
    error_set(&err, 500, "code_execution_error",
              "Failed to execute code in context '%s': %s", c->id, why);
    api_code_error(r, err, json_pack("{s:s, s:s}", "contextId", c->id,
                                     "evalue", why));
}


static context *
api_context(http_request *r, const json_t *o)
{
    error        *err;
    context      *c;
    const char   *id;

    err = NULL;
    id = r->bridge ? r->param : NULL;

    if (id != NULL) {
        /* the path says which */

    } else if (params_string(o, "contextId", &id, NULL, &err) != 0
        || params_string(o, "context_id", &id, NULL, &err) != 0)
    {
        api_code_error(r, err, NULL);
        return NULL;
    }

    c = id == NULL ? NULL : context_find(id);

    if (c == NULL) {
        error_set(&err, 404, "context_not_found", id == NULL
                  ? "Context undefined not found: context_id is missing"
                  : "Context %.200s not found", id);
        api_code_error(r, err, id == NULL ? json_object()
                       : json_pack("{s:s}", "contextId", id));
    }

    return c;
}


static void
api_execute_body(http_request *r, char *body, size_t len)
{
    int            lang;
    size_t         n;
    error         *err;
    json_t        *o;
    context       *c;
    uint64_t       timeout_ms;
    const char    *code;
    const json_t  *env;

    if (http_json_object(r, body, len, &o) != 0) {
        return;
    }

    err = NULL;
    code = NULL;
    n = 0;
    c = api_context(r, o);

    if (c == NULL) {
        json_decref(o);
        return;
    }

    if (params_string(o, "code", &code, &n, &err) == 0
        && api_language(o, (int) c->lang, &lang, &err) == 0
        && api_env(o, &env, &err) == 0
        && api_timeout(o, &timeout_ms, &err) == 0)
    {
        if (code == NULL) {
            error_set_field(&err, 400, "validation_failed", "code", 0,
                            "code is required");

        } else if (n > INTERPRETER_CODE_MAX) {
            error_set_field(&err, 413, "validation_failed", "code",
                            INTERPRETER_CODE_MAX,
                            "code is longer than %d bytes",
                            INTERPRETER_CODE_MAX);
        }
    }

    if (err != NULL) {
        api_code_error(r, err, NULL);

    } else if (lang != (int) c->lang) {
        api_wrong_language(r, c, lang);

    } else if (context_run(c, r, code, n, env, timeout_ms, &err) != 0) {
        api_code_error(r, err, json_pack("{s:s}", "contextId", c->id));
    }

    json_decref(o);
}


static void
api_execute(http_request *r)
{
    http_read_body(r, HTTP_JSON_LIMIT, api_execute_body);
}


void
interpreter_routes(router *t)
{
    router_add(t, METHOD_GET, "/api/interpreter/health", api_health);
    router_add(t, METHOD_POST, "/api/contexts", api_create);
    router_add(t, METHOD_GET, "/api/contexts", api_list);
    router_add(t, METHOD_DELETE, "/api/contexts/{id}", api_delete);
    router_add(t, METHOD_POST, "/api/execute/code", api_execute);
}
