/* Tokens that others sign; see sandbox_jwt.h. */

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>

#include "sandbox_jwt_part.h"
#include "sandbox_key.h"
#include "sandbox_route.h"


#define SHA256_LEN       32
#define ES256_LEN        64     /* r and s */
#define AUDIENCES_MAX    32
#define SCOPES_MAX       64


/* A token in its parts; what is behind the pointers is the token's, or owned
 * where it had to be decoded. */
typedef struct {
    json_t         *header;
    json_t         *payload;
    const char     *text;           /* what is signed */
    size_t          text_len;
    unsigned char  *signature;
    size_t          signature_len;
} jwt_parts;


static void
parts_free(jwt_parts *parts)
{
    json_decref(parts->header);
    json_decref(parts->payload);
    free(parts->signature);
}


static json_t *
part_object(const char *text, size_t len)
{
    size_t          n;
    json_t         *object;
    unsigned char  *bytes;

    if (jwt_base64(text, len, &bytes, &n) < 0) {
        return NULL;
    }

    object = json_loadb((char *) bytes, n, JSON_REJECT_DUPLICATES, NULL);
    free(bytes);

    if (!json_is_object(object)) {
        json_decref(object);
        return NULL;
    }

    return object;
}


/* 0, or -1; parts_free() in either case. */
static int
parts_read(jwt_parts *parts, const char *token, size_t len)
{
    const char  *first, *second, *end;

    memset(parts, 0, sizeof(*parts));

    if (len > SANDBOX_JWT_MAX) {
        return -1;
    }

    end = token + len;
    first = memchr(token, '.', len);
    second = first ? memchr(first + 1, '.', end - first - 1) : NULL;

    if (second == NULL
        || memchr(second + 1, '.', end - second - 1) != NULL)
    {
        return -1;
    }

    parts->text = token;
    parts->text_len = second - token;
    parts->header = part_object(token, first - token);
    parts->payload = part_object(first + 1, second - first - 1);

    return parts->header != NULL && parts->payload != NULL
           && jwt_base64(second + 1, end - second - 1, &parts->signature,
                         &parts->signature_len) == 0 ? 0 : -1;
}


static int
text_is(json_t *value, const char *text)
{
    return json_is_string(value)
           && json_string_length(value) == strlen(text)
           && memcmp(json_string_value(value), text, strlen(text)) == 0;
}


static int
audience_is(json_t *aud, const char *audience)
{
    size_t  i;

    if (json_is_string(aud)) {
        return text_is(aud, audience);
    }

    for (i = 0; i < json_array_size(aud) && i < AUDIENCES_MAX; i++) {
        if (text_is(json_array_get(aud, i), audience)) {
            return 1;
        }
    }

    return 0;
}


int
sandbox_jwt_is_for(const char *token, size_t len,
    const sandbox_jwt_rules *rules)
{
    int        is;
    jwt_parts  parts;

    is = parts_read(&parts, token, len) == 0
         && text_is(json_object_get(parts.payload, "iss"), rules->issuer)
         && audience_is(json_object_get(parts.payload, "aud"),
                        rules->audience);

    parts_free(&parts);

    return is;
}


static const char *
header_check(json_t *header, jwt_alg *alg, const char **kid)
{
    json_t      *value;
    const char  *typ;

    value = json_object_get(header, "alg");
    *alg = json_is_string(value) ? jwt_alg_find(json_string_value(value))
                                 : JWT_ALGS;

    if (*alg == JWT_ALGS) {
        return "its algorithm is not taken";
    }

    /* What says that a reader has to know something: we don't. */
    if (json_object_get(header, "crit") != NULL
        || json_object_get(header, "b64") != NULL)
    {
        return "it asks for an extension";
    }

    value = json_object_get(header, "typ");
    typ = json_string_value(value);

    if (value != NULL
        && (typ == NULL
            || (strcasecmp(typ, "JWT") != 0 && strcasecmp(typ, "at+jwt") != 0
                && strcasecmp(typ, "application/at+jwt") != 0)))
    {
        return "it is of another type";
    }

    value = json_object_get(header, "kid");
    *kid = json_string_value(value);

    if (value != NULL && *kid == NULL) {
        return "its kid is no string";
    }

    return NULL;
}


/* NumericDate may have a fraction. */
static const char *
times_check(json_t *payload, const sandbox_jwt_rules *rules, time_t now)
{
    double   at;
    json_t  *exp, *nbf, *iat;

    exp = json_object_get(payload, "exp");
    nbf = json_object_get(payload, "nbf");
    iat = json_object_get(payload, "iat");
    at = (double) now;

    if (!json_is_number(exp)) {
        return "it has no exp";
    }

    if (json_number_value(exp) + (double) rules->leeway <= at) {
        return "it has expired";
    }

    if (nbf != NULL
        && (!json_is_number(nbf)
            || json_number_value(nbf) - (double) rules->leeway > at))
    {
        return "its time has not come";
    }

    return iat == NULL || json_is_number(iat) ? NULL : "its iat is no number";
}


static void
scope_add(sandbox_jwt_claims *claims, const char *text, size_t len)
{
    claims->scopes |= sandbox_scope_parse(text, len);
}


/* "read exec", or ["read","exec"]. */
static void
scopes_read(sandbox_jwt_claims *claims, json_t *value)
{
    size_t       i, len;
    json_t      *one;
    const char  *p, *end;

    for (i = 0; i < json_array_size(value) && i < SCOPES_MAX; i++) {
        one = json_array_get(value, i);

        if (json_is_string(one)) {
            scope_add(claims, json_string_value(one),
                      json_string_length(one));
        }
    }

    if (!json_is_string(value)) {
        return;
    }

    p = json_string_value(value);
    end = p + json_string_length(value);

    while (p < end) {
        len = strcspn(p, " ");
        scope_add(claims, p, len);
        p += len < (size_t) (end - p) ? len + 1 : len;
    }
}


static const char *
claims_read(json_t *payload, const sandbox_jwt_rules *rules,
    sandbox_jwt_claims *claims)
{
    size_t       i, len;
    json_t      *value;
    const char  *text;

    value = json_object_get(payload, "sub");
    text = json_is_string(value) ? json_string_value(value) : "";

    for (i = 0; text[i] != '\0' && i < SANDBOX_JWT_NAME_MAX; i++) {
        claims->name[i] = text[i] > ' ' && text[i] < 0x7f ? text[i] : '?';
    }

    scopes_read(claims, json_object_get(payload, rules->scope_claim));

    if (rules->tenant_claim == NULL) {
        return NULL;
    }

    value = json_object_get(payload, rules->tenant_claim);
    text = json_string_value(value);
    len = json_string_length(value);

    if (text == NULL || !sandbox_tenant_valid(text, len)) {
        return "it names no tenant";
    }

    memcpy(claims->tenant, text, len);

    return NULL;
}


static int
verify_hs256(const jwt_key *key, const jwt_parts *parts)
{
    unsigned       n;
    unsigned char  mac[EVP_MAX_MD_SIZE];

    n = 0;

    return parts->signature_len == SHA256_LEN
           && HMAC(EVP_sha256(), key->secret, (int) key->secret_len,
                   (const unsigned char *) parts->text, parts->text_len, mac,
                   &n) != NULL
           && n == SHA256_LEN
           && CRYPTO_memcmp(mac, parts->signature, SHA256_LEN) == 0;
}


/* ES256 has r and s one behind the other, OpenSSL wants them in DER. */
static int
ecdsa_der(const jwt_parts *parts, unsigned char **der)
{
    int         len;
    BIGNUM     *r, *s;
    ECDSA_SIG  *sig;

    *der = NULL;

    if (parts->signature_len != ES256_LEN) {
        return -1;
    }

    r = BN_bin2bn(parts->signature, ES256_LEN / 2, NULL);
    s = BN_bin2bn(parts->signature + ES256_LEN / 2, ES256_LEN / 2, NULL);
    sig = ECDSA_SIG_new();

    if (r == NULL || s == NULL || sig == NULL
        || ECDSA_SIG_set0(sig, r, s) != 1)
    {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(sig);
        return -1;
    }

    len = i2d_ECDSA_SIG(sig, der);
    ECDSA_SIG_free(sig);

    return len;
}


static int
verify_pkey(const jwt_key *key, const jwt_parts *parts)
{
    int             rc, len;
    EVP_MD_CTX     *ctx;
    const EVP_MD   *md;
    unsigned char  *der, *sig;

    der = NULL;
    sig = parts->signature;
    len = (int) parts->signature_len;
    md = key->alg == JWT_EDDSA ? NULL : EVP_sha256();

    if (key->alg == JWT_ES256) {
        len = ecdsa_der(parts, &der);
        sig = der;
    }

    ctx = EVP_MD_CTX_new();

    rc = len > 0 && ctx != NULL
         && EVP_DigestVerifyInit(ctx, NULL, md, NULL, key->pkey) == 1
         && EVP_DigestVerify(ctx, sig, (size_t) len,
                             (const unsigned char *) parts->text,
                             parts->text_len) == 1;

    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);

    /* A wrong signature leaves its traces, which nginx would log later. */
    ERR_clear_error();

    return rc;
}


static const char *
signature_check(const jwt_parts *parts, jwt_alg alg, const char *kid,
    const sandbox_jwt_keys *const *sets, size_t nsets)
{
    size_t          i, k;
    unsigned        tries;
    const jwt_key  *key;

    tries = 0;

    for (i = 0; i < nsets; i++) {
        for (k = 0; k < sets[i]->count; k++) {
            key = &sets[i]->key[k];

            if (key->alg != alg
                || (kid != NULL && key->kid != NULL
                    && strcmp(kid, key->kid) != 0))
            {
                continue;
            }

            if (tries++ == SANDBOX_JWT_TRIES) {
                return "too many keys could be meant";
            }

            if (alg == JWT_HS256 ? verify_hs256(key, parts)
                                 : verify_pkey(key, parts))
            {
                return NULL;
            }
        }
    }

    return tries ? "its signature is wrong" : "no key of ours is meant";
}


const char *
sandbox_jwt_verify(const char *token, size_t len,
    const sandbox_jwt_keys *const *sets, size_t nsets,
    const sandbox_jwt_rules *rules, time_t now, sandbox_jwt_claims *claims)
{
    jwt_alg      alg;
    jwt_parts    parts;
    const char  *why, *kid;

    memset(claims, 0, sizeof(*claims));

    if (parts_read(&parts, token, len) < 0) {
        parts_free(&parts);
        return "it is no JWT in compact form";
    }

    /* What costs little comes first: the answer is one and the same. */

    why = header_check(parts.header, &alg, &kid);

    if (why == NULL
        && !text_is(json_object_get(parts.payload, "iss"), rules->issuer))
    {
        why = "it has another issuer";
    }

    if (why == NULL
        && !audience_is(json_object_get(parts.payload, "aud"),
                        rules->audience))
    {
        why = "it is for another audience";
    }

    if (why == NULL) {
        why = times_check(parts.payload, rules, now);
    }

    if (why == NULL) {
        why = signature_check(&parts, alg, kid, sets, nsets);
    }

    if (why == NULL) {
        why = claims_read(parts.payload, rules, claims);
    }

    parts_free(&parts);

    if (why != NULL) {
        memset(claims, 0, sizeof(*claims));
    }

    return why;
}
