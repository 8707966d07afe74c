/*
 * sandboxd: owns the records and the sandboxes, answers nginx's workers.
 * This file puts the parts together and takes them apart again.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/config.h"
#include "sandboxd/doctor.h"
#include "sandboxd/drivers.h"
#include "sandboxd/external.h"
#include "sandboxd/host.h"
#include "sandboxd/image_command.h"
#include "sandboxd/image_hold.h"
#include "sandboxd/lifecycle.h"
#include "sandboxd/ops.h"
#include "sandboxd/pool.h"
#include "sandboxd/registry.h"
#include "sandboxd/server.h"
#include "sandboxd/store.h"
#include "sandboxd/vm.h"

#define DESCRIPTORS         65536
#define STARTS_LEAST        4
#define EXIT_LIMIT_MS       10000   /* for starts and clean-ups under way */
#define EXIT_STOP_LIMIT_MS  30000   /* with all sandboxes to be ended */


typedef struct {
    config       cf;
    host         h;
    uv_loop_t    loop;
    uv_signal_t  signals[3];
    store       *store;
    registry    *r;
    lifecycle   *lc;
    pool        *pool;
    image_holds  images;
    drivers      drivers;
    driver      *external;
    net         *net;
    server      *server;
    service      sv;
    bool         ending;
} daemon_state;


static void
on_exited(void *data, uint32_t slot, int status, const char *why)
{
    daemon_state  *d;

    d = data;

    if (!pool_on_exited(d->pool, slot) && d->lc != NULL) {
        lifecycle_on_exited(d->lc, slot, status, why);
    }
}


static void
on_killed(void *data, uint32_t slot, const driver_kills *kills)
{
    daemon_state  *d;

    d = data;

    if (d->lc != NULL) {
        lifecycle_on_killed(d->lc, slot, kills);
    }
}


static void
daemon_closed(void *data)
{
    daemon_state  *d;

    d = data;
    uv_stop(&d->loop);
}


/* What the pool has prepared ends first: it is nobody's. */
static void
pool_closed(void *data)
{
    daemon_state  *d;

    d = data;
    lifecycle_close(d->lc, d->cf.stop_on_exit,
                    d->cf.stop_on_exit ? EXIT_STOP_LIMIT_MS : EXIT_LIMIT_MS,
                    daemon_closed, d);
}


static void
on_signal(uv_signal_t *handle, int number)
{
    daemon_state  *d;

    d = handle->data;

    if (number == SIGHUP) {
        log_info("SIGHUP: nothing to reload");
        return;
    }

    if (d->ending) {
        return;
    }

    d->ending = true;
    log_info("signal %d: ending%s", number,
             d->cf.stop_on_exit ? ", with all sandboxes" : "");
    host_notify("STOPPING=1");

    server_close(d->server);
    pool_close(d->pool, pool_closed, d);
}


static void
daemon_signals(daemon_state *d)
{
    size_t            i;
    static const int  numbers[] = { SIGTERM, SIGINT, SIGHUP };

    signal(SIGPIPE, SIG_IGN);

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        uv_signal_init(&d->loop, &d->signals[i]);
        d->signals[i].data = d;
        uv_signal_start(&d->signals[i], on_signal, numbers[i]);
    }
}


/* Connections and the handles of sandboxes take a descriptor each. */
static void
daemon_descriptors(void)
{
    struct rlimit  limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0
        && limit.rlim_cur < DESCRIPTORS && limit.rlim_cur < limit.rlim_max)
    {
        limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max
                                                      : DESCRIPTORS;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}


static unsigned
daemon_starts(const config *cf)
{
    long  starts;

    if (cf->starts != 0) {
        return cf->starts;
    }

    starts = 2 * sysconf(_SC_NPROCESSORS_ONLN);

    return starts < STARTS_LEAST ? STARTS_LEAST
           : starts > STARTS_WITH_DRIVER_MAX ? STARTS_WITH_DRIVER_MAX
           : (unsigned) starts;
}


static const char *
crun_find(const config *cf)
{
    size_t                    i;
    static const char *const  places[] = { "/usr/bin/crun",
                                           "/usr/local/bin/crun",
                                           "/usr/sbin/crun",
                                           "/usr/local/sbin/crun" };

    if (cf->crun != NULL) {
        return cf->crun;
    }

    for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (access(places[i], X_OK) == 0) {
            return places[i];
        }
    }

    return places[0];
}


static int
daemon_drivers(daemon_state *d, error **err)
{
    unsigned     i;
    driver_host  base;

    image_holds_start(&d->images, &d->loop, d->cf.image_dirs,
                      d->cf.image_count);

    memset(&base, 0, sizeof(base));
    base.loop = &d->loop;
    base.state_dir = d->h.state_dir;
    base.run_dir = d->h.run_dir;
    base.agent_path = d->cf.agent;
    base.crun_path = crun_find(&d->cf);
    base.kernel_dir = d->cf.kernel;
    base.accel = d->cf.accel;
    base.channel = d->cf.channel;
    base.vsock_program = d->cf.vsock_program;
    base.keep_memory = d->cf.keep_memory;
    base.templates = d->cf.templates;
    base.templates_without_node = d->cf.templates_without_node;
    base.disk_rate = d->cf.disk_rate;
    base.disk_ops = d->cf.disk_ops;
    base.socket_gid = d->h.socket_gid;
    base.dev = d->cf.dev;
    base.disk_floor = d->cf.disk_floor;
    base.spare = lifecycle_spare;
    base.spare_end = lifecycle_spare_end;
    base.spare_data = d->lc;
    base.exited = on_exited;
    base.killed = on_killed;
    base.told_data = d;

    if (drivers_open(&d->drivers, &d->cf, &base, err) < 0) {
        return -1;
    }

    d->lc->driver = d->drivers.all[0];
    d->lc->driver_count = d->drivers.count;

    for (i = 0; i < d->drivers.count; i++) {
        d->lc->drivers[i] = d->drivers.all[i];
    }

    return 0;
}


static int
daemon_network(daemon_state *d, error **err)
{
    if (!net_rules_enabled(&d->cf.network)) {
        return 0;
    }

    d->net = net_open(&d->loop, &d->cf.network, d->cf.network_refresh,
                      lifecycle_network_changed, d->lc, err);
    d->lc->net = d->net;
    d->lc->network = &d->cf.network;
    d->sv.host.network = &d->cf.network;

    return d->net != NULL ? 0 : -1;
}


static int
daemon_external(daemon_state *d, error **err)
{
    external_host  eh;

    memset(&eh, 0, sizeof(eh));
    eh.loop = &d->loop;
    eh.dir = d->cf.external_dir;
    eh.run_dir = d->h.run_dir;
    eh.socket_gid = d->h.socket_gid;
    eh.rules = d->cf.external;

    d->cf.external.names = d->cf.external_dir != NULL;
    d->external = driver_external_create(&eh, err);
    d->lc->external = d->external;

    return d->external != NULL ? 0 : -1;
}


static void
daemon_service(daemon_state *d)
{
    config  *cf;

    cf = &d->cf;
    drivers_options(&d->drivers, cf, &d->sv.host);

    d->sv.r = d->r;
    d->sv.lc = d->lc;
    d->sv.external = &cf->external;
    d->sv.pool = d->pool;
    d->sv.loop = &d->loop;
    d->sv.state_dir = d->h.state_dir;
    d->sv.disk_floor = cf->disk_floor;
}


static void
daemon_publish(void *data, uint64_t seq, bool ack, json_t *record)
{
    daemon_state  *d;

    d = data;

    events_add(d->sv.events, seq, record);
    server_publish(d->server, seq, ack, record);
}


static int
daemon_open(daemon_state *d, error **err)
{
    int             fd;
    store_meta      meta;
    drivers_config  images;

    if (host_open(&d->h, &d->cf, err) < 0) {
        return -1;
    }

    d->store = store_open(d->h.state_dir, &meta, err);
    if (d->store == NULL) {
        return -1;
    }

    d->r = registry_create(d->store, &meta, err);
    d->sv.answers = d->r != NULL ? idempotency_create(d->store, err) : NULL;

    if (d->sv.answers == NULL
        || store_run(d->store, &d->loop, registry_on_committed, d->r, err)
           < 0)
    {
        return -1;
    }

    d->lc = lifecycle_create(d->r, &d->loop, d->h.runs_dir,
                             daemon_starts(&d->cf));
    d->lc->run_path = d->h.run_dir;
    d->lc->memory_floor = d->cf.memory_floor;
    d->lc->memory_budget = d->cf.memory_budget;
    d->lc->defaults.disk = d->cf.disk_limit;
    d->r->disks.budget = d->cf.disk_budget;

    if (daemon_drivers(d, err) < 0 || daemon_external(d, err) < 0
        || daemon_network(d, err) < 0 || lifecycle_adopt(d->lc, err) < 0)
    {
        return -1;
    }

    images.ds = &d->drivers;
    images.cf = &d->cf;
    d->pool = pool_create(d->lc, drivers_preparing, &images, &d->cf.pool);
    daemon_service(d);

    fd = host_socket(&d->h, err);
    if (fd == -1) {
        return -1;
    }

    d->server = server_create(&d->loop, fd, d->r, d->h.secret, ops_handle,
                              &d->sv, err);
    if (d->server == NULL) {
        return -1;
    }

    d->sv.zones = &d->server->zones;
    /* Above all that was told before: who comes with one of those is told
     * that there was a restart. */
    d->sv.events = events_create(d->r->seq);
    d->r->publish = daemon_publish;
    d->r->publish_data = d;
    d->lc->poll = server_poll;
    d->lc->poll_data = d->server;

    return 0;
}


/* What is changed from here on, by what has not come to its end in time, is not
 * written: the next sandboxd finds it as it is. */
static void
daemon_close(daemon_state *d)
{
    size_t  i;

    for (i = 0; i < 3; i++) {
        if (d->signals[i].data != NULL) {
            uv_close((uv_handle_t *) &d->signals[i], NULL);
        }
    }

    image_holds_stop(&d->images);

    if (d->store != NULL) {
        store_close(d->store);
    }

    drivers_free(&d->drivers);

    if (d->net != NULL) {
        net_close(d->net);
        d->lc->net = NULL;
    }

    if (d->external != NULL) {
        d->lc->closing = true;
        d->external->free(d->external);
    }

    if (d->pool != NULL) {
        pool_free(d->pool);
        d->pool = NULL;
    }

    if (d->lc != NULL) {
        lifecycle_free(d->lc);
        d->lc = NULL;
    }

    /* Handles that something else still holds don't keep us. */
    for (i = 0; i < 100 && uv_run(&d->loop, UV_RUN_NOWAIT) != 0; i++) {
        usleep(1000);
    }

    if (d->server != NULL) {
        server_free(d->server);
    }

    if (d->r != NULL) {
        registry_free(d->r);
    }

    if (d->sv.events != NULL) {
        events_free(d->sv.events);
    }

    if (d->sv.answers != NULL) {
        idempotency_free(d->sv.answers);
    }

    if (d->store != NULL) {
        store_free(d->store);
    }

    host_close(&d->h);
}


int
main(int argc, char **argv)
{
    int                  rc;
    error               *err;
    static daemon_state  d;

    /* The keeper of a virtual machine is this program as well. */
    if (strcmp(argv[0], VM_NAME) == 0) {
        vm_main();
    }

    if (argc > 1 && strcmp(argv[1], "doctor") == 0) {
        return doctor_main(argc - 1, argv + 1);
    }

    if (argc > 1 && strcmp(argv[1], "image") == 0) {
        return image_command(argv + 1);
    }

    err = NULL;

    if (config_parse(&d.cf, argc, argv, &err) < 0) {
        fprintf(stderr, "sandboxd: %s\nTry sandboxd --help\n", err->message);
        error_free(err);
        return 2;
    }

    if (d.cf.help) {
        config_usage(stdout);
        return 0;
    }

    if (d.cf.version) {
        printf("sandboxd %s\n", SANDBOX_VERSION);
        return 0;
    }

    log_set_level(d.cf.level);
    umask(022);
    daemon_descriptors();

    uv_loop_init(&d.loop);
    daemon_signals(&d);
    rc = 0;

    if (daemon_open(&d, &err) < 0) {
        fprintf(stderr, "sandboxd: %s\n", err->message);
        error_free(err);
        rc = 1;

    } else {
        log_info("sandboxd %s is ready on %s/control.sock", SANDBOX_VERSION,
                 d.h.run_dir);
        host_notify("READY=1");
        uv_run(&d.loop, UV_RUN_DEFAULT);
    }

    daemon_close(&d);
    uv_loop_close(&d.loop);

    if (rc == 0) {
        log_info("sandboxd has ended");
    }

    return rc;
}
