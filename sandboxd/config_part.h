/* What the files that read the command line share; see config.h. */

#ifndef SANDBOXD_CONFIG_PART_H
#define SANDBOXD_CONFIG_PART_H

#include "sandboxd/config.h"

typedef enum {
    OPT_STATE_DIR = 256,
    OPT_RUN_DIR,
    OPT_SECRET_FILE,
    OPT_AGENT,
    OPT_DRIVER,
    OPT_CRUN,
    OPT_QEMU,
    OPT_FIRECRACKER,
    OPT_KERNEL,
    OPT_VSOCK_PROGRAM,
    OPT_IMAGE,
    OPT_DEFAULT_IMAGE,
    OPT_DEV,
    OPT_SOCKET_GROUP,
    OPT_STOP_ON_EXIT,
    OPT_STARTS,
    OPT_DISK_FLOOR,
    OPT_DISK_LIMIT,
    OPT_DISK_BUDGET,
    OPT_MEMORY_FLOOR,
    OPT_MEMORY_BUDGET,
    OPT_POOL,
    OPT_POOL_BATCH,
    OPT_POOL_INTERVAL,
    OPT_EXTERNAL_DIR,
    OPT_EXTERNAL_NET,
    OPT_EXTERNAL_CIDS,
    OPT_NETWORK_POOL,
    OPT_NETWORK_PRIVATE,
    OPT_NETWORK_RESOLVER,
    OPT_NETWORK_RATE,
    OPT_NETWORK_REFRESH,
    OPT_ACCEL,
    OPT_CHANNEL,
    OPT_KEEP_MEMORY,
    OPT_DISK_RATE,
    OPT_DISK_OPS,
    OPT_TEMPLATES,
    OPT_TEMPLATE_NODE,
    OPT_LOG_LEVEL,
    OPT_VERSION,
    OPT_HELP
} config_option;

/* A number within bounds; with `units`, K, M, G or T may stand behind it. */
int config_number(const char *name, const char *text, uint64_t min,
    uint64_t max, bool units, uint64_t *dst, error **err);

/* config_image.c: --image, --pool; and what is known when all is read. */
int config_image(config *dst, char *text, error **err);
int config_pool(config *dst, char *text, error **err);
int config_images_complete(config *dst, error **err);

/* config_network.c */
int config_external(config *dst, config_option option, const char *value,
    error **err);
int config_network(config *dst, config_option option, const char *value,
    error **err);

#endif
