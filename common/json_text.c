/* JSON string escaping; see json_text.h. */

#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "common/json_text.h"
#include "common/utf8.h"

#ifndef __SSE2__

#define JSON_TEXT_ONES   0x0101010101010101u
#define JSON_TEXT_HIGHS  0x8080808080808080u

/* Non-zero if a byte of the word is zero. */
#define json_text_zero(w)  (((w) - JSON_TEXT_ONES) & ~(w) & JSON_TEXT_HIGHS)


/* True if all eight bytes are ASCII that stands for itself in a string. */

static inline bool
json_text_plain(uint64_t word)
{
    uint64_t  control, quote, slash;

    /* Exact for a word without high bits, which is checked as well. */
    control = (word - JSON_TEXT_ONES * 0x20) & JSON_TEXT_HIGHS;
    quote = json_text_zero(word ^ (JSON_TEXT_ONES * '"'));
    slash = json_text_zero(word ^ (JSON_TEXT_ONES * '\\'));

    return ((word & JSON_TEXT_HIGHS) | control | quote | slash) == 0;
}

#endif


static size_t
json_text_special(char *dst, unsigned char c)
{
    static const char  digits[] = "0123456789abcdef";
    static const char  letters[32] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'
    };

    dst[0] = '\\';

    if (c >= 0x20) {
        dst[1] = (char) c;
        return 2;
    }

    if (letters[c] != 0) {
        dst[1] = letters[c];
        return 2;
    }

    memcpy(dst + 1, "u00", 3);
    dst[4] = digits[c >> 4];
    dst[5] = digits[c & 15];

    return 6;
}


/* Copies what stands for itself, up to the first byte that doesn't or to
 * where less than a whole step is left; returns how much that was. */

#ifdef __SSE2__

static inline size_t
json_text_copy(char *dst, size_t room, const unsigned char *s, size_t len)
{
    int      odd;
    size_t   i;
    __m128i  v, special;

    for (i = 0; len - i >= sizeof(v) && room - i >= sizeof(v);
         i += sizeof(v))
    {
        v = _mm_loadu_si128((const __m128i *) (s + i));
        _mm_storeu_si128((__m128i *) (dst + i), v);

        /* Bytes from 0x80 on are negative. */
        special = _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(0x20)),
                  _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                               _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
        odd = _mm_movemask_epi8(special);

        if (odd != 0) {
            return i + (size_t) __builtin_ctz((unsigned) odd);
        }
    }

    return i;
}

#else

static inline size_t
json_text_copy(char *dst, size_t room, const unsigned char *s, size_t len)
{
    size_t    i;
    uint64_t  word;

    for (i = 0; len - i >= sizeof(word) && room - i >= sizeof(word);
         i += sizeof(word))
    {
        memcpy(&word, s + i, sizeof(word));
        if (!json_text_plain(word)) {
            break;
        }
        memcpy(dst + i, &word, sizeof(word));
    }

    return i;
}

#endif


size_t
json_text_escape(char *dst, size_t room, const void *src, size_t len,
    size_t *used, bool last)
{
    size_t                i, o, n;
    utf8_kind             kind;
    const unsigned char  *s;

    s = src;
    i = 0;
    o = 0;

    while (i < len) {
        n = json_text_copy(dst + o, room - o, s + i, len - i);
        i += n;
        o += n;

        if (i == len) {
            break;
        }

        if (room - o < JSON_TEXT_GROWTH) {
            break;
        }

        if (s[i] < 0x20 || s[i] == '"' || s[i] == '\\') {
            o += json_text_special(dst + o, s[i]);
            i++;
            continue;
        }

        kind = utf8_next(s + i, len - i, &n);

        if (kind == UTF8_CUT && !last) {
            break;
        }

        if (kind == UTF8_OK) {
            memcpy(dst + o, s + i, n);
            o += n;

        } else {
            memcpy(dst + o, "\xef\xbf\xbd", 3);
            o += 3;
        }

        i += n;
    }

    *used = i;

    return o;
}
