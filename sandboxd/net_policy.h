/*
 * Where a sandbox may connect to, and how fast: the option "network", checked
 * and turned into ranges of addresses and into names.  Pure.  Its "outbound":
 *
 *   "none" (or "off")    nowhere
 *   "on"                 everywhere but what is nobody's to reach: this host,
 *                        other sandboxes, private and special ranges
 *   {"allow": [...]}     there only: up to NET_ALLOW_MAX of IPv4 addresses,
 *                        nets ("203.0.113.0/24") and host names, of which up
 *                        to NET_NAMES_MAX
 */

#ifndef SANDBOXD_NET_POLICY_H
#define SANDBOXD_NET_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "common/error.h"

#define NET_ALLOW_MAX       64
#define NET_NAMES_MAX       16
#define NET_NAME_MAX       253
#define NET_ADDRESSES_MAX   16      /* of a name */
#define NET_RANGES_MAX     (NET_ALLOW_MAX + NET_NAMES_MAX * NET_ADDRESSES_MAX)
#define NET_PRIVATE_MAX     32
#define NET_RESOLVERS_MAX    3
#define NET_POOL_BITS_MIN    8
#define NET_POOL_BITS_MAX   29
#define NET_RATE_MIN        (16ull << 10)
#define NET_RATE_MAX        (4ull << 30)    /* what nftables can count */

/* Addresses are in the host's order. */
typedef struct {
    uint32_t  first, last;
} net_range;

/* What this host allows; a pool of one address: no network at all. */
typedef struct {
    net_range  pool;
    net_range  private_nets[NET_PRIVATE_MAX];   /* that may be asked for */
    unsigned   private_count;
    uint32_t   resolvers[NET_RESOLVERS_MAX];    /* for "on" */
    unsigned   resolver_count;
    uint64_t   rate;            /* bytes a second, each way; 0: no limit */
} net_rules;

typedef struct {
    bool       on;
    net_range  ranges[NET_RANGES_MAX];  /* merged: none touches another */
    unsigned   range_count;
    net_range  private_ranges[NET_ALLOW_MAX];   /* the same */
    unsigned   private_count;
    char       names[NET_NAMES_MAX][NET_NAME_MAX + 1];
    unsigned   name_count;
    uint64_t   rate;            /* bytes a second, each way; 0: no limit */
} net_policy;

/* Ranges that sandboxes don't reach unless they are allowed by name, and those
 * that they never reach; both end with one whose last is 0. */
extern const net_range  net_refused[];
extern const net_range  net_never[];

static inline bool
net_rules_enabled(const net_rules *rules)
{
    return rules != NULL && rules->pool.last > rules->pool.first;
}

/* "192.0.2.1" or "192.0.2.0/24"; bits beyond the prefix are an error. */
bool net_range_parse(net_range *dst, const char *text);
bool net_address_parse(uint32_t *dst, const char *text);

/* A pool: a net of NET_POOL_BITS_MIN to NET_POOL_BITS_MAX bits. */
bool net_pool_parse(net_range *dst, const char *text);

/* Sorts and merges; returns how many are left. */
unsigned net_ranges_merge(net_range *ranges, unsigned count);

/* May an address that a name has led to be connected to?  A public name with a
 * private address leads to somebody else's network. */
bool net_address_public(const net_rules *rules, uint32_t address);

/*
 * Canonical form of a value of "outbound", new, or NULL: 400 for what is wrong,
 * 422 `unenforceable` for what this host doesn't do.  rules may be NULL.
 */
json_t *net_outbound_parse(json_t *value, const net_rules *rules,
    error **err);

/* Bytes a second that were asked for: a number, or -1 for what is none; errors
 * as above. */
int net_bandwidth_check(json_int_t rate, const net_rules *rules, error **err);

/* Of a canonical option "network", with outbound and perhaps bandwidth: false
 * where it is no network at all. */
bool net_policy_fill(net_policy *dst, json_t *network,
    const net_rules *rules);

#endif
