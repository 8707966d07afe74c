/*
 * A sandbox's link: a pair of interfaces, one here, one in the sandbox's
 * network namespace, by rtnetlink and ioctl().  For the thread of net.c alone:
 * it enters other namespaces.
 */

#ifndef SANDBOXD_NET_LINK_H
#define SANDBOXD_NET_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "sandboxd/driver.h"

#define NET_LINK_PREFIX  "sbx"      /* and 8 hex digits: the slot */
#define NET_LINK_NAME    16
#define NET_INSIDE       "eth0"     /* of a container */
#define NET_KEEPER       "out0"     /* of a virtual machine's keeper */

typedef struct {
    uint32_t  slot;
    uint32_t  address;              /* of the sandbox */
    uint32_t  gateway;              /* ours, of all links */
    bool      machine;              /* a virtual machine's keeper */
} net_link;

void net_link_name(uint32_t slot, char name[NET_LINK_NAME]);

/* The network namespace of a sandbox, which is not our own; -1: err. */
int net_link_namespace(const driver_handle *handle, error **err);

/* Makes both ends and their routes. */
int net_link_make(const net_link *link, int ns, error **err);

/* Nothing there to remove is no error. */
int net_link_remove(uint32_t slot, error **err);

/* What has gone through a link, as its sandbox sees it; without one nothing is
 * changed.  Any thread. */
void net_link_count(uint32_t slot, driver_stats *stats);

/* The address that the sandbox of a link has; false: there is none. */
bool net_link_address(uint32_t slot, uint32_t *address);

/* Calls for each link that there is. */
void net_link_each(void (*found)(void *data, uint32_t slot), void *data);

/* Goes into a namespace and comes back. */
int net_link_enter(int ns, int *back, error **err);
void net_link_leave(int back);

#endif
