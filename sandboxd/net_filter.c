/* The rules; see net_filter.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nftables/libnftables.h>

#include "sandboxd/net_filter.h"
#include "sandboxd/net_link.h"
#include "sandboxd/vm.h"

#define TABLE   "inet " NET_FILTER_TABLE
#define LINKS   "\"" NET_LINK_PREFIX "*\""
#define CONNECTIONS  2048           /* of one sandbox at the same time */
#define BURST       65536           /* bytes */


static net_filter *
filter_new(error **err)
{
    net_filter  *f;

    f = nft_ctx_new(NFT_CTX_DEFAULT);

    if (f == NULL) {
        error_set(err, 500, "network", "nftables can't be used");
        return NULL;
    }

    nft_ctx_buffer_output(f);
    nft_ctx_buffer_error(f);

    return f;
}


/* One transaction: all of it or nothing. */
static int
filter_run(net_filter *f, const char *commands, error **err)
{
    int          rc;
    size_t       len;
    const char  *said;

    rc = nft_run_cmd_from_buffer(f, commands);
    (void) nft_ctx_get_output_buffer(f);
    said = nft_ctx_get_error_buffer(f);

    if (rc == 0) {
        return 0;
    }

    said = said != NULL && said[0] != '\0' ? said : "no reason given";
    len = strcspn(said, "\n");

    return error_set(err, 503, "start_failed", "nftables: %.*s",
                     (int) (len < 200 ? len : 200), said);
}


static void
put_address(FILE *f, uint32_t a)
{
    fprintf(f, "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
}


static void
put_range(FILE *f, const net_range *r)
{
    put_address(f, r->first);

    if (r->last != r->first) {
        fputc('-', f);
        put_address(f, r->last);
    }
}


static void
put_list(FILE *f, const char *name, const net_range *list,
    const net_range *more)
{
    fprintf(f, "set %s { type ipv4_addr; flags interval; elements = { ", name);

    for ( ; list->last != 0; list++) {
        put_range(f, list);

        if (list[1].last != 0) {
            fputs(", ", f);
        }
    }

    if (more != NULL) {
        fputs(", ", f);
        put_range(f, more);
    }

    fputs(" }\n}\n", f);
}


static void
put_resolvers(FILE *f, const net_rules *rules)
{
    unsigned  i;

    fputs("set resolvers { type ipv4_addr; ", f);

    for (i = 0; i < rules->resolver_count; i++) {
        fputs(i == 0 ? "elements = { " : ", ", f);
        put_address(f, rules->resolvers[i]);
    }

    fputs(i > 0 ? " }\n}\n" : "}\n", f);
}


/*
 * What a link sends with another source than its own, or before it is in the
 * sets, is dropped before anybody looks at it.  Each packet on its way out is
 * judged, whatever its connection: what is not allowed any more ends at once.
 */
static const char  chains[] =
"set sources { type ifname . ipv4_addr; }\n"
"set on { type ifname; }\n"
"set allow { type ifname . ipv4_addr; flags interval; }\n"
"set private { type ifname . ipv4_addr; flags interval; }\n"
"set connections { type ipv4_addr; size 65535; flags dynamic; }\n"
"map up { type ifname : limit; }\n"
"map down { type ifname : limit; }\n"
"chain prerouting { type filter hook prerouting priority raw; policy accept;\n"
"  iifname " LINKS " jump source; }\n"
"chain source { meta nfproto != ipv4 drop;\n"
"  iifname . ip saddr != @sources drop; }\n"
"chain input { type filter hook input priority -10; policy accept;\n"
"  iifname " LINKS " jump refuse; }\n"
"chain forward { type filter hook forward priority -10; policy accept;\n"
"  iifname " LINKS " jump out;\n"
"  oifname " LINKS " jump in; }\n"
"chain in { limit name oifname map @down drop;\n"
"  ct state established accept;\n"
"  ct state related meta l4proto icmp accept; drop; }\n"
"chain out { oifname " LINKS " jump refuse;\n"
"  ip daddr @never jump refuse;\n"
"  limit name iifname map @up drop;\n"
"  iifname @on ip daddr @resolvers udp dport 53 jump pass;\n"
"  iifname @on ip daddr @resolvers tcp dport 53 jump pass;\n"
"  iifname . ip daddr @private jump pass;\n"
"  ip daddr @refused jump refuse;\n"
"  iifname @on jump pass;\n"
"  iifname . ip daddr @allow jump pass;\n"
"  jump refuse; }\n"
"chain refuse { meta l4proto tcp reject with tcp reset; reject; }\n"
"chain pass { ct state new add @connections { ip saddr ct count over %d } "
"jump refuse;\n"
"  accept; }\n"
"chain postrouting { type nat hook postrouting priority srcnat; "
"policy accept;\n"
"  iifname " LINKS " oifname != " LINKS " masquerade; }\n"
"}\n";


static void
put_table(FILE *f, const net_rules *rules)
{
    fputs("add table " TABLE "\ndelete table " TABLE "\ntable " TABLE " {\n",
          f);
    put_list(f, "never", net_never, &rules->pool);
    put_list(f, "refused", net_refused, NULL);
    put_resolvers(f, rules);
    fprintf(f, chains, CONNECTIONS);
}


void
net_filter_close(net_filter *f)
{
    if (f != NULL) {
        nft_ctx_free(f);
    }
}


void
net_filter_drop(net_filter *f)
{
    (void) filter_run(f, "delete table " TABLE "\n", NULL);
}


static void
put_ranges(FILE *f, const char *verb, const char *set, const char *name,
    const net_range *ranges, unsigned count)
{
    unsigned  i;

    if (count == 0) {
        return;
    }

    fprintf(f, "%s element " TABLE " %s { ", verb, set);

    for (i = 0; i < count; i++) {
        fprintf(f, "%s\"%s\" . ", i > 0 ? ", " : "", name);
        put_range(f, &ranges[i]);
    }

    fputs(" }\n", f);
}


static void
put_policy(FILE *f, const char *verb, const char *name, const net_policy *p)
{
    if (p->on) {
        fprintf(f, "%s element " TABLE " on { \"%s\" }\n", verb, name);
    }

    put_ranges(f, verb, "allow", name, p->ranges, p->range_count);
    put_ranges(f, verb, "private", name, p->private_ranges, p->private_count);
}


static void
put_source(FILE *f, const char *verb, const char *name, uint32_t address)
{
    fprintf(f, "%s element " TABLE " sources { \"%s\" . ", verb, name);
    put_address(f, address);
    fputs(" }\n", f);
}


/* A second's worth may come at once, and the burst on top. */
static void
put_limits(FILE *f, bool add, const char *name, uint64_t rate)
{
    size_t                    i;
    static const char *const  ways[] = { "up", "down" };

    for (i = 0; rate != 0 && i < 2; i++) {
        if (add) {
            fprintf(f, "add limit " TABLE " %s%s { rate over %llu "
                    "bytes/second burst %u bytes; }\n"
                    "add element " TABLE " %s { \"%s\" : \"%s%s\" }\n",
                    ways[i], name, (unsigned long long) rate, BURST,
                    ways[i], name, ways[i], name);
        } else {
            fprintf(f, "delete element " TABLE " %s { \"%s\" : \"%s%s\" }\n"
                    "delete limit " TABLE " %s%s\n", ways[i], name, ways[i],
                    name, ways[i], name);
        }
    }
}


/* address 0: the link stays. */
static int
filter_exchange(net_filter *f, uint32_t slot, uint32_t address,
    const net_policy *from, const net_policy *to, error **err)
{
    int        rc;
    char       name[NET_LINK_NAME], *text;
    FILE      *out;
    size_t     len;
    uint64_t   before, after;

    net_link_name(slot, name);
    text = NULL;
    out = open_memstream(&text, &len);

    if (out == NULL) {
        abort();
    }

    if (from != NULL) {
        put_policy(out, "delete", name, from);
    }

    if (to != NULL) {
        put_policy(out, "add", name, to);
    }

    if (address != 0) {
        put_source(out, to != NULL ? "add" : "delete", name, address);
    }

    before = from != NULL ? from->rate : 0;
    after = to != NULL ? to->rate : 0;

    if (before != after) {
        put_limits(out, false, name, before);
        put_limits(out, true, name, after);
    }

    fclose(out);
    rc = len > 0 ? filter_run(f, text, err) : 0;
    free(text);

    return rc;
}


int
net_filter_add(net_filter *f, uint32_t slot, uint32_t address,
    const net_policy *policy, error **err)
{
    return filter_exchange(f, slot, address, NULL, policy, err);
}


int
net_filter_change(net_filter *f, uint32_t slot, const net_policy *from,
    const net_policy *to, error **err)
{
    return filter_exchange(f, slot, 0, from, to, err);
}


int
net_filter_remove(net_filter *f, uint32_t slot, uint32_t address,
    const net_policy *policy, error **err)
{
    return filter_exchange(f, slot, address, policy, NULL, err);
}


int
net_filter_renew(net_filter *f, const net_rules *rules,
    const net_filter_entry *entries, size_t count, error **err)
{
    int      rc;
    char     name[NET_LINK_NAME], *text;
    FILE    *out;
    size_t   i, len;

    text = NULL;
    out = open_memstream(&text, &len);

    if (out == NULL) {
        abort();
    }

    put_table(out, rules);

    for (i = 0; i < count; i++) {
        net_link_name(entries[i].slot, name);
        put_policy(out, "add", name, entries[i].policy);
        put_source(out, "add", name, entries[i].address);
        put_limits(out, true, name, entries[i].policy->rate);
    }

    fclose(out);
    rc = filter_run(f, text, err);
    free(text);

    return rc;
}


net_filter *
net_filter_open(const net_rules *rules, error **err)
{
    net_filter  *f;

    f = filter_new(err);

    if (f != NULL && net_filter_renew(f, rules, NULL, 0, err) == -1) {
        net_filter_close(f);
        f = NULL;
    }

    return f;
}


int
net_filter_keeper(error **err)
{
    int          rc;
    char         commands[1024];
    net_filter  *f;

    static const char  text[] =
    "add table ip sandboxd\ndelete table ip sandboxd\n"
    "table ip sandboxd {\n"
    "chain forward { type filter hook forward priority 0; policy drop;\n"
    "  ct state new ct count over %d drop;\n"
    "  iifname \"" VM_TAP "\" oifname \"" NET_KEEPER "\" accept;\n"
    "  iifname \"" NET_KEEPER "\" ct state established,related accept; }\n"
    "chain input { type filter hook input priority 0; policy accept;\n"
    "  iifname \"" VM_TAP "\" ct state new drop;\n"
    "  iifname \"" NET_KEEPER "\" ct state established,related accept;\n"
    "  iifname \"" NET_KEEPER "\" drop; }\n"
    "chain postrouting { type nat hook postrouting priority srcnat;\n"
    "  oifname \"" NET_KEEPER "\" masquerade; }\n"
    "}\n";

    f = filter_new(err);
    if (f == NULL) {
        return -1;
    }

    snprintf(commands, sizeof(commands), text, CONNECTIONS);
    rc = filter_run(f, commands, err);
    net_filter_close(f);

    return rc;
}
