/* The first line of a connection; see first_line.h. */

#include <string.h>

#include "agent/first_line.h"


int
first_line_key_valid(const char *p, size_t n)
{
    size_t  i;

    if (n != KEY_LEN) {
        return 0;
    }

    for (i = 0; i < n; i++) {
        if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f'))) {
            return 0;
        }
    }

    return 1;
}


/* The time depends on nothing but the length, which is no secret. */

static int
first_line_key_equal(const char *p, size_t n, const char *key)
{
    size_t                  i;
    volatile unsigned char  diff;

    if (n != KEY_LEN) {
        return 0;
    }

    diff = 0;

    for (i = 0; i < KEY_LEN; i++) {
        diff |= (unsigned char) (p[i] ^ key[i]);
    }

    return diff == 0;
}


/* Digits without sign or leading zero, up to a blank; returns the characters
 * taken with the blank, 0 if there is no such number. */

static size_t
first_line_port(const char *p, size_t n, unsigned *port)
{
    size_t    i;
    unsigned  v;

    v = 0;

    for (i = 0; i < n && p[i] >= '0' && p[i] <= '9'; i++) {
        if (i == 5 || (i == 0 && p[i] == '0')) {
            return 0;
        }
        v = v * 10 + (unsigned) (p[i] - '0');
    }

    if (i == 0 || i == n || p[i] != ' ' || v > 65535) {
        return 0;
    }

    *port = v;

    return i + 1;
}


first_line_kind
first_line_parse(const char *p, size_t n, const char *key, first_line *line)
{
    size_t       len, used;
    const char  *lf;

    line->port = 0;
    line->used = 0;

    lf = memchr(p, '\n', n < FIRST_LINE_MAX ? n : FIRST_LINE_MAX);
    if (lf == NULL) {
        return n < FIRST_LINE_MAX ? FIRST_LINE_MORE : FIRST_LINE_BAD;
    }

    len = (size_t) (lf - p);
    line->used = len + 1;

    if (len > 8 && memcmp(p, "CONTROL ", 8) == 0) {
        return first_line_key_equal(p + 8, len - 8, key) ? FIRST_LINE_CONTROL
                                                         : FIRST_LINE_BAD;
    }

    if (len > 8 && memcmp(p, "CONNECT ", 8) == 0) {
        used = first_line_port(p + 8, len - 8, &line->port);

        if (used != 0
            && first_line_key_equal(p + 8 + used, len - 8 - used, key))
        {
            return FIRST_LINE_CONNECT;
        }
    }

    return FIRST_LINE_BAD;
}
