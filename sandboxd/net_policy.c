/* Where a sandbox may connect to; see net_policy.h. */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandboxd/net_policy.h"

#define FIELD  "network.outbound"

#define NET(a, b, c, d, bits)                                                 \
    { (uint32_t) (a) << 24 | (b) << 16 | (c) << 8 | (d),                      \
      ((uint32_t) (a) << 24 | (b) << 16 | (c) << 8 | (d))                     \
      + (uint32_t) ((1ull << (32 - (bits))) - 1) }


const net_range  net_refused[] = {
    NET(0, 0, 0, 0, 8),
    NET(10, 0, 0, 0, 8),
    NET(100, 64, 0, 0, 10),
    NET(127, 0, 0, 0, 8),
    NET(168, 63, 129, 16, 32),      /* a cloud's metadata */
    NET(169, 254, 0, 0, 16),
    NET(172, 16, 0, 0, 12),
    NET(192, 0, 0, 0, 24),
    NET(192, 168, 0, 0, 16),
    NET(198, 18, 0, 0, 15),
    NET(224, 0, 0, 0, 3),
    { 0, 0 }
};

const net_range  net_never[] = {
    NET(0, 0, 0, 0, 8),
    NET(127, 0, 0, 0, 8),
    NET(168, 63, 129, 16, 32),
    NET(169, 254, 0, 0, 16),
    NET(224, 0, 0, 0, 3),
    { 0, 0 }
};


bool
net_address_parse(uint32_t *dst, const char *text)
{
    struct in_addr  in;

    if (inet_pton(AF_INET, text, &in) != 1) {
        return false;
    }

    *dst = ntohl(in.s_addr);

    return true;
}


bool
net_range_parse(net_range *dst, const char *text)
{
    char         address[16];
    size_t       len;
    uint32_t     mask;
    unsigned     bits;
    const char  *slash, *p;

    slash = strchr(text, '/');
    len = slash != NULL ? (size_t) (slash - text) : strlen(text);
    bits = 32;

    if (len >= sizeof(address)) {
        return false;
    }

    memcpy(address, text, len);
    address[len] = '\0';

    if (!net_address_parse(&dst->first, address)) {
        return false;
    }

    if (slash != NULL) {
        p = slash + 1;

        if (strspn(p, "0123456789") != strlen(p) || strlen(p) < 1
            || strlen(p) > 2 || (p[0] == '0' && p[1] != '\0'))
        {
            return false;
        }

        bits = (unsigned) atoi(p);

        if (bits > 32) {
            return false;
        }
    }

    mask = (uint32_t) ((1ull << (32 - bits)) - 1);
    dst->last = dst->first | mask;

    return (dst->first & mask) == 0;
}


static bool
range_within(const net_range *r, const net_range *of)
{
    return r->first >= of->first && r->last <= of->last;
}


static bool
range_meets(const net_range *a, const net_range *b)
{
    return a->first <= b->last && b->first <= a->last;
}


static bool
listed_within(const net_range *r, const net_range *list)
{
    for ( ; list->last != 0; list++) {
        if (range_within(r, list)) {
            return true;
        }
    }

    return false;
}


bool
net_pool_parse(net_range *dst, const char *text)
{
    uint32_t          size;
    const net_range  *never;

    if (!net_range_parse(dst, text)) {
        return false;
    }

    for (never = net_never; never->last != 0; never++) {
        if (range_meets(dst, never)) {
            return false;
        }
    }

    size = dst->last - dst->first;

    return size >= (1u << (32 - NET_POOL_BITS_MAX)) - 1
           && size <= (1u << (32 - NET_POOL_BITS_MIN)) - 1;
}


static int
range_compare(const void *one, const void *two)
{
    const net_range  *a, *b;

    a = one;
    b = two;

    return a->first < b->first ? -1 : a->first > b->first;
}


unsigned
net_ranges_merge(net_range *ranges, unsigned count)
{
    unsigned    i, n;
    net_range  *last;

    if (count == 0) {
        return 0;
    }

    qsort(ranges, count, sizeof(net_range), range_compare);

    for (i = 1, n = 1; i < count; i++) {
        last = &ranges[n - 1];

        if (last->last == UINT32_MAX || ranges[i].first <= last->last + 1) {
            if (ranges[i].last > last->last) {
                last->last = ranges[i].last;
            }

        } else {
            ranges[n++] = ranges[i];
        }
    }

    return n;
}


bool
net_address_public(const net_rules *rules, uint32_t address)
{
    net_range  r;

    r.first = address;
    r.last = address;

    return !listed_within(&r, net_refused) && !range_within(&r, &rules->pool);
}


/* Letters, digits and hyphens in at least two labels, the last of which isn't
 * a number: nothing that a resolver could take for an address. */
static bool
name_copy(char *dst, const char *text)
{
    char         c;
    size_t       i, len, label;
    unsigned     labels;
    bool         letter;

    len = strlen(text);
    labels = 1;
    label = 0;
    letter = false;

    if (len == 0 || len > NET_NAME_MAX) {
        return false;
    }

    for (i = 0; i < len; i++) {
        c = text[i];

        if (c >= 'A' && c <= 'Z') {
            c = (char) (c - 'A' + 'a');
        }

        dst[i] = c;

        if (c == '.') {
            if (label == 0 || text[i - 1] == '-') {
                return false;
            }

            labels++;
            label = 0;
            letter = false;
            continue;
        }

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')
              || (c == '-' && label != 0)) || ++label > 63)
        {
            return false;
        }

        letter = letter || (c >= 'a' && c <= 'z');
    }

    dst[len] = '\0';

    return labels > 1 && label != 0 && letter && dst[len - 1] != '-';
}


static bool
private_allowed(const net_rules *rules, const net_range *r)
{
    unsigned  i;

    for (i = 0; i < rules->private_count; i++) {
        if (range_within(r, &rules->private_nets[i])) {
            return true;
        }
    }

    return false;
}


static int
range_check(const char *text, const net_rules *rules, const net_range *r,
    error **err)
{
    if (private_allowed(rules, r) && !listed_within(r, net_never)
        && !range_meets(r, &rules->pool))
    {
        return 0;
    }

    if (listed_within(r, net_refused) || range_within(r, &rules->pool)) {
        return error_set_field(err, 422, "unenforceable", FIELD, 0, "%s is "
                               "not public, and this host doesn't let it be "
                               "allowed", text);
    }

    return 0;
}


static bool
text_inet6(const char *text)
{
    char             address[INET6_ADDRSTRLEN];
    size_t           len;
    struct in6_addr  in6;

    len = strcspn(text, "/");

    if (len >= sizeof(address)) {
        return false;
    }

    memcpy(address, text, len);
    address[len] = '\0';

    return inet_pton(AF_INET6, address, &in6) == 1;
}


static int
allow_add(json_t *list, json_t *value, const net_rules *rules,
    unsigned *names, error **err)
{
    char         name[NET_NAME_MAX + 1];
    net_range    r;
    const char  *text;

    text = json_string_value(value);

    if (text != NULL && strlen(text) == json_string_length(value)) {

        if (net_range_parse(&r, text)) {
            json_array_append_new(list, json_string(text));
            return range_check(text, rules, &r, err);
        }

        if (text_inet6(text)) {
            return error_set_field(err, 422, "unenforceable", FIELD, 0,
                                   "sandboxes have no IPv6: %.64s can't be "
                                   "reached", text);
        }

        if (name_copy(name, text)) {
            if (++*names > NET_NAMES_MAX) {
                return error_set_field(err, 400, "invalid_request", FIELD,
                                       NET_NAMES_MAX, "network.outbound.allow "
                                       "may have %d host names",
                                       NET_NAMES_MAX);
            }

            json_array_append_new(list, json_string(name));
            return 0;
        }
    }

    return error_set_field(err, 400, "invalid_request", FIELD, 0,
                           "network.outbound.allow must have IPv4 addresses, "
                           "nets such as \"203.0.113.0/24\" and host names");
}


static json_t *
allow_parse(json_t *in, const net_rules *rules, error **err)
{
    size_t       i;
    json_t      *allow, *value, *list;
    unsigned     names;
    const char  *name;

    json_object_foreach(in, name, value) {
        if (strcmp(name, "allow") != 0) {
            error_set_field(err, 400, "invalid_request", FIELD, 0,
                            "network.outbound has an unknown member "
                            "\"%.64s\": it may have allow", name);
            return NULL;
        }
    }

    allow = json_object_get(in, "allow");

    if (!json_is_array(allow) || json_array_size(allow) > NET_ALLOW_MAX) {
        error_set_field(err, 400, "invalid_request", FIELD, NET_ALLOW_MAX,
                        "network.outbound.allow must be an array of at most "
                        "%d", NET_ALLOW_MAX);
        return NULL;
    }

    list = json_array();
    names = 0;

    json_array_foreach(allow, i, value) {
        if (allow_add(list, value, rules, &names, err) < 0) {
            json_decref(list);
            return NULL;
        }
    }

    return json_pack("{s:o}", "allow", list);
}


json_t *
net_outbound_parse(json_t *value, const net_rules *rules, error **err)
{
    const char  *text;

    text = json_string_value(value);

    if (value == NULL || json_is_null(value)
        || (text != NULL && (strcmp(text, "none") == 0
                             || strcmp(text, "off") == 0)))
    {
        return json_string("none");
    }

    if (!json_is_object(value) && (text == NULL || strcmp(text, "on") != 0)) {
        error_set_field(err, 400, "invalid_request", FIELD, 0,
                        "network.outbound must be \"none\", \"on\" or an "
                        "object with allow");
        return NULL;
    }

    if (!net_rules_enabled(rules)) {
        error_set_field(err, 422, "unenforceable", FIELD, 0,
                        "network.outbound must be \"none\": no other policy "
                        "can be enforced on this host");
        return NULL;
    }

    return text != NULL ? json_string("on") : allow_parse(value, rules, err);
}


int
net_bandwidth_check(json_int_t rate, const net_rules *rules, error **err)
{
    if (rate < (json_int_t) NET_RATE_MIN || rate > (json_int_t) NET_RATE_MAX) {
        return error_set_field(err, 400, "invalid_request",
                               "network.bandwidth", (long long) NET_RATE_MAX,
                               "network.bandwidth must be %llu to %llu bytes a "
                               "second, as a number or like \"512K\", \"10M\"",
                               NET_RATE_MIN, NET_RATE_MAX);
    }

    if (rules != NULL && rules->rate != 0 && (uint64_t) rate > rules->rate) {
        return error_set_field(err, 422, "unenforceable", "network.bandwidth",
                               (long long) rules->rate, "network.bandwidth "
                               "may be %llu bytes a second at most on this "
                               "host", (unsigned long long) rules->rate);
    }

    return 0;
}


/* The host's may have become less than what was asked for. */
static uint64_t
rate_of(json_t *network, const net_rules *rules)
{
    uint64_t  asked;

    asked = (uint64_t) json_integer_value(json_object_get(network,
                                                          "bandwidth"));

    return asked == 0 || (rules->rate != 0 && rules->rate < asked)
           ? rules->rate : asked;
}


bool
net_policy_fill(net_policy *dst, json_t *network, const net_rules *rules)
{
    size_t       i;
    json_t      *value, *outbound;
    net_range    r;
    const char  *text;

    memset(dst, 0, sizeof(*dst));
    outbound = json_object_get(network, "outbound");
    dst->rate = rate_of(network, rules);
    text = json_string_value(outbound);

    if (text != NULL) {
        dst->on = strcmp(text, "on") == 0;
        return dst->on;
    }

    if (!json_is_object(outbound)) {
        return false;
    }

    json_array_foreach(json_object_get(outbound, "allow"), i, value) {
        text = json_string_value(value);

        if (text == NULL || i >= NET_ALLOW_MAX) {
            break;
        }

        if (!net_range_parse(&r, text)) {
            if (dst->name_count < NET_NAMES_MAX) {
                dst->name_count += name_copy(dst->names[dst->name_count],
                                             text);
            }

        } else if (private_allowed(rules, &r)) {
            dst->private_ranges[dst->private_count++] = r;

        } else {
            dst->ranges[dst->range_count++] = r;
        }
    }

    dst->range_count = net_ranges_merge(dst->ranges, dst->range_count);
    dst->private_count = net_ranges_merge(dst->private_ranges,
                                          dst->private_count);

    return true;
}
