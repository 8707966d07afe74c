/* Limits and network of a new sandbox; see options.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_get.h"
#include "sandboxd/options_part.h"

#define BYTES_MIN  (16ll << 20)
#define BYTES_MAX  ((json_int_t) DRIVER_DISK_MAX)
#define CPU_MIN    0.01
#define CPU_MAX    1024.0
#define PIDS_MIN   16
#define PIDS_MAX   4194304


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


json_int_t
options_bytes(json_t *value)
{
    if (json_is_integer(value)) {
        return json_integer_value(value);
    }

    return options_text(value) != NULL ? bytes_parse(options_text(value)) : -1;
}


static int
unenforceable(const char *name, error **err)
{
    return error_set_field(err, 422, "unenforceable", name, 0,
                           "%s can't be enforced on this host", name);
}


static int
resource_bytes(json_t *copy, json_t *in, const char *name, bool enforced,
    uint64_t least, uint64_t most, const char *runtime, error **err)
{
    char         field[64];
    json_t      *value;
    json_int_t   n;

    value = json_object_get(in, name);
    if (value == NULL || json_is_null(value)) {
        return 0;
    }

    snprintf(field, sizeof(field), "resources.%s", name);
    n = options_bytes(value);

    if (n < BYTES_MIN || n > BYTES_MAX) {
        return error_set_field(err, 400, "invalid_request", field, BYTES_MAX,
                               "%s must be %lld to %lld bytes, as a number or "
                               "like \"512M\", \"2G\"", field, BYTES_MIN,
                               BYTES_MAX);
    }

    if (!enforced) {
        return unenforceable(field, err);
    }

    if (most != 0 && (uint64_t) n > most) {
        return error_set_field(err, 422, "unenforceable", field,
                               (long long) most, "%s may be %llu MiB at most "
                               "on this host", field,
                               (unsigned long long) most >> 20);
    }

    if ((uint64_t) n < least) {
        return error_set_field(err, 422, "unenforceable", field,
                               (long long) least, "%s must be at least %llu "
                               "MiB with the runtime \"%s\"", field,
                               (unsigned long long) least >> 20, runtime);
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


int
options_resources(json_t *spec, json_t *in, const options_runtime *host,
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
        if (!options_listed(known, name)) {
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
                          host->memory_min, 0, host->name, err) < 0
        || resource_bytes(copy, resources, "disk", host->enforces_disk,
                          host->disk_min, host->disk_limit != 0
                          ? host->disk_limit : host->disk_max, host->name, err)
           < 0)
    {
        return -1;
    }

    got = json_get_integer(resources, "pids", PIDS_MIN, PIDS_MAX, &pids, err);
    if (got < 0) {
        error_inside(*err, "resources");
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


void
options_disk(json_t *spec, const options_host *host)
{
    json_t      *resources;
    unsigned     i;
    uint64_t     limit;
    const char  *name;

    name = spec_runtime(spec);
    limit = 0;

    for (i = 0; i < host->runtime_count; i++) {
        if (strcmp(host->runtimes[i].name, name) == 0) {
            limit = host->runtimes[i].disk_limit;
        }
    }

    resources = json_object_get(spec, "resources");

    if (limit == 0 || json_object_get(resources, "disk") != NULL) {
        return;
    }

    /* Others may have the same. */
    resources = resources != NULL ? json_copy(resources) : json_object();
    json_object_set_new(resources, "disk", json_integer((json_int_t) limit));
    json_object_set_new(spec, "resources", resources);
}


int
options_network(json_t *spec, json_t *in, const net_rules *rules, error **err)
{
    int          got;
    json_t      *network, *value, *outbound, *bandwidth;
    const char  *name;

    got = json_get_object(in, "network", &network, err);
    if (got <= 0) {
        return got;
    }

    json_object_foreach(network, name, value) {
        if (strcmp(name, "outbound") != 0 && strcmp(name, "bandwidth") != 0) {
            return error_set_field(err, 400, "invalid_request", "network", 0,
                                   "network has an unknown member \"%.64s\": "
                                   "it may have outbound and bandwidth", name);
        }
    }

    bandwidth = json_object_get(network, "bandwidth");

    if (json_is_null(bandwidth)) {
        bandwidth = NULL;
    }

    if (bandwidth != NULL
        && net_bandwidth_check(options_bytes(bandwidth), rules, err) < 0)
    {
        return -1;
    }

    outbound = net_outbound_parse(json_object_get(network, "outbound"), rules,
                                  err);
    if (outbound == NULL) {
        return -1;
    }

    network = json_pack("{s:o}", "outbound", outbound);

    if (bandwidth != NULL) {
        json_object_set_new(network, "bandwidth",
                            json_integer(options_bytes(bandwidth)));
    }

    json_object_set_new(spec, "network", network);

    return 0;
}
