/* Addresses: of others' sandboxes, and for sandboxes; see config.h. */

#include "sandboxd/config_part.h"


/* What may be registered of sandboxes that others run. */
int
config_external(config *dst, config_option option, const char *value,
    error **err)
{
    endpoint_rules  *rules;

    rules = &dst->external;

    if (option == OPT_EXTERNAL_CIDS) {
        return endpoint_cids_parse(rules, value) ? 0
               : error_set(err, 400, "usage", "--external-cids must be a cid "
                           "or two of them, like 1000-1999, from %d on, not "
                           "\"%s\"", ENDPOINT_CID_MIN, value);
    }

    if (rules->net_count == ENDPOINT_NETS_MAX) {
        return error_set(err, 400, "usage", "more than %d times "
                         "--external-net", ENDPOINT_NETS_MAX);
    }

    if (!endpoint_net_parse(&rules->nets[rules->net_count], value)) {
        return error_set(err, 400, "usage", "--external-net must be an "
                         "address, or a net like 10.1.0.0/16 or fd00::/8, not "
                         "\"%s\"", value);
    }

    rules->net_count++;

    return 0;
}


int
config_network(config *dst, config_option option, const char *value,
    error **err)
{
    uint64_t    n;
    net_rules  *rules;

    rules = &dst->network;

    switch (option) {

    case OPT_NETWORK_POOL:
        return net_pool_parse(&rules->pool, value) ? 0
               : error_set(err, 400, "usage", "--network-pool must be a net "
                           "of %d to %d bits, like 100.64.0.0/16, not \"%s\"",
                           NET_POOL_BITS_MIN, NET_POOL_BITS_MAX, value);

    case OPT_NETWORK_PRIVATE:
        if (rules->private_count == NET_PRIVATE_MAX
            || !net_range_parse(&rules->private_nets[rules->private_count],
                                value))
        {
            return error_set(err, 400, "usage", "--network-private must be a "
                             "net, like 10.1.0.0/16, up to %d times, not "
                             "\"%s\"", NET_PRIVATE_MAX, value);
        }

        rules->private_count++;
        return 0;

    case OPT_NETWORK_RESOLVER:
        if (rules->resolver_count == NET_RESOLVERS_MAX
            || !net_address_parse(&rules->resolvers[rules->resolver_count],
                                  value))
        {
            return error_set(err, 400, "usage", "--network-resolver must be "
                             "an IPv4 address, up to %d times, not \"%s\"",
                             NET_RESOLVERS_MAX, value);
        }

        rules->resolver_count++;
        return 0;

    case OPT_NETWORK_RATE:
        return config_number("network-rate", value, NET_RATE_MIN, NET_RATE_MAX,
                             true, &rules->rate, err);

    default:
        if (config_number("network-refresh", value, 1, 86400, false, &n, err)
            < 0)
        {
            return -1;
        }

        dst->network_refresh = (unsigned) n;
        return 0;
    }
}
