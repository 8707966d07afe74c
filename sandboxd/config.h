/*
 * The command line.  Pure: checks what can be checked without touching
 * anything; what is on disk is host.c's.
 */

#ifndef SANDBOXD_CONFIG_H
#define SANDBOXD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"
#include "common/log.h"
#include "sandboxd/endpoint.h"
#include "sandboxd/machine_config.h"
#include "sandboxd/net_policy.h"
#include "sandboxd/pool_config.h"

#define CONFIG_IMAGES_MAX   32
#define CONFIG_SOCKET_MAX   90      /* bytes of a socket's path */

typedef enum {
    CONFIG_OCI,
    CONFIG_QEMU,
    CONFIG_FIRECRACKER,
    CONFIG_DRIVERS
} config_driver;

typedef struct {
    const char  *state_dir;
    const char  *run_dir;
    const char  *secret_file;
    const char  *agent;
    const char  *crun;              /* NULL: looked for in the usual places */
    const char  *qemu;              /* NULL: the usual place */
    const char  *firecracker;       /* NULL: the usual place */
    const char  *kernel;            /* directory; NULL: none */
    const char  *accel;             /* NULL: by trying */
    const char  *channel;           /* NULL: by what there is */
    const char  *vsock_program;     /* NULL: the usual place */
    machine_keep  keep_memory;
    uint64_t     disk_rate;         /* of machines: bytes a second, */
    uint64_t     disk_ops;          /* requests; 0: no limit */
    unsigned     templates;         /* of machines */
    bool         templates_without_node;
    config_driver  drivers[CONFIG_DRIVERS];     /* the first: the default */
    unsigned     driver_count;
    const char  *socket_group;      /* NULL: the process's own */
    const char  *default_image;     /* NULL: see config_parse() */
    const char  *image_names[CONFIG_IMAGES_MAX + 1];    /* and "host" */
    const char  *image_dirs[CONFIG_IMAGES_MAX];
    unsigned     image_count;
    unsigned     starts;            /* 0: twice the processors, at least 4 */
    uint64_t     disk_floor;        /* bytes */
    uint64_t     disk_limit;        /* bytes of each sandbox; 0: none */
    uint64_t     disk_budget;       /* bytes of all of them; 0: none */
    uint64_t     memory_floor;      /* bytes */
    uint64_t     memory_budget;     /* bytes; 0: none */
    const char  *external_dir;      /* NULL: no sockets of others */
    endpoint_rules  external;
    pool_config  pool;
    net_rules    network;
    unsigned     network_refresh;   /* seconds */
    bool         dev;
    bool         stop_on_exit;
    bool         version;
    bool         help;
    log_level    level;
} config;

/*
 * Reads the arguments; the strings stay theirs, argv's "NAME=DIR" are cut at
 * the "=".  The default image is --default-image, else "host" with --dev,
 * else the first --image.
 */
int config_parse(config *dst, int argc, char **argv, error **err);

bool config_has_driver(const config *cf, config_driver driver);

void config_usage(FILE *f);

#endif
