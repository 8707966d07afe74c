/* sources: sandboxd/net_policy.c common/error.c */
/* libs: -ljansson */

/* Where a sandbox may connect to. */

#include <string.h>

#include "sandboxd/net_policy.h"
#include "t/unit/tap.h"


static net_rules  rules;


/* The canonical form as text, or the status. */
static const char *
parsed(const char *text, const net_rules *with)
{
    char         *dump;
    error        *err;
    json_t       *in, *out;
    static char   said[8192];

    err = NULL;
    in = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    out = net_outbound_parse(in, with, &err);

    if (out == NULL) {
        snprintf(said, sizeof(said), "%d %s", err->status, err->field);
        error_free(err);

    } else {
        dump = json_dumps(out, JSON_ENCODE_ANY | JSON_COMPACT);
        snprintf(said, sizeof(said), "%s", dump);
        free(dump);
    }

    json_decref(in);
    json_decref(out);

    return said;
}


static bool
same(const char *text, const char *expected)
{
    const char  *got;

    got = parsed(text, &rules);

    if (strcmp(got, expected) != 0) {
        printf("# %s: %s, not %s\n", text, got, expected);
        return false;
    }

    return true;
}


static void
test_forms(void)
{
    ok(same("\"none\"", "\"none\"") && same("\"off\"", "\"none\"")
       && same("null", "\"none\"") && same("\"on\"", "\"on\""), "words");
    ok(same("\"all\"", "400 network.outbound") && same("1", "400 "
       "network.outbound") && same("[]", "400 network.outbound")
       && same("{}", "400 network.outbound")
       && same("{\"allow\":\"on\"}", "400 network.outbound")
       && same("{\"allow\":[1]}", "400 network.outbound")
       && same("{\"allow\":[],\"deny\":[]}", "400 network.outbound"),
       "what is none");
    ok(same("{\"allow\":[]}", "{\"allow\":[]}")
       && same("{\"allow\":[\"1.2.3.4\",\"1.2.3.0/24\",\"A.Example\"]}",
               "{\"allow\":[\"1.2.3.4\",\"1.2.3.0/24\",\"a.example\"]}"),
       "allow-lists");
    ok(strcmp(parsed("\"on\"", NULL), "422 network.outbound") == 0
       && strcmp(parsed("{\"allow\":[]}", NULL), "422 network.outbound") == 0
       && strcmp(parsed("\"off\"", NULL), "\"none\"") == 0,
       "a host without a network");
}


static void
test_entries(void)
{
    size_t                    i;
    char                      text[400];
    static const char *const  wrong[] = {
        "", " ", "1.2.3", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/24", "1.2.3.0/024",
        "1.2.3.4/-1", "01.2.3.4", "1.2.3.256", "localhost", "a..b", ".a.b",
        "a.b.", "-a.b", "a-.b", "a.b-", "a_b.c", "*.example.com", "a b.c",
        "a.1", "a.b\\n", "a.b\\u0000.c", "http://a.b", "a.b:80", "\\u00e4.de"
    };
    static const char *const  closed[] = {
        "0.0.0.0", "10.9.9.9", "10.0.0.0/8", "127.0.0.1", "169.254.169.254",
        "168.63.129.16", "172.16.0.1", "192.168.1.0/24", "100.64.0.2",
        "100.64.0.0/16", "224.0.0.1", "255.255.255.255", "198.18.0.1",
        "::1", "2001:db8::/32"
    };

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(text, sizeof(text), "{\"allow\":[\"%s\"]}", wrong[i]);
        ok(same(text, "400 network.outbound"), "no entry: \"%s\"", wrong[i]);
    }

    for (i = 0; i < sizeof(closed) / sizeof(closed[0]); i++) {
        snprintf(text, sizeof(text), "{\"allow\":[\"%s\"]}", closed[i]);
        ok(same(text, "422 network.outbound"), "not to be allowed: %s",
           closed[i]);
    }

    ok(same("{\"allow\":[\"10.1.2.3\"]}", "{\"allow\":[\"10.1.2.3\"]}"),
       "a private net that the host lets be asked for");
}


static void
test_limits(void)
{
    size_t  i, len;
    char    text[4096];

    len = (size_t) snprintf(text, sizeof(text), "{\"allow\":[\"a0.b\"");

    for (i = 1; i < NET_NAMES_MAX; i++) {
        len += (size_t) snprintf(text + len, sizeof(text) - len,
                                 ",\"a%zu.b\"", i);
    }

    strcpy(text + len, "]}");
    ok(strncmp(parsed(text, &rules), "{", 1) == 0, "so many names");
    strcpy(text + len, ",\"one.more\"]}");
    ok(same(text, "400 network.outbound"), "and no more");

    len = (size_t) snprintf(text, sizeof(text), "{\"allow\":[\"1.2.3.4\"");

    for (i = 1; i < NET_ALLOW_MAX; i++) {
        len += (size_t) snprintf(text + len, sizeof(text) - len,
                                 ",\"1.2.%zu.4\"", 2 * i);
    }

    strcpy(text + len, "]}");
    ok(strncmp(parsed(text, &rules), "{", 1) == 0, "so many entries");
    strcpy(text + len, ",\"1.1.1.1\"]}");
    ok(same(text, "400 network.outbound"), "and no more");
}


static void
test_policy(void)
{
    json_t      *in;
    net_policy   p;

    in = json_loads("{\"outbound\":{\"allow\":[\"9.0.0.0/24\",\"1.2.3.5\","
                    "\"1.2.3.4\",\"9.0.0.7\",\"10.1.0.0/24\",\"a.b\","
                    "\"0.0.0.0/1\"]},\"bandwidth\":20000}", 0, NULL);
    ok(net_policy_fill(&p, in, &rules) && !p.on && p.range_count == 1
       && p.ranges[0].first == 0 && p.ranges[0].last == 0x7fffffff
       && p.private_count == 1 && p.private_ranges[0].first == 0x0a010000
       && p.name_count == 1 && strcmp(p.names[0], "a.b") == 0,
       "ranges are merged, private ones apart");
    ok(p.rate == 20000, "a bandwidth");
    rules.rate = 18000;
    ok(net_policy_fill(&p, in, &rules) && p.rate == 18000,
       "not more than the host's");
    json_object_del(in, "bandwidth");
    ok(net_policy_fill(&p, in, &rules) && p.rate == 18000, "which all have");
    ok(net_bandwidth_check(18000, &rules, NULL) == 0
       && net_bandwidth_check(18001, &rules, NULL) == -1
       && net_bandwidth_check(16383, &rules, NULL) == -1
       && net_bandwidth_check(-1, NULL, NULL) == -1
       && net_bandwidth_check(1ll << 32, NULL, NULL) == 0
       && net_bandwidth_check((1ll << 32) + 1, NULL, NULL) == -1,
       "its bounds");
    rules.rate = 0;
    json_decref(in);

    ok(!net_policy_fill(&p, NULL, &rules), "nothing is no network");

    ok(net_address_public(&rules, 0x01020304)
       && !net_address_public(&rules, 0x0a010001)
       && !net_address_public(&rules, 0xa9fea9fe)
       && !net_address_public(&rules, 0x64400005), "public addresses");
}


static void
test_pools(void)
{
    net_range  r;

    ok(net_pool_parse(&r, "100.64.0.0/16") && r.first == 0x64400000
       && r.last == 0x6440ffff && net_pool_parse(&r, "10.0.0.0/29")
       && net_pool_parse(&r, "10.0.0.0/8"), "pools");
    ok(!net_pool_parse(&r, "10.0.0.0/30") && !net_pool_parse(&r, "0.0.0.0/0")
       && !net_pool_parse(&r, "127.0.0.0/16")
       && !net_pool_parse(&r, "169.254.1.0/24")
       && !net_pool_parse(&r, "10.0.0.1/16") && !net_pool_parse(&r, "x"),
       "and what is none");
}


int
main(void)
{
    net_pool_parse(&rules.pool, "100.64.0.0/16");
    net_range_parse(&rules.private_nets[0], "10.1.0.0/16");
    rules.private_count = 1;

    test_forms();
    test_entries();
    test_limits();
    test_policy();
    test_pools();

    return done_testing();
}
