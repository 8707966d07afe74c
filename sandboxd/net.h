/*
 * Networks of sandboxes: to each that may connect to anything a link of its
 * own, an address from the pool, and what it may reach.  What touches the
 * kernel is done in one thread, in the order in which it was asked for.
 *
 *   net_policy.c  what is asked for; pure
 *   net_link.c    pairs of interfaces
 *   net_filter.c  the rules
 *   net_names.c   names to addresses
 *
 * A sandbox has no network before net_attach() has called back, and none after
 * it has failed.  Event loop's thread only.
 */

#ifndef SANDBOXD_NET_H
#define SANDBOXD_NET_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "common/error.h"
#include "sandboxd/driver.h"
#include "sandboxd/net_names.h"
#include "sandboxd/net_policy.h"

typedef struct net  net;

/* err is the callee's; never called before the function returns. */
typedef void (*net_done)(void *data, error *err);

/* The names of a sandbox have other addresses now. */
typedef void (*net_changed)(void *data, uint32_t slot);

/* The rules stay the caller's; refresh: seconds between two looks at names.
 * Fails where this host can't enforce them. */
net *net_open(uv_loop_t *loop, const net_rules *rules, unsigned refresh,
    net_changed changed, void *data, error **err);

/* What sandboxes have stays theirs; without any, nothing is left. */
void net_close(net *n);

/* Gives a running sandbox what the policy allows, instead of what it had. */
void net_attach(net *n, uint32_t slot, const driver_handle *handle,
    bool machine, const net_policy *policy, net_done cb, void *data);

/* Takes it away; the slot may be used again at once.  cb may be NULL; an
 * attach that is under way is called back with an error. */
void net_detach(net *n, uint32_t slot, net_done cb, void *data);

/* At the start: finds the link of a sandbox that an earlier sandboxd has made;
 * false: there is none.  Then removes what nobody has. */
bool net_adopt(net *n, uint32_t slot, const driver_handle *handle,
    bool machine, const net_policy *policy);
void net_sweep(net *n);

/* Lines of /etc/hosts for the names of its policy, new; NULL: it has none. */
char *net_hosts(net *n, uint32_t slot);

#endif
