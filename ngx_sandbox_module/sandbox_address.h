/*
 * Where the agent of a sandbox that others run is reached, if not at a socket
 * in the run directory: small enough for the zone, and as what connect() takes.
 * Pure: no nginx, no allocation, no I/O.
 */

#ifndef SANDBOX_ADDRESS_H
#define SANDBOX_ADDRESS_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    SANDBOX_ADDRESS_NONE = 0,       /* the socket of the slot, */
    SANDBOX_ADDRESS_HYBRID,         /* where a VMM wants its vsock's port */
    SANDBOX_ADDRESS_IPV4,
    SANDBOX_ADDRESS_IPV6,
    SANDBOX_ADDRESS_VSOCK
} sandbox_address_kind;

typedef struct {
    uint8_t   kind;
    uint8_t   unused[3];
    uint32_t  port;
    uint8_t   host[16];             /* an address, or a cid in 4 bytes */
} sandbox_address;

/*
 * What tells connections to one address apart: kept connections are compared
 * byte by byte.  It goes behind the address, where the kernel doesn't look.
 */
typedef struct {
    uint8_t   control;              /* the agent's API, not a port */
    uint16_t  port;
    uint32_t  slot;
    uint32_t  epoch;
} sandbox_address_tag;

#define SANDBOX_ADDRESS_TAG_LEN   12
#define SANDBOX_ADDRESS_MAX      (28 + SANDBOX_ADDRESS_TAG_LEN)

/* From the members of a record's endpoint; -1: they are none, and so the
 * address is.  host is NUL-terminated. */
int sandbox_address_tcp(sandbox_address *dst, const char *host,
    long long port);
int sandbox_address_hybrid(sandbox_address *dst, long long port);
int sandbox_address_vsock(sandbox_address *dst, long long cid,
    long long port);

/*
 * Writes a struct sockaddr and the tag; dst is aligned as that and has room
 * for SANDBOX_ADDRESS_MAX bytes.  Returns the length of both, 0 where it is
 * the socket of the slot.
 */
size_t sandbox_address_write(const sandbox_address *address,
    const sandbox_address_tag *tag, void *dst);

#endif
