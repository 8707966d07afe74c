/*
 * UTF-8 in pieces: what is valid, what is cut off at the end of a piece, and
 * what has to be replaced.  Pure functions: no allocation, no I/O, no state
 * (a caller keeps the few bytes of a cut character and puts them before the
 * next piece).
 */

#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

#include <stddef.h>

typedef enum {
    UTF8_OK,        /* a whole character of *len bytes */
    UTF8_BAD,       /* *len bytes that become one U+FFFD together */
    UTF8_CUT        /* all n bytes begin a character whose rest is missing */
} utf8_kind;

/*
 * Looks at the character at p, n > 0.  The bytes that one U+FFFD stands for
 * are those that the Encoding Standard (and so every browser) takes together.
 */
utf8_kind utf8_next(const void *p, size_t n, size_t *len);

/* How many of n bytes come before a character that is cut off at the end. */
size_t utf8_complete(const void *p, size_t n);

/* How many of n bytes from the start are valid UTF-8. */
size_t utf8_valid(const void *p, size_t n);

/*
 * Copies n bytes as text that is UTF-8: what isn't becomes U+FFFD, what is
 * cut off at the end is left out, and so is what doesn't fit.  room > 0 counts
 * the NUL that is put behind; returns the length without it.
 */
size_t utf8_clean(char *dst, size_t room, const void *src, size_t n);

#endif
