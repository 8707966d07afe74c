/*
 * Places in what all tenants have in common, for one of them to come back to:
 * ids of events, cursors of lists.  The number behind one counts what everybody
 * does; its text says nothing of that, not even whether two of them are the
 * same place.  It is a block of AES-256, encrypted with a key of the tenant's,
 * in hexadecimal digits:
 *
 *     random (4 bytes) . 0 (4 bytes) . position (8 bytes)
 *
 * A text that was made up opens with a chance of 2^-32, and is then a random
 * place: what may be seen from there is for the caller to check, as from any.
 * Pure: no nginx, no clock, no I/O; OpenSSL's AES and random bytes.
 */

#ifndef SANDBOX_POSITION_H
#define SANDBOX_POSITION_H

#include <stddef.h>
#include <stdint.h>

#define SANDBOX_POSITION_KEY   32
#define SANDBOX_POSITION_TEXT  32

/* The key of a tenant for a purpose, out of one that nobody outside knows; 0,
 * or -1 without OpenSSL. */
int sandbox_position_key(unsigned char key[SANDBOX_POSITION_KEY],
    const unsigned char *secret, size_t secret_len, const char *purpose,
    const char *tenant, size_t tenant_len);

/* Writes SANDBOX_POSITION_TEXT digits, no NUL; 0, or -1. */
int sandbox_position_seal(char *dst,
    const unsigned char key[SANDBOX_POSITION_KEY], uint64_t position);

/* 0; -1: it is none of this key. */
int sandbox_position_open(uint64_t *position,
    const unsigned char key[SANDBOX_POSITION_KEY], const char *text,
    size_t len);

#endif
