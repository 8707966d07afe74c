/* What is to be kept warm; see pool.h. */

#ifndef SANDBOXD_POOL_CONFIG_H
#define SANDBOXD_POOL_CONFIG_H

#include <stdint.h>

#define POOL_IMAGES_MAX         33      /* with "host" */
#define POOL_TARGET_MAX       1000      /* of one image */
#define POOL_BATCH_MAX          20
#define POOL_INTERVAL_MIN      100      /* ms */
#define POOL_INTERVAL_MAX  3600000

typedef struct {
    const char  *image;
    unsigned     target;        /* prepared ones that are to wait */
} pool_target;

typedef struct {
    pool_target  targets[POOL_IMAGES_MAX];
    unsigned     count;
    unsigned     batch;         /* prepared at the same time */
    uint64_t     interval_ms;   /* between two looks at those that wait */
} pool_config;

#endif
