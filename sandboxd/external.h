/*
 * The driver of sandboxes that others run: it starts and stops nothing, and
 * looks whether their agents answer.  An agent's Unix socket gets a second
 * name, <run_dir>/s/<slot>, once it has answered: a hard link, which whoever
 * owns the first name can't turn to something else.
 *
 *   external.c        the driver object; the socket's second name
 *   external_probe.c  a connection to an agent, and its first answer
 */

#ifndef SANDBOXD_EXTERNAL_H
#define SANDBOXD_EXTERNAL_H

#include <sys/socket.h>

#include <uv.h>

#include "common/error.h"
#include "sandboxd/driver.h"
#include "sandboxd/endpoint.h"

#define EXTERNAL_PROBE_MS  3000

typedef struct {
    uv_loop_t       *loop;
    const char      *dir;           /* --external-dir, or NULL */
    const char      *run_dir;       /* <run_dir>/s/<8 hex> are the sockets */
    gid_t            socket_gid;    /* of nginx's workers; -1: the process's */
    endpoint_rules   rules;
} external_host;

/* Fails if sockets below dir can't be linked to the run directory. */
driver *driver_external_create(const external_host *host, error **err);

/*
 * One look at an agent.  The callback runs once, never before the call has
 * returned; err is the callee's.  Its code is `unreachable` if nobody is there
 * or somebody else, `no_answer` if it takes too long.
 */
typedef struct external_probe  external_probe;

typedef void (*external_probed)(void *data, error *err);

/* vsock_port: what a VMM at the address wants first; 0: there is none. */
external_probe *external_probe_start(uv_loop_t *loop,
    const struct sockaddr *addr, socklen_t len, uint32_t vsock_port,
    const char *key, external_probed cb, void *data, error **err);

/* Ends one without its callback; also behind it, to free it. */
void external_probe_stop(external_probe *probe);

#endif
