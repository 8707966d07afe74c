/* Places in what all tenants have in common; see sandbox_position.h. */

#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "sandbox_position.h"


#define BLOCK        16
#define PURPOSE_MAX  32
#define TENANT_MAX   128


int
sandbox_position_key(unsigned char key[SANDBOX_POSITION_KEY],
    const unsigned char *secret, size_t secret_len, const char *purpose,
    const char *tenant, size_t tenant_len)
{
    size_t         len;
    unsigned       n;
    unsigned char  text[PURPOSE_MAX + 1 + TENANT_MAX];

    len = strlen(purpose);

    if (len > PURPOSE_MAX || tenant_len > TENANT_MAX) {
        return -1;
    }

    /* the NUL keeps one from taking from the other */

    memcpy(text, purpose, len + 1);

    if (tenant_len > 0) {
        memcpy(text + len + 1, tenant, tenant_len);
    }

    return HMAC(EVP_sha256(), secret, (int) secret_len, text,
                len + 1 + tenant_len, key, &n)
           && n == SANDBOX_POSITION_KEY ? 0 : -1;
}


static int
block_crypt(unsigned char dst[BLOCK], const unsigned char src[BLOCK],
    const unsigned char *key, int encrypt)
{
    int              n, ok;
    EVP_CIPHER_CTX  *ctx;

    ctx = EVP_CIPHER_CTX_new();
    if (ctx == NULL) {
        return -1;
    }

    n = 0;
    ok = EVP_CipherInit_ex(ctx, EVP_aes_256_ecb(), NULL, key, NULL, encrypt)
         && EVP_CIPHER_CTX_set_padding(ctx, 0)
         && EVP_CipherUpdate(ctx, dst, &n, src, BLOCK)
         && n == BLOCK;

    EVP_CIPHER_CTX_free(ctx);

    return ok ? 0 : -1;
}


int
sandbox_position_seal(char *dst,
    const unsigned char key[SANDBOX_POSITION_KEY], uint64_t position)
{
    unsigned       i;
    unsigned char  block[BLOCK], sealed[BLOCK];

    static const char  digits[] = "0123456789abcdef";

    memset(block, 0, sizeof(block));

    if (RAND_bytes(block, 4) != 1) {
        return -1;
    }

    for (i = 0; i < 8; i++) {
        block[BLOCK - 1 - i] = (unsigned char) (position >> 8 * i);
    }

    if (block_crypt(sealed, block, key, 1) != 0) {
        return -1;
    }

    for (i = 0; i < BLOCK; i++) {
        *dst++ = digits[sealed[i] >> 4];
        *dst++ = digits[sealed[i] & 15];
    }

    return 0;
}


static int
digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


int
sandbox_position_open(uint64_t *position,
    const unsigned char key[SANDBOX_POSITION_KEY], const char *text,
    size_t len)
{
    int            high, low;
    unsigned       i;
    unsigned char  block[BLOCK], sealed[BLOCK];

    if (len != SANDBOX_POSITION_TEXT) {
        return -1;
    }

    for (i = 0; i < BLOCK; i++) {
        high = digit(text[2 * i]);
        low = digit(text[2 * i + 1]);

        if (high < 0 || low < 0) {
            return -1;
        }

        sealed[i] = (unsigned char) (high << 4 | low);
    }

    if (block_crypt(block, sealed, key, 0) != 0
        || (block[4] | block[5] | block[6] | block[7]) != 0)
    {
        return -1;
    }

    *position = 0;

    for (i = 8; i < BLOCK; i++) {
        *position = *position << 8 | block[i];
    }

    return 0;
}
