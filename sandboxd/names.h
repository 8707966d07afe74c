/*
 * Names that users choose: ids, ports, tokens, and the host labels made of
 * them.  Pure functions: no I/O but the random numbers, no libuv, no JSON.
 *
 * An id is unique within its tenant.  A qualified name is unique on the host:
 * `<prefix>-<id>`, where the prefix stands for the tenant, or the id alone for
 * the default tenant.  Users see ids; records, frames and zones hold names.
 */

#ifndef SANDBOXD_NAMES_H
#define SANDBOXD_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

#define ID_MAX           128
#define PREFIX_LEN         6    /* "tabcde" */
#define QUALIFIED_MAX    (PREFIX_LEN + 1 + ID_MAX)
#define ID_GENERATED      26
#define LABEL_MAX         63
#define HOST_MAX         253
#define DOMAIN_MAX       (HOST_MAX - LABEL_MAX - 1)    /* any label fits */
#define TENANT_MAX        64
#define TOKEN_MIN          8
#define TOKEN_MAX         16
#define TOKEN_GENERATED   16

#define PORT_MIN        1024
#define PORT_MAX       65535
#define PORT_CONTROL    3000    /* the container API's own, never exposed */

/*
 * Checks an id and copies it: `[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?`, or the
 * bridge's `[a-z2-7]{1,128}`.  Uppercase is folded if normalize is set, else
 * an error.  `t` + 5 base32 digits + `-` is reserved for tenants.
 */
int id_check(const char *id, bool normalize, char dst[ID_MAX + 1],
    error **err);

/* The same for a qualified name, which is never folded. */
int name_check(const char *name, char dst[QUALIFIED_MAX + 1], error **err);

/* The id in a qualified name. */
const char *name_id(const char *name);

/* A tenant's name: 1 to 64 of [A-Za-z0-9._@+-]. */
int tenant_check(const char *tenant, error **err);

/* len random characters of [a-z2-7] (at most 32) and a NUL; 0, or -1 without
 * randomness. */
int base32_generate(char *dst, unsigned len, error **err);

/* An id of 26 of them. */
int id_generate(char dst[ID_GENERATED + 1], error **err);

int port_check(long long port, error **err);

/* A token that a user chose: 8 to 16 of [a-z0-9_]. */
int token_check(const char *token, error **err);

/* 16 random characters of base32, 80 bits. */
int token_generate(char dst[TOKEN_GENERATED + 1], error **err);

/* A random number that is neither 0 nor the old one. */
int generation_make(uint32_t *gen, uint32_t old, error **err);

/*
 * `<port>-<name>-<token>`, or `<port>-<name>` with token NULL.  Longer than a
 * DNS label is an error that says how long the id may be.
 */
int label_build(char dst[LABEL_MAX + 1], unsigned port, const char *name,
    const char *token, error **err);

/*
 * A host name: labels of [a-z0-9-] with no - at their ends, at least two of
 * them, the last one not a number (that would be an address).  Its first label
 * doesn't begin like that of a port, `<digits>-`: what would, is below a
 * domain the name of an exposure alone.
 */
int host_check(const char *name, const char *field, error **err);

/* A name to put labels below. */
int domain_check(const char *name, error **err);

/* Seconds of "90s", "10m", "2h", "1d" or "90"; -1 if it is none of them. */
long long duration_parse(const char *text);

/* bytes * 2 random hex digits and a NUL. */
int random_hex(char *dst, unsigned bytes, error **err);

#endif
