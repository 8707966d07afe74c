/* UTF-8; see utf8.h. */

#include <stdint.h>
#include <string.h>

#include "common/utf8.h"


utf8_kind
utf8_next(const void *p, size_t n, size_t *len)
{
    size_t                i, want;
    unsigned char         low, high;
    const unsigned char  *s;

    s = p;
    low = 0x80;
    high = 0xbf;
    *len = 1;

    if (s[0] < 0x80) {
        return UTF8_OK;
    }

    /* The second byte's range keeps out overlong forms, surrogates and what
     * lies beyond U+10FFFF. */

    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        want = 2;

    } else if (s[0] >= 0xe0 && s[0] <= 0xef) {
        want = 3;
        low = s[0] == 0xe0 ? 0xa0 : 0x80;
        high = s[0] == 0xed ? 0x9f : 0xbf;

    } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        want = 4;
        low = s[0] == 0xf0 ? 0x90 : 0x80;
        high = s[0] == 0xf4 ? 0x8f : 0xbf;

    } else {
        return UTF8_BAD;
    }

    for (i = 1; i < want; i++) {
        *len = i;

        if (i == n) {
            return UTF8_CUT;
        }

        if (s[i] < low || s[i] > high) {
            return UTF8_BAD;
        }

        low = 0x80;
        high = 0xbf;
    }

    *len = want;

    return UTF8_OK;
}


size_t
utf8_complete(const void *p, size_t n)
{
    size_t                back, len;
    const unsigned char  *s;

    s = p;

    /* Only a lead byte among the last three can be cut off. */

    for (back = 1; back <= 3 && back <= n; back++) {
        if (s[n - back] >= 0xc0) {
            return utf8_next(s + n - back, back, &len) == UTF8_CUT ? n - back
                                                                   : n;
        }

        if (s[n - back] < 0x80) {
            break;
        }
    }

    return n;
}


size_t
utf8_valid(const void *p, size_t n)
{
    size_t                i, len;
    uint64_t              word;
    const unsigned char  *s;

    s = p;
    i = 0;

    while (i < n) {
        if (n - i >= sizeof(word)) {
            memcpy(&word, s + i, sizeof(word));
            if ((word & 0x8080808080808080u) == 0) {
                i += sizeof(word);
                continue;
            }
        }

        if (utf8_next(s + i, n - i, &len) != UTF8_OK) {
            break;
        }

        i += len;
    }

    return i;
}


size_t
utf8_clean(char *dst, size_t room, const void *src, size_t n)
{
    size_t       i, len, put, take;
    utf8_kind    kind;
    const char  *s, *from;

    s = src;
    put = 0;

    for (i = 0; i < n; i += len) {
        kind = utf8_next(s + i, n - i, &len);

        if (kind == UTF8_CUT) {
            break;
        }

        from = kind == UTF8_OK ? s + i : "\xef\xbf\xbd";
        take = kind == UTF8_OK ? len : 3;

        if (take >= room - put) {
            break;
        }

        memcpy(dst + put, from, take);
        put += take;
    }

    dst[put] = '\0';

    return put;
}
