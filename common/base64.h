/*
 * Base64 with the standard alphabet, as RFC 4648 section 4 has it.
 * Pure functions: no allocation, no I/O.
 */

#ifndef COMMON_BASE64_H
#define COMMON_BASE64_H

#include <stddef.h>
#include <sys/types.h>

/* The number of characters that n bytes become, padding included. */
static inline size_t
base64_encoded_len(size_t n)
{
    return n / 3 * 4 + (n % 3 ? 4 : 0);
}

/* Writes base64_encoded_len(n) characters to dst, no NUL; returns how many. */
size_t base64_encode(char *dst, const void *src, size_t n);

/*
 * Decodes all n characters and returns the number of bytes, at most n / 4 * 3
 * + 2; or -1 if a character is not of the alphabet, padding stands elsewhere
 * than at the end or is longer than the text wants, or a lone character is
 * left over.  Padding may be missing.  dst may be src.
 */
ssize_t base64_decode(void *dst, const char *src, size_t n);

#endif
