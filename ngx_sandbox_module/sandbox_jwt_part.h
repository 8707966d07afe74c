/* What sandbox_jwt.c and sandbox_jwt_keys.c share; nobody else includes it. */

#ifndef SANDBOX_JWT_PART_H
#define SANDBOX_JWT_PART_H

#include <openssl/evp.h>

#include "sandbox_jwt.h"

#define JWT_KID_MAX  256

typedef enum {
    JWT_HS256,
    JWT_RS256,
    JWT_ES256,
    JWT_EDDSA,
    JWT_ALGS
} jwt_alg;

typedef struct {
    jwt_alg         alg;
    char           *kid;            /* NULL: fits a token with any */
    EVP_PKEY       *pkey;           /* NULL: HS256 */
    unsigned char  *secret;
    size_t          secret_len;
} jwt_key;

struct sandbox_jwt_keys {
    size_t    count;
    jwt_key   key[SANDBOX_JWT_KEYS_MAX];
};

/* The algorithm of that name, or JWT_ALGS. */
jwt_alg jwt_alg_find(const char *name);

/*
 * base64url without padding, exactly: no other characters, no bits left over.
 * Allocates *dst (with a NUL behind it); -1 if it is none.
 */
int jwt_base64(const char *src, size_t len, unsigned char **dst,
    size_t *dst_len);

#endif
