/* sources: ngx_sandbox_module/sandbox_position.c */
/* libs: -lcrypto */

/* Places that say nothing; see ngx_sandbox_module/sandbox_position.h. */

#include <stdlib.h>
#include <string.h>

#include "ngx_sandbox_module/sandbox_position.h"
#include "t/unit/tap.h"


static unsigned char  secret[32] = "0123456789abcdef0123456789abcde";
static unsigned char  key[SANDBOX_POSITION_KEY];


static int
open_exact(uint64_t *position, const unsigned char *k, const char *text,
    size_t len)
{
    int    rc;
    char  *p;

    p = malloc(len ? len : 1);
    memcpy(p, text, len);
    rc = sandbox_position_open(position, k, p, len);
    free(p);

    return rc;
}


static int
other_key(const char *purpose, const char *tenant)
{
    unsigned char  k[SANDBOX_POSITION_KEY];

    return sandbox_position_key(k, secret, sizeof(secret), purpose, tenant,
                                strlen(tenant)) == 0
           && memcmp(k, key, sizeof(k)) != 0;
}


static void
test_keys(void)
{
    unsigned char  again[SANDBOX_POSITION_KEY];

    ok(sandbox_position_key(key, secret, sizeof(secret), "list", "acme", 4)
       == 0, "a key");
    ok(sandbox_position_key(again, secret, sizeof(secret), "list", "acme", 4)
       == 0 && memcmp(key, again, sizeof(key)) == 0, "is always the same");
    ok(other_key("list", "acm"), "another tenant has another");
    ok(other_key("list", ""), "and the default one");
    ok(other_key("events", "acme"), "and another purpose");
    ok(other_key("lis", "tacme"), "neither takes from the other");
    ok(sandbox_position_key(again, secret, sizeof(secret), "list", "", 129)
       == -1, "a name can be too long");
}


static void
test_texts(void)
{
    char           text[SANDBOX_POSITION_TEXT + 1], old[sizeof(text)];
    size_t         i;
    uint64_t       got;
    unsigned       same, wrong;
    unsigned char  other[SANDBOX_POSITION_KEY];

    static const uint64_t  places[] = { 0, 1, 4711, UINT32_MAX, UINT64_MAX };

    memset(text, 0, sizeof(text));
    memset(old, 0, sizeof(old));

    wrong = 0;
    same = 0;

    for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        wrong += sandbox_position_seal(text, key, places[i]) != 0
                 || open_exact(&got, key, text, SANDBOX_POSITION_TEXT) != 0
                 || got != places[i]
                 || strspn(text, "0123456789abcdef") != SANDBOX_POSITION_TEXT;

        memcpy(old, text, sizeof(old));
        wrong += sandbox_position_seal(text, key, places[i]) != 0;
        same += memcmp(old, text, sizeof(old)) == 0;
    }

    ok(wrong == 0, "what was sealed can be opened");
    ok(same == 0, "and is another text each time");

    sandbox_position_key(other, secret, sizeof(secret), "list", "other", 5);
    ok(open_exact(&got, other, text, SANDBOX_POSITION_TEXT) == -1,
       "not with another tenant's key");

    wrong = 0;

    for (i = 0; i < SANDBOX_POSITION_TEXT; i++) {
        memcpy(old, text, sizeof(old));
        old[i] = old[i] == '0' ? '1' : '0';
        wrong += open_exact(&got, key, old, SANDBOX_POSITION_TEXT) == 0;
    }

    ok(wrong == 0, "nor if a digit was changed");

    ok(open_exact(&got, key, text, SANDBOX_POSITION_TEXT - 1) == -1
       && open_exact(&got, key, text, 0) == -1, "nor a part of it");

    text[0] = 'G';
    ok(open_exact(&got, key, text, SANDBOX_POSITION_TEXT) == -1,
       "nor what is no digit");
}


int
main(void)
{
    test_keys();
    test_texts();

    return done_testing();
}
