/* sources: sandboxd/net_policy.c common/error.c */
/* libs: -ljansson */
/* Whatever is asked for, what is taken parses to itself, and allows nothing
 * that is nobody's to reach, or private without being listed. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sandboxd/net_policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check_ranges(const net_range *r, unsigned count, unsigned max)
{
    unsigned  i;

    if (count > max) {
        abort();
    }

    for (i = 0; i < count; i++) {
        if (r[i].first > r[i].last
            || (i > 0 && r[i].first <= r[i - 1].last + 1))
        {
            abort();
        }
    }
}


static void
check_policy(json_t *outbound, const net_rules *rules)
{
    size_t       i;
    unsigned     n;
    net_policy   p;
    const char  *c;

    if (!net_policy_fill(&p, outbound, rules)) {
        return;
    }

    check_ranges(p.ranges, p.range_count, NET_ALLOW_MAX);
    check_ranges(p.private_ranges, p.private_count, NET_ALLOW_MAX);

    for (n = 0; n < p.private_count; n++) {
        if (p.private_ranges[n].first < rules->private_nets[0].first
            || p.private_ranges[n].last > rules->private_nets[0].last)
        {
            abort();
        }
    }

    /* They are written into a file of the sandbox's. */
    for (n = 0; n < p.name_count; n++) {
        for (i = 0, c = p.names[n]; c[i] != '\0'; i++) {
            if (strchr("abcdefghijklmnopqrstuvwxyz0123456789-.", c[i])
                == NULL)
            {
                abort();
            }
        }
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t     *in, *once, *twice;
    net_rules   rules;

    memset(&rules, 0, sizeof(rules));
    net_pool_parse(&rules.pool, "10.64.0.0/16");
    net_range_parse(&rules.private_nets[0], "10.0.0.0/9");
    rules.private_count = 1;

    in = json_loadb((const char *) data, size,
                    JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (in == NULL) {
        return 0;
    }

    once = net_outbound_parse(in, &rules, NULL);

    if (once != NULL) {
        twice = net_outbound_parse(once, &rules, NULL);

        if (twice == NULL || !json_equal(once, twice)) {
            abort();
        }

        json_decref(twice);
        check_policy(once, &rules);
    }

    json_decref(once);
    json_decref(in);

    return 0;
}
