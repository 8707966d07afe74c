/* Base64; see base64.h. */

#include <stdint.h>

#include "common/base64.h"

static const char  base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Value + 1 of each character; 0 marks what is not of the alphabet. */
static const unsigned char  base64_value[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,
    ['G'] = 7,  ['H'] = 8,  ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12,
    ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18,
    ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30,
    ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36,
    ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42,
    ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54,
    ['2'] = 55, ['3'] = 56, ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60,
    ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64
};


size_t
base64_encode(char *dst, const void *src, size_t n)
{
    char                 *d;
    uint32_t              v;
    const unsigned char  *s;

    d = dst;
    s = src;

    for (; n >= 3; n -= 3, s += 3, d += 4) {
        v = (uint32_t) s[0] << 16 | (uint32_t) s[1] << 8 | s[2];
        d[0] = base64_alphabet[v >> 18];
        d[1] = base64_alphabet[v >> 12 & 63];
        d[2] = base64_alphabet[v >> 6 & 63];
        d[3] = base64_alphabet[v & 63];
    }

    if (n > 0) {
        v = (uint32_t) s[0] << 16 | (n == 2 ? (uint32_t) s[1] << 8 : 0);
        d[0] = base64_alphabet[v >> 18];
        d[1] = base64_alphabet[v >> 12 & 63];
        d[2] = n == 2 ? base64_alphabet[v >> 6 & 63] : '=';
        d[3] = '=';
        d += 4;
    }

    return (size_t) (d - dst);
}


ssize_t
base64_decode(void *dst, const char *src, size_t n)
{
    size_t                pad;
    uint32_t              a, b, c, e, v;
    unsigned char        *d;
    const unsigned char  *s, *end;

    for (pad = 0; pad < 2 && n > 0 && src[n - 1] == '='; pad++) {
        n--;
    }

    if (n % 4 == 1 || (pad > 0 && (n + pad) % 4 != 0)) {
        return -1;
    }

    d = dst;
    s = (const unsigned char *) src;

    for (end = s + (n & ~(size_t) 3); s < end; s += 4, d += 3) {
        a = base64_value[s[0]];
        b = base64_value[s[1]];
        c = base64_value[s[2]];
        e = base64_value[s[3]];

        if (a == 0 || b == 0 || c == 0 || e == 0) {
            return -1;
        }

        v = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (e - 1);
        d[0] = (unsigned char) (v >> 16);
        d[1] = (unsigned char) (v >> 8);
        d[2] = (unsigned char) v;
    }

    if (n % 4 != 0) {
        a = base64_value[s[0]];
        b = base64_value[s[1]];
        c = n % 4 == 3 ? base64_value[s[2]] : 1;

        if (a == 0 || b == 0 || c == 0) {
            return -1;
        }

        v = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6;
        *d++ = (unsigned char) (v >> 16);
        if (n % 4 == 3) {
            *d++ = (unsigned char) (v >> 8);
        }
    }

    return d - (unsigned char *) dst;
}
