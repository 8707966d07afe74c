/*
 * SHA-1 of a short text: the answer to a WebSocket handshake asks for it, and
 * nothing else here does.  No protection of anything may rest on it.
 */

#ifndef AGENT_SHA1_H
#define AGENT_SHA1_H

#include <stddef.h>

#define SHA1_LEN  20

void sha1(const void *p, size_t n, unsigned char out[SHA1_LEN]);

#endif
