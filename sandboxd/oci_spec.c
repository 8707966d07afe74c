/* What a start is asked for; see oci_spec.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandboxd/oci_config.h"
#include "sandboxd/oci_spec.h"
#include "sandboxd/oci_wire.h"


int
oci_spec_image(const oci_driver *o, const char *name, uint32_t *image,
    error **err)
{
    unsigned  i;

    for (i = 0; i < o->base.host.image_count; i++) {
        if (strcmp(o->base.host.image_names[i], name) == 0) {
            *image = i;
            return 0;
        }
    }

    if (strcmp(name, "host") == 0) {
        if (o->base.host.dev) {
            *image = i;
            return 0;
        }

        return error_set_field(err, 422, "unknown_image", "image", 0,
                               "the image \"host\" is for development only "
                               "(sandboxd --dev)");
    }

    return error_set_field(err, 422, "unknown_image", "image", 0,
                           "there is no image \"%s\"", name);
}


/* What was asked for has been checked against what can be enforced. */
void
oci_spec_limits(const oci_driver *o, const driver_spec *spec,
    driver_limits *l)
{
    memset(l, 0, sizeof(driver_limits));

    if (o->base.d.enforces_cpu) {
        l->cpu = spec->limits.cpu > 0 ? spec->limits.cpu : spec->defaults.cpu;
    }

    if (o->base.d.enforces_memory) {
        l->memory = spec->limits.memory ? spec->limits.memory
                                        : spec->defaults.memory;
    }

    if (o->base.d.enforces_pids) {
        l->pids = spec->limits.pids ? spec->limits.pids : spec->defaults.pids;
    }

    if (o->base.d.enforces_disk) {
        l->disk = spec->limits.disk ? spec->limits.disk : spec->defaults.disk;
    }
}


int
oci_spec_check(const oci_driver *o, const driver_limits *l, error **err)
{
    const char  *name;

    name = l->cpu > 0 && !o->base.d.enforces_cpu ? "cpu"
           : l->memory && !o->base.d.enforces_memory ? "memory"
           : l->pids && !o->base.d.enforces_pids ? "pids"
           : l->disk && !o->base.d.enforces_disk ? "disk" : NULL;

    if (name == NULL) {
        return 0;
    }

    return error_set_field(err, 422, "unenforceable", name, 0,
                           "%s can't be limited on this host", name);
}


char *
oci_spec_boot(const driver_spec *spec, error **err)
{
    char    *text;
    json_t  *boot;

    boot = json_pack("{s:i, s:s, s:I, s:s, s:s, s:O, s:s}",
                     "version", 1, "id", spec->id,
                     "epoch", (json_int_t) spec->epoch, "key", spec->key,
                     "hostname", spec->id, "env", spec->env,
                     "cwd", "/workspace");
    text = boot != NULL ? json_dumps(boot, JSON_COMPACT) : NULL;
    json_decref(boot);

    if (text == NULL) {
        error_set(err, 500, "internal", "can't build the boot message");
        return NULL;
    }

    if (strlen(text) > OCI_BOOT_MAX) {
        error_set_field(err, 413, "too_large", "env", OCI_BOOT_MAX,
                        "the environment is too large");
        free(text);
        return NULL;
    }

    return text;
}


char *
oci_spec_config(const oci_driver *o, const driver_spec *spec, uint64_t memory,
    error **err)
{
    char        *text;
    oci_config   config;

    memset(&config, 0, sizeof(config));
    config.hostname = spec->id;
    config.seccomp = o->seccomp;
    config.ids = o->map.count;
    config.memory = memory;
    config.nofile = o->nofile;
    config.limit_nproc = !o->base.d.enforces_pids;

    text = oci_config_build(&config);

    if (text == NULL || strlen(text) > OCI_CONFIG_MAX) {
        error_set(err, 500, "internal",
                  "can't build the sandbox's configuration");
        free(text);
        return NULL;
    }

    return text;
}
