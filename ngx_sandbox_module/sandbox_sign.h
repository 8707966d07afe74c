/*
 * What the edge signs for browsers: links and cookies of private previews
 * ("passes"), and tickets for WebSockets of the API.  A token is
 *
 *     base64url(payload . HMAC-SHA256(key, payload, what it is bound to))
 *
 * The payload travels; what it is bound to is known to whoever checks, and is
 * never read out of the token.  Pure: no nginx, no clock, no I/O; OpenSSL's
 * HMAC.  It decides only whether a token is ours and for this; when it ends,
 * and whether it was used before, is for the caller to compare.
 */

#ifndef SANDBOX_SIGN_H
#define SANDBOX_SIGN_H

#include <stddef.h>
#include <stdint.h>

#define SANDBOX_SIGN_KEY      32
#define SANDBOX_SIGN_MAC      32
#define SANDBOX_NONCE_LEN     12

#define SANDBOX_PASS_TEXT     59        /* the length of every pass */
#define SANDBOX_NAME_MAX      72        /* of a ticket's tenant and key name */
#define SANDBOX_TICKET_TEXT   272       /* no ticket is longer */

/* The key that is derived from a secret of any length; -1 without OpenSSL. */
int sandbox_sign_key(unsigned char key[SANDBOX_SIGN_KEY], const void *secret,
    size_t len);

/* The same key, ready for use: signing and checking change it, for a moment. */
typedef struct sandbox_signer_s  sandbox_signer;

sandbox_signer *sandbox_signer_create(
    const unsigned char key[SANDBOX_SIGN_KEY]);
void sandbox_signer_free(sandbox_signer *signer);


typedef enum {
    SANDBOX_PASS_LINK = 'L',    /* in a URL: is exchanged for a cookie */
    SANDBOX_PASS_COOKIE = 'C'
} sandbox_pass_kind;

typedef struct {
    sandbox_pass_kind   kind;
    int                 embed;      /* also inside frames of other sites */
    uint32_t            gen;        /* of the exposure when it was signed */
    uint64_t            expires;    /* seconds since 1970, below 2^48 */
} sandbox_pass;

/* What a pass is bound to: the exact host name, and the exposure. */
typedef struct {
    const char         *host;       /* lower case, without port */
    size_t              host_len;   /* at most 253 */
    uint32_t            slot;
    unsigned            port;
} sandbox_pass_bound;

/* Writes SANDBOX_PASS_TEXT bytes, no NUL; 0, or -1. */
int sandbox_pass_sign(char *dst, sandbox_signer *signer,
    const sandbox_pass *pass, const sandbox_pass_bound *bound);

/* 0 if it is a pass of this kind for exactly this; -1 for anything else. */
int sandbox_pass_read(sandbox_pass *pass, sandbox_signer *signer,
    sandbox_pass_kind kind, const char *text, size_t len,
    const sandbox_pass_bound *bound);


/* Whose ticket it is; strings point where the reader says. */
typedef struct {
    unsigned            scopes;     /* 8 bits */
    uint64_t            expires;
    unsigned char       nonce[SANDBOX_NONCE_LEN];   /* makes it single */
    const char         *tenant;     /* at most SANDBOX_NAME_MAX, may be "" */
    size_t              tenant_len;
    const char         *name;       /* of the key that asked for it; the same */
    size_t              name_len;
} sandbox_ticket;

/* What it is bound to. */
typedef struct {
    const char         *zone;       /* where its use is written down */
    size_t              zone_len;
    const char         *id;         /* of the sandbox */
    size_t              id_len;
    const char         *route;      /* the agent's path */
    size_t              route_len;
    const char         *origin;
    size_t              origin_len;
} sandbox_ticket_bound;

/* The length of what was written, at most SANDBOX_TICKET_TEXT; 0: failed. */
size_t sandbox_ticket_sign(char *dst, sandbox_signer *signer,
    const sandbox_ticket *ticket, const sandbox_ticket_bound *bound);

/* 0 or -1; the ticket's strings point into buf. */
int sandbox_ticket_read(sandbox_ticket *ticket, unsigned char
    buf[SANDBOX_TICKET_TEXT], sandbox_signer *signer,
    const char *text, size_t len, const sandbox_ticket_bound *bound);

#endif
