/*
 * Names to addresses: by the host's resolver, in a thread for each question,
 * of which NET_LOOKUPS_MAX are asked at the same time, within a deadline.
 * Only public addresses are an answer.
 */

#ifndef SANDBOXD_NET_NAMES_H
#define SANDBOXD_NET_NAMES_H

#include <stdint.h>

#include <uv.h>

#include "common/error.h"
#include "sandboxd/net_policy.h"

#define NET_LOOKUPS_MAX  16
#define NET_LOOKUP_MS    10000

typedef struct {
    unsigned  count[NET_NAMES_MAX];
    uint32_t  addresses[NET_NAMES_MAX][NET_ADDRESSES_MAX];
} net_answer;

/* Called once, never before net_names_ask() returns; answer is NULL or
 * borrowed. */
typedef void (*net_answered)(void *data, const net_answer *answer,
    error *err);

/* The policy's names; the rules live as long as the process. */
void net_names_ask(uv_loop_t *loop, const net_policy *policy,
    const net_rules *rules, net_answered cb, void *data);

/* Lines of /etc/hosts, new; NULL: it has no names. */
char *net_names_hosts(const net_policy *policy, const net_answer *answer);

#endif
