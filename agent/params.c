/* Requests that run commands; see params.h. */

#include <string.h>

#include "agent/env.h"
#include "agent/params.h"


int
params_string(const json_t *o, const char *name, const char **out,
    size_t *len, error **err)
{
    const json_t  *v;

    v = json_object_get(o, name);
    if (v == NULL || json_is_null(v)) {
        return 0;
    }

    if (!json_is_string(v)) {
        return error_set_field(err, 400, "validation_failed", name, 0,
                               "%s must be a string", name);
    }

    if (len == NULL
        && strlen(json_string_value(v)) != json_string_length(v))
    {
        return error_set_field(err, 400, "validation_failed", name, 0,
                               "%s must not hold a NUL", name);
    }

    *out = json_string_value(v);
    if (len != NULL) {
        *len = json_string_length(v);
    }

    return 0;
}


int
params_bool(const json_t *o, const char *name, int *out, error **err)
{
    const json_t  *v;

    v = json_object_get(o, name);
    if (v == NULL || json_is_null(v)) {
        return 0;
    }

    if (!json_is_boolean(v)) {
        return error_set_field(err, 400, "validation_failed", name, 0,
                               "%s must be true or false", name);
    }

    *out = json_is_true(v);

    return 0;
}


int
params_offset(const json_t *o, const char *name, uint64_t *out, error **err)
{
    const json_t  *v;

    v = json_object_get(o, name);
    if (v == NULL || json_is_null(v)) {
        return 0;
    }

    if (!json_is_integer(v) || json_integer_value(v) < 0
        || json_integer_value(v) > 1LL << 53)
    {
        return error_set_field(err, 400, "validation_failed", name, 0,
                               "%s must be a number of bytes", name);
    }

    *out = (uint64_t) json_integer_value(v);

    return 0;
}


int
params_ms(const json_t *o, const char *name, uint64_t *out, error **err)
{
    double         ms;
    const json_t  *v;

    v = json_object_get(o, name);
    if (v == NULL || json_is_null(v)) {
        return 0;
    }

    ms = json_number_value(v);

    if (!json_is_number(v) || !(ms >= 0) || ms > (double) PARAMS_TIMEOUT_MAX) {
        return error_set_field(err, 400, "validation_failed", name,
                               PARAMS_TIMEOUT_MAX,
                               "%s must be a number of milliseconds from 0 to "
                               "%lld", name, PARAMS_TIMEOUT_MAX);
    }

    /* A fraction of a millisecond is still a limit; 0 is none. */
    *out = (uint64_t) ms;
    if (ms > 0 && *out == 0) {
        *out = 1;
    }

    return 0;
}


static int
params_env(const json_t *o, const json_t **out, error **err)
{
    json_t        *v;
    const char    *name;
    const json_t  *env;

    env = json_object_get(o, "env");
    if (env == NULL || json_is_null(env)) {
        return 0;
    }

    if (!json_is_object(env)) {
        return error_set_field(err, 400, "validation_failed", "env", 0,
                               "env must be an object of strings");
    }

    json_object_foreach((json_t *) env, name, v) {
        if (!json_is_null(v) && !json_is_string(v)) {
            return error_set_field(err, 400, "validation_failed", "env", 0,
                                   "env.%.200s must be a string", name);
        }
    }

    *out = env;

    return 0;
}


int
params_exec(const json_t *o, exec_params *p, error **err)
{
    memset(p, 0, sizeof(*p));

    if (params_string(o, "command", &p->command, &p->command_len, err) != 0) {
        return -1;
    }

    if (p->command == NULL) {
        return error_set_field(err, 400, "validation_failed", "command", 0,
                               "command is required");
    }

    if (params_bool(o, "background", &p->background, err) != 0
        || params_bool(o, "stdinOpen", &p->input_open, err) != 0)
    {
        return -1;
    }

    if (params_string(o, "sessionId", &p->session, NULL, err) != 0
        || params_string(o, "cwd", &p->cwd, NULL, err) != 0
        || params_string(o, "processId", &p->process_id, NULL, err) != 0
        || params_string(o, "stdin", &p->input, &p->input_len, err) != 0
        || params_ms(o, "timeoutMs", &p->timeout_ms, err) != 0
        || params_env(o, &p->env, err) != 0)
    {
        return -1;
    }

    if (p->cwd != NULL && p->cwd[0] == '\0') {
        p->cwd = NULL;
    }

    if (p->input_open && p->input_len > PARAMS_INPUT_OPEN_MAX) {
        return error_set_field(err, 400, "validation_failed", "stdin",
                               PARAMS_INPUT_OPEN_MAX,
                               "stdin has at most %d bytes when it stays open",
                               PARAMS_INPUT_OPEN_MAX);
    }

    return 0;
}


int
params_bridge_exec(const json_t *o, bridge_exec_params *p, error **err)
{
    size_t         i;
    json_t        *v;
    const json_t  *argv;

    memset(p, 0, sizeof(*p));

    argv = json_object_get(o, "argv");
    if (!json_is_array(argv) || json_array_size(argv) == 0) {
        return error_set_field(err, 400, "invalid_request", "argv", 0,
                               "argv must be a non-empty array of strings");
    }

    json_array_foreach((json_t *) argv, i, v) {
        if (!json_is_string(v)) {
            return error_set_field(err, 400, "invalid_request", "argv", 0,
                                   "argv[%zu] must be a string", i);
        }
        if (strlen(json_string_value(v)) != json_string_length(v)) {
            return error_set_field(err, 400, "invalid_request", "argv", 0,
                                   "argv[%zu] holds a NUL", i);
        }
    }

    p->argv = argv;

    if (params_string(o, "cwd", &p->cwd, NULL, err) != 0
        || params_string(o, "stdin", &p->input, &p->input_len, err) != 0
        || params_ms(o, "timeout_ms", &p->timeout_ms, err) != 0
        || env_check(json_object_get(o, "env"), "env", err) != 0)
    {
        if (err != NULL && *err != NULL) {
            strcpy((*err)->code, "invalid_request");
        }
        return -1;
    }

    v = json_object_get(o, "env");
    p->env = json_is_object(v) ? v : NULL;

    return 0;
}


int
params_session_valid(const char *id)
{
    size_t       n;
    const char  *p;

    n = strlen(id);

    if (n == 0 || n > 128 || strstr(id, "..") != NULL) {
        return 0;
    }

    for (p = id; *p != '\0'; p++) {
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
              || (*p >= '0' && *p <= '9') || strchr("._-", *p) != NULL))
        {
            return 0;
        }
    }

    return 1;
}
