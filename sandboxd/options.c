/* Options of create and expose; see options.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_get.h"
#include "sandboxd/options.h"

#define ENV_MAX            256
#define ENV_NAME_MAX       128
#define ENV_BYTES_MAX      (64 * 1024)
#define LABELS_MAX          32
#define LABEL_NAME_MAX      63
#define LABEL_VALUE_MAX    256
#define PORTS_MAX           64
#define WARNINGS_MAX        16

#define DURATION_MAX       (30 * 86400)
#define BYTES_MIN          (16ll << 20)
#define BYTES_MAX          (16ll << 40)
#define CPU_MIN            0.01
#define CPU_MAX            1024.0
#define PIDS_MIN           16
#define PIDS_MAX           4194304


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
    "id", "normalizeId", "image", "env", "labels", "resources", "network",
    "sleepAfter", "keepAlive", "ttl", "containerTimeouts", "createTimeoutMs",
    "timeoutMs", "exposedPorts", "mounts", NULL
};

static const char *const  known_timeouts[] = {
    "instanceGetTimeoutMS", "portReadyTimeoutMS", "waitIntervalMS", NULL
};

static const char *const  known_expose[] = {
    "port", "name", "token", "access", "host", NULL
};


/* A string without a NUL in it; else NULL. */
static const char *
plain_string(json_t *value)
{
    const char  *text;

    text = json_string_value(value);

    return text != NULL && strlen(text) == json_string_length(value) ? text
                                                                     : NULL;
}


static bool
name_listed(const char *const *list, const char *name)
{
    for (; *list != NULL; list++) {
        if (strcmp(*list, name) == 0) {
            return true;
        }
    }

    return false;
}


static void
warning_add(json_t *warnings, const char *prefix, const char *name,
    const char *text)
{
    if (json_array_size(warnings) < WARNINGS_MAX) {
        json_array_append_new(warnings, json_sprintf("%s%.64s: %s", prefix,
                                                     name, text));
    }
}


/* A member that nobody knows is ignored, but never silently. */
static void
unknown_members(json_t *in, const char *const *known, const char *prefix,
    json_t *warnings)
{
    json_t      *value;
    const char  *name;

    json_object_foreach(in, name, value) {
        if (!name_listed(known, name)) {
            warning_add(warnings, prefix, name, "unknown, ignored");
        }
    }
}


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

    } else if (plain_string(value) != NULL) {
        seconds = duration_parse(plain_string(value));
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
            error_prefix(*err, "env");
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
            error_prefix(*err, "labels");
            return -1;
        }

        if (got > 0) {
            json_object_set(copy, name, value);
        }
    }

    return 0;
}


static int
image_copy(json_t *spec, json_t *in, const options_host *host, error **err)
{
    unsigned     i;
    const char  *image;

    image = host->default_image;

    if (json_get_string(in, "image", OPTIONS_IMAGE_MAX, &image, err) < 0) {
        return -1;
    }

    if (image == NULL) {
        return error_set_field(err, 400, "invalid_request", "image", 0,
                               "image is required: this host has no default "
                               "image");
    }

    for (i = 0; i < host->image_count; i++) {
        if (strcmp(host->images[i], image) == 0) {
            json_object_set_new(spec, "image", json_string(image));
            return 0;
        }
    }

    return error_set_field(err, 400, "unknown_image", "image", 0,
                           "there is no image \"%.64s\" on this host", image);
}


/* "512M": a number and one of K, M, G, T (powers of 1024; "Mi", "MiB", "MB"
 * mean the same); -1 if it is none. */
static json_int_t
bytes_parse(const char *text)
{
    int          shift;
    char        *end;
    long long    n;
    const char  *unit;

    if (text[0] < '0' || text[0] > '9' || strlen(text) > 18) {
        return -1;
    }

    n = strtoll(text, &end, 10);
    if (*end == '\0') {
        return n;
    }

    unit = strchr("KkMmGgTt", *end);
    if (unit == NULL || n > BYTES_MAX) {
        return -1;
    }

    shift = 10 * (1 + (int) (unit - "KkMmGgTt") / 2);
    end++;
    end += *end == 'i';
    end += *end == 'B' || *end == 'b';

    return *end == '\0' && n <= (BYTES_MAX >> shift) ? n << shift : -1;
}


static int
unenforceable(const char *name, error **err)
{
    return error_set_field(err, 422, "unenforceable", name, 0,
                           "%s can't be enforced on this host", name);
}


static int
resource_bytes(json_t *copy, json_t *in, const char *name, bool enforced,
    error **err)
{
    char         field[64];
    json_t      *value;
    json_int_t   n;

    value = json_object_get(in, name);
    if (value == NULL || json_is_null(value)) {
        return 0;
    }

    snprintf(field, sizeof(field), "resources.%s", name);
    n = -1;

    if (json_is_integer(value)) {
        n = json_integer_value(value);

    } else if (plain_string(value) != NULL) {
        n = bytes_parse(plain_string(value));
    }

    if (n < BYTES_MIN || n > BYTES_MAX) {
        return error_set_field(err, 400, "invalid_request", field, BYTES_MAX,
                               "%s must be %lld to %lld bytes, as a number or "
                               "like \"512M\", \"2G\"", field, BYTES_MIN,
                               BYTES_MAX);
    }

    if (!enforced) {
        return unenforceable(field, err);
    }

    json_object_set_new(copy, name, json_integer(n));

    return 0;
}


static int
resource_cpu(json_t *copy, json_t *in, bool enforced, error **err)
{
    double   cpu;
    json_t  *value;

    value = json_object_get(in, "cpu");
    if (value == NULL || json_is_null(value)) {
        return 0;
    }

    cpu = json_number_value(value);
    if (!json_is_number(value) || !(cpu >= CPU_MIN && cpu <= CPU_MAX)) {
        return error_set_field(err, 400, "invalid_request", "resources.cpu",
                               (long long) CPU_MAX, "resources.cpu must be a "
                               "number from %g to %g", CPU_MIN, CPU_MAX);
    }

    if (!enforced) {
        return unenforceable("resources.cpu", err);
    }

    json_object_set_new(copy, "cpu", json_real(cpu));

    return 0;
}


static int
resources_copy(json_t *spec, json_t *in, const options_host *host,
    error **err)
{
    int                       got;
    json_t                   *resources, *copy, *value;
    json_int_t                pids;
    const char               *name;
    static const char *const  known[] = { "cpu", "memory", "disk", "pids",
                                          NULL };

    got = json_get_object(in, "resources", &resources, err);
    if (got <= 0) {
        return got;
    }

    json_object_foreach(resources, name, value) {
        if (!name_listed(known, name)) {
            return error_set_field(err, 400, "invalid_request", "resources",
                                   0, "resources has an unknown member "
                                   "\"%.64s\": it may have cpu, memory, disk "
                                   "and pids", name);
        }
    }

    copy = json_object();
    json_object_set_new(spec, "resources", copy);

    if (resource_cpu(copy, resources, host->enforces_cpu, err) < 0
        || resource_bytes(copy, resources, "memory", host->enforces_memory,
                          err) < 0
        || resource_bytes(copy, resources, "disk", host->enforces_disk, err)
           < 0)
    {
        return -1;
    }

    got = json_get_integer(resources, "pids", PIDS_MIN, PIDS_MAX, &pids, err);
    if (got < 0) {
        error_prefix(*err, "resources");
        return -1;
    }

    if (got > 0) {
        if (!host->enforces_pids) {
            return unenforceable("resources.pids", err);
        }

        json_object_set_new(copy, "pids", json_integer(pids));
    }

    return 0;
}


static int
network_copy(json_t *spec, json_t *in, error **err)
{
    int          got;
    json_t      *network, *value;
    const char  *name, *outbound;

    got = json_get_object(in, "network", &network, err);
    if (got <= 0) {
        return got;
    }

    outbound = "none";

    json_object_foreach(network, name, value) {
        if (strcmp(name, "outbound") != 0) {
            return error_set_field(err, 400, "invalid_request", "network", 0,
                                   "network has an unknown member \"%.64s\": "
                                   "it may have outbound", name);
        }
    }

    if (json_get_string(network, "outbound", 64, &outbound, err) < 0) {
        return -1;
    }

    if (strcmp(outbound, "none") != 0) {
        return error_set_field(err, 422, "unenforceable", "network.outbound",
                               0, "network.outbound must be \"none\": no "
                               "other policy can be enforced on this host");
    }

    json_object_set_new(spec, "network",
                        json_pack("{s:s}", "outbound", "none"));

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

    unknown_members(timeouts, known_timeouts, "containerTimeouts.", warnings);

    copy = json_object();
    json_object_set_new(spec, "containerTimeouts", copy);

    if (integers_copy(copy, timeouts, timeout_members, err) < 0) {
        error_prefix(*err, "containerTimeouts");
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
                return -1;
            }
        }

        if (json_array_size(ports) > 0) {
            json_object_set(spec, "exposedPorts", ports);
            warning_add(warnings, "", "exposedPorts", "recorded; expose a "
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


/* Kept for later, but nothing acts on it here: the user has to know. */
static void
inert_warnings(json_t *spec, json_t *warnings)
{
    size_t                    i;
    static const char *const  inert[] = { "sleepAfter", "ttl", "timeoutMs" };

    for (i = 0; i < sizeof(inert) / sizeof(inert[0]); i++) {
        if (json_object_get(spec, inert[i]) != NULL) {
            warning_add(warnings, "", inert[i], "recorded, without effect on "
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
create_options_parse(create_options *dst, json_t *in,
    const options_host *host, error **err)
{
    json_t  *empty;

    memset(dst, 0, sizeof(*dst));

    if (in != NULL && !json_is_object(in)) {
        return error_set_field(err, 400, "invalid_request", "options", 0,
                               "options must be an object");
    }

    empty = in == NULL ? json_object() : NULL;
    in = in == NULL ? empty : in;

    dst->spec = json_object();
    dst->warnings = json_array();

    unknown_members(in, known_members, "", dst->warnings);

    if (create_id(dst, in, err) < 0
        || image_copy(dst->spec, in, host, err) < 0
        || env_copy(dst->spec, in, err) < 0
        || labels_copy(dst->spec, in, err) < 0
        || resources_copy(dst->spec, in, host, err) < 0
        || network_copy(dst->spec, in, err) < 0
        || duration_copy(dst->spec, in, "sleepAfter", err) < 0
        || duration_copy(dst->spec, in, "ttl", err) < 0
        || bool_copy(dst->spec, in, "keepAlive", err) < 0
        || timeouts_copy(dst->spec, in, dst->warnings, err) < 0
        || integers_copy(dst->spec, in, top_members, err) < 0
        || ports_copy(dst->spec, in, dst->warnings, err) < 0)
    {
        create_options_free(dst);
        json_decref(empty);
        return -1;
    }

    inert_warnings(dst->spec, dst->warnings);
    json_decref(empty);

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


void
spec_limits(json_t *spec, driver_limits *limits)
{
    json_t  *r;

    r = json_object_get(spec, "resources");

    limits->cpu = json_number_value(json_object_get(r, "cpu"));
    limits->memory = (uint64_t) json_integer_value(json_object_get(r,
                                                                   "memory"));
    limits->disk = (uint64_t) json_integer_value(json_object_get(r, "disk"));
    limits->pids = (uint32_t) json_integer_value(json_object_get(r, "pids"));
}


const char *
spec_image(json_t *spec)
{
    const char  *image;

    image = json_string_value(json_object_get(spec, "image"));

    return image != NULL ? image : "";
}


uint64_t
spec_start_timeout(json_t *spec)
{
    json_t  *value;

    value = json_object_get(spec, "createTimeoutMs");
    if (value == NULL) {
        value = json_object_get(json_object_get(spec, "containerTimeouts"),
                                "portReadyTimeoutMS");
    }

    return value ? (uint64_t) json_integer_value(value) : START_TIMEOUT_MS;
}


uint64_t
spec_queue_timeout(json_t *spec)
{
    json_t  *value;

    value = json_object_get(json_object_get(spec, "containerTimeouts"),
                            "instanceGetTimeoutMS");

    return value ? (uint64_t) json_integer_value(value) : QUEUE_TIMEOUT_MS;
}


const char *
access_name(access_kind access)
{
    return access == ACCESS_PUBLIC ? "public" : "token";
}


int
access_parse(const char *name)
{
    if (strcmp(name, "token") == 0) {
        return ACCESS_TOKEN;
    }

    return strcmp(name, "public") == 0 ? ACCESS_PUBLIC : -1;
}


static int
expose_access(expose_options *dst, json_t *in, error **err)
{
    int          got;
    const char  *text;

    got = json_get_string(in, "access", 16, &text, err);
    if (got > 0) {
        if (strcmp(text, "private") == 0) {
            return error_set_field(err, 501, "unsupported", "access", 0,
                                   "access \"private\" is not supported; use "
                                   "\"token\" or \"public\"");
        }

        if (access_parse(text) < 0) {
            return error_set_field(err, 400, "invalid_request", "access", 0,
                                   "access must be \"token\" or \"public\"");
        }

        dst->has_access = true;
        dst->access = (access_kind) access_parse(text);
    }

    if (got < 0) {
        return -1;
    }

    got = json_get_string(in, "host", 16, &text, err);
    if (got > 0) {
        dst->has_host = true;
        dst->host_public = strcmp(text, "public") == 0;

        if (!dst->host_public && strcmp(text, "local") != 0) {
            return error_set_field(err, 400, "invalid_request", "host", 0,
                                   "host must be \"local\" or \"public\"");
        }
    }

    return got < 0 ? -1 : 0;
}


int
expose_options_parse(expose_options *dst, json_t *in, json_t *warnings,
    error **err)
{
    int          got;
    json_t      *port;
    const char  *text;

    memset(dst, 0, sizeof(*dst));

    if (!json_is_object(in)) {
        return error_set_field(err, 400, "invalid_request", "options", 0,
                               "options must be an object");
    }

    unknown_members(in, known_expose, "", warnings);

    port = json_object_get(in, "port");
    if (!json_is_integer(port)) {
        return error_set_field(err, 400, "invalid_port", "port", PORT_MAX,
                               "port is required and must be an integer");
    }

    if (port_check(json_integer_value(port), err) < 0) {
        return -1;
    }

    dst->port = (unsigned) json_integer_value(port);

    got = json_get_string(in, "name", EXPOSURE_NAME_MAX, &text, err);
    if (got < 0) {
        return -1;
    }

    if (got > 0) {
        strcpy(dst->name, text);
    }

    got = json_get_string(in, "token", TOKEN_MAX, &text, err);
    if (got < 0 || (got > 0 && token_check(text, err) < 0)) {
        return -1;
    }

    if (got > 0) {
        strcpy(dst->token, text);

        if (strchr(text, '_') != NULL) {
            warning_add(warnings, "", "token", "TLS libraries refuse _ in a "
                        "name under a wildcard certificate");
        }
    }

    if (expose_access(dst, in, err) < 0) {
        return -1;
    }

    if (dst->token[0] && dst->has_access && dst->access == ACCESS_PUBLIC) {
        return error_set_field(err, 400, "invalid_request", "token", 0,
                               "a public exposure has no token");
    }

    return 0;
}
