/* sources: ngx_sandbox_module/sandbox_sign.c */
/* libs: -lcrypto */

/* What the edge signs; see ngx_sandbox_module/sandbox_sign.h. */

#include <stdlib.h>
#include <string.h>

#include "ngx_sandbox_module/sandbox_sign.h"
#include "t/unit/tap.h"


static unsigned char         key[SANDBOX_SIGN_KEY], other[SANDBOX_SIGN_KEY];
static sandbox_signer       *signer, *stranger;
static sandbox_pass          pass = { SANDBOX_PASS_COOKIE, 1, 4711,
                                      1234567890123ULL };
static sandbox_pass_bound    bound = { "8000-demo.example", 17, 7, 8000 };


/* From an exact-size copy, so that a read beyond its end is noticed. */
static int
read_pass(const char *text, size_t len, sandbox_signer *k,
    sandbox_pass_kind kind, const sandbox_pass_bound *b, sandbox_pass *dst)
{
    int    rc;
    char  *p;

    p = malloc(len ? len : 1);
    memcpy(p, text, len);
    rc = sandbox_pass_read(dst, k, kind, p, len, b);
    free(p);

    return rc;
}


static void
test_key(void)
{
    ok(sandbox_sign_key(key, "secret", 6) == 0, "a key");
    ok(sandbox_sign_key(other, "secret", 6) == 0
       && memcmp(key, other, sizeof(key)) == 0, "is always the same");
    ok(sandbox_sign_key(other, "secreT", 6) == 0
       && memcmp(key, other, sizeof(key)) != 0, "of another secret another");
    ok(memcmp(key, "secret", 6) != 0, "is not the secret");

    signer = sandbox_signer_create(key);
    stranger = sandbox_signer_create(other);
    ok(signer != NULL && stranger != NULL, "and is made ready for use");
}


static void
test_pass(void)
{
    int                 n;
    char                text[SANDBOX_PASS_TEXT + 1], bad[SANDBOX_PASS_TEXT];
    size_t              i;
    sandbox_pass        got;
    sandbox_pass_bound  b;

    ok(sandbox_pass_sign(text, signer, &pass, &bound) == 0, "a pass is signed");
    text[SANDBOX_PASS_TEXT] = '\0';
    ok(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                    "0123456789-_") == SANDBOX_PASS_TEXT,
       "of letters that need no escape");

    memset(&got, 0, sizeof(got));
    ok(read_pass(text, SANDBOX_PASS_TEXT, signer, SANDBOX_PASS_COOKIE, &bound,
                 &got) == 0
       && got.embed == 1 && got.gen == 4711
       && got.expires == 1234567890123ULL && got.kind == SANDBOX_PASS_COOKIE,
       "and read");

    ok(read_pass(text, SANDBOX_PASS_TEXT, signer, SANDBOX_PASS_LINK, &bound,
                 &got) < 0, "not as another kind");
    ok(read_pass(text, SANDBOX_PASS_TEXT, stranger, SANDBOX_PASS_COOKIE, &bound,
                 &got) < 0, "not with another key");

    b = bound;
    b.host = "8000-demo.exampl";
    b.host_len = 16;
    ok(read_pass(text, SANDBOX_PASS_TEXT, signer, SANDBOX_PASS_COOKIE, &b, &got)
       < 0, "not for a shorter host");
    b = bound;
    b.host = "8001-demo.example";
    ok(read_pass(text, SANDBOX_PASS_TEXT, signer, SANDBOX_PASS_COOKIE, &b, &got)
       < 0, "not for another host");
    b = bound;
    b.slot = 8;
    ok(read_pass(text, SANDBOX_PASS_TEXT, signer, SANDBOX_PASS_COOKIE, &b, &got)
       < 0, "not for another sandbox");
    b = bound;
    b.port = 8001;
    ok(read_pass(text, SANDBOX_PASS_TEXT, signer, SANDBOX_PASS_COOKIE, &b, &got)
       < 0, "not for another port");

    n = 0;
    for (i = 0; i < SANDBOX_PASS_TEXT; i++) {
        memcpy(bad, text, SANDBOX_PASS_TEXT);
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        n += read_pass(bad, SANDBOX_PASS_TEXT, signer, SANDBOX_PASS_COOKIE,
                       &bound, &got) == 0;
    }
    ok(n == 0, "not with any letter changed");

    /* The last letter has bits that no byte takes: only 0 is right. */
    n = 0;
    for (i = 0; i < 64; i++) {
        memcpy(bad, text, SANDBOX_PASS_TEXT);
        bad[SANDBOX_PASS_TEXT - 1] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij"
                                     "klmnopqrstuvwxyz0123456789-_"[i];
        n += read_pass(bad, SANDBOX_PASS_TEXT, signer, SANDBOX_PASS_COOKIE,
                       &bound, &got) == 0;
    }
    ok(n == 1, "there is one text of it");

    ok(read_pass(text, SANDBOX_PASS_TEXT - 1, signer, SANDBOX_PASS_COOKIE,
                 &bound, &got) < 0
       && read_pass("", 0, signer, SANDBOX_PASS_COOKIE, &bound, &got) < 0,
       "not shorter");
    memset(bad, 0, sizeof(bad));
    ok(read_pass(bad, SANDBOX_PASS_TEXT, signer, SANDBOX_PASS_COOKIE, &bound,
                 &got) < 0, "nor of NULs");
}


static void
test_ticket(void)
{
    char                  text[SANDBOX_TICKET_TEXT], long_name[73];
    size_t                n, at;
    sandbox_ticket        ticket, got;
    unsigned char         buf[SANDBOX_TICKET_TEXT];
    sandbox_ticket_bound  b;

    static const sandbox_ticket_bound  all = {
        "zone", 4, "demo", 4, "/bridge/pty", 11, "https://app.example", 19
    };

    memset(&ticket, 0, sizeof(ticket));
    memcpy(ticket.nonce, "123456789012", SANDBOX_NONCE_LEN);
    ticket.scopes = 3;
    ticket.expires = 1700000000;
    ticket.tenant = "acme";
    ticket.tenant_len = 4;
    ticket.name = "laptop";
    ticket.name_len = 6;

    n = sandbox_ticket_sign(text, signer, &ticket, &all);
    ok(n > 0 && n <= SANDBOX_TICKET_TEXT, "a ticket of %zu bytes", n);
    ok(sandbox_ticket_read(&got, buf, signer, text, n, &all) == 0
       && got.scopes == 3 && got.expires == 1700000000
       && memcmp(got.nonce, ticket.nonce, SANDBOX_NONCE_LEN) == 0
       && got.tenant_len == 4 && memcmp(got.tenant, "acme", 4) == 0
       && got.name_len == 6 && memcmp(got.name, "laptop", 6) == 0, "is read");
    ok(sandbox_ticket_read(&got, buf, stranger, text, n, &all) < 0,
       "not with another key");
    ok(sandbox_ticket_read(&got, buf, signer, text, n - 1, &all) < 0,
       "nor a part of it");

    b = all;
    b.zone = "zonf";
    ok(sandbox_ticket_read(&got, buf, signer, text, n, &b) < 0, "in its zone");
    b = all;
    b.id = "dema";
    ok(sandbox_ticket_read(&got, buf, signer, text, n, &b) < 0, "for its id");
    b = all;
    b.route = "/bridge/ptz";
    ok(sandbox_ticket_read(&got, buf, signer, text, n, &b) < 0, "its route");
    b = all;
    b.origin = "http://app.example";
    b.origin_len = 18;
    ok(sandbox_ticket_read(&got, buf, signer, text, n, &b) < 0, "its Origin");

    /* What is moved from one part to the next isn't the same. */
    b = all;
    b.id = "demo/";
    b.id_len = 5;
    b.route = "bridge/pty";
    b.route_len = 10;
    ok(sandbox_ticket_read(&got, buf, signer, text, n, &b) < 0,
       "each part ends where it ends");

    for (at = 0; at < n; at++) {
        text[at] = text[at] == 'A' ? 'B' : 'A';
        if (sandbox_ticket_read(&got, buf, signer, text, n, &all) == 0) {
            break;
        }
        text[at] = '!';
        if (sandbox_ticket_read(&got, buf, signer, text, n, &all) == 0) {
            break;
        }
        n = sandbox_ticket_sign(text, signer, &ticket, &all);
    }
    ok(at == n, "not with any letter changed");

    memset(long_name, 'x', sizeof(long_name));
    ticket.tenant = ticket.name = long_name;
    ticket.tenant_len = ticket.name_len = 72;
    n = sandbox_ticket_sign(text, signer, &ticket, &all);
    ok(n > 0 && n <= SANDBOX_TICKET_TEXT
       && sandbox_ticket_read(&got, buf, signer, text, n, &all) == 0
       && got.name_len == 72, "the longest names");
    ticket.name_len = 73;
    ok(sandbox_ticket_sign(text, signer, &ticket, &all) == 0, "and no longer");
    ticket.tenant_len = ticket.name_len = 0;
    n = sandbox_ticket_sign(text, signer, &ticket, &all);
    ok(n > 0 && sandbox_ticket_read(&got, buf, signer, text, n, &all) == 0
       && got.tenant_len == 0, "none");
}


int
main(void)
{
    test_key();
    test_pass();
    test_ticket();

    sandbox_signer_free(signer);
    sandbox_signer_free(stranger);

    return done_testing();
}
