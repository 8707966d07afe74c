/* sources: ngx_sandbox_module/sandbox_jwt.c ngx_sandbox_module/sandbox_jwt_keys.c ngx_sandbox_module/sandbox_key.c ngx_sandbox_module/sandbox_route.c ngx_sandbox_module/sandbox_route_table.c ngx_sandbox_module/sandbox_route_path.c ngx_sandbox_module/sandbox_id.c */
/* libs: -ljansson -lcrypto */

/* JSON Web Tokens: each way in which one can lie. */

#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "ngx_sandbox_module/sandbox_jwt.h"
#include "ngx_sandbox_module/sandbox_route.h"
#include "t/unit/tap.h"

#define NOW     1800000000
#define SECRET  "0123456789abcdef0123456789abcdef"
#define GOOD    "\"iss\":\"us\",\"aud\":\"api\",\"exp\":1800000060,"          \
                "\"tenant\":\"acme\",\"scope\":\"read exec\",\"sub\":\"bob\""

static EVP_PKEY           *rsa, *ec, *ed, *small, *p384;
static sandbox_jwt_keys   *set_rsa, *set_ec, *set_ed, *set_hmac;
static char                pem_rsa[4096];
static sandbox_jwt_claims  claims;

static const sandbox_jwt_rules  rules = { "us", "api", "tenant", "scope", 30 };


static void
base64url(const void *data, size_t len, char *dst)
{
    char  *p;

    EVP_EncodeBlock((unsigned char *) dst, data, (int) len);

    for (p = dst; *p != '\0'; p++) {
        if (*p == '+') {
            *p = '-';

        } else if (*p == '/') {
            *p = '_';

        } else if (*p == '=') {
            *p = '\0';
            break;
        }
    }
}


static size_t
sign_ec(unsigned char *sig, size_t len)
{
    unsigned char         raw[64];
    ECDSA_SIG            *s;
    const unsigned char  *p;

    p = sig;
    s = d2i_ECDSA_SIG(NULL, &p, (long) len);
    BN_bn2binpad(ECDSA_SIG_get0_r(s), raw, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(s), raw + 32, 32);
    ECDSA_SIG_free(s);
    memcpy(sig, raw, 64);

    return 64;
}


/* A token of these texts, signed with a key, or with a secret if key is NULL
 * (none if that is NULL, too). */
static char *
token(const char *header, const char *payload, EVP_PKEY *key,
    const char *secret)
{
    static char     text[20000];
    size_t          len, n;
    unsigned        mac_len;
    unsigned char   sig[1024];
    EVP_MD_CTX     *ctx;

    base64url(header, strlen(header), text);
    len = strlen(text);
    text[len++] = '.';
    base64url(payload, strlen(payload), text + len);
    len = strlen(text);
    n = 0;

    if (key != NULL) {
        n = sizeof(sig);
        ctx = EVP_MD_CTX_new();
        EVP_DigestSignInit(ctx, NULL, EVP_PKEY_get_base_id(key)
                           == EVP_PKEY_ED25519 ? NULL : EVP_sha256(), NULL,
                           key);
        EVP_DigestSign(ctx, sig, &n, (unsigned char *) text, len);
        EVP_MD_CTX_free(ctx);

        if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC) {
            n = sign_ec(sig, n);
        }

    } else if (secret != NULL) {
        HMAC(EVP_sha256(), secret, (int) strlen(secret),
             (unsigned char *) text, len, sig, &mac_len);
        n = mac_len;
    }

    text[len] = '.';
    base64url(sig, n, text + len + 1);

    return text;
}


/* The token is copied to its exact size, so that reading over it is seen. */
static const char *
verify_rules(const char *text, const sandbox_jwt_keys *set,
    const sandbox_jwt_rules *r)
{
    char                    *copy;
    size_t                   len;
    const char              *why;
    const sandbox_jwt_keys  *sets[] = { set };

    len = strlen(text);
    copy = malloc(len ? len : 1);
    memcpy(copy, text, len);
    why = sandbox_jwt_verify(copy, len, sets, 1, r, NOW, &claims);
    free(copy);

    return why;
}


static const char *
verify(const char *text, const sandbox_jwt_keys *set)
{
    return verify_rules(text, set, &rules);
}


static const char *
payload_verify(const char *payload)
{
    return verify(token("{\"alg\":\"HS256\"}", payload, NULL, SECRET),
                  set_hmac);
}


static sandbox_jwt_keys *
keys_of_pem(EVP_PKEY *key, char *text, char *error)
{
    BIO                *bio;
    char               *p;
    long                len;
    sandbox_jwt_keys   *keys;

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, key);
    len = BIO_get_mem_data(bio, &p);
    keys = sandbox_jwt_keys_parse(SANDBOX_JWT_PEM, p, (size_t) len, error);

    if (text != NULL) {
        memcpy(text, p, (size_t) len);
        text[len] = '\0';
    }

    BIO_free(bio);

    return keys;
}


static void
test_keys(void)
{
    char               error[SANDBOX_JWT_ERROR_MAX], text[9000];
    BIO               *bio;
    char              *p;
    long               len;
    sandbox_jwt_keys  *keys;

    rsa = EVP_RSA_gen(2048);
    small = EVP_RSA_gen(1024);
    ec = EVP_EC_gen("P-256");
    p384 = EVP_EC_gen("P-384");
    ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    set_rsa = keys_of_pem(rsa, pem_rsa, error);
    set_ec = keys_of_pem(ec, NULL, error);
    set_ed = keys_of_pem(ed, NULL, error);
    set_hmac = sandbox_jwt_keys_parse(SANDBOX_JWT_SECRET, SECRET "\n", 33,
                                      error);
    ok(set_rsa && set_ec && set_ed && set_hmac, "keys of each kind");

    ok(keys_of_pem(small, NULL, error) == NULL && strstr(error, "2048"),
       "an RSA key that is too short: %s", error);
    ok(keys_of_pem(p384, NULL, error) == NULL && strstr(error, "P-256"),
       "another curve: %s", error);

    ok(sandbox_jwt_keys_parse(SANDBOX_JWT_SECRET, pem_rsa, strlen(pem_rsa),
                              error) == NULL && strstr(error, "PEM"),
       "a public key is no secret: %s", error);
    ok(sandbox_jwt_keys_parse(SANDBOX_JWT_SECRET, SECRET, 31, error) == NULL
       && strstr(error, "32"), "a short secret: %s", error);
    ok(sandbox_jwt_keys_parse(SANDBOX_JWT_PEM, "nothing", 7, error) == NULL
       && strstr(error, "no key"), "no key: %s", error);

    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, ec, NULL, NULL, 0, NULL, NULL);
    len = BIO_get_mem_data(bio, &p);
    ok(sandbox_jwt_keys_parse(SANDBOX_JWT_PEM, p, (size_t) len, error) == NULL
       && strstr(error, "PUBLIC"), "a private key: %s", error);
    BIO_free(bio);

    snprintf(text, sizeof(text), "%s%s", pem_rsa, pem_rsa);
    keys = sandbox_jwt_keys_parse(SANDBOX_JWT_PEM, text, strlen(text), error);
    ok(keys != NULL && sandbox_jwt_keys_count(keys) == 2, "two in one file");
    sandbox_jwt_keys_free(keys);
}


/* A key's parameters as a JWK. */
static void
jwk_of(EVP_PKEY *key, const char *extra, char *dst, size_t size)
{
    char            a[2048], b[2048];
    BIGNUM         *x, *y;
    size_t          n;
    unsigned char   raw[1024];

    x = NULL;
    y = NULL;

    switch (EVP_PKEY_get_base_id(key)) {

    case EVP_PKEY_RSA:
        EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &x);
        EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &y);
        base64url(raw, (size_t) BN_bn2bin(x, raw), a);
        base64url(raw, (size_t) BN_bn2bin(y, raw), b);
        snprintf(dst, size, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}",
                 a, b, extra);
        break;

    case EVP_PKEY_EC:
        EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_X, &x);
        EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_Y, &y);
        BN_bn2binpad(x, raw, 32);
        base64url(raw, 32, a);
        BN_bn2binpad(y, raw, 32);
        base64url(raw, 32, b);
        snprintf(dst, size, "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\","
                 "\"y\":\"%s\"%s}", a, b, extra);
        break;

    default:
        n = sizeof(raw);
        EVP_PKEY_get_raw_public_key(key, raw, &n);
        base64url(raw, n, a);
        snprintf(dst, size, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
                 "\"x\":\"%s\"%s}", a, extra);
    }

    BN_free(x);
    BN_free(y);
}


static sandbox_jwt_keys *
jwks(const char *keys, char *error)
{
    static char  text[20000];

    snprintf(text, sizeof(text), "{\"keys\":[%s],\"more\":1}", keys);

    return sandbox_jwt_keys_parse(SANDBOX_JWT_JWKS, text, strlen(text),
                                  error);
}


static void
test_jwks(void)
{
    char               error[SANDBOX_JWT_ERROR_MAX], all[12000];
    char               one[3000], two[3000], three[3000];
    size_t             i;
    sandbox_jwt_keys  *set;

    static const struct {
        const char  *keys, *why;
    } bad[] = {
        { "1", "object" },
        { "", "no key" },
        { "{\"kty\":\"oct\",\"k\":\"c2hvcnQ\"}", "32" },
        { "{\"kty\":\"oct\",\"k\":\"!\"}", "base64url" },
        { "{\"kty\":\"oct\"}", "base64url" },
        { "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", "key" },
        { "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\",\"d\":\"AQAB\"}",
          "private" },
        { "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQAB\",\"y\":\"AQAB\"}",
          "public key" },
        { "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQAB\"}",
          "public key" },
        { "{\"kty\":\"RSA\",\"use\":\"enc\"}", "no key" },
        { "{\"kty\":\"RSA\",\"kty\":\"EC\"}", "twice" },
        { NULL, NULL }
    };

    for (i = 0; bad[i].keys != NULL; i++) {
        error[0] = '\0';
        ok(jwks(bad[i].keys, error) == NULL && strstr(error, bad[i].why),
           "a set that is refused: %s", error);
    }

    jwk_of(rsa, ",\"kid\":\"r\",\"alg\":\"RS256\",\"use\":\"sig\"", one,
           sizeof(one));
    jwk_of(ec, ",\"kid\":\"e\"", two, sizeof(two));
    jwk_of(ed, ",\"key_ops\":[\"verify\"]", three, sizeof(three));
    snprintf(all, sizeof(all), "%s,%s,%s,{\"kty\":\"new\"}", one, two, three);
    set = jwks(all, error);
    ok(set != NULL && sandbox_jwt_keys_count(set) == 3,
       "a set of three, and one that we don't know");

    ok(verify(token("{\"alg\":\"RS256\",\"kid\":\"r\"}", "{" GOOD "}", rsa,
                    NULL), set) == NULL, "RS256 by its kid");
    ok(verify(token("{\"alg\":\"RS256\",\"kid\":\"e\"}", "{" GOOD "}", rsa,
                    NULL), set) != NULL, "not by another's");
    ok(verify(token("{\"alg\":\"ES256\"}", "{" GOOD "}", ec, NULL), set)
       == NULL, "ES256 without one");
    ok(verify(token("{\"alg\":\"EdDSA\",\"kid\":\"any\"}", "{" GOOD "}", ed,
                    NULL), set) == NULL, "a key without kid fits any");
    sandbox_jwt_keys_free(set);

    jwk_of(rsa, ",\"alg\":\"RS512\"", one, sizeof(one));
    ok(jwks(one, error) == NULL, "a key for another algorithm is not ours");
}


static void
test_algorithms(void)
{
    char  *t, hs[200];

    ok(verify(token("{\"alg\":\"HS256\",\"typ\":\"JWT\"}", "{" GOOD "}", NULL,
                    SECRET), set_hmac) == NULL
       && strcmp(claims.name, "bob") == 0
       && strcmp(claims.tenant, "acme") == 0
       && claims.scopes == (SANDBOX_SCOPE_READ | SANDBOX_SCOPE_EXEC),
       "HS256, and what it claims");
    ok(verify(token("{\"alg\":\"RS256\"}", "{" GOOD "}", rsa, NULL), set_rsa)
       == NULL, "RS256");
    ok(verify(token("{\"alg\":\"ES256\"}", "{" GOOD "}", ec, NULL), set_ec)
       == NULL, "ES256");
    ok(verify(token("{\"alg\":\"EdDSA\"}", "{" GOOD "}", ed, NULL), set_ed)
       == NULL, "EdDSA");

    ok(verify(token("{\"alg\":\"none\"}", "{" GOOD "}", NULL, NULL), set_rsa)
       != NULL, "none is none");
    ok(verify(token("{\"alg\":\"None\"}", "{" GOOD "}", NULL, NULL), set_hmac)
       != NULL, "however it is spelled");
    ok(verify(token("{\"alg\":\"HS256\"}", "{" GOOD "}", NULL, NULL),
              set_hmac) != NULL, "no signature");
    ok(verify(token("{\"alg\":\"HS256\"}", "{" GOOD "}", NULL, pem_rsa),
              set_rsa) != NULL, "a public key taken for a secret");
    ok(verify(token("{\"alg\":\"RS256\"}", "{" GOOD "}", ec, NULL), set_ec)
       != NULL, "the key of one algorithm isn't tried with another");
    ok(verify(token("{\"alg\":\"ES256\"}", "{" GOOD "}", ec, NULL), set_rsa)
       != NULL, "nor with another's");
    ok(verify(token("{\"alg\":\"RS384\"}", "{" GOOD "}", rsa, NULL), set_rsa)
       != NULL && verify(token("{\"alg\":\"PS256\"}", "{" GOOD "}", rsa,
                               NULL), set_rsa) != NULL,
       "algorithms that aren't ours");
    ok(verify(token("{\"alg\":\"hs256\"}", "{" GOOD "}", NULL, SECRET),
              set_hmac) != NULL, "nor in another case");
    ok(verify(token("{\"alg\":[\"HS256\"]}", "{" GOOD "}", NULL, SECRET),
              set_hmac) != NULL, "nor in a list");
    ok(verify(token("{}", "{" GOOD "}", NULL, SECRET), set_hmac) != NULL,
       "none named");
    ok(verify(token("{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", "{" GOOD "}",
                    NULL, SECRET), set_hmac) != NULL, "crit");
    ok(verify(token("{\"alg\":\"HS256\",\"b64\":false}", "{" GOOD "}", NULL,
                    SECRET), set_hmac) != NULL, "b64");
    ok(verify(token("{\"alg\":\"HS256\",\"typ\":\"logout+jwt\"}",
                    "{" GOOD "}", NULL, SECRET), set_hmac) != NULL,
       "a token of another kind");
    ok(verify(token("{\"alg\":\"HS256\",\"typ\":\"at+JWT\"}", "{" GOOD "}",
                    NULL, SECRET), set_hmac) == NULL, "an access token");
    ok(verify(token("{\"alg\":\"HS256\",\"kid\":7}", "{" GOOD "}", NULL,
                    SECRET), set_hmac) != NULL, "a kid that is no string");
    ok(verify(token("{\"alg\":\"HS256\",\"alg\":\"HS256\"}", "{" GOOD "}",
                    NULL, SECRET), set_hmac) != NULL, "alg twice");

    t = token("{\"alg\":\"HS256\"}", "{" GOOD "}", NULL, SECRET);
    snprintf(hs, sizeof(hs), "%s", strrchr(t, '.') + 1);
    t[strlen(t) - 2] ^= 1;
    ok(verify(t, set_hmac) != NULL, "a bit of the signature");
    t = token("{\"alg\":\"HS256\"}", "{" GOOD ",\"x\":1}", NULL, NULL);
    strcat(t, hs);
    ok(verify(t, set_hmac) != NULL, "another token's signature");
    t = token("{\"alg\":\"ES256\"}", "{" GOOD "}", ec, NULL);
    memset(strrchr(t, '.') + 1, 'A', 86);
    ok(verify(t, set_ec) != NULL, "r and s of 0");
}


static void
test_form(void)
{
    char   big[12000];
    char  *t;

    static const char *const  bad[] = {
        "", ".", "..", "...", "a.b", "a.b.c", "e30.e30.", "e30.e30.e30.e30",
        "eyJ.eyJ.eyJ", "=.=.=", " . . ", NULL
    };
    size_t  i;

    for (i = 0; bad[i] != NULL; i++) {
        ok(verify(bad[i], set_hmac) != NULL, "no token: \"%s\"", bad[i]);
    }

    t = token("{\"alg\":\"HS256\"}", "{" GOOD "}", NULL, SECRET);
    strcat(t, "=");
    ok(verify(t, set_hmac) != NULL, "padding");

    t = token("{\"alg\":\"HS256\"}", "{" GOOD "}", NULL, SECRET);
    strcat(t, ".");
    ok(verify(t, set_hmac) != NULL, "a fourth part");

    /* 32 bytes are 43 digits: the last one has two bits to spare. */
    t = token("{\"alg\":\"HS256\"}", "{" GOOD "}", NULL, SECRET);
    t[strlen(t) - 1]++;
    ok(verify(t, set_hmac) != NULL, "bits left over");

    ok(verify(token("[]", "{" GOOD "}", NULL, SECRET), set_hmac) != NULL,
       "a header that is no object");
    ok(payload_verify("[]") != NULL && payload_verify("{" GOOD) != NULL
       && payload_verify("{" GOOD "}x") != NULL
       && payload_verify("") != NULL, "a payload that is none");
    ok(payload_verify("{" GOOD ",\"iss\":\"us\"}") != NULL,
       "members twice");

    memset(big, 'x', sizeof(big));
    memcpy(big, "{" GOOD ",\"x\":\"", sizeof("{" GOOD ",\"x\":\"") - 1);
    strcpy(big + 6200, "\"}");
    ok(payload_verify(big) != NULL, "more than 8192 bytes");
    strcpy(big + 5500, "\"}");
    ok(payload_verify(big) == NULL, "less is taken");

    memset(big, '[', 4000);
    strcpy(big + 4000, "1");
    ok(payload_verify(big) != NULL, "4000 brackets");
}


static void
test_claims(void)
{
    size_t             i;
    sandbox_jwt_rules  fixed;

    static const struct {
        const char  *payload, *what;
        int          good;
    } cases[] = {
        { "\"iss\":\"us\",\"aud\":[\"x\",\"api\"],\"exp\":1800000001,"
          "\"tenant\":\"a\"", "an audience among others", 1 },
        { "\"iss\":\"us\",\"aud\":\"api\",\"tenant\":\"a\"", "no exp", 0 },
        { "\"iss\":\"us\",\"aud\":\"api\",\"exp\":\"1800000060\","
          "\"tenant\":\"a\"", "exp in quotes", 0 },
        { "\"iss\":\"us\",\"aud\":\"api\",\"exp\":null,\"tenant\":\"a\"",
          "exp of null", 0 },
        { "\"iss\":\"us\",\"aud\":\"api\",\"exp\":1799999970,"
          "\"tenant\":\"a\"", "expired, just beyond the leeway", 0 },
        { "\"iss\":\"us\",\"aud\":\"api\",\"exp\":1799999971,"
          "\"tenant\":\"a\"", "just within it", 1 },
        { "\"iss\":\"us\",\"aud\":\"api\",\"exp\":1800000000.5,"
          "\"tenant\":\"a\"", "a fraction of a second", 1 },
        { "\"iss\":\"us\",\"aud\":\"api\",\"exp\":-1,\"tenant\":\"a\"",
          "before 1970", 0 },
        { "\"iss\":\"us\",\"aud\":\"api\",\"exp\":9e99,\"nbf\":1800000031,"
          "\"tenant\":\"a\"", "not yet", 0 },
        { "\"iss\":\"us\",\"aud\":\"api\",\"exp\":9e99,\"nbf\":1800000030,"
          "\"tenant\":\"a\"", "nearly", 1 },
        { "\"iss\":\"us\",\"aud\":\"api\",\"exp\":9e99,\"nbf\":\"x\","
          "\"tenant\":\"a\"", "nbf that is none", 0 },
        { "\"aud\":\"api\",\"exp\":9e99,\"tenant\":\"a\"", "no issuer", 0 },
        { "\"iss\":\"us2\",\"aud\":\"api\",\"exp\":9e99,\"tenant\":\"a\"",
          "another issuer", 0 },
        { "\"iss\":[\"us\"],\"aud\":\"api\",\"exp\":9e99,\"tenant\":\"a\"",
          "a list of issuers", 0 },
        { "\"iss\":\"us\",\"exp\":9e99,\"tenant\":\"a\"", "no audience", 0 },
        { "\"iss\":\"us\",\"aud\":\"ap\",\"exp\":9e99,\"tenant\":\"a\"",
          "another audience", 0 },
        { "\"iss\":\"us\",\"aud\":[],\"exp\":9e99,\"tenant\":\"a\"",
          "nobody", 0 },
        { "\"iss\":\"us\",\"aud\":\"api\",\"exp\":9e99", "no tenant", 0 },
        { "\"iss\":\"us\",\"aud\":\"api\",\"exp\":9e99,\"tenant\":\"\"",
          "the default tenant can't be claimed", 0 },
        { "\"iss\":\"us\",\"aud\":\"api\",\"exp\":9e99,\"tenant\":\"a b\"",
          "no tenant's name", 0 },
        { "\"iss\":\"us\",\"aud\":\"api\",\"exp\":9e99,\"tenant\":[\"a\"]",
          "several", 0 },
        { "\"iss\":\"us\",\"aud\":\"api\",\"exp\":9e99,"
          "\"tenant\":\"a\\u0000b\"", "a NUL", 0 },
        { NULL, NULL, 0 }
    };

    for (i = 0; cases[i].payload != NULL; i++) {
        char         text[512];
        const char  *why;

        snprintf(text, sizeof(text), "{%s}", cases[i].payload);
        why = payload_verify(text);
        ok((why == NULL) == cases[i].good, "%s: %s", cases[i].what,
           why ? why : "taken");
    }

    ok(payload_verify("{\"iss\":\"us\",\"aud\":\"api\",\"exp\":9e99,"
                      "\"tenant\":\"a\",\"scope\":[\"manage\",\"x\",3],"
                      "\"sub\":\"a b\\u00e4\\\"\"}") == NULL
       && claims.scopes == SANDBOX_SCOPE_MANAGE
       && strcmp(claims.name, "a?b\?\?\"") == 0,
       "a list of scopes; a subject that is safe to write down");
    ok(payload_verify("{\"iss\":\"us\",\"aud\":\"api\",\"exp\":9e99,"
                      "\"tenant\":\"a\",\"scope\":\" readexec  admin \"}")
       == NULL && claims.scopes == SANDBOX_SCOPE_ADMIN, "scopes by blanks");
    ok(payload_verify("{\"iss\":\"us\",\"aud\":\"api\",\"exp\":9e99,"
                      "\"tenant\":\"a\"}") == NULL && claims.scopes == 0
       && claims.name[0] == '\0', "no scope is none");

    fixed = rules;
    fixed.tenant_claim = NULL;
    ok(verify_rules(token("{\"alg\":\"HS256\"}", "{" GOOD "}", NULL, SECRET),
                    set_hmac, &fixed) == NULL && claims.tenant[0] == '\0',
       "a tenant that isn't asked for isn't taken");

    ok(payload_verify("{\"iss\":\"x\"," GOOD "}") != NULL
       && claims.scopes == 0 && claims.tenant[0] == '\0',
       "a token that is refused leaves nothing");
}


static void
test_ours(void)
{
    char  *t;

    t = token("{\"alg\":\"none\"}", "{" GOOD "}", NULL, NULL);
    ok(sandbox_jwt_is_for(t, strlen(t), &rules), "it says that it is ours");
    t = token("{}", "{\"iss\":\"us\",\"aud\":\"app\"}", NULL, NULL);
    ok(!sandbox_jwt_is_for(t, strlen(t), &rules), "an app's of our issuer");
    ok(!sandbox_jwt_is_for("x", 1, &rules), "what is no token is not");
}


int
main(void)
{
    test_keys();
    test_jwks();
    test_algorithms();
    test_form();
    test_claims();
    test_ours();

    sandbox_jwt_keys_free(set_rsa);
    sandbox_jwt_keys_free(set_ec);
    sandbox_jwt_keys_free(set_ed);
    sandbox_jwt_keys_free(set_hmac);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(small);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(p384);
    EVP_PKEY_free(ed);

    return done_testing();
}
