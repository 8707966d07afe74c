/* sources: ngx_sandbox_module/sandbox_key.c ngx_sandbox_module/sandbox_route.c ngx_sandbox_module/sandbox_route_table.c ngx_sandbox_module/sandbox_route_path.c ngx_sandbox_module/sandbox_id.c */

/* Lines of a file of API keys. */

#include <stdlib.h>
#include <string.h>

#include "ngx_sandbox_module/sandbox_key.h"
#include "ngx_sandbox_module/sandbox_route.h"
#include "t/unit/tap.h"

#define H "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

#define ALL  (SANDBOX_SCOPE_READ | SANDBOX_SCOPE_EXEC | SANDBOX_SCOPE_MANAGE  \
              | SANDBOX_SCOPE_ADMIN)


static sandbox_key_line  line;
static char             *copy;


/* Copied to its exact size, so that reading over it is seen. */
static const char *
parse(const char *text)
{
    size_t  len;

    len = strlen(text);
    free(copy);
    copy = malloc(len ? len : 1);
    memcpy(copy, text, len);

    return sandbox_key_parse(copy, len, &line);
}


static int
is(const char *p, size_t len, const char *text)
{
    return len == strlen(text) && (len == 0 || memcmp(p, text, len) == 0);
}


static void
test_good(void)
{
    ok(parse("") == NULL && !line.found, "an empty line");
    ok(parse(" \t\r") == NULL && !line.found, "a blank one");
    ok(parse("  # anything = goes") == NULL && !line.found, "a comment");

    ok(parse(H " ci") == NULL && line.found
       && line.digest[0] == 0x9f && line.digest[31] == 0x08
       && is(line.name, line.name_len, "ci") && line.salt_len == 0
       && line.tenant_len == 0 && line.scopes == ALL && line.create
       && line.sandboxes == 0 && line.starts == 0,
       "two columns: the default tenant, everything allowed");
    ok(parse("  9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F0"
             "0A08\t ci \r") == NULL && line.digest[1] == 0x86
       && is(line.name, line.name_len, "ci"), "blanks, uppercase, CR");

    ok(parse(H " ci tenant=acme") == NULL
       && is(line.tenant, line.tenant_len, "acme")
       && line.scopes == (ALL & ~SANDBOX_SCOPE_ADMIN),
       "the key of a tenant is no administrator's unless it says so");
    ok(parse(H " ci tenant=acme scopes=read,admin") == NULL
       && line.scopes == (SANDBOX_SCOPE_READ | SANDBOX_SCOPE_ADMIN),
       "but it can be");
    ok(parse(H " ci scopes=exec") == NULL
       && line.scopes == SANDBOX_SCOPE_EXEC, "one scope is one scope");
    ok(parse(H " ci sandboxes=20 starts=1000000 create=off") == NULL
       && line.sandboxes == 20 && line.starts == 1000000 && !line.create,
       "limits");
    ok(parse("saltSALT1:" H " ci") == NULL
       && is(line.salt, line.salt_len, "saltSALT1")
       && line.digest[0] == 0x9f, "a salt");
}


static void
test_bad(void)
{
    size_t  i;

    static const struct {
        const char  *line, *why;
    } bad[] = {
        { H, "name" },
        { H "  ", "name" },
        { "ci " H, "hexadecimal" },
        { "9f86 ci", "64" },
        { H "00 ci", "64" },
        { H " " H H, "64 characters" },
        { H " \xc3\xa4", "ASCII" },
        { "short1:" H " ci", "salt has 8" },
        { ":" H " ci", "salt has 8" },
        { "salt:salt1:" H " ci", "salt" },
        { "saltsalt:salt:" H " ci", "hexadecimal" },
        { "salt-salt:" H " ci", "letters" },
        { "saltsalt: ci", "64" },
        { H " ci tenant=", "tenant" },
        { H " ci tenant=a/b", "tenant" },
        { H " ci tenant=*", "tenant" },
        { H " ci tenant=a tenant=b", "twice" },
        { H " ci scopes=", "scopes" },
        { H " ci scopes=read,", "scopes" },
        { H " ci scopes=Read", "scopes" },
        { H " ci scopes=all", "scopes" },
        { H " ci sandboxes=0", "sandboxes" },
        { H " ci sandboxes=-1", "sandboxes" },
        { H " ci sandboxes=1000001", "sandboxes" },
        { H " ci sandboxes=18446744073709551617", "sandboxes" },
        { H " ci starts=1x", "starts" },
        { H " ci create=yes", "create" },
        { H " ci Tenant=a", "options" },
        { H " ci a name of five words", "options" },
        { H " ci =", "options" },
        { NULL, NULL }
    };

    for (i = 0; bad[i].line != NULL; i++) {
        const char  *why = parse(bad[i].line);

        ok(why != NULL && strstr(why, bad[i].why) != NULL, "refused: %s: %s",
           bad[i].line, why ? why : "(it was not)");
    }

    ok(sandbox_key_parse(H " a\0b", 68, &line) != NULL, "a NUL in a name");
}


int
main(void)
{
    test_good();
    test_bad();
    free(copy);

    return done_testing();
}
