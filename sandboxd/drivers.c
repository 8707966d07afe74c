/* The drivers that the command line names; see drivers.h. */

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "common/log.h"
#include "sandboxd/drivers.h"


static unsigned
drivers_index(const config *cf, config_driver kind)
{
    unsigned  i;

    for (i = 0; i < cf->driver_count; i++) {
        if (cf->drivers[i] == kind) {
            break;
        }
    }

    return i < cf->driver_count ? i : 0;
}


static void
images_share(drivers *ds, const config *cf)
{
    bool          file;
    unsigned      i, j, of;
    struct stat   st;

    for (i = 0; i < cf->image_count; i++) {
        file = stat(cf->image_dirs[i], &st) == 0 && S_ISREG(st.st_mode);

        for (of = 0; of < cf->driver_count; of++) {
            if (!file && cf->driver_count > 1 && cf->drivers[of] != CONFIG_OCI)
            {
                continue;
            }

            j = ds->hosts[of].image_count++;
            ds->names[of][j] = cf->image_names[i];
            ds->paths[of][j] = cf->image_dirs[i];
            ds->image_runtimes[i] |= 1u << of;
        }
    }

    ds->image_runtimes[cf->image_count] = 1u << drivers_index(cf, CONFIG_OCI);
}


static driver *
driver_open(driver_host *host, const config *cf, config_driver kind,
    error **err)
{
    switch (kind) {
    case CONFIG_FIRECRACKER:
        host->vmm_path = cf->firecracker;
        return driver_machine_create(host, "firecracker", err);
    case CONFIG_QEMU:
        host->vmm_path = cf->qemu;
        return driver_machine_create(host, "qemu", err);
    default:
        return driver_oci_create(host, err);
    }
}


/* Can its disks be as the command line says? */
static int
driver_disks(const driver *d, const config *cf, error **err)
{
    if (cf->disk_budget != 0 && cf->disk_limit == 0 && d->disk_default == 0) {
        log_warn("--disk-budget: sandboxes of the driver \"%s\" that ask for "
                 "no disk have no bound and don't count; with --disk-limit "
                 "each has one", d->name);
    }

    if (cf->disk_limit == 0) {
        return 0;
    }

    if (!d->enforces_disk) {
        return error_set(err, 500, "driver", "--disk-limit: disks of the "
                         "driver \"%s\" can't be bounded on this host",
                         d->name);
    }

    if (cf->disk_limit < d->disk_min) {
        return error_set(err, 500, "driver", "--disk-limit must be %llu MiB at "
                         "least with the driver \"%s\"",
                         (unsigned long long) d->disk_min >> 20, d->name);
    }

    if (d->disk_max != 0 && cf->disk_limit > d->disk_max) {
        return error_set(err, 500, "driver", "--disk-limit can be %llu MiB at "
                         "most: the file system of the state directory takes "
                         "no larger file",
                         (unsigned long long) d->disk_max >> 20);
    }

    return 0;
}


int
drivers_open(drivers *ds, const config *cf, const driver_host *base,
    error **err)
{
    unsigned      i;
    driver_host  *host;

    for (i = 0; i < cf->driver_count; i++) {
        host = &ds->hosts[i];
        *host = *base;
        host->image_names = ds->names[i];
        host->image_dirs = ds->paths[i];
        host->image_count = 0;
    }

    images_share(ds, cf);

    for (i = 0; i < cf->driver_count; i++) {
        host = &ds->hosts[i];
        ds->all[i] = driver_open(host, cf, cf->drivers[i], err);

        if (ds->all[i] == NULL) {
            return -1;
        }

        ds->count++;

        if (driver_disks(ds->all[i], cf, err) < 0) {
            return -1;
        }
    }

    return 0;
}


void
drivers_free(drivers *ds)
{
    unsigned  i;

    for (i = 0; i < ds->count; i++) {
        ds->all[i]->free(ds->all[i]);
    }
}


driver *
drivers_find(const drivers *ds, const char *name)
{
    unsigned  i;

    for (i = 0; i < ds->count; i++) {
        if (strcmp(ds->all[i]->name, name) == 0) {
            return ds->all[i];
        }
    }

    return NULL;
}


driver *
drivers_preparing(void *data, const char *image)
{
    unsigned              i, of;
    const drivers_config  *dc;

    dc = data;

    for (i = 0; i < dc->cf->image_count; i++) {
        if (strcmp(dc->cf->image_names[i], image) == 0) {
            break;
        }
    }

    for (of = 0; of < dc->ds->count; of++) {
        if ((dc->ds->image_runtimes[i] & 1u << of)
            && dc->ds->all[of]->prepare != NULL)
        {
            return dc->ds->all[of];
        }
    }

    return NULL;
}


void
drivers_options(const drivers *ds, config *cf, options_host *host)
{
    unsigned          i;
    options_runtime  *runtime;

    host->images = cf->image_names;
    host->image_count = cf->image_count;
    host->image_runtimes = ds->image_runtimes;
    host->default_image = cf->default_image;
    host->runtime_count = ds->count;

    for (i = 0; i < ds->count; i++) {
        runtime = &host->runtimes[i];
        runtime->name = ds->all[i]->name;
        runtime->enforces_cpu = ds->all[i]->enforces_cpu;
        runtime->enforces_memory = ds->all[i]->enforces_memory;
        runtime->enforces_disk = ds->all[i]->enforces_disk;
        runtime->enforces_pids = ds->all[i]->enforces_pids;
        runtime->memory_min = ds->all[i]->memory_min;
        runtime->disk_min = ds->all[i]->disk_min;
        runtime->disk_limit = cf->disk_limit;
        runtime->disk_max = ds->all[i]->disk_max;
    }

    /* The driver knows this one without a directory. */
    if (cf->dev && drivers_find(ds, "oci") != NULL) {
        cf->image_names[cf->image_count] = "host";
        host->image_count++;
    }
}
