/*
 * The requests of Firecracker's API (1.17) that are made here, with the fields
 * that its API document knows for them, of which lists are not used here.  What
 * the driver says is checked against them by t/unit/fc_api.c, and by
 * t/driver/fc_vmm.c, which plays Firecracker for t/firecracker.t.
 */

#ifndef T_DRIVER_FC_SCHEMA_H
#define T_DRIVER_FC_SCHEMA_H

#include <stdio.h>
#include <string.h>

#include <jansson.h>

typedef enum { FC_STRING, FC_INTEGER, FC_BOOLEAN, FC_OBJECT } fc_type;

/* An object's fields have its name for a request. */
typedef struct {
    const char  *of;
    const char  *name;
    fc_type      type;
    int          required;
    long long    min, max;          /* of an integer */
    const char  *values;            /* of a string: "|A|B|"; of an object: its
                                     * own fields' name */
} fc_field;

#define FC_ANY  9223372036854775807LL

static const fc_field  fc_fields[] = {
    { "PUT /actions", "action_type", FC_STRING, 1, 0, 0,
      "|FlushMetrics|InstanceStart|SendCtrlAltDel|" },

    { "PUT /balloon", "amount_mib", FC_INTEGER, 1, 0, FC_ANY, NULL },
    { "PUT /balloon", "deflate_on_oom", FC_BOOLEAN, 1, 0, 0, NULL },
    { "PUT /balloon", "stats_polling_interval_s", FC_INTEGER, 0, 0, FC_ANY,
      NULL },
    { "PUT /balloon", "free_page_hinting", FC_BOOLEAN, 0, 0, 0, NULL },
    { "PUT /balloon", "free_page_reporting", FC_BOOLEAN, 0, 0, 0, NULL },

    { "PUT /boot-source", "kernel_image_path", FC_STRING, 1, 0, 0, NULL },
    { "PUT /boot-source", "initrd_path", FC_STRING, 0, 0, 0, NULL },
    { "PUT /boot-source", "boot_args", FC_STRING, 0, 0, 0, NULL },

    { "PUT /drives/", "drive_id", FC_STRING, 1, 0, 0, NULL },
    { "PUT /drives/", "partuuid", FC_STRING, 0, 0, 0, NULL },
    { "PUT /drives/", "is_root_device", FC_BOOLEAN, 1, 0, 0, NULL },
    { "PUT /drives/", "cache_type", FC_STRING, 0, 0, 0,
      "|Unsafe|Writeback|" },
    { "PUT /drives/", "is_read_only", FC_BOOLEAN, 0, 0, 0, NULL },
    { "PUT /drives/", "path_on_host", FC_STRING, 0, 0, 0, NULL },
    { "PUT /drives/", "rate_limiter", FC_OBJECT, 0, 0, 0, "RateLimiter" },
    { "PUT /drives/", "io_engine", FC_STRING, 0, 0, 0, "|Sync|Async|" },
    { "PUT /drives/", "socket", FC_STRING, 0, 0, 0, NULL },

    { "PUT /entropy", "rate_limiter", FC_OBJECT, 0, 0, 0, "RateLimiter" },

    { "PUT /logger", "level", FC_STRING, 0, 0, 0,
      "|Error|Warning|Info|Debug|Trace|Off|" },
    { "PUT /logger", "log_path", FC_STRING, 0, 0, 0, NULL },
    { "PUT /logger", "show_level", FC_BOOLEAN, 0, 0, 0, NULL },
    { "PUT /logger", "show_log_origin", FC_BOOLEAN, 0, 0, 0, NULL },
    { "PUT /logger", "module", FC_STRING, 0, 0, 0, NULL },

    { "PUT /machine-config", "cpu_template", FC_STRING, 0, 0, 0,
      "|C3|T2|T2S|T2CL|T2A|V1N1|None|" },
    { "PUT /machine-config", "smt", FC_BOOLEAN, 0, 0, 0, NULL },
    { "PUT /machine-config", "mem_size_mib", FC_INTEGER, 1, 1, FC_ANY, NULL },
    { "PUT /machine-config", "track_dirty_pages", FC_BOOLEAN, 0, 0, 0, NULL },
    { "PUT /machine-config", "vcpu_count", FC_INTEGER, 1, 1, 32, NULL },
    { "PUT /machine-config", "huge_pages", FC_STRING, 0, 0, 0,
      "|None|Transparent|2M|" },

    { "PUT /network-interfaces/", "guest_mac", FC_STRING, 0, 0, 0, NULL },
    { "PUT /network-interfaces/", "host_dev_name", FC_STRING, 1, 0, 0, NULL },
    { "PUT /network-interfaces/", "iface_id", FC_STRING, 1, 0, 0, NULL },
    { "PUT /network-interfaces/", "mtu", FC_INTEGER, 0, 68, 65535, NULL },
    { "PUT /network-interfaces/", "rx_rate_limiter", FC_OBJECT, 0, 0, 0,
      "RateLimiter" },
    { "PUT /network-interfaces/", "tx_rate_limiter", FC_OBJECT, 0, 0, 0,
      "RateLimiter" },

    { "PUT /snapshot/create", "mem_file_path", FC_STRING, 1, 0, 0, NULL },
    { "PUT /snapshot/create", "snapshot_path", FC_STRING, 1, 0, 0, NULL },
    { "PUT /snapshot/create", "snapshot_type", FC_STRING, 0, 0, 0,
      "|Full|Diff|" },

    { "PUT /snapshot/load", "enable_diff_snapshots", FC_BOOLEAN, 0, 0, 0,
      NULL },
    { "PUT /snapshot/load", "track_dirty_pages", FC_BOOLEAN, 0, 0, 0, NULL },
    { "PUT /snapshot/load", "mem_file_path", FC_STRING, 0, 0, 0, NULL },
    { "PUT /snapshot/load", "mem_backend", FC_OBJECT, 0, 0, 0,
      "MemoryBackend" },
    { "PUT /snapshot/load", "snapshot_path", FC_STRING, 1, 0, 0, NULL },
    { "PUT /snapshot/load", "resume_vm", FC_BOOLEAN, 0, 0, 0, NULL },
    { "PUT /snapshot/load", "clock_realtime", FC_BOOLEAN, 0, 0, 0, NULL },
    { "PUT /snapshot/load", "huge_pages", FC_STRING, 0, 0, 0,
      "|Snapshot|None|Transparent|2M|" },
    { "PUT /snapshot/load", "vsock_override", FC_OBJECT, 0, 0, 0,
      "VsockOverride" },

    { "PATCH /drives/", "drive_id", FC_STRING, 1, 0, 0, NULL },
    { "PATCH /drives/", "path_on_host", FC_STRING, 0, 0, 0, NULL },
    { "PATCH /drives/", "rate_limiter", FC_OBJECT, 0, 0, 0, "RateLimiter" },

    { "PATCH /network-interfaces/", "iface_id", FC_STRING, 1, 0, 0, NULL },
    { "PATCH /network-interfaces/", "rx_rate_limiter", FC_OBJECT, 0, 0, 0,
      "RateLimiter" },
    { "PATCH /network-interfaces/", "tx_rate_limiter", FC_OBJECT, 0, 0, 0,
      "RateLimiter" },

    { "PATCH /vm", "state", FC_STRING, 1, 0, 0, "|Paused|Resumed|" },

    { "PUT /vsock", "guest_cid", FC_INTEGER, 1, 3, FC_ANY, NULL },
    { "PUT /vsock", "uds_path", FC_STRING, 1, 0, 0, NULL },
    { "PUT /vsock", "vsock_id", FC_STRING, 0, 0, 0, NULL },

    { "MemoryBackend", "backend_type", FC_STRING, 1, 0, 0, "|File|Uffd|" },
    { "MemoryBackend", "backend_path", FC_STRING, 1, 0, 0, NULL },

    { "RateLimiter", "bandwidth", FC_OBJECT, 0, 0, 0, "TokenBucket" },
    { "RateLimiter", "ops", FC_OBJECT, 0, 0, 0, "TokenBucket" },

    { "TokenBucket", "one_time_burst", FC_INTEGER, 0, 0, FC_ANY, NULL },
    { "TokenBucket", "refill_time", FC_INTEGER, 1, 0, FC_ANY, NULL },
    { "TokenBucket", "size", FC_INTEGER, 1, 0, FC_ANY, NULL },

    { "VsockOverride", "uds_path", FC_STRING, 1, 0, 0, NULL },
};

#define FC_FIELDS  (sizeof(fc_fields) / sizeof(fc_fields[0]))


/* NULL, or what is wrong with a value. */
static const char *fc_schema_object(const char *of, json_t *o,
    const char **field);

static const char *
fc_schema_value(const fc_field *f, json_t *v, const char **field)
{
    char       word[128];
    json_int_t n;

    switch (f->type) {
    case FC_STRING:
        if (!json_is_string(v)) {
            return "is no string";
        }

        snprintf(word, sizeof(word), "|%s|", json_string_value(v));
        return f->values == NULL || strstr(f->values, word) != NULL ? NULL
               : "is none of its values";

    case FC_INTEGER:
        n = json_integer_value(v);
        return !json_is_integer(v) ? "is no integer"
               : n < f->min || n > f->max ? "is out of its range" : NULL;

    case FC_BOOLEAN:
        return json_is_boolean(v) ? NULL : "is no boolean";

    default:
        return fc_schema_object(f->values, v, field);
    }
}


static const char *
fc_schema_object(const char *of, json_t *o, const char **field)
{
    size_t       i, known;
    json_t      *v;
    const char  *bad;

    if (!json_is_object(o)) {
        return "is no object";
    }

    for (i = 0, known = 0; i < FC_FIELDS; i++) {
        if (strcmp(fc_fields[i].of, of) != 0) {
            continue;
        }

        v = json_object_get(o, fc_fields[i].name);
        *field = fc_fields[i].name;

        if (v == NULL) {
            if (fc_fields[i].required) {
                return "is missing";
            }
            continue;
        }

        known++;
        bad = fc_schema_value(&fc_fields[i], v, field);
        if (bad != NULL) {
            return bad;
        }
    }

    for (i = 0; strcmp(fc_fields[i].of, of) != 0; i++) { /* void */ }
    *field = fc_fields[i].of;

    return known == json_object_size(o) ? NULL : "has an unknown field";
}


/* The body of a request; *field names what is wrong.  A target that ends with
 * an id is known by what is before that. */
static inline const char *
fc_schema_check(const char *method, const char *target, json_t *body,
    const char **field)
{
    char    of[192], *slash;
    size_t  i;

    snprintf(of, sizeof(of), "%s %s", method, target);

    for ( ;; ) {
        for (i = 0; i < FC_FIELDS; i++) {
            if (strcmp(fc_fields[i].of, of) == 0) {
                return fc_schema_object(of, body, field);
            }
        }

        slash = strrchr(of, '/');
        *field = target;

        if (slash == NULL || slash[1] == '\0') {
            return "is no target";
        }

        slash[1] = '\0';
    }
}

#endif
