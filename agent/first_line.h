/*
 * The first line of a connection: which of the two kinds it is, and whether
 * its key is the right one.  Pure; fuzzed, since everything inside the sandbox
 * and whatever reaches the socket can write to it.
 */

#ifndef AGENT_FIRST_LINE_H
#define AGENT_FIRST_LINE_H

#include <stddef.h>

#define FIRST_LINE_MAX  64      /* with its line feed */
#define KEY_LEN         32      /* hex digits */

typedef enum {
    FIRST_LINE_MORE,            /* no line feed yet */
    FIRST_LINE_CONTROL,
    FIRST_LINE_CONNECT,
    FIRST_LINE_BAD              /* too long, malformed, or a wrong key */
} first_line_kind;

typedef struct {
    unsigned  port;             /* CONNECT: 1-65535 */
    size_t    used;             /* bytes of the line with its line feed */
} first_line;

/* key is KEY_LEN characters; compared in constant time. */
first_line_kind first_line_parse(const char *p, size_t n, const char *key,
    first_line *line);

/* A key is 32 lower-case hex digits. */
int first_line_key_valid(const char *p, size_t n);

#endif
