/*
 * Takes credentials out of text that is shown: what stands before the '@' of
 * a URL, and secrets that are known.  Pure.
 */

#ifndef AGENT_REDACT_H
#define AGENT_REDACT_H

#include <stddef.h>

#include "common/buffer.h"

#define REDACT_MASK  "******"

/* Appends n bytes with the mask for what stands between "://" and '@', and for
 * each occurrence of one of the secrets (NULL-terminated list; or NULL).
 * Secrets of fewer than four bytes are left: they'd be found in any text. */
void redact_text(buffer *to, const char *p, size_t n,
    const char *const *secrets);

#endif
