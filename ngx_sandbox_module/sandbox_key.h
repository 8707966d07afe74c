/*
 * One line of a file of API keys:
 *
 *   [<salt>:]<SHA-256 of salt and key, in hex> <name> [<option>...]
 *
 *   tenant=NAME         1 to 64 of [A-Za-z0-9._@+-]; none: the default tenant
 *   scopes=S[,S...]     read, exec, manage, admin; none given: all of them,
 *                       but not admin for the key of a named tenant
 *   sandboxes=N         how many the tenant may have
 *   starts=N            how many may start in a minute
 *   create=on|off       whether the first use of an id makes its sandbox
 *
 * Pure: no nginx, no allocation, no I/O.
 */

#ifndef SANDBOX_KEY_H
#define SANDBOX_KEY_H

#include <stddef.h>

#define SANDBOX_KEY_DIGEST_LEN   32
#define SANDBOX_KEY_NAME_MAX     64
#define SANDBOX_KEY_SALT_MIN      8     /* of [A-Za-z0-9] */
#define SANDBOX_KEY_SALT_MAX     64
#define SANDBOX_KEY_LIMIT_MAX  1000000
#define SANDBOX_TENANT_NAME_MAX  64

typedef struct {
    unsigned char  digest[SANDBOX_KEY_DIGEST_LEN];
    const char    *salt;        /* strings point into the line */
    size_t         salt_len;    /* 0: plain */
    const char    *name;
    size_t         name_len;
    const char    *tenant;
    size_t         tenant_len;  /* 0: the default tenant */
    unsigned       scopes;      /* SANDBOX_SCOPE_... */
    unsigned       sandboxes;   /* 0: any number */
    unsigned       starts;      /* 0: any number */
    int            create;
    int            found;       /* 0: an empty line, or a comment */
} sandbox_key_line;

/* Reads a line without its line feed; NULL, or what is wrong with it. */
const char *sandbox_key_parse(const char *line, size_t len,
    sandbox_key_line *dst);

int sandbox_tenant_valid(const char *name, size_t len);

/* The bit of "read", "exec", "manage" or "admin"; else 0. */
unsigned sandbox_scope_parse(const char *name, size_t len);

#endif
