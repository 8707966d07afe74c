/*
 * JSON Web Tokens in the compact form of RFC 7519, and the keys that they are
 * signed with: HS256, RS256, ES256 and EdDSA (Ed25519), through OpenSSL.
 * Knows nothing of nginx; does no I/O.
 *
 * A key has one algorithm, which follows from its kind; a token is checked
 * with the keys of the algorithm that it names, and with no others, so that
 * neither `none` nor a public key taken for a secret can verify anything.
 */

#ifndef SANDBOX_JWT_H
#define SANDBOX_JWT_H

#include <stddef.h>
#include <time.h>

#define SANDBOX_JWT_MAX         8192    /* bytes of a token */
#define SANDBOX_JWT_KEYS_MAX      64    /* of a set */
#define SANDBOX_JWT_TRIES          8    /* keys that one token is tried with */
#define SANDBOX_JWT_ERROR_MAX    160
#define SANDBOX_JWT_SECRET_MIN    32    /* RFC 7518, section 3.2 */
#define SANDBOX_JWT_SECRET_MAX   512
#define SANDBOX_JWT_NAME_MAX     128    /* bytes of `sub` that are kept */
#define SANDBOX_JWT_TENANT_MAX    64

typedef struct sandbox_jwt_keys  sandbox_jwt_keys;

typedef enum {
    SANDBOX_JWT_JWKS,           /* a JSON object with an array `keys` */
    SANDBOX_JWT_PEM,            /* one or more public keys */
    SANDBOX_JWT_SECRET          /* the bytes of one HMAC key */
} sandbox_jwt_source;

/* The keys of a file's text; NULL, and in error what is wrong with it. */
sandbox_jwt_keys *sandbox_jwt_keys_parse(sandbox_jwt_source source,
    const char *text, size_t len, char error[SANDBOX_JWT_ERROR_MAX]);
void sandbox_jwt_keys_free(sandbox_jwt_keys *keys);
size_t sandbox_jwt_keys_count(const sandbox_jwt_keys *keys);

/* What a token has to say; strings end with a NUL. */
typedef struct {
    const char  *issuer;
    const char  *audience;
    const char  *tenant_claim;  /* NULL: the tenant isn't the token's to say */
    const char  *scope_claim;
    long         leeway;        /* seconds that clocks may differ */
} sandbox_jwt_rules;

typedef struct {
    char      name[SANDBOX_JWT_NAME_MAX + 1];       /* `sub`; "" if none */
    char      tenant[SANDBOX_JWT_TENANT_MAX + 1];   /* "" if not asked for */
    unsigned  scopes;           /* SANDBOX_SCOPE_...; what we don't know of
                                   the claim's is left out */
} sandbox_jwt_claims;

/*
 * Verifies a token with the keys of several sets.  NULL if all is as it has to
 * be, and claims are set; else a few words for the log, which hold nothing of
 * the token.
 */
const char *sandbox_jwt_verify(const char *token, size_t len,
    const sandbox_jwt_keys *const *sets, size_t nsets,
    const sandbox_jwt_rules *rules, time_t now, sandbox_jwt_claims *claims);

/*
 * Whether a token names that issuer and audience.  Nothing is verified: it is
 * for deciding whether somebody else should see it.
 */
int sandbox_jwt_is_for(const char *token, size_t len,
    const sandbox_jwt_rules *rules);

#endif
