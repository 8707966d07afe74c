/* sources: sandboxd/endpoint.c common/json_get.c common/error.c */
/* libs: -ljansson */

/* Where agents of others may be: what is an endpoint, and which are allowed. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/vm_sockets.h>

#include "sandboxd/endpoint.h"
#include "t/unit/tap.h"


static bool
parse(endpoint *e, const char *text)
{
    int      rc;
    json_t  *json;

    json = json_loads(text, JSON_DECODE_ANY, NULL);
    rc = endpoint_parse(e, json, NULL);
    json_decref(json);

    return rc == 0;
}


static void
test_parse(void)
{
    int                       i;
    char                      text[400], *again;
    json_t                   *json;
    endpoint                  e, same;
    static const char *const  good[] = {
        "{\"kind\":\"unix\",\"name\":\"a\"}",
        "{\"kind\":\"unix\",\"name\":\"pod-7/agent.sock\"}",
        "{\"kind\":\"unix\",\"name\":\"...\"}",
        "{\"kind\":\"unix\",\"name\":\"vm/v.sock\",\"vsockPort\":1024}",
        "{\"kind\":\"tcp\",\"address\":\"10.0.0.7\",\"port\":7000}",
        "{\"kind\":\"tcp\",\"address\":\"fd00::7\",\"port\":65535}",
        "{\"kind\":\"vsock\",\"cid\":3,\"port\":1024}",
        "{\"kind\":\"vsock\",\"cid\":4294967294,\"port\":1}",
        "{\"kind\":\"vsock\",\"cid\":1,\"port\":1}", NULL
    };
    static const char *const  bad[] = {
        "null", "[]", "\"unix\"", "{}", "{\"kind\":\"pipe\"}",
        "{\"kind\":1}", "{\"kind\":\"unix\"}",
        "{\"kind\":\"unix\",\"name\":\"\"}",
        "{\"kind\":\"unix\",\"name\":\"/a\"}",
        "{\"kind\":\"unix\",\"name\":\"a/\"}",
        "{\"kind\":\"unix\",\"name\":\"a//b\"}",
        "{\"kind\":\"unix\",\"name\":\".\"}",
        "{\"kind\":\"unix\",\"name\":\"../a\"}",
        "{\"kind\":\"unix\",\"name\":\"a/../b\"}",
        "{\"kind\":\"unix\",\"name\":\"a/..\"}",
        "{\"kind\":\"unix\",\"name\":\"a\\nb\"}",
        "{\"kind\":\"unix\",\"name\":7}",
        "{\"kind\":\"unix\",\"name\":\"a\",\"port\":1}",
        "{\"kind\":\"unix\",\"name\":\"a\",\"vsockPort\":0}",
        "{\"kind\":\"unix\",\"name\":\"a\",\"vsockPort\":4294967295}",
        "{\"kind\":\"tcp\",\"address\":\"10.0.0.7\",\"vsockPort\":80}",
        "{\"kind\":\"tcp\",\"address\":\"10.0.0.7\"}",
        "{\"kind\":\"tcp\",\"address\":\"10.0.0.7\",\"port\":0}",
        "{\"kind\":\"tcp\",\"address\":\"10.0.0.7\",\"port\":65536}",
        "{\"kind\":\"tcp\",\"address\":\"10.0.0.7\",\"port\":\"80\"}",
        "{\"kind\":\"tcp\",\"address\":\"10.0.0\",\"port\":80}",
        "{\"kind\":\"tcp\",\"address\":\"010.0.0.1\",\"port\":80}",
        "{\"kind\":\"tcp\",\"address\":\"0x7f000001\",\"port\":80}",
        "{\"kind\":\"tcp\",\"address\":\"localhost\",\"port\":80}",
        "{\"kind\":\"tcp\",\"address\":\"fe80::1%eth0\",\"port\":80}",
        "{\"kind\":\"tcp\",\"address\":\"10.0.0.7\",\"port\":80,\"cid\":3}",
        "{\"kind\":\"vsock\",\"cid\":2,\"port\":1}",
        "{\"kind\":\"vsock\",\"cid\":0,\"port\":1}",
        "{\"kind\":\"vsock\",\"cid\":-1,\"port\":1}",
        "{\"kind\":\"vsock\",\"cid\":4294967295,\"port\":1}",
        "{\"kind\":\"vsock\",\"cid\":3}",
        "{\"kind\":\"vsock\",\"cid\":3,\"port\":4294967295}", NULL
    };

    for (i = 0; good[i] != NULL; i++) {
        ok(parse(&e, good[i]), "an endpoint: %s", good[i]);

        json = endpoint_json(&e);
        again = json_dumps(json, JSON_COMPACT);
        ok(parse(&same, again) && memcmp(&e, &same, sizeof(e)) == 0
           && endpoint_tag(&e) == endpoint_tag(&same)
           && (endpoint_tag(&e) & ENDPOINT_TAG_KIND) == e.kind,
           "its canonical form is the same: %s", again);
        free(again);
        json_decref(json);
    }

    for (i = 0; bad[i] != NULL; i++) {
        ok(!parse(&e, bad[i]), "none: %s", bad[i]);
    }

    snprintf(text, sizeof(text), "{\"kind\":\"unix\",\"name\":\"%0255d\"}", 1);
    ok(parse(&e, text), "a name of 255 bytes");
    snprintf(text, sizeof(text), "{\"kind\":\"unix\",\"name\":\"%0256d\"}", 1);
    ok(!parse(&e, text), "256 are too many");
}


static bool
net(endpoint_rules *rules, const char *text)
{
    return rules->net_count < ENDPOINT_NETS_MAX
           && endpoint_net_parse(&rules->nets[rules->net_count++], text);
}


static bool
allowed(const endpoint_rules *rules, const char *address)
{
    endpoint  e;

    memset(&e, 0, sizeof(e));
    e.kind = ENDPOINT_TCP;
    e.port = 7000;
    e.family = strchr(address, ':') ? AF_INET6 : AF_INET;

    return inet_pton(e.family, address, e.address) == 1
           && endpoint_check(&e, rules, NULL) == 0;
}


static void
test_rules(void)
{
    int                       i;
    endpoint                  e;
    endpoint_net              n;
    endpoint_rules            rules;
    static const char *const  nets[] = { "10.0.0.0/8", "10.1.2.3",
                                         "0.0.0.0/0", "::/0", "fd00::/8",
                                         "::1/128", "10.1.2.128/25", NULL };
    static const char *const  none[] = { "", "/8", "10.0.0.0/33", "10.0.0.0/",
                                         "10.1.0.0/8", "::/129", "10.0.0.0/-1",
                                         "10.0.0.0/8x", "net/8",
                                         "10.0.0.0/08888", NULL };

    for (i = 0; nets[i] != NULL; i++) {
        ok(endpoint_net_parse(&n, nets[i]), "a net: %s", nets[i]);
    }

    for (i = 0; none[i] != NULL; i++) {
        ok(!endpoint_net_parse(&n, none[i]), "no net: \"%s\"", none[i]);
    }

    memset(&rules, 0, sizeof(rules));
    ok(!allowed(&rules, "10.1.2.3"), "without rules no address is allowed");
    ok(parse(&e, "{\"kind\":\"unix\",\"name\":\"a\"}")
       && endpoint_check(&e, &rules, NULL) < 0, "nor a socket");
    rules.names = true;
    ok(endpoint_check(&e, &rules, NULL) == 0, "with a directory it is");

    ok(net(&rules, "10.1.0.0/20"), "a net");
    ok(allowed(&rules, "10.1.15.255") && allowed(&rules, "10.1.0.0"),
       "what is in it is allowed");
    ok(!allowed(&rules, "10.1.16.0") && !allowed(&rules, "11.1.0.1")
       && !allowed(&rules, "::a01:1"), "and nothing else");

    memset(&rules, 0, sizeof(rules));
    ok(net(&rules, "0.0.0.0/0") && net(&rules, "::/0"), "all nets");
    ok(allowed(&rules, "192.0.2.1") && allowed(&rules, "2001:db8::1"),
       "hold addresses of others");
    ok(!allowed(&rules, "127.0.0.1") && !allowed(&rules, "127.77.1.2")
       && !allowed(&rules, "::1"), "not those of this machine");
    ok(!allowed(&rules, "169.254.169.254") && !allowed(&rules, "fe80::1")
       && !allowed(&rules, "fd00:ec2::254")
       && !allowed(&rules, "100.100.100.200"), "nor metadata and links");
    ok(!allowed(&rules, "0.0.0.0") && !allowed(&rules, "224.0.0.1")
       && !allowed(&rules, "255.255.255.255") && !allowed(&rules, "::")
       && !allowed(&rules, "ff02::1"), "nor what is no host");
    ok(!allowed(&rules, "::ffff:127.0.0.1") && !allowed(&rules, "::127.0.0.1")
       && !allowed(&rules, "64:ff9b::7f00:1")
       && !allowed(&rules, "2002:7f00:1::"), "nor IPv4 in disguise");

    ok(net(&rules, "127.77.0.0/16") && net(&rules, "::1"), "listed by itself");
    ok(allowed(&rules, "127.77.1.2") && allowed(&rules, "::1")
       && !allowed(&rules, "127.0.0.1"), "it is allowed, and no more");
}


static void
test_cids(void)
{
    int                       i;
    endpoint                  e;
    endpoint_rules            rules;
    static const char *const  bad[] = { "", "-", "2", "3-2", "1-3", "0", "7-", "-7", "a",
                                        "7-8-9", "4294967295", "7 ", "+7",
                                        NULL };

    memset(&rules, 0, sizeof(rules));
    ok(parse(&e, "{\"kind\":\"vsock\",\"cid\":1500,\"port\":9}")
       && endpoint_check(&e, &rules, NULL) < 0, "no cids without a rule");
    ok(endpoint_cids_parse(&rules, "1000-1499")
       && endpoint_check(&e, &rules, NULL) < 0, "others than it is about");
    ok(endpoint_cids_parse(&rules, "1000-1500")
       && endpoint_check(&e, &rules, NULL) == 0, "a range");
    ok(endpoint_cids_parse(&rules, "1500")
       && endpoint_check(&e, &rules, NULL) == 0, "one");
    ok(parse(&e, "{\"kind\":\"vsock\",\"cid\":1,\"port\":9}")
       && endpoint_check(&e, &rules, NULL) < 0
       && endpoint_cids_parse(&rules, "1")
       && endpoint_check(&e, &rules, NULL) == 0,
       "this machine, where it is listed");

    for (i = 0; bad[i] != NULL; i++) {
        ok(!endpoint_cids_parse(&rules, bad[i]), "no cids: \"%s\"", bad[i]);
    }
}


static void
test_sockaddr(void)
{
    endpoint                 e;
    struct sockaddr_in      *sin;
    struct sockaddr_vm      *svm;
    struct sockaddr_in6     *sin6;
    struct sockaddr_storage  addr;

    parse(&e, "{\"kind\":\"tcp\",\"address\":\"10.0.0.7\",\"port\":7000}");
    sin = (struct sockaddr_in *) &addr;
    ok(endpoint_sockaddr(&e, &addr) == sizeof(*sin)
       && sin->sin_family == AF_INET && sin->sin_port == htons(7000)
       && sin->sin_addr.s_addr == htonl(0x0a000007), "the address of IPv4");

    parse(&e, "{\"kind\":\"tcp\",\"address\":\"fd00::7\",\"port\":7000}");
    sin6 = (struct sockaddr_in6 *) &addr;
    ok(endpoint_sockaddr(&e, &addr) == sizeof(*sin6)
       && sin6->sin6_family == AF_INET6 && sin6->sin6_port == htons(7000)
       && sin6->sin6_addr.s6_addr[0] == 0xfd
       && sin6->sin6_addr.s6_addr[15] == 7, "of IPv6");

    parse(&e, "{\"kind\":\"vsock\",\"cid\":77,\"port\":1024}");
    svm = (struct sockaddr_vm *) &addr;
    ok(endpoint_sockaddr(&e, &addr) == sizeof(*svm)
       && svm->svm_family == AF_VSOCK && svm->svm_cid == 77
       && svm->svm_port == 1024, "of a virtual machine");
}


int
main(void)
{
    test_parse();
    test_rules();
    test_cids();
    test_sockaddr();

    return done_testing();
}
