/* sources: sandboxd/names.c common/error.c */
/* libs: -lcrypto */

/* Ids, ports, tokens, labels, durations. */

#include <string.h>

#include "sandboxd/names.h"
#include "t/unit/tap.h"


static bool
id_good(const char *id)
{
    char  dst[ID_MAX + 1];

    return id_check(id, false, dst, NULL) == 0 && strcmp(dst, id) == 0;
}


static void
test_ids(void)
{
    int                       i;
    char                      dst[ID_MAX + 1], text[200];
    static const char *const  good[] = {
        "a", "0", "demo", "a-b", "a--b", "a1-2b", "tabcde", "t-abcd",
        "t1bcde-x", "tabcd-x", "tabcdef-x", "ab-tabcde-x", NULL
    };
    static const char *const  bad[] = {
        "", "-", "-a", "a-", "a_b", "a.b", "a/b", "A", "a b", "\xc3\xa4",
        "tabcde-x", "t23456-", "taaaaa-a", "a\n", NULL
    };

    for (i = 0; good[i] != NULL; i++) {
        ok(id_good(good[i]), "id \"%s\"", good[i]);
    }

    for (i = 0; bad[i] != NULL; i++) {
        ok(!id_good(bad[i]), "no id: \"%s\"", bad[i]);
    }

    memset(text, '1', sizeof(text));
    text[40] = '\0';
    ok(id_good(text), "40 characters of ours");
    text[40] = '1';
    text[41] = '\0';
    ok(!id_good(text), "41 are too many");

    memset(text, 'z', sizeof(text));
    text[128] = '\0';
    ok(id_good(text), "128 characters of base32");
    text[128] = 'z';
    text[129] = '\0';
    ok(!id_good(text), "129 are too many");

    ok(id_check("DeMo-1", true, dst, NULL) == 0
       && strcmp(dst, "demo-1") == 0, "uppercase is folded when asked");
    ok(id_check("TABCDE-x", true, dst, NULL) == -1,
       "folding does not get round the reserved prefix");
}


/* A prefix, then exactly what is an id: nothing may be read in two ways. */
static void
test_qualified(void)
{
    int                       i;
    char                      dst[QUALIFIED_MAX + 1], text[200];
    static const char *const  bad[] = {
        "tabcde-", "tabcde--a", "tabcde-tabcde-a", "tabcde-A", "Tabcde-a",
        "-tabcde-a", "tabcde-a-", "tabcde-t23456-x", NULL
    };

    ok(name_check("demo", dst, NULL) == 0 && strcmp(dst, "demo") == 0
       && strcmp(name_id(dst), "demo") == 0, "an id alone is a name");
    ok(name_check("tabcde-demo-1", dst, NULL) == 0
       && strcmp(dst, "tabcde-demo-1") == 0
       && strcmp(name_id(dst), "demo-1") == 0, "a prefix and an id are");
    ok(strcmp(name_id("t1bcde-x"), "t1bcde-x") == 0
       && strcmp(name_id("tabcd"), "tabcd") == 0, "what is no prefix stays");

    for (i = 0; bad[i] != NULL; i++) {
        ok(name_check(bad[i], dst, NULL) == -1, "no name: \"%s\"", bad[i]);
    }

    memset(text, 'a', sizeof(text));
    memcpy(text, "tabcde-", 7);
    text[QUALIFIED_MAX] = '\0';
    ok(name_check(text, dst, NULL) == 0, "the longest id behind a prefix");
    text[QUALIFIED_MAX] = 'a';
    text[QUALIFIED_MAX + 1] = '\0';
    ok(name_check(text, dst, NULL) == -1, "and no longer one");

    ok(tenant_check("Acme.Corp_1@x+y-z", NULL) == 0, "a tenant's name");
    ok(tenant_check("", NULL) == -1 && tenant_check("a b", NULL) == -1
       && tenant_check("a\"b", NULL) == -1 && tenant_check("*", NULL) == -1
       && tenant_check("\xc3\xa4", NULL) == -1, "no others");
}


static void
test_generated(void)
{
    char  id[ID_GENERATED + 1], other[ID_GENERATED + 1];
    char  token[TOKEN_GENERATED + 1];

    ok(id_generate(id, NULL) == 0 && strlen(id) == 26
       && strspn(id, "abcdefghijklmnopqrstuvwxyz234567") == 26
       && id_good(id), "a generated id");
    ok(id_generate(other, NULL) == 0 && strcmp(id, other) != 0,
       "another one differs");
    ok(token_generate(token, NULL) == 0 && strlen(token) == 16
       && token_check(token, NULL) == 0, "a generated token");
}


static void
test_tokens_and_ports(void)
{
    ok(token_check("abcdefg1", NULL) == 0, "a token of 8");
    ok(token_check("abcdefgh_bcdefgh", NULL) == 0, "of 16, with _");
    ok(token_check("abcdefg", NULL) == -1, "7 are too few");
    ok(token_check("abcdefghabcdefgha", NULL) == -1, "17 too many");
    ok(token_check("abcdefgH", NULL) == -1, "no uppercase");
    ok(token_check("abcd-efgh", NULL) == -1, "no hyphen");

    ok(port_check(1024, NULL) == 0 && port_check(65535, NULL) == 0,
       "ports 1024 to 65535");
    ok(port_check(1023, NULL) == -1 && port_check(65536, NULL) == -1
       && port_check(3000, NULL) == -1 && port_check(-1, NULL) == -1
       && port_check(8000 + (1ll << 32), NULL) == -1, "no others, not 3000");
}


static void
test_labels(void)
{
    char    label[LABEL_MAX + 1], id[ID_MAX + 1];
    error  *err;

    ok(label_build(label, 8000, "demo", "abcdefgh", NULL) == 0
       && strcmp(label, "8000-demo-abcdefgh") == 0, "with a token");
    ok(label_build(label, 8000, "demo", NULL, NULL) == 0
       && strcmp(label, "8000-demo") == 0, "public");

    memset(id, 'a', sizeof(id));
    id[40] = '\0';
    ok(label_build(label, 65535, id, "abcdefghabcdefgh", NULL) == 0
       && strlen(label) == 63, "63 characters fit");

    id[40] = 'a';
    id[41] = '\0';
    err = NULL;
    ok(label_build(label, 65535, id, "abcdefghabcdefgh", &err) == -1,
       "64 don't");
    ok(err != NULL && err->limit == 40 && strstr(err->message, "64") != NULL,
       "the error says how long the id may be");
    error_free(err);

    memcpy(id, "tabcde-", 7);
    err = NULL;
    ok(label_build(label, 65535, id, "abcdefghabcdefgh", &err) == -1
       && err->limit == 33 && strstr(err->message, "has 34") != NULL,
       "a tenant's prefix takes room that the error doesn't blame on the id");
    memcpy(id, "aaaaaaa", 7);
    error_free(err);
    ok(label_build(label, 8000, id, "abcdefghabcdefgh", NULL) == 0,
       "a shorter port makes room");

    id[41] = 'a';
    id[128] = '\0';
    err = NULL;
    ok(label_build(label, 8000, id, NULL, &err) == -1 && err->limit == 58,
       "the longest id, without a token");
    error_free(err);
}


static void
test_hosts(void)
{
    char    name[HOST_MAX + 2];
    size_t  i;

    static const char *const  good[] = {
        "a.b", "shop.example.org", "1.example.org", "123.a1", "8000.a.test",
        "8000a-b.test", "a8000-b.test", "xn--bcher-kva.example", "a--b.c",
        "0x7f.example", "a.0y"
    };

    static const char *const  bad[] = {
        "", "a", ".", "a.", ".a", "a..b", ".a.b", "a.b.", "A.b", "a_b.c",
        "-a.b", "a-.b", "a.-b", "a.b-", "a b.c", "a.b/c", "a.b:80", "*.a.b",
        "127.0.0.1", "a.1", "a.0x", "a.0x7f", "1.2.3.0xff", "[::1]",
        "8000-a.test", "1-a.test", "0-.test", "\xc3\xa4.test", "a.b\n"
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ok(host_check(good[i], "x", NULL) == 0, "a host name: %s", good[i]);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ok(host_check(bad[i], "x", NULL) == -1, "none: %zu", i);
    }

    memset(name, 'a', sizeof(name));

    for (i = 63; i < HOST_MAX; i += 64) {
        name[i] = '.';
    }

    name[HOST_MAX] = '\0';
    ok(host_check(name, "x", NULL) == 0, "253 characters");
    name[HOST_MAX] = 'a';
    name[HOST_MAX + 1] = '\0';
    ok(host_check(name, "x", NULL) == -1, "254 are too many");

    name[DOMAIN_MAX] = '\0';
    ok(domain_check(name, NULL) == 0 && DOMAIN_MAX + 64 == HOST_MAX,
       "a domain leaves room for a label");
    name[DOMAIN_MAX] = 'a';
    name[DOMAIN_MAX + 1] = '\0';
    ok(domain_check(name, NULL) == -1, "and has to");
    ok(domain_check("8000-a.test", NULL) == 0, "it may begin like a label");

    name[63] = 'a';
    name[100] = '\0';
    ok(host_check(name, "x", NULL) == -1, "a label of 64");
}


static void
test_durations(void)
{
    ok(duration_parse("90s") == 90 && duration_parse("10m") == 600
       && duration_parse("2h") == 7200 && duration_parse("1d") == 86400
       && duration_parse("45") == 45, "durations");
    ok(duration_parse("") == -1 && duration_parse("m") == -1
       && duration_parse("-1s") == -1 && duration_parse("1.5h") == -1
       && duration_parse("10 m") == -1 && duration_parse("10ms") == -1
       && duration_parse("+5s") == -1
       && duration_parse("99999999999999999999s") == -1,
       "none of these is one");
}


int
main(void)
{
    test_ids();
    test_qualified();
    test_generated();
    test_tokens_and_ports();
    test_labels();
    test_hosts();
    test_durations();

    return done_testing();
}
