/*
 * What the workers' operations do: between the server's requests and the
 * registry and the lifecycle.  The same functions can serve another front
 * later.  Event loop's thread only.
 */

#ifndef SANDBOXD_OPS_H
#define SANDBOXD_OPS_H

#include "sandboxd/events.h"
#include "sandboxd/idempotency.h"
#include "sandboxd/lifecycle.h"
#include "sandboxd/options.h"
#include "sandboxd/pool.h"
#include "sandboxd/registry.h"
#include "sandboxd/server.h"

typedef struct {
    registry      *r;
    events        *events;
    idempotency   *answers;
    struct ops_fork  *forks;        /* that are being made */
    lifecycle     *lc;
    pool          *pool;
    zones         *zones;
    uv_loop_t     *loop;
    options_host   host;
    const endpoint_rules  *external;    /* what may be registered */
    const char    *state_dir;
    uint64_t       disk_floor;      /* free bytes that creations leave */
} service;

/* In ops_tenant.c. */
void op_tenant(service *sv, request *req);

/* A server_handler; data is the service. */
void ops_handle(void *data, request *req);

#endif
