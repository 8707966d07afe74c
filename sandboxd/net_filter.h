/*
 * The rules: one static table, "inet sandboxd", whose sets say for each link
 * what its sandbox may reach.  By libnftables; for one thread at a time.
 */

#ifndef SANDBOXD_NET_FILTER_H
#define SANDBOXD_NET_FILTER_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "sandboxd/net_policy.h"

typedef struct nft_ctx  net_filter;

/* A link, and what it may. */
typedef struct {
    uint32_t           slot;
    uint32_t           address;
    const net_policy  *policy;
} net_filter_entry;

#define NET_FILTER_TABLE  "sandboxd"

/* Makes the table anew, with empty sets: nobody reaches anything. */
net_filter *net_filter_open(const net_rules *rules, error **err);
void net_filter_close(net_filter *f);

/* Makes it anew with these in it, in one step. */
int net_filter_renew(net_filter *f, const net_rules *rules,
    const net_filter_entry *entries, size_t count, error **err);

/* The table goes. */
void net_filter_drop(net_filter *f);

/* Adds a link with what it may; exchanges that, in one step; takes all of it
 * away. */
int net_filter_add(net_filter *f, uint32_t slot, uint32_t address,
    const net_policy *policy, error **err);
int net_filter_change(net_filter *f, uint32_t slot, const net_policy *from,
    const net_policy *to, error **err);
int net_filter_remove(net_filter *f, uint32_t slot, uint32_t address,
    const net_policy *policy, error **err);

/* In the namespace of a virtual machine's keeper, which the caller is in: what
 * the guest sends goes out with the keeper's address, nothing comes in. */
int net_filter_keeper(error **err);

#endif
