/* sources: ngx_sandbox_module/sandbox_jwt.c ngx_sandbox_module/sandbox_jwt_keys.c ngx_sandbox_module/sandbox_key.c ngx_sandbox_module/sandbox_route.c ngx_sandbox_module/sandbox_route_table.c ngx_sandbox_module/sandbox_route_path.c ngx_sandbox_module/sandbox_id.c */
/* libs: -ljansson -lcrypto */

/*
 * Tokens, sets of keys, and lines of API keys.  The first byte says which.
 * What the fuzzer can't do is sign: so a token's first two parts are also taken
 * with a signature made here, which leads to what is behind the check.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "ngx_sandbox_module/sandbox_jwt.h"
#include "ngx_sandbox_module/sandbox_key.h"
#include "ngx_sandbox_module/sandbox_route.h"

#define SECRET  "0123456789abcdef0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const sandbox_jwt_rules  rules = { "us", "api", "tenant", "scope", 30 };


static void
check(int condition)
{
    if (!condition) {
        abort();
    }
}


static const char *
verify(const char *token, size_t len)
{
    char                      error[SANDBOX_JWT_ERROR_MAX];
    const char               *why;
    sandbox_jwt_claims        claims;
    static sandbox_jwt_keys  *keys;

    if (keys == NULL) {
        keys = sandbox_jwt_keys_parse(SANDBOX_JWT_SECRET, SECRET,
                                      strlen(SECRET), error);
        check(keys != NULL);
    }

    why = sandbox_jwt_verify(token, len,
                             (const sandbox_jwt_keys *const *) &keys, 1,
                             &rules, 1800000000, &claims);

    if (why == NULL) {
        check(sandbox_tenant_valid(claims.tenant, strlen(claims.tenant)));
        check(strlen(claims.name) <= SANDBOX_JWT_NAME_MAX);
        check(claims.scopes <= 0xf);
        check(sandbox_jwt_is_for(token, len, &rules));
    }

    return why;
}


static void
signed_too(const char *text, size_t len)
{
    char           *token;
    unsigned        n;
    unsigned char   mac[EVP_MAX_MD_SIZE], encoded[64];

    token = malloc(len + 64);
    memcpy(token, text, len);
    HMAC(EVP_sha256(), SECRET, (int) strlen(SECRET),
         (const unsigned char *) text, len, mac, &n);
    EVP_EncodeBlock(encoded, mac, (int) n);

    token[len] = '.';

    for (n = 0; encoded[n] != '='; n++) {
        token[len + 1 + n] = encoded[n] == '+' ? '-'
                             : encoded[n] == '/' ? '_' : (char) encoded[n];
    }

    verify(token, len + 1 + n);
    free(token);
}


/* Without a signature of ours none may pass, unless it is the right one. */
static void
token(const char *text, size_t len)
{
    verify(text, len);
    signed_too(text, len);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char               error[SANDBOX_JWT_ERROR_MAX];
    const char        *text;
    sandbox_key_line   line;
    sandbox_jwt_keys  *keys;

    if (size == 0) {
        return 0;
    }

    text = (const char *) data + 1;
    size--;

    switch (data[0]) {

    case 'k':
        if (sandbox_key_parse(text, size, &line) == NULL && line.found) {
            check(line.name_len >= 1
                  && line.name_len <= SANDBOX_KEY_NAME_MAX);
            check(line.scopes != 0 && line.scopes <= 0xf);
        }

        break;

    case 'j':
    case 'p':
    case 's':
        error[0] = '\0';
        keys = sandbox_jwt_keys_parse(data[0] == 'j' ? SANDBOX_JWT_JWKS
                                      : data[0] == 'p' ? SANDBOX_JWT_PEM
                                      : SANDBOX_JWT_SECRET, text, size,
                                      error);
        check(keys == NULL ? error[0] != '\0'
                           : sandbox_jwt_keys_count(keys) > 0);
        sandbox_jwt_keys_free(keys);
        break;

    default:
        token(text, size);
    }

    return 0;
}
