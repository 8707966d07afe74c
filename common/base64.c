/* Base64; see base64.h. */

#include <stdint.h>
#if defined __x86_64__ && defined __GNUC__
#include <immintrin.h>
#define BASE64_VECTORS  1
#define BASE64_TARGET   __attribute__((target("ssse3")))
#endif

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


#ifdef BASE64_VECTORS

/* Twelve bytes to sixteen characters at a time, or back.  Both return how many
 * bytes of src they have taken, and leave some at the end: a step reads and
 * writes sixteen. */

static BASE64_TARGET size_t
base64_encode_steps(char *dst, const unsigned char *src, size_t n)
{
    size_t         i;
    __m128i        v, a, b, offset;
    const __m128i  spread = _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4,
                                          7, 6, 8, 7, 10, 9, 11, 10);
    /* What to add to a value: by what it exceeds 51, from 1 on; place 13 is
     * for 0 to 25, place 0 for 26 to 51. */
    const __m128i  offsets = _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52,
        '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
        '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);

    for (i = 0; n - i >= 16; i += 12, dst += 16) {
        v = _mm_loadu_si128((const __m128i *) (src + i));
        v = _mm_shuffle_epi8(v, spread);

        /* Six bits to each byte: the first and third of four are moved right
         * and the others left, both by multiplying. */
        a = _mm_mulhi_epu16(_mm_and_si128(v, _mm_set1_epi32(0x0fc0fc00)),
                            _mm_set1_epi32(0x04000040));
        b = _mm_mullo_epi16(_mm_and_si128(v, _mm_set1_epi32(0x003f03f0)),
                            _mm_set1_epi32(0x01000010));
        v = _mm_or_si128(a, b);

        offset = _mm_subs_epu8(v, _mm_set1_epi8(51));
        offset = _mm_or_si128(offset,
            _mm_and_si128(_mm_cmpgt_epi8(_mm_set1_epi8(26), v),
                          _mm_set1_epi8(13)));
        v = _mm_add_epi8(v, _mm_shuffle_epi8(offsets, offset));
        _mm_storeu_si128((__m128i *) dst, v);
    }

    return i;
}


/* Stops before what is not of the alphabet. */

static BASE64_TARGET size_t
base64_decode_steps(unsigned char *dst, const unsigned char *src, size_t n)
{
    size_t         i;
    __m128i        v, upper, lower, digit, plus, slash, known, value;
    const __m128i  pack = _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13,
                                        12, -1, -1, -1, -1);

    for (i = 0; n - i >= 24; i += 16, dst += 12) {
        v = _mm_loadu_si128((const __m128i *) (src + i));

        upper = _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8('A' - 1)),
                              _mm_cmplt_epi8(v, _mm_set1_epi8('Z' + 1)));
        lower = _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8('a' - 1)),
                              _mm_cmplt_epi8(v, _mm_set1_epi8('z' + 1)));
        digit = _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8('0' - 1)),
                              _mm_cmplt_epi8(v, _mm_set1_epi8('9' + 1)));
        plus = _mm_cmpeq_epi8(v, _mm_set1_epi8('+'));
        slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('/'));

        known = _mm_or_si128(_mm_or_si128(upper, lower),
                _mm_or_si128(digit, _mm_or_si128(plus, slash)));
        if (_mm_movemask_epi8(known) != 0xffff) {
            break;
        }

        value = _mm_or_si128(
            _mm_or_si128(_mm_and_si128(upper, _mm_set1_epi8(-'A')),
                         _mm_and_si128(lower, _mm_set1_epi8(26 - 'a'))),
            _mm_or_si128(_mm_and_si128(digit, _mm_set1_epi8(52 - '0')),
            _mm_or_si128(_mm_and_si128(plus, _mm_set1_epi8(62 - '+')),
                         _mm_and_si128(slash, _mm_set1_epi8(63 - '/')))));
        v = _mm_add_epi8(v, value);

        /* Two values to twelve bits, two of those to twenty-four. */
        v = _mm_maddubs_epi16(v, _mm_set1_epi32(0x01400140));
        v = _mm_madd_epi16(v, _mm_set1_epi32(0x00011000));
        _mm_storeu_si128((__m128i *) dst, _mm_shuffle_epi8(v, pack));
    }

    return i;
}

#endif


size_t
base64_encode(char *dst, const void *src, size_t n)
{
    char                 *d;
    uint32_t              v;
    const unsigned char  *s;

    d = dst;
    s = src;

#ifdef BASE64_VECTORS
    if (__builtin_cpu_supports("ssse3")) {
        size_t  done;

        done = base64_encode_steps(d, s, n);
        d += done / 3 * 4;
        s += done;
        n -= done;
    }
#endif

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

#ifdef BASE64_VECTORS
    if (__builtin_cpu_supports("ssse3")) {
        size_t  done;

        done = base64_decode_steps(d, s, n);
        d += done / 4 * 3;
        s += done;
        n -= done;
    }
#endif

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
