/* Options of a new sandbox; see options.h. */

#include <stdio.h>
#include <string.h>

#include "common/json_get.h"
#include "sandboxd/options_part.h"

#define ENV_MAX            256
#define ENV_NAME_MAX       128
#define ENV_BYTES_MAX      (64 * 1024)
#define LABELS_MAX          32
#define LABEL_NAME_MAX      63
#define LABEL_VALUE_MAX    256
#define PORTS_MAX           64
#define DURATION_MAX       (30 * 86400)


typedef struct {
    const char  *name;
    json_int_t   min;
    json_int_t   max;
} integer_member;


static const integer_member  timeout_members[] = {
    { "instanceGetTimeoutMS", 5000, 300000 },
    { "portReadyTimeoutMS", 10000, 600000 },
    { "waitIntervalMS", 100, 5000 },
    { NULL, 0, 0 }
};

static const integer_member  top_members[] = {
    { "createTimeoutMs", 1000, 600000 },
    { "timeoutMs", 1, 86400000 },
    { NULL, 0, 0 }
};

static const char *const  known_members[] = {
    "id", "normalizeId", "image", "runtime", "env", "labels", "resources",
    "network",
    "sleepAfter", "keepAlive", "ttl", "ephemeral", "activity",
    "containerTimeouts", "createTimeoutMs", "timeoutMs", "exposedPorts",
    "mounts", "limits", NULL
};

static const char *const  known_timeouts[] = {
    "instanceGetTimeoutMS", "portReadyTimeoutMS", "waitIntervalMS", NULL
};


static int
integers_copy(json_t *dst, json_t *in, const integer_member *member,
    error **err)
{
    int         got;
    json_int_t  n;

    for (; member->name != NULL; member++) {
        got = json_get_integer(in, member->name, member->min, member->max,
                               &n, err);
        if (got < 0) {
            return -1;
        }

        if (got) {
            json_object_set_new(dst, member->name, json_integer(n));
        }
    }

    return 0;
}


static int
bool_copy(json_t *dst, json_t *in, const char *name, error **err)
{
    int   got;
    bool  value;

    got = json_get_bool(in, name, &value, err);
    if (got > 0 && value) {
        json_object_set_new(dst, name, json_true());
    }

    return got < 0 ? -1 : 0;
}


static int
duration_copy(json_t *dst, json_t *in, const char *name, error **err)
{
    json_t     *value;
    long long   seconds;

    value = json_object_get(in, name);
    if (value == NULL || json_is_null(value)) {
        return 0;
    }

    seconds = -1;

    if (json_is_integer(value)) {
        seconds = json_integer_value(value);

    } else if (options_text(value) != NULL) {
        seconds = duration_parse(options_text(value));
    }

    if (seconds < 1 || seconds > DURATION_MAX) {
        return error_set_field(err, 400, "invalid_request", name,
                               DURATION_MAX, "%s must be 1 to %d seconds, as a"
                               " number or like \"90s\", \"10m\", \"2h\"",
                               name, DURATION_MAX);
    }

    json_object_set_new(dst, name, json_integer(seconds));

    return 0;
}


static bool
env_name_valid(const char *name)
{
    size_t  i;

    for (i = 0; name[i] != '\0'; i++) {
        if ((name[i] >= 'a' && name[i] <= 'z')
            || (name[i] >= 'A' && name[i] <= 'Z') || name[i] == '_'
            || (i > 0 && name[i] >= '0' && name[i] <= '9'))
        {
            continue;
        }

        return false;
    }

    return i > 0 && i <= ENV_NAME_MAX;
}


static int
env_copy(json_t *spec, json_t *in, error **err)
{
    int          got;
    size_t       bytes;
    json_t      *env, *value, *copy;
    const char  *name, *text;

    bytes = 0;
    copy = json_object();
    json_object_set_new(spec, "env", copy);

    got = json_get_object(in, "env", &env, err);
    if (got <= 0) {
        return got;
    }

    if (json_object_size(env) > ENV_MAX) {
        return error_set_field(err, 400, "invalid_request", "env", ENV_MAX,
                               "env has %zu names, at most %d are allowed",
                               json_object_size(env), ENV_MAX);
    }

    json_object_foreach(env, name, value) {

        if (!env_name_valid(name)) {
            return error_set_field(err, 400, "invalid_request", "env",
                                   ENV_NAME_MAX, "\"%.64s\" is no name of a "
                                   "variable: [A-Za-z_][A-Za-z0-9_]*, at most "
                                   "%d", name, ENV_NAME_MAX);
        }

        got = json_get_string(env, name, ENV_BYTES_MAX, &text, err);
        if (got < 0) {
            error_inside(*err, "env");
            return -1;
        }

        if (got == 0) {
            continue;
        }

        bytes += strlen(name) + strlen(text) + 2;
        json_object_set(copy, name, value);
    }

    if (bytes > ENV_BYTES_MAX) {
        return error_set_field(err, 400, "invalid_request", "env",
                               ENV_BYTES_MAX, "env has %zu bytes in all, at "
                               "most %d are allowed", bytes, ENV_BYTES_MAX);
    }

    return 0;
}


static bool
label_name_valid(const char *name)
{
    size_t  len;

    len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                       "0123456789._/-");

    return len > 0 && len <= LABEL_NAME_MAX && name[len] == '\0';
}


static int
labels_copy(json_t *spec, json_t *in, error **err)
{
    int          got;
    json_t      *labels, *value, *copy;
    const char  *name, *text;

    got = json_get_object(in, "labels", &labels, err);
    if (got <= 0) {
        return got;
    }

    if (json_object_size(labels) > LABELS_MAX) {
        return error_set_field(err, 400, "invalid_request", "labels",
                               LABELS_MAX, "labels has %zu entries, at most "
                               "%d are allowed", json_object_size(labels),
                               LABELS_MAX);
    }

    copy = json_object();
    json_object_set_new(spec, "labels", copy);

    json_object_foreach(labels, name, value) {

        if (!label_name_valid(name)) {
            return error_set_field(err, 400, "invalid_request", "labels",
                                   LABEL_NAME_MAX, "the name \"%.64s\" in "
                                   "labels must be 1 to %d of A-Z, a-z, 0-9, "
                                   "._/-", name, LABEL_NAME_MAX);
        }

        got = json_get_string(labels, name, LABEL_VALUE_MAX, &text, err);
        if (got < 0) {
            error_inside(*err, "labels");
            return -1;
        }

        if (got > 0) {
            json_object_set(copy, name, value);
        }
    }

    return 0;
}


/* What keeps a sandbox awake; traffic is the default, and not recorded. */
static int
activity_copy(json_t *spec, json_t *in, error **err)
{
    int          got;
    const char  *activity;

    got = json_get_string(in, "activity", 32, &activity, err);
    if (got <= 0) {
        return got;
    }

    if (strcmp(activity, ACTIVITY_PROCESSES) == 0) {
        json_object_set_new(spec, "activity", json_string(activity));

    } else if (strcmp(activity, "traffic") != 0) {
        return error_set_field(err, 400, "invalid_request", "activity", 0,
                               "activity must be \"traffic\" or \"%s\"",
                               ACTIVITY_PROCESSES);
    }

    return 0;
}


static int
timeouts_copy(json_t *spec, json_t *in, json_t *warnings, error **err)
{
    int      got;
    json_t  *timeouts, *copy;

    got = json_get_object(in, "containerTimeouts", &timeouts, err);
    if (got <= 0) {
        return got;
    }

    options_unknown(timeouts, known_timeouts, "containerTimeouts.", warnings);

    copy = json_object();
    json_object_set_new(spec, "containerTimeouts", copy);

    if (integers_copy(copy, timeouts, timeout_members, err) < 0) {
        error_inside(*err, "containerTimeouts");
        return -1;
    }

    return 0;
}


static int
ports_copy(json_t *spec, json_t *in, json_t *warnings, error **err)
{
    int      got;
    size_t   i;
    json_t  *ports, *port;

    got = json_get_array(in, "exposedPorts", PORTS_MAX, &ports, err);
    if (got > 0) {
        json_array_foreach(ports, i, port) {
            if (!json_is_integer(port)) {
                return error_set_field(err, 400, "invalid_request",
                                       "exposedPorts", 0, "exposedPorts must "
                                       "hold integers");
            }

            if (port_check(json_integer_value(port), err) < 0) {
                error_prefix(*err, "exposedPorts[%zu]", i);
                snprintf((*err)->field, sizeof((*err)->field),
                         "exposedPorts[%zu]", i);
                return -1;
            }
        }

        if (json_array_size(ports) > 0) {
            json_object_set(spec, "exposedPorts", ports);
            options_warn(warnings, "", "exposedPorts", "recorded; expose a "
                        "port to get a URL for it");
        }
    }

    if (got < 0) {
        return -1;
    }

    got = json_get_array(in, "mounts", PORTS_MAX, &ports, err);
    if (got > 0 && json_array_size(ports) > 0) {
        return error_set_field(err, 501, "unsupported", "mounts", 0,
                               "mounts are not supported");
    }

    return got < 0 ? -1 : 0;
}


static int
limits_copy(json_t *spec, json_t *in, error **err)
{
    json_t          *json;
    traffic_limits   l;

    if (limits_parse(&l, json_object_get(in, "limits"), err) < 0) {
        return -1;
    }

    json = limits_json(&l);

    if (json != NULL) {
        json_object_set_new(spec, "limits", json);
    }

    return 0;
}


int
options_common(json_t *spec, json_t *in, error **err)
{
    return labels_copy(spec, in, err) < 0
           || duration_copy(spec, in, "ttl", err) < 0
           || limits_copy(spec, in, err) < 0 ? -1 : 0;
}


/* Kept for later, but nothing acts on it here: the user has to know. */
static void
inert_warnings(json_t *spec, json_t *warnings)
{
    size_t                    i;
    static const char *const  inert[] = { "timeoutMs" };

    for (i = 0; i < sizeof(inert) / sizeof(inert[0]); i++) {
        if (json_object_get(spec, inert[i]) != NULL) {
            options_warn(warnings, "", inert[i], "recorded, without effect on "
                        "this host");
        }
    }
}


static int
create_id(create_options *dst, json_t *in, error **err)
{
    int          got;
    bool         normalize;
    const char  *id;

    normalize = false;

    if (json_get_bool(in, "normalizeId", &normalize, err) < 0) {
        return -1;
    }

    got = json_get_string(in, "id", ID_MAX, &id, err);
    if (got < 0) {
        return -1;
    }

    return got > 0 ? id_check(id, normalize, dst->id, err) : 0;
}


int
options_rest(create_options *dst, json_t *in, const options_host *host,
    unsigned runtime, error **err)
{
    options_unknown(in, known_members, "", dst->warnings);

    if (env_copy(dst->spec, in, err) < 0
        || options_common(dst->spec, in, err) < 0
        || options_resources(dst->spec, in, &host->runtimes[runtime], err)
           < 0
        || options_network(dst->spec, in, host->network, err) < 0
        || duration_copy(dst->spec, in, "sleepAfter", err) < 0
        || bool_copy(dst->spec, in, "keepAlive", err) < 0
        || bool_copy(dst->spec, in, "ephemeral", err) < 0
        || activity_copy(dst->spec, in, err) < 0
        || timeouts_copy(dst->spec, in, dst->warnings, err) < 0
        || integers_copy(dst->spec, in, top_members, err) < 0
        || ports_copy(dst->spec, in, dst->warnings, err) < 0)
    {
        return -1;
    }

    inert_warnings(dst->spec, dst->warnings);

    return 0;
}


int
create_options_parse(create_options *dst, json_t *in,
    const options_host *host, error **err)
{
    json_t    *empty;
    unsigned   runtime;

    memset(dst, 0, sizeof(*dst));

    if (in != NULL && !json_is_object(in)) {
        return error_set_field(err, 400, "invalid_request", "options", 0,
                               "options must be an object");
    }

    empty = in == NULL ? json_object() : NULL;
    in = in == NULL ? empty : in;

    dst->spec = json_object();
    dst->warnings = json_array();

    if (create_id(dst, in, err) < 0
        || options_runtime_copy(dst->spec, in, host, &runtime, err) < 0
        || options_image_copy(dst->spec, in, host, runtime, err) < 0
        || options_rest(dst, in, host, runtime, err) < 0)
    {
        create_options_free(dst);
        json_decref(empty);
        return -1;
    }

    json_decref(empty);

    return 0;
}


int
fork_options_parse(create_options *dst, json_t *in, const json_t *spec,
    error **err)
{
    static const char *const  members[] = { "id", "normalizeId", NULL };

    memset(dst, 0, sizeof(*dst));
    dst->warnings = json_array();

    if (in != NULL) {
        options_unknown(in, members, "", dst->warnings);

        if (create_id(dst, in, err) < 0) {
            create_options_free(dst);
            return -1;
        }
    }

    dst->spec = json_deep_copy(spec);

    return 0;
}


void
create_options_free(create_options *options)
{
    json_decref(options->spec);
    json_decref(options->warnings);
    options->spec = NULL;
    options->warnings = NULL;
}
