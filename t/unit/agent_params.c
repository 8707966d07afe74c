/* sources: agent/params.c agent/env.c common/error.c */
/* libs: -ljansson */

#include <string.h>

#include "agent/env.h"
#include "agent/params.h"
#include "t/unit/tap.h"


/* NULL if it is taken, else the field that is named ("-": none). */

static const char *
refused(const char *json, exec_params *p)
{
    json_t       *o;
    error        *err;
    static char   field[64];

    o = json_loads(json, JSON_ALLOW_NUL, NULL);
    err = NULL;

    if (params_exec(o, p, &err) == 0) {
        json_decref(o);
        return NULL;
    }

    strcpy(field, err->field[0] != '\0' ? err->field : "-");
    error_free(err);
    json_decref(o);

    return field;
}


static int
names(const char *json, const char *field)
{
    const char   *got;
    exec_params   p;

    got = refused(json, &p);

    return got != NULL && strcmp(got, field) == 0;
}


int
main(void)
{
    char        **env;
    json_t       *o;
    error        *err;
    exec_params   p;

    o = json_loads("{\"command\":\"a\\u0000b\",\"timeoutMs\":1500.7,"
                   "\"cwd\":\"\",\"env\":{\"A\":\"1\",\"B\":null},"
                   "\"sessionId\":null,\"stdin\":\"x\\u0000\","
                   "\"background\":true,\"other\":[1]}", JSON_ALLOW_NUL, NULL);
    ok(params_exec(o, &p, NULL) == 0, "taken");
    ok(p.command_len == 3 && p.input_len == 2, "lengths count NUL");
    ok(p.timeout_ms == 1500, "a fraction is cut");
    ok(p.cwd == NULL && p.session == NULL, "empty and null are absent");
    ok(p.background && p.env != NULL, "the others");
    json_decref(o);

    ok(refused("{\"command\":\"a\",\"timeoutMs\":0}", &p) == NULL
       && p.timeout_ms == 0, "no limit");
    ok(refused("{\"command\":\"a\",\"timeoutMs\":0.2}", &p) == NULL
       && p.timeout_ms == 1, "less than a millisecond is a limit");
    ok(names("{}", "command"), "no command");
    ok(names("{\"command\":1}", "command"), "command");
    ok(names("{\"command\":\"a\",\"sessionId\":\"a\\u0000b\"}", "sessionId"),
       "NUL in a name");
    ok(names("{\"command\":\"a\",\"timeoutMs\":-1}", "timeoutMs"),
       "negative");
    ok(names("{\"command\":\"a\",\"timeoutMs\":1e18}", "timeoutMs"),
       "too long");
    ok(names("{\"command\":\"a\",\"env\":{\"A\":1}}", "env"), "env");

    ok(params_session_valid("a.B_c-9"), "a session id");
    ok(!params_session_valid(""), "an empty one");
    ok(!params_session_valid("a..b"), "two dots");
    ok(!params_session_valid("a/b"), "a slash");
    ok(!params_session_valid("a b"), "a blank");

    env = env_default();
    ok(env_get(env, "PATH") != NULL && env_get(env, "HOME") != NULL,
       "an environment");
    o = json_loads("{\"PATH\":\"/x\",\"N\":\"\",\"HOME\":null}", 0, NULL);
    err = NULL;
    ok(env_merge(&env, o, 0, "env", &err) == 0, "laid over");
    ok(strcmp(env_get(env, "PATH"), "/x") == 0, "replaced");
    ok(strcmp(env_get(env, "N"), "") == 0, "empty is a value");
    ok(env_get(env, "HOME") != NULL, "null leaves it");
    ok(env_merge(&env, o, 1, "env", &err) == 0
       && env_get(env, "HOME") == NULL, "or removes it");
    json_decref(o);
    o = json_loads("{\"A-B\":\"\"}", 0, NULL);
    ok(env_merge(&env, o, 0, "env", &err) == -1
       && strcmp(err->message, "Invalid environment variable name: A-B") == 0,
       "a bad name");
    error_free(err);
    json_decref(o);
    env_free(env);

    return done_testing();
}
