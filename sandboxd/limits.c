/* Limits of visitors; see limits.h. */

#include <stdio.h>
#include <string.h>

#include "common/json_get.h"
#include "sandboxd/limits.h"
#include "sandboxd/options_part.h"

#define COUNT_MAX      1000000
#define BANDWIDTH_MIN  4096
#define BANDWIDTH_MAX  4294967294ll
#define BODY_MAX       (16ll << 40)


static const char *const  known_limits[] = {
    "requestsPerSecond", "burst", "connections", "bandwidthOut",
    "bandwidthIn", "bodySize", NULL
};


static int
limit_count(uint32_t *dst, json_t *in, const char *name, json_int_t min,
    error **err)
{
    int         got;
    json_int_t  n;

    got = json_get_integer(in, name, min, COUNT_MAX, &n, err);

    if (got < 0) {
        error_inside(*err, "limits");
        return -1;
    }

    if (got > 0) {
        *dst = (uint32_t) n;
    }

    return got;
}


static int
limit_bytes(uint64_t *dst, json_t *in, const char *name, json_int_t min,
    json_int_t max, error **err)
{
    char         field[64];
    json_t      *value;
    json_int_t   n;

    value = json_object_get(in, name);
    if (value == NULL || json_is_null(value)) {
        return 0;
    }

    n = options_bytes(value);

    if (n < min || n > max) {
        snprintf(field, sizeof(field), "limits.%s", name);

        return error_set_field(err, 400, "invalid_request", field, max,
                               "%s must be %lld to %lld bytes, as a number or "
                               "like \"512K\", \"10M\"", field,
                               (long long) min, (long long) max);
    }

    *dst = (uint64_t) n;

    return 1;
}


static int
limits_unknown(json_t *in, error **err)
{
    char         field[96];
    json_t      *value;
    const char  *name;

    json_object_foreach(in, name, value) {
        if (!options_listed(known_limits, name)) {
            snprintf(field, sizeof(field), "limits.%.64s", name);

            return error_set_field(err, 400, "invalid_request", field, 0,
                                   "there is no limit \"%.64s\"", name);
        }
    }

    return 0;
}


int
limits_parse(traffic_limits *dst, json_t *in, error **err)
{
    int       got;
    uint64_t  out, upload;

    memset(dst, 0, sizeof(*dst));

    if (in == NULL || json_is_null(in)) {
        return 0;
    }

    if (!json_is_object(in)) {
        return error_set_field(err, 400, "invalid_request", "limits", 0,
                               "limits must be an object");
    }

    out = 0;
    upload = 0;

    if (limits_unknown(in, err) < 0
        || limit_count(&dst->requests, in, "requestsPerSecond", 1, err) < 0
        || limit_count(&dst->connections, in, "connections", 1, err) < 0
        || limit_bytes(&out, in, "bandwidthOut", BANDWIDTH_MIN,
                       BANDWIDTH_MAX, err) < 0
        || limit_bytes(&upload, in, "bandwidthIn", BANDWIDTH_MIN,
                       BANDWIDTH_MAX, err) < 0
        || limit_bytes(&dst->body, in, "bodySize", 1, BODY_MAX, err) < 0)
    {
        return -1;
    }

    dst->out = (uint32_t) out;
    dst->in = (uint32_t) upload;
    dst->burst = dst->requests;

    got = limit_count(&dst->burst, in, "burst", 0, err);

    if (got > 0 && dst->requests == 0) {
        return error_set_field(err, 400, "invalid_request", "limits.burst", 0,
                               "limits.burst needs limits.requestsPerSecond");
    }

    return got < 0 ? -1 : 0;
}


static void
limit_set(json_t **json, const char *name, uint64_t value)
{
    if (*json == NULL) {
        *json = json_object();
    }

    json_object_set_new(*json, name, json_integer((json_int_t) value));
}


json_t *
limits_json(const traffic_limits *l)
{
    size_t    i;
    json_t   *json;
    uint64_t  values[] = { l->requests, 0, l->connections, l->out, l->in,
                           l->body };

    json = NULL;

    for (i = 0; known_limits[i] != NULL; i++) {
        if (values[i] != 0) {
            limit_set(&json, known_limits[i], values[i]);
        }
    }

    if (l->requests != 0) {
        limit_set(&json, "burst", l->burst);
    }

    return json;
}
