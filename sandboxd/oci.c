/* The oci driver; see driver.h and oci.h. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/cgroup_layout.h"
#include "sandboxd/oci.h"
#include "sandboxd/oci_disk.h"
#include "sandboxd/oci_wire.h"
#include "sandboxd/seccomp.h"

#define NOFILE_MAX  524288


int
oci_request_send(oci_driver *o, const void *head, size_t head_len,
    const void *body, size_t body_len, const int *fds, unsigned nfds,
    error **err)
{
    if (o->helper.pid > 0
        && oci_wire_send(o->helper.sock, head, head_len, body, body_len, fds,
                         nfds) != -1)
    {
        return 0;
    }

    /* It never ends by itself: somebody killed it. */
    log_warn("oci: the helper process is gone, making a new one");
    oci_helper_stop(&o->helper);
    oci_images_note(o);

    if (oci_helper_start(&o->helper, &o->base.host, o->base.dirs, &o->map, err)
        == -1)
    {
        return -1;
    }

    if (oci_wire_send(o->helper.sock, head, head_len, body, body_len, fds,
                      nfds) == -1)
    {
        return error_set(err, 500, "internal", "the helper doesn't listen: %s",
                         strerror(errno));
    }

    return 0;
}


static void
oci_free(box_driver *bd)
{
    oci_driver  *o;

    o = (oci_driver *) bd;

    oci_helper_stop(&o->helper);
    free(o->identities);
    free(o->sizes);
    free(o->seccomp);
}


static void
oci_abandon(box_driver *bd)
{
    adopted_stop(((oci_driver *) bd)->adopted);
    oci_stop_abandon(bd);
}


static void
limits_probe(oci_driver *o)
{
    long           cpus;
    unsigned       enforced;
    struct rlimit  rl;

    enforced = cgroup_enforced(o->base.cg);
    o->base.d.enforces_cpu = enforced & CGROUP_CPU;
    o->base.d.enforces_memory = enforced & CGROUP_MEMORY;
    o->base.d.enforces_pids = enforced & CGROUP_PIDS;
    o->base.d.enforces_disk = o->map.root && oci_disk_works(o->base.dirs);

    o->nofile = NOFILE_MAX;

    if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_max < o->nofile) {
        o->nofile = rl.rlim_max;
    }

    cpus = sysconf(_SC_NPROCESSORS_ONLN);
    o->launches_max = cpus < 1 ? 2 : cpus > OCI_LAUNCHES_MAX / 2
                      ? OCI_LAUNCHES_MAX : (unsigned) cpus * 2;
}


static int
oci_health(driver *d, error **err)
{
    oci_driver  *o;

    o = (oci_driver *) d;

    if (box_driver_health(&o->base, err) == -1) {
        return -1;
    }

    if (o->helper.pid <= 0) {
        return error_set(err, 503, "driver", "the process that starts "
                         "sandboxes can't be started");
    }

    return 0;
}


static void
driver_fill(oci_driver *o)
{
    driver  *d;

    d = &o->base.d;
    d->name = "oci";
    d->kernel_isolation = false;
    d->memory_snapshot = false;
    d->channel = "unix";
    d->start = oci_start_run;
    d->prepare = oci_prepare_run;
    d->prepared = oci_prepared;
    d->stats = oci_stats_run;
    d->health = oci_health;
    d->hurry = oci_stop_hurry;
    o->waiting_end = &o->waiting;
    o->doomed_end = &o->doomed;
}


static const box_ops  oci_ops = {
    .box_size = sizeof(oci_box),
    .box_init = oci_box_init,
    .clean = oci_box_clean,
    .kills = oci_box_kills,
    .kills_watch = oci_box_kills_watch,
    .box_free = oci_box_free,
    .start_abort = oci_start_abort,
    .start_where = oci_start_where,
    .start_end = oci_start_end,
    .stop_size = sizeof(oci_stop),
    .stop_end = oci_stop_end,
    .destroy = oci_stop_destroy,
    .sweep_find = oci_sweep_find,
    .sweep_other = oci_sweep_other,
    .sweep_kill = oci_sweep_kill,
    .sweep_remove = oci_sweep_remove,
    .sweep_end = oci_sweep_end,
    .abandon = oci_abandon,
    .driver_free = oci_free,
};


driver *
driver_oci_create(const driver_host *host, error **err)
{
    oci_driver  *o;

    o = calloc(1, sizeof(oci_driver));
    if (o == NULL) {
        abort();
    }

    o->sizes = calloc(OCI_SIZES, sizeof(oci_size));

    if (o->sizes == NULL) {
        abort();
    }

    driver_fill(o);
    userns_map_choose(&o->map);

    /* The root of a sandbox passes through, but lists nothing. */
    if (box_driver_init(&o->base, host, &oci_ops, "sandboxes", 0711, err)
        == -1)
    {
        goto failed;
    }

    o->seccomp = seccomp_filter_build(err);
    if (o->seccomp == NULL) {
        goto failed;
    }

    oci_images_note(o);

    if (oci_helper_start(&o->helper, &o->base.host, o->base.dirs, &o->map, err)
        == -1)
    {
        goto failed;
    }

    box_driver_groups(&o->base);
    limits_probe(o);

    /* A sandbox's first process becomes ours when its launch is over, and so
     * tells us how it ended. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1) {
        log_warn("oci: prctl: %s", strerror(errno));
    }

    o->adopted = adopted_start(o->base.host.loop);

    return &o->base.d;

failed:

    box_driver_destroy(&o->base);

    return NULL;
}
