/*
 * Frames between nginx workers and sandboxd, and the proofs of their hello.
 * Pure functions: no I/O, no allocation, no nginx, no libuv.
 * The format is described in docs/protocol.md, section 1.
 */

#ifndef COMMON_FRAME_H
#define COMMON_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER       4
#define FRAME_MAX          (1024 * 1024)    /* bytes of the JSON text */
#define FRAME_VERSION      1

#define FRAME_SECRET_MIN   32
#define FRAME_SECRET_MAX   256
#define FRAME_NONCE_LEN    64               /* hex digits */
#define FRAME_PROOF_LEN    64               /* hex digits */

/* Writes the 4 bytes that go before a text of len bytes (1 to FRAME_MAX). */
void frame_put_header(unsigned char *dst, size_t len);

/* The length that 4 header bytes announce, or -1 if it is out of range. */
long frame_get_header(const unsigned char *src);

/*
 * The proof of the side `role` ("worker" or "sandboxd") over its peer's nonce,
 * its own nonce and, for the worker, the zone's id (NULL for sandboxd).
 * dst takes FRAME_PROOF_LEN hex digits and a NUL.  Returns 0, or -1 if the
 * secret's length is out of range or a nonce is not FRAME_NONCE_LEN long.
 */
int frame_proof(char dst[FRAME_PROOF_LEN + 1], const void *secret,
    size_t secret_len, const char *role, const char *peer_nonce,
    const char *own_nonce, const char *zone);

/* Compares two proofs in constant time; 1 if they are equal. */
int frame_proof_equal(const char *a, const char *b);

/* Fills dst with FRAME_NONCE_LEN random hex digits and a NUL; 0 or -1. */
int frame_nonce(char dst[FRAME_NONCE_LEN + 1]);

#endif
