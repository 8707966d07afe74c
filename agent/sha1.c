/* SHA-1 (FIPS 180-4); see sha1.h. */

#include <stdint.h>
#include <string.h>

#include "agent/sha1.h"


static uint32_t
sha1_roll(uint32_t v, unsigned by)
{
    return v << by | v >> (32 - by);
}


static void
sha1_block(uint32_t h[5], const unsigned char *p)
{
    uint32_t  w[80], a, b, c, d, e, f, k, t;
    unsigned  i;

    for (i = 0; i < 16; i++) {
        w[i] = (uint32_t) p[i * 4] << 24 | (uint32_t) p[i * 4 + 1] << 16
               | (uint32_t) p[i * 4 + 2] << 8 | p[i * 4 + 3];
    }
    for ( ; i < 80; i++) {
        w[i] = sha1_roll(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    }

    a = h[0];
    b = h[1];
    c = h[2];
    d = h[3];
    e = h[4];

    for (i = 0; i < 80; i++) {
        if (i < 20) {
            f = (b & c) | (~b & d);
            k = 0x5a827999;
        } else if (i < 40) {
            f = b ^ c ^ d;
            k = 0x6ed9eba1;
        } else if (i < 60) {
            f = (b & c) | (b & d) | (c & d);
            k = 0x8f1bbcdc;
        } else {
            f = b ^ c ^ d;
            k = 0xca62c1d6;
        }

        t = sha1_roll(a, 5) + f + e + k + w[i];
        e = d;
        d = c;
        c = sha1_roll(b, 30);
        b = a;
        a = t;
    }

    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}


void
sha1(const void *p, size_t n, unsigned char out[SHA1_LEN])
{
    size_t                left, i;
    uint32_t              h[5];
    unsigned char         last[128];
    const unsigned char  *s;

    h[0] = 0x67452301;
    h[1] = 0xefcdab89;
    h[2] = 0x98badcfe;
    h[3] = 0x10325476;
    h[4] = 0xc3d2e1f0;

    s = p;

    for (left = n; left >= 64; left -= 64) {
        sha1_block(h, s);
        s += 64;
    }

    /* The rest, a one, zeros, and the length in bits: one block or two. */
    memset(last, 0, sizeof(last));
    if (left != 0) {
        memcpy(last, s, left);
    }
    last[left] = 0x80;

    left = left < 56 ? 64 : 128;
    for (i = 0; i < 8; i++) {
        last[left - 1 - i] = (unsigned char) ((uint64_t) n * 8 >> i * 8);
    }

    for (i = 0; i < left; i += 64) {
        sha1_block(h, last + i);
    }

    for (i = 0; i < SHA1_LEN; i++) {
        out[i] = (unsigned char) (h[i / 4] >> (24 - i % 4 * 8));
    }
}
