/* Frames and the proofs of the hello; see frame.h. */

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "common/frame.h"


static void
hex_encode(char *dst, const unsigned char *src, size_t len)
{
    size_t             i;
    static const char  digits[] = "0123456789abcdef";

    for (i = 0; i < len; i++) {
        dst[2 * i] = digits[src[i] >> 4];
        dst[2 * i + 1] = digits[src[i] & 15];
    }

    dst[2 * len] = '\0';
}


void
frame_put_header(unsigned char *dst, size_t len)
{
    dst[0] = (unsigned char) (len >> 24);
    dst[1] = (unsigned char) (len >> 16);
    dst[2] = (unsigned char) (len >> 8);
    dst[3] = (unsigned char) len;
}


long
frame_get_header(const unsigned char *src)
{
    uint32_t  len;

    len = (uint32_t) src[0] << 24 | (uint32_t) src[1] << 16
          | (uint32_t) src[2] << 8 | (uint32_t) src[3];

    return len >= 1 && len <= FRAME_MAX ? (long) len : -1;
}


int
frame_proof(char dst[FRAME_PROOF_LEN + 1], const void *secret,
    size_t secret_len, const char *role, const char *peer_nonce,
    const char *own_nonce, const char *zone)
{
    int            n;
    char           text[256];
    unsigned int   len;
    unsigned char  md[EVP_MAX_MD_SIZE];

    if (secret_len < FRAME_SECRET_MIN || secret_len > FRAME_SECRET_MAX
        || strlen(peer_nonce) != FRAME_NONCE_LEN
        || strlen(own_nonce) != FRAME_NONCE_LEN)
    {
        return -1;
    }

    n = snprintf(text, sizeof(text), "%s:%s:%s%s%s", role, peer_nonce,
                 own_nonce, zone ? ":" : "", zone ? zone : "");
    if (n < 0 || (size_t) n >= sizeof(text)) {
        return -1;
    }

    if (HMAC(EVP_sha256(), secret, (int) secret_len, (unsigned char *) text,
             (size_t) n, md, &len) == NULL
        || len * 2 != FRAME_PROOF_LEN)
    {
        return -1;
    }

    hex_encode(dst, md, len);

    return 0;
}


int
frame_proof_equal(const char *a, const char *b)
{
    return strlen(a) == FRAME_PROOF_LEN && strlen(b) == FRAME_PROOF_LEN
           && CRYPTO_memcmp(a, b, FRAME_PROOF_LEN) == 0;
}


int
frame_nonce(char dst[FRAME_NONCE_LEN + 1])
{
    unsigned char  raw[FRAME_NONCE_LEN / 2];

    if (RAND_bytes(raw, sizeof(raw)) != 1) {
        return -1;
    }

    hex_encode(dst, raw, sizeof(raw));

    return 0;
}
