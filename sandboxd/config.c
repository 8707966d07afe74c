/* The command line; see config.h.  Its text is in config_usage.c. */

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "sandboxd/config_part.h"

#define STARTS_MAX        256
#define TEMPLATES_MAX     64

#define DISK_RATE_MIN     (1ull << 20)
#define DISK_RATE_MAX     (1ull << 40)
#define DISK_OPS_MIN      16
#define DISK_OPS_MAX      100000000

#define FLOOR_MIN         (16ull << 20)
#define FLOOR_DEFAULT     (256ull << 20)
#define DISK_LIMIT_MAX    (16ull << 40)     /* more can't be asked for */

#define NETWORK_REFRESH_DEFAULT  60

#define POOL_INTERVAL_DEFAULT  10000

#define SOCKET_NAME_MAX   (sizeof("/control.sock") - 1)


static const struct option  options[] = {
    { "state-dir", required_argument, NULL, OPT_STATE_DIR },
    { "run-dir", required_argument, NULL, OPT_RUN_DIR },
    { "secret-file", required_argument, NULL, OPT_SECRET_FILE },
    { "agent", required_argument, NULL, OPT_AGENT },
    { "driver", required_argument, NULL, OPT_DRIVER },
    { "crun", required_argument, NULL, OPT_CRUN },
    { "qemu", required_argument, NULL, OPT_QEMU },
    { "firecracker", required_argument, NULL, OPT_FIRECRACKER },
    { "kernel", required_argument, NULL, OPT_KERNEL },
    { "accel", required_argument, NULL, OPT_ACCEL },
    { "qemu-channel", required_argument, NULL, OPT_CHANNEL },
    { "vhost-device-vsock", required_argument, NULL, OPT_VSOCK_PROGRAM },
    { "keep-memory", required_argument, NULL, OPT_KEEP_MEMORY },
    { "machine-disk-rate", required_argument, NULL, OPT_DISK_RATE },
    { "machine-disk-ops", required_argument, NULL, OPT_DISK_OPS },
    { "templates", required_argument, NULL, OPT_TEMPLATES },
    { "template-node", required_argument, NULL, OPT_TEMPLATE_NODE },
    { "image", required_argument, NULL, OPT_IMAGE },
    { "default-image", required_argument, NULL, OPT_DEFAULT_IMAGE },
    { "dev", no_argument, NULL, OPT_DEV },
    { "socket-group", required_argument, NULL, OPT_SOCKET_GROUP },
    { "stop-on-exit", no_argument, NULL, OPT_STOP_ON_EXIT },
    { "starts", required_argument, NULL, OPT_STARTS },
    { "disk-floor", required_argument, NULL, OPT_DISK_FLOOR },
    { "disk-limit", required_argument, NULL, OPT_DISK_LIMIT },
    { "disk-budget", required_argument, NULL, OPT_DISK_BUDGET },
    { "memory-floor", required_argument, NULL, OPT_MEMORY_FLOOR },
    { "memory-budget", required_argument, NULL, OPT_MEMORY_BUDGET },
    { "pool", required_argument, NULL, OPT_POOL },
    { "pool-batch", required_argument, NULL, OPT_POOL_BATCH },
    { "pool-interval", required_argument, NULL, OPT_POOL_INTERVAL },
    { "external-dir", required_argument, NULL, OPT_EXTERNAL_DIR },
    { "external-net", required_argument, NULL, OPT_EXTERNAL_NET },
    { "external-cids", required_argument, NULL, OPT_EXTERNAL_CIDS },
    { "network-pool", required_argument, NULL, OPT_NETWORK_POOL },
    { "network-private", required_argument, NULL, OPT_NETWORK_PRIVATE },
    { "network-resolver", required_argument, NULL, OPT_NETWORK_RESOLVER },
    { "network-rate", required_argument, NULL, OPT_NETWORK_RATE },
    { "network-refresh", required_argument, NULL, OPT_NETWORK_REFRESH },
    { "log-level", required_argument, NULL, OPT_LOG_LEVEL },
    { "version", no_argument, NULL, OPT_VERSION },
    { "help", no_argument, NULL, OPT_HELP },
    { NULL, 0, NULL, 0 }
};


static const char *const  accels[] = { "auto", "kvm", "tcg", NULL };
static const char *const  channels[] = { "auto", "tap", "vhost-user-vsock",
                                         "vhost-vsock", NULL };
static const char *const  switches[] = { "on", "off", NULL };


int
config_number(const char *name, const char *text, uint64_t min, uint64_t max,
    bool units, uint64_t *dst, error **err)
{
    int                  shift;
    char                *end;
    const char          *unit;
    unsigned long long   n;

    errno = 0;
    shift = 0;
    n = strtoull(text, &end, 10);
    unit = units && *end != '\0' ? strchr("KkMmGgTt", *end) : NULL;

    if (unit != NULL) {
        shift = 10 * (1 + (int) (unit - "KkMmGgTt") / 2);
        end++;
    }

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0
        || n > (max >> shift) || n << shift < min)
    {
        return error_set(err, 400, "usage", "--%s must be a number from %llu "
                         "to %llu%s, not \"%s\"", name,
                         (unsigned long long) min, (unsigned long long) max,
                         units ? ", with K, M, G or T if you like" : "",
                         text);
    }

    *dst = n << shift;

    return 0;
}


static int
config_one_of(const char *name, const char *value, const char *words,
    const char *const *list, error **err)
{
    for ( ; *list != NULL; list++) {
        if (strcmp(*list, value) == 0) {
            return 0;
        }
    }

    return error_set(err, 400, "usage", "--%s must be %s, not \"%s\"", name,
                     words, value);
}


bool
config_has_driver(const config *cf, config_driver driver)
{
    unsigned  i;

    for (i = 0; i < cf->driver_count; i++) {
        if (cf->drivers[i] == driver) {
            return true;
        }
    }

    return false;
}


static int
config_driver_names(config *dst, char *value, error **err)
{
    char           *name, *rest;
    config_driver   driver;

    dst->driver_count = 0;

    for (name = strtok_r(value, ",", &rest); name != NULL;
         name = strtok_r(NULL, ",", &rest))
    {
        driver = strcmp(name, "oci") == 0 ? CONFIG_OCI
                 : strcmp(name, "qemu") == 0 ? CONFIG_QEMU
                 : strcmp(name, "firecracker") == 0 ? CONFIG_FIRECRACKER
                 : CONFIG_DRIVERS;

        if (driver == CONFIG_DRIVERS || config_has_driver(dst, driver)) {
            return error_set(err, 400, "usage", "--driver must be oci, qemu or "
                             "firecracker, or some of them, not \"%s\"", name);
        }

        dst->drivers[dst->driver_count++] = driver;
    }

    return dst->driver_count > 0 ? 0
           : error_set(err, 400, "usage", "--driver must be oci, qemu or "
                       "firecracker");
}


/* Virtual machines. */
static int
config_machine(config *dst, config_option option, const char *value,
    error **err)
{
    uint64_t  n;

    switch (option) {

    case OPT_ACCEL:
        dst->accel = value;
        return config_one_of("accel", value, "auto, kvm or tcg", accels, err);

    case OPT_CHANNEL:
        dst->channel = value;
        return config_one_of("qemu-channel", value, "auto, tap, "
                             "vhost-user-vsock or vhost-vsock", channels, err);

    case OPT_KEEP_MEMORY:
        dst->keep_memory = strcmp(value, "off") == 0 ? MACHINE_KEEP_OFF
                                                     : MACHINE_KEEP_ON;
        return config_one_of("keep-memory", value, "on or off", switches, err);

    case OPT_TEMPLATE_NODE:
        dst->templates_without_node = strcmp(value, "off") == 0;
        return config_one_of("template-node", value, "on or off", switches,
                             err);

    case OPT_DISK_RATE:
        return config_number("machine-disk-rate", value, DISK_RATE_MIN,
                             DISK_RATE_MAX, true, &dst->disk_rate, err);

    case OPT_DISK_OPS:
        return config_number("machine-disk-ops", value, DISK_OPS_MIN,
                             DISK_OPS_MAX, false, &dst->disk_ops, err);

    default:
        if (config_number("templates", value, 0, TEMPLATES_MAX, false, &n, err)
            < 0)
        {
            return -1;
        }

        dst->templates = (unsigned) n;
        return 0;
    }
}


/* Where the value of an option goes that is taken as it is; or NULL. */
static const char **
config_text(config *dst, config_option option)
{
    switch (option) {
    case OPT_STATE_DIR:
        return &dst->state_dir;
    case OPT_RUN_DIR:
        return &dst->run_dir;
    case OPT_SECRET_FILE:
        return &dst->secret_file;
    case OPT_AGENT:
        return &dst->agent;
    case OPT_CRUN:
        return &dst->crun;
    case OPT_QEMU:
        return &dst->qemu;
    case OPT_FIRECRACKER:
        return &dst->firecracker;
    case OPT_KERNEL:
        return &dst->kernel;
    case OPT_VSOCK_PROGRAM:
        return &dst->vsock_program;
    case OPT_DEFAULT_IMAGE:
        return &dst->default_image;
    case OPT_EXTERNAL_DIR:
        return &dst->external_dir;
    case OPT_SOCKET_GROUP:
        return &dst->socket_group;
    default:
        return NULL;
    }
}


/* The same for options without a value. */
static bool *
config_flag(config *dst, config_option option)
{
    switch (option) {
    case OPT_DEV:
        return &dst->dev;
    case OPT_STOP_ON_EXIT:
        return &dst->stop_on_exit;
    case OPT_VERSION:
        return &dst->version;
    case OPT_HELP:
        return &dst->help;
    default:
        return NULL;
    }
}


static int
config_value(config *dst, config_option option, char *value, error **err)
{
    uint64_t  n;

    if (config_text(dst, option) != NULL) {
        *config_text(dst, option) = value;
        return 0;
    }

    if (config_flag(dst, option) != NULL) {
        *config_flag(dst, option) = true;
        return 0;
    }

    if (option == OPT_IMAGE) {
        return config_image(dst, value, err);
    }

    if (option == OPT_EXTERNAL_NET || option == OPT_EXTERNAL_CIDS) {
        return config_external(dst, option, value, err);
    }

    if (option >= OPT_NETWORK_POOL && option <= OPT_NETWORK_REFRESH) {
        return config_network(dst, option, value, err);
    }

    if (option == OPT_DRIVER) {
        return config_driver_names(dst, value, err);
    }

    if (option >= OPT_ACCEL && option <= OPT_TEMPLATE_NODE) {
        return config_machine(dst, option, value, err);
    }

    if (option == OPT_DISK_FLOOR) {
        return config_number("disk-floor", value, FLOOR_MIN, UINT64_MAX >> 1,
                             true, &dst->disk_floor, err);
    }

    if (option == OPT_DISK_LIMIT) {
        return config_number("disk-limit", value, FLOOR_MIN,
                             DISK_LIMIT_MAX, true, &dst->disk_limit, err);
    }

    if (option == OPT_DISK_BUDGET) {
        return config_number("disk-budget", value, FLOOR_MIN, UINT64_MAX >> 1,
                             true, &dst->disk_budget, err);
    }

    if (option == OPT_MEMORY_FLOOR) {
        return config_number("memory-floor", value, FLOOR_MIN,
                             UINT64_MAX >> 1, true, &dst->memory_floor, err);
    }

    if (option == OPT_MEMORY_BUDGET) {
        return config_number("memory-budget", value, FLOOR_MIN,
                             UINT64_MAX >> 1, true, &dst->memory_budget, err);
    }

    if (option == OPT_STARTS) {
        if (config_number("starts", value, 1, STARTS_MAX, false, &n, err) < 0)
        {
            return -1;
        }

        dst->starts = (unsigned) n;

    } else if (option == OPT_POOL) {
        return config_pool(dst, value, err);

    } else if (option == OPT_POOL_BATCH) {
        if (config_number("pool-batch", value, 1, POOL_BATCH_MAX, false, &n,
                          err)
            < 0)
        {
            return -1;
        }

        dst->pool.batch = (unsigned) n;

    } else if (option == OPT_POOL_INTERVAL) {
        return config_number("pool-interval", value, POOL_INTERVAL_MIN,
                             POOL_INTERVAL_MAX, false,
                             &dst->pool.interval_ms, err);

    } else if (!log_level_parse(value, &dst->level)) {
        return error_set(err, 400, "usage", "--log-level must be error, warn, "
                         "info or debug, not \"%s\"", value);
    }

    return 0;
}


static int
config_complete(config *dst, error **err)
{
    size_t  i;
    const struct {
        const char  *name;
        const char  *value;
    } required[] = {
        { "--state-dir", dst->state_dir },
        { "--run-dir", dst->run_dir },
        { "--secret-file", dst->secret_file },
        { "--agent", dst->agent }
    };

    for (i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
        if (required[i].value == NULL || required[i].value[0] == '\0') {
            return error_set(err, 400, "usage", "%s is missing",
                             required[i].name);
        }
    }

    if (strlen(dst->run_dir) + SOCKET_NAME_MAX > CONFIG_SOCKET_MAX) {
        return error_set(err, 400, "usage", "--run-dir has %zu bytes, at most "
                         "%zu are allowed: the paths of sockets below it may "
                         "have %d", strlen(dst->run_dir),
                         CONFIG_SOCKET_MAX - SOCKET_NAME_MAX,
                         CONFIG_SOCKET_MAX);
    }

    if ((config_has_driver(dst, CONFIG_QEMU)
         || config_has_driver(dst, CONFIG_FIRECRACKER))
        && dst->image_count == 0)
    {
        return error_set(err, 400, "usage", "there is no image for virtual "
                         "machines: give --image NAME=FILE");
    }

    if (!dst->dev && dst->image_count == 0) {
        return error_set(err, 400, "usage", "there is no image: give --image "
                         "NAME=DIR, or --dev for development");
    }

    return config_images_complete(dst, err);
}


/* getopt says what is wrong by itself, but only on standard error. */
static int
config_unknown(char **argv, int index, int got, error **err)
{
    const char  *word;

    word = index > 0 ? argv[index] : "";

    if (got == ':') {
        return error_set(err, 400, "usage", "%s needs a value", word);
    }

    return error_set(err, 400, "usage", "unknown, ambiguous or wrongly used "
                     "option \"%s\"", word);
}


int
config_parse(config *dst, int argc, char **argv, error **err)
{
    int  got;

    memset(dst, 0, sizeof(*dst));
    dst->level = LOG_INFO;
    dst->driver_count = 1;
    dst->disk_floor = FLOOR_DEFAULT;
    dst->memory_floor = FLOOR_DEFAULT;
    dst->network_refresh = NETWORK_REFRESH_DEFAULT;
    dst->pool.batch = 1;
    dst->pool.interval_ms = POOL_INTERVAL_DEFAULT;

    optind = 0;
    opterr = 0;

    while ((got = getopt_long(argc, argv, "+:", options, NULL)) != -1) {

        if (got == '?' || got == ':') {
            return config_unknown(argv, optind - 1, got, err);
        }

        if (config_value(dst, (config_option) got, optarg, err) < 0) {
            return -1;
        }

        if (dst->help || dst->version) {
            return 0;
        }
    }

    if (optind < argc) {
        return error_set(err, 400, "usage", "\"%s\" is no option",
                         argv[optind]);
    }

    return config_complete(dst, err);
}
