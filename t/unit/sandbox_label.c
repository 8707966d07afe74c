/* sources: ngx_sandbox_module/sandbox_label.c */

/* Host labels, origins and cookies; see ngx_sandbox_module/sandbox_label.h. */

#include <stdlib.h>
#include <string.h>

#include "ngx_sandbox_module/sandbox_label.h"
#include "t/unit/tap.h"


/* An exact-size copy, so that a read beyond its end is noticed. */

static char *
copy(const char *s, size_t *len)
{
    char  *p;

    *len = strlen(s);
    p = malloc(*len ? *len : 1);
    memcpy(p, s, *len);

    return p;
}


static void
test_hash(void)
{
    size_t          i;
    uint64_t        hash[2];
    unsigned char   key[16], data[64];

    /* from an independent implementation of SipHash-1-3 */

    static const uint64_t  want[] = {
        0xabac0158050fc4dcULL, 0xc9f49bf37d57ca93ULL, 0x82cb9b024dc7d44dULL,
        0x8bf80ab8e7ddf7fbULL
    };

    static const struct {
        size_t    len;
        uint64_t  hash[2];
    } wide[] = {
        { 0, { 0xbea58827b2bc7ee7ULL, 0x013030dd6adb62fdULL } },
        { 3, { 0x9ff7dc1efaccc56bULL, 0x43d7eb1277182348ULL } },
        { 8, { 0xb4dae3d5e1fe12aaULL, 0x99c7f935ab164f72ULL } },
        { 31, { 0x8b853c5b1c96ea42ULL, 0x1090a7df50e5c317ULL } }
    };

    for (i = 0; i < 16; i++) {
        key[i] = (unsigned char) i;
    }

    for (i = 0; i < 64; i++) {
        data[i] = (unsigned char) i;
    }

    for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        ok(sandbox_label_hash(key, data, i) == want[i], "hash of %zu bytes",
           i);
    }

    for (i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) {
        sandbox_label_hash128(key, data, wide[i].len, hash);
        ok(hash[0] == wide[i].hash[0] && hash[1] == wide[i].hash[1],
           "128 bits of %zu bytes", wide[i].len);
    }

    key[0] ^= 1;
    ok(sandbox_label_hash(key, data, 3) != want[3], "another key");
    sandbox_label_hash128(key, data, wide[1].len, hash);
    ok(hash[0] != wide[1].hash[0] && hash[1] != wide[1].hash[1],
       "another key, 128 bits");
}


static void
test_labels(void)
{
    size_t  i, len;
    char   *p, longest[64];

    static const struct {
        const char  *host;
        const char  *domain;
        size_t       len;
    } cases[] = {
        { "8000-demo.example.org", "example.org", 9 },
        { "a.b", "b", 1 },
        { "a_b.example", "example", 3 },
        { "example.org", "example.org", 0 },
        { ".example.org", "example.org", 0 },
        { "a.b.example.org", "example.org", 0 },
        { "aexample.org", "example.org", 0 },
        { "a.example.orgx", "example.org", 0 },
        { "A.example.org", "example.org", 0 },
        { "+8000-demo.example.org", "example.org", 0 },
        { "a b.example.org", "example.org", 0 },
        { "", "example.org", 0 },
        { "a.example.org", "", 0 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        p = copy(cases[i].host, &len);
        ok(sandbox_label_below(p, len, cases[i].domain,
                               strlen(cases[i].domain)) == cases[i].len,
           "\"%s\" below \"%s\"", cases[i].host, cases[i].domain);
        free(p);
    }

    memset(longest, 'a', sizeof(longest));
    ok(sandbox_label_valid(longest, 63), "63 bytes");
    ok(!sandbox_label_valid(longest, 64), "64 bytes");
    ok(!sandbox_label_valid("", 0), "no bytes");
    ok(sandbox_host_valid("www.example.org", 15), "a host name");
    ok(!sandbox_host_valid("localhost", 9), "one without a dot");
}


static void
test_hosts(void)
{
    int       rc;
    char     *p;
    size_t    i, len;
    unsigned  port;

    static const struct {
        const char  *host;
        int          match;
        unsigned     port;
    } cases[] = {
        { "demo.test", 1, 0 },
        { "DEMO.Test", 1, 0 },
        { "demo.test:80", 1, 80 },
        { "demo.test:65535", 1, 65535 },
        { "demo.test.", 1, 0 },
        { "demo.test.:80", 1, 80 },
        { "demo.test:65536", 0, 0 },
        { "demo.test:100000", 0, 0 },
        { "demo.test:080", 0, 0 },
        { "demo.test:0", 0, 0 },
        { "demo.test:", 0, 0 },
        { "demo.test:8x", 0, 0 },
        { "demo.test:+80", 0, 0 },
        { "demo.test..", 0, 0 },
        { "demo.tes", 0, 0 },
        { "demo.testx", 0, 0 },
        { "", 0, 0 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        p = copy(cases[i].host, &len);
        rc = sandbox_host_match(p, len, "demo.test", 9, &port);
        ok(rc == cases[i].match && (!rc || port == cases[i].port),
           "Host \"%s\"", cases[i].host);
        free(p);
    }
}


static void
test_origins(void)
{
    char    *p;
    size_t   i, len;

    static const struct {
        const char  *url;
        size_t       len;
    } cases[] = {
        { "http://localhost:8000", 21 },
        { "http://localhost:8000/a", 21 },
        { "http://localhost:8000?a", 21 },
        { "http://localhost:8000#a", 21 },
        { "HTTPS://LocalHost:8000/", 22 },
        { "http://127.0.0.1:8000", 21 },
        { "http://localhost:80000", 0 },
        { "http://localhost:800", 0 },
        { "http://localhost:08000", 0 },
        { "http://localhost:8000@x/", 0 },
        { "http://localhost:8000.x/", 0 },
        { "http://localhost:8000:1/", 0 },
        { "http://localhost", 0 },
        { "http://localhost/", 0 },
        { "//localhost:8000/", 0 },
        { "", 0 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        p = copy(cases[i].url, &len);
        ok(sandbox_origin_local(p, len, 8000) == cases[i].len, "\"%s\"",
           cases[i].url);
        free(p);
    }

    ok(sandbox_origin_local("http://localhost:", 17, 0) == 0, "port 0");
    ok(sandbox_origin_match("http://a.b:1/x", 14, "http://a.b:1", 12) == 12,
       "an origin");
    ok(sandbox_origin_match("http://a.b:12", 13, "http://a.b:1", 12) == 0,
       "a longer port is another origin");
    ok(sandbox_origin_match("http://a", 8, "", 0) == 0, "no origin");
}


static void
test_ports(void)
{
    char      text[SANDBOX_PORT_LEN + 1];
    size_t    i, len;
    char      want[16];

    static const unsigned  ports[] = { 0, 1, 9, 10, 99, 1024, 8000, 10000,
                                       65535 };

    for (i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
        len = sandbox_port_write(text, ports[i]);
        text[len] = '\0';
        snprintf(want, sizeof(want), "%u", ports[i]);
        ok(strcmp(text, want) == 0, "port %s", want);
    }
}


static void
test_cookies(void)
{
    char    *p;
    size_t   i, len;

    static const struct {
        const char  *value;
        int          stays;
    } cases[] = {
        { "a=b", 1 },
        { "a=b; Path=/; HttpOnly", 1 },
        { "a=b; Domain=h.test", 1 },
        { "a=b; domain=.H.TEST", 1 },
        { "a=b; Domain=", 1 },
        { "a=b; Domain", 1 },
        { "domain=test", 1 },
        { "", 1 },
        { ";", 1 },
        { ";;;=;", 1 },
        { "a=b; Domain=test", 0 },
        { "a=b;domain=test", 0 },
        { "a=b; \t DOMAIN \t = \t test \t ", 0 },
        { "a=b; Domain=..h.test", 0 },
        { "a=b; Domain=xh.test", 0 },
        { "a=b; Domain=x.h.test", 0 },
        { "a=b; Domain=h.test; Domain=test", 0 },
        { "; Domain=test", 0 },
        { "a=b; \x01" "Domain=test", 0 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        p = copy(cases[i].value, &len);
        ok(sandbox_cookie_stays(p, len, "h.test", 6) == cases[i].stays,
           "cookie %zu", i);
        free(p);
    }
}


static void
test_cookies_below(void)
{
    char    *p, *dst;
    size_t   i, n, len, room;

    static const struct {
        const char  *value;
        const char  *below;
    } cases[] = {
        { "a=b", "a=b; Path=/x/8" },
        { "a=b; Path=/", "a=b; Path=/x/8" },
        { "a=b; Path=/c/d; HttpOnly", "a=b; HttpOnly; Path=/x/8/c/d" },
        { "a=b;path=/c/", "a=b; Path=/x/8/c/" },
        { "a=b; \tPATH \t = \t /c \t ; Secure", "a=b; Secure; Path=/x/8/c" },
        { "a=b; \x01" "Path=/c", "a=b; Path=/x/8/c" },
        { "a=b; Path=/c; Path=/d", "a=b; Path=/x/8/d" },
        { "a=b; Path=/c; Path", "a=b; Path=/x/8" },
        { "a=b; Path=c", "a=b; Path=/x/8" },
        { "a=b; Path=/../../y", "a=b; Path=/x/8/../../y" },
        { "a=b; Path=//y", "a=b; Path=/x/8//y" },
        { "a=b; xPath=/c", "a=b; xPath=/c; Path=/x/8" },
        { "path=/", "path=/; Path=/x/8" },
        { "path=/; path=/", "path=/; Path=/x/8" },
        { "a=b;", "a=b;; Path=/x/8" },
        { "", "; Path=/x/8" },
        { ";;;=;", ";;;=;; Path=/x/8" },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        p = copy(cases[i].value, &len);
        room = len + 4 + SANDBOX_COOKIE_BELOW;
        dst = malloc(room);
        n = sandbox_cookie_below(dst, p, len, "/x/8", 4);

        ok(n <= room && n == strlen(cases[i].below)
           && memcmp(dst, cases[i].below, n) == 0,
           "cookie below %zu: %.*s", i, (int) n, dst);

        free(dst);
        free(p);
    }
}


int
main(void)
{
    test_hash();
    test_labels();
    test_hosts();
    test_origins();
    test_ports();
    test_cookies();
    test_cookies_below();

    return done_testing();
}
