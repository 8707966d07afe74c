/* What the lifecycle reads from a stored spec; see options.h. */

#include <string.h>

#include "sandboxd/options.h"


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


const char *
spec_runtime(json_t *spec)
{
    const char  *runtime;

    runtime = json_string_value(json_object_get(spec, "runtime"));

    return runtime != NULL ? runtime : RUNTIME_OF_OLD;
}


json_t *
spec_network(json_t *spec)
{
    json_t      *network;
    const char  *text;

    network = json_object_get(spec, "network");
    text = json_string_value(json_object_get(network, "outbound"));

    return text != NULL && strcmp(text, "none") == 0 ? NULL : network;
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


uint64_t
spec_sleep_after(json_t *spec)
{
    json_t  *value;

    if (json_is_true(json_object_get(spec, "keepAlive"))) {
        return 0;
    }

    value = json_object_get(spec, "sleepAfter");

    return (value ? (uint64_t) json_integer_value(value) : SLEEP_AFTER)
           * 1000;
}


uint64_t
spec_ttl(json_t *spec)
{
    return (uint64_t) json_integer_value(json_object_get(spec, "ttl")) * 1000;
}


bool
spec_ephemeral(json_t *spec)
{
    return json_is_true(json_object_get(spec, "ephemeral"));
}


bool
spec_processes(json_t *spec)
{
    return json_object_get(spec, "activity") != NULL;
}


bool
spec_external(json_t *spec)
{
    return json_object_get(spec, "external") != NULL;
}
