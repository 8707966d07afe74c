/* The keys that tokens are verified with; see sandbox_jwt.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include "sandbox_jwt_part.h"


#define RSA_BITS_MIN   2048
#define RSA_BITS_MAX   8192     /* a larger one costs too much to verify */
#define P256_LEN         32
#define ED25519_LEN      32

static const char *const  alg_names[JWT_ALGS] = { "HS256", "RS256", "ES256",
                                                  "EdDSA" };


jwt_alg
jwt_alg_find(const char *name)
{
    int  i;

    for (i = 0; i < JWT_ALGS; i++) {
        if (strcmp(alg_names[i], name) == 0) {
            break;
        }
    }

    return (jwt_alg) i;
}


static int
base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }

    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }

    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }

    return c == '-' ? 62 : c == '_' ? 63 : -1;
}


int
jwt_base64(const char *src, size_t len, unsigned char **dst, size_t *dst_len)
{
    int             v, bits;
    size_t          i;
    unsigned        acc;
    unsigned char  *p;

    if (len % 4 == 1) {
        return -1;
    }

    *dst = malloc(len / 4 * 3 + 4);
    if (*dst == NULL) {
        return -1;
    }

    acc = 0;
    bits = 0;
    p = *dst;

    for (i = 0; i < len; i++) {
        v = base64_value(src[i]);

        if (v < 0) {
            free(*dst);
            *dst = NULL;
            return -1;
        }

        acc = acc << 6 | (unsigned) v;
        bits += 6;

        if (bits >= 8) {
            bits -= 8;
            *p++ = (unsigned char) (acc >> bits);
            acc &= (1u << bits) - 1;
        }
    }

    if (acc != 0) {
        free(*dst);
        *dst = NULL;
        return -1;
    }

    *p = '\0';
    *dst_len = (size_t) (p - *dst);

    return 0;
}


static int
fail(char *error, const char *what)
{
    snprintf(error, SANDBOX_JWT_ERROR_MAX, "%s", what);

    return -1;
}


static void
key_clear(jwt_key *key)
{
    EVP_PKEY_free(key->pkey);
    OPENSSL_cleanse(key->secret, key->secret_len);
    free(key->secret);
    free(key->kid);
    memset(key, 0, sizeof(*key));
}


/* The algorithm of a public key, by its kind and nothing else. */
static int
pkey_check(jwt_key *key, char *error)
{
    int   bits;
    char  group[32];

    bits = EVP_PKEY_get_bits(key->pkey);

    switch (EVP_PKEY_get_base_id(key->pkey)) {

    case EVP_PKEY_RSA:
        key->alg = JWT_RS256;

        return bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX ? 0
               : fail(error, "an RSA key must have 2048 to 8192 bits");

    case EVP_PKEY_EC:
        key->alg = JWT_ES256;

        return EVP_PKEY_get_utf8_string_param(key->pkey,
                                              OSSL_PKEY_PARAM_GROUP_NAME,
                                              group, sizeof(group), NULL) == 1
               && strcmp(group, "prime256v1") == 0 ? 0
               : fail(error, "an EC key must be on the curve P-256");

    case EVP_PKEY_ED25519:
        key->alg = JWT_EDDSA;
        return 0;

    default:
        return fail(error, "a key must be RSA, EC on P-256, or Ed25519");
    }
}


/* A public key of its parameters; NULL if they are none. */
static EVP_PKEY *
pkey_build(const char *type, OSSL_PARAM_BLD *build)
{
    EVP_PKEY      *pkey;
    OSSL_PARAM    *params;
    EVP_PKEY_CTX  *ctx, *check;

    pkey = NULL;
    params = OSSL_PARAM_BLD_to_param(build);
    ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

    if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1
        || EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
    {
        pkey = NULL;
    }

    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);

    check = pkey ? EVP_PKEY_CTX_new(pkey, NULL) : NULL;

    if (check != NULL && EVP_PKEY_public_check(check) != 1) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }

    EVP_PKEY_CTX_free(check);

    return pkey;
}


static int
member_bytes(json_t *jwk, const char *name, unsigned char **dst, size_t *len)
{
    json_t  *value;

    value = json_object_get(jwk, name);
    *dst = NULL;
    *len = 0;

    return json_is_string(value)
           ? jwt_base64(json_string_value(value), json_string_length(value),
                        dst, len)
           : -1;
}


static EVP_PKEY *
jwk_rsa(json_t *jwk)
{
    BIGNUM          *n, *e;
    size_t           n_len, e_len;
    EVP_PKEY        *pkey;
    OSSL_PARAM_BLD  *build;
    unsigned char   *n_bytes, *e_bytes;

    pkey = NULL;
    n = NULL;
    e = NULL;
    e_bytes = NULL;
    build = OSSL_PARAM_BLD_new();

    if (member_bytes(jwk, "n", &n_bytes, &n_len) == 0
        && member_bytes(jwk, "e", &e_bytes, &e_len) == 0
        && n_len <= RSA_BITS_MAX / 8 && e_len <= 8
        && (n = BN_bin2bn(n_bytes, (int) n_len, NULL)) != NULL
        && (e = BN_bin2bn(e_bytes, (int) e_len, NULL)) != NULL
        && build != NULL
        && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1
        && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1)
    {
        pkey = pkey_build("RSA", build);
    }

    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    BN_free(e);
    free(n_bytes);
    free(e_bytes);

    return pkey;
}


static EVP_PKEY *
jwk_ec(json_t *jwk)
{
    size_t           x_len, y_len;
    EVP_PKEY        *pkey;
    unsigned char    point[1 + 2 * P256_LEN], *x, *y;
    OSSL_PARAM_BLD  *build;

    pkey = NULL;
    y = NULL;
    build = OSSL_PARAM_BLD_new();

    if (member_bytes(jwk, "x", &x, &x_len) == 0
        && member_bytes(jwk, "y", &y, &y_len) == 0
        && x_len == P256_LEN && y_len == P256_LEN && build != NULL)
    {
        point[0] = POINT_CONVERSION_UNCOMPRESSED;
        memcpy(point + 1, x, P256_LEN);
        memcpy(point + 1 + P256_LEN, y, P256_LEN);

        if (OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME,
                                            "prime256v1", 0) == 1
            && OSSL_PARAM_BLD_push_octet_string(build,
                                                OSSL_PKEY_PARAM_PUB_KEY,
                                                point, sizeof(point)) == 1)
        {
            pkey = pkey_build("EC", build);
        }
    }

    OSSL_PARAM_BLD_free(build);
    free(x);
    free(y);

    return pkey;
}


static EVP_PKEY *
jwk_okp(json_t *jwk)
{
    size_t          len;
    EVP_PKEY       *pkey;
    unsigned char  *x;

    pkey = NULL;

    if (member_bytes(jwk, "x", &x, &len) == 0 && len == ED25519_LEN) {
        pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, len);
    }

    free(x);

    return pkey;
}


static int
secret_check(const jwt_key *key, char *error)
{
    return key->secret_len >= SANDBOX_JWT_SECRET_MIN
           && key->secret_len <= SANDBOX_JWT_SECRET_MAX ? 0
           : fail(error, "a secret must have 32 to 512 bytes");
}


static const char *
member_text(json_t *jwk, const char *name)
{
    const char  *text;

    text = json_string_value(json_object_get(jwk, name));

    return text != NULL ? text : "";
}


/* Sets of keys are made for many readers: what isn't for us is passed over. */
static int
jwk_wanted(json_t *jwk, const char *alg)
{
    size_t       i;
    json_t      *ops, *op;
    const char  *text;

    text = member_text(jwk, "use");

    if (text[0] != '\0' && strcmp(text, "sig") != 0) {
        return 0;
    }

    text = member_text(jwk, "alg");

    if (text[0] != '\0' && strcmp(text, alg) != 0) {
        return 0;
    }

    ops = json_object_get(jwk, "key_ops");

    if (ops == NULL) {
        return 1;
    }

    json_array_foreach(ops, i, op) {
        if (json_is_string(op)
            && strcmp(json_string_value(op), "verify") == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* 1: a key; 0: none for us; -1: a fault. */
static int
jwk_read(json_t *jwk, jwt_key *key, char *error)
{
    const char  *kty, *crv, *kid;

    kty = member_text(jwk, "kty");
    crv = member_text(jwk, "crv");
    kid = json_string_value(json_object_get(jwk, "kid"));

    if (kid != NULL && strlen(kid) > JWT_KID_MAX) {
        return fail(error, "a kid must have at most 256 bytes");
    }

    if (strcmp(kty, "oct") != 0 && json_object_get(jwk, "d") != NULL) {
        return fail(error, "a private key has no place here");
    }

    if (strcmp(kty, "oct") == 0 && jwk_wanted(jwk, "HS256")) {
        if (member_bytes(jwk, "k", &key->secret, &key->secret_len) < 0) {
            return fail(error, "a key of kty \"oct\" needs k in base64url");
        }

        key->alg = JWT_HS256;

        if (secret_check(key, error) < 0) {
            return -1;
        }

    } else {
        if (strcmp(kty, "RSA") == 0 && jwk_wanted(jwk, "RS256")) {
            key->pkey = jwk_rsa(jwk);

        } else if (strcmp(kty, "EC") == 0 && strcmp(crv, "P-256") == 0
                   && jwk_wanted(jwk, "ES256"))
        {
            key->pkey = jwk_ec(jwk);

        } else if (strcmp(kty, "OKP") == 0 && strcmp(crv, "Ed25519") == 0
                   && jwk_wanted(jwk, "EdDSA"))
        {
            key->pkey = jwk_okp(jwk);

        } else {
            return 0;
        }

        if (key->pkey == NULL) {
            return fail(error, "a key's members make no public key");
        }

        if (pkey_check(key, error) < 0) {
            return -1;
        }
    }

    if (kid != NULL && (key->kid = strdup(kid)) == NULL) {
        return fail(error, "no memory");
    }

    return 1;
}


static int
jwks_parse(sandbox_jwt_keys *keys, const char *text, size_t len, char *error)
{
    int      got;
    size_t   i;
    json_t  *root, *list, *jwk;

    root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    list = json_object_get(root, "keys");
    got = 0;

    if (!json_is_array(list)) {
        got = fail(error, "it must be a JSON object, without members twice, "
                   "with an array \"keys\"");
    }

    for (i = 0; got >= 0 && i < json_array_size(list); i++) {
        jwk = json_array_get(list, i);

        if (!json_is_object(jwk)) {
            got = fail(error, "an element of \"keys\" must be an object");
            break;
        }

        if (keys->count == SANDBOX_JWT_KEYS_MAX) {
            got = fail(error, "more than 64 keys");
            break;
        }

        got = jwk_read(jwk, &keys->key[keys->count], error);

        if (got < 0) {
            key_clear(&keys->key[keys->count]);

        } else {
            keys->count += (size_t) got;
        }
    }

    json_decref(root);

    return got < 0 ? -1 : 0;
}


static int
pem_parse(sandbox_jwt_keys *keys, const char *text, size_t len, char *error)
{
    int             more;
    BIO            *bio;
    long            n;
    char           *name, *header;
    jwt_key        *key;
    unsigned char  *data;
    const unsigned char  *p;

    more = 1;
    bio = BIO_new_mem_buf(text, (int) len);

    while (bio != NULL && more > 0
           && PEM_read_bio(bio, &name, &header, &data, &n) == 1)
    {
        if (strcmp(name, PEM_STRING_PUBLIC) != 0) {
            more = fail(error, "only blocks of BEGIN PUBLIC KEY have a place "
                        "here");

        } else if (keys->count == SANDBOX_JWT_KEYS_MAX) {
            more = fail(error, "more than 64 keys");

        } else {
            p = data;
            key = &keys->key[keys->count];
            key->pkey = d2i_PUBKEY(NULL, &p, n);

            if (key->pkey == NULL) {
                more = fail(error, "a public key can't be read");

            } else if (pkey_check(key, error) < 0) {
                key_clear(key);
                more = -1;

            } else {
                keys->count++;
            }
        }

        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(data, (size_t) n);
    }

    BIO_free(bio);

    return more > 0 ? 0 : -1;
}


static int
secret_parse(sandbox_jwt_keys *keys, const char *text, size_t len,
    char *error)
{
    jwt_key  *key;

    if (len > 0 && text[len - 1] == '\n') {
        len--;
    }

    /* The oldest trick: a public key, which everybody has, as the secret. */
    if (len >= 5 && memcmp(text, "-----", 5) == 0) {
        return fail(error, "it is a PEM file, which is not for HS256");
    }

    key = &keys->key[0];
    key->alg = JWT_HS256;
    key->secret_len = len;
    key->secret = malloc(len + 1);

    if (key->secret == NULL) {
        key->secret_len = 0;
        return fail(error, "no memory");
    }

    memcpy(key->secret, text, len);
    keys->count = 1;

    return secret_check(key, error);
}


sandbox_jwt_keys *
sandbox_jwt_keys_parse(sandbox_jwt_source source, const char *text,
    size_t len, char error[SANDBOX_JWT_ERROR_MAX])
{
    int                rc;
    sandbox_jwt_keys  *keys;

    keys = calloc(1, sizeof(sandbox_jwt_keys));
    if (keys == NULL) {
        fail(error, "no memory");
        return NULL;
    }

    rc = source == SANDBOX_JWT_JWKS ? jwks_parse(keys, text, len, error)
         : source == SANDBOX_JWT_PEM ? pem_parse(keys, text, len, error)
         : secret_parse(keys, text, len, error);

    if (rc == 0 && keys->count == 0) {
        rc = fail(error, "there is no key in it for HS256, RS256, ES256 or "
                  "EdDSA");
    }

    if (rc < 0) {
        sandbox_jwt_keys_free(keys);
        return NULL;
    }

    return keys;
}


void
sandbox_jwt_keys_free(sandbox_jwt_keys *keys)
{
    size_t  i;

    if (keys == NULL) {
        return;
    }

    for (i = 0; i < SANDBOX_JWT_KEYS_MAX; i++) {
        key_clear(&keys->key[i]);
    }

    free(keys);
}


size_t
sandbox_jwt_keys_count(const sandbox_jwt_keys *keys)
{
    return keys->count;
}
