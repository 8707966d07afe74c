/*
 * Host names of previews, and origins: which label below a configured domain a
 * host names, and whether a URL begins with an origin.  Pure functions over
 * byte ranges that need no NUL: no nginx, no allocation, no I/O.  They decide
 * nothing from what a label seems to say: a label is a key, looked up whole.
 */

#ifndef SANDBOX_LABEL_H
#define SANDBOX_LABEL_H

#include <stddef.h>
#include <stdint.h>

#define SANDBOX_LABEL_MAX   63
#define SANDBOX_HOST_MAX    253

/* SipHash-1-3 of a byte range, keyed with 16 bytes. */
uint64_t sandbox_label_hash(const unsigned char key[16], const void *data,
    size_t len);

/* The same with 128 bits: as good as the bytes themselves. */
void sandbox_label_hash128(const unsigned char key[16], const void *data,
    size_t len, uint64_t hash[2]);

/* 1 to 63 of `[a-z0-9_-]`. */
int sandbox_label_valid(const char *label, size_t len);

/* 1 to 253 of `[a-z0-9_.-]` with a dot in it: a custom host name. */
int sandbox_host_valid(const char *host, size_t len);

/*
 * The length of the label that a host has in front of a domain, both in lower
 * case: 4 for "demo.example" and "example".  0 if the host isn't one label
 * below the domain.
 */
size_t sandbox_label_below(const char *host, size_t host_len,
    const char *domain, size_t domain_len);

/*
 * Compares a Host header with the name that the server was chosen by (lower
 * case).  Returns 0 if they differ or the port is spelled oddly, else 1 and
 * the port's number, 0 if there is none.
 */
int sandbox_host_match(const char *host, size_t host_len, const char *name,
    size_t name_len, unsigned *port);

/* Writes a port, up to SANDBOX_PORT_LEN digits; returns how many. */
#define SANDBOX_PORT_LEN  5

size_t sandbox_port_write(char *dst, unsigned port);

/*
 * The length of `http://localhost:<port>`, `http://127.0.0.1:<port>` or the
 * same with https at the beginning of a URL, where a path, a query, a fragment
 * or nothing follows; else 0.
 */
size_t sandbox_origin_local(const char *url, size_t len, unsigned port);

/* The same for one given origin. */
size_t sandbox_origin_match(const char *url, size_t len, const char *origin,
    size_t origin_len);

/*
 * Whether a Set-Cookie header stays with its host: each Domain attribute that
 * it has is empty or names that host (lower case) exactly.
 */
int sandbox_cookie_stays(const char *value, size_t len, const char *host,
    size_t host_len);

/*
 * Writes a Set-Cookie header so that its cookie comes back below a prefix only
 * (without a final slash): what it had for a path goes behind that.  Returns
 * the length; dst has SANDBOX_COOKIE_BELOW and the lengths of both.
 */
#define SANDBOX_COOKIE_BELOW  16

size_t sandbox_cookie_below(char *dst, const char *value, size_t len,
    const char *prefix, size_t prefix_len);

#endif
