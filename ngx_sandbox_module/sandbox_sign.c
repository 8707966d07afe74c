/* Tokens that the edge signs; see sandbox_sign.h. */

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>

#include "sandbox_sign.h"


#define PASS_PAYLOAD      12
#define TICKET_HEAD       (2 + 6 + SANDBOX_NONCE_LEN + 2)
#define PAYLOAD_MAX       (TICKET_HEAD + 2 * SANDBOX_NAME_MAX)
#define PART_MAX          4352  /* a path of 4096 bytes, and something */

_Static_assert((PASS_PAYLOAD + SANDBOX_SIGN_MAC) * 4 / 3 + 1
               == SANDBOX_PASS_TEXT, "a pass has another length");
_Static_assert((PAYLOAD_MAX + SANDBOX_SIGN_MAC) * 4 / 3 + 1
               <= SANDBOX_TICKET_TEXT, "a ticket is too long");


typedef struct {
    const void  *data;
    size_t       len;
} sign_part;


static const char  alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";


static size_t
base64url_encode(char *dst, const unsigned char *src, size_t len)
{
    size_t    i, n;
    unsigned  bits, have;

    n = 0;
    bits = 0;
    have = 0;

    for (i = 0; i < len; i++) {
        bits = bits << 8 | src[i];

        for (have += 8; have >= 6; have -= 6) {
            dst[n++] = alphabet[bits >> (have - 6) & 63];
        }
    }

    if (have > 0) {
        dst[n++] = alphabet[bits << (6 - have) & 63];
    }

    return n;
}


/* One text for each value: bits that are left over have to be 0. */
static int
base64url_decode(unsigned char *dst, size_t size, const char *src, size_t len)
{
    size_t       i, n;
    unsigned     bits, have;
    const char  *p;

    n = 0;
    bits = 0;
    have = 0;

    for (i = 0; i < len; i++) {
        p = src[i] != '\0' ? strchr(alphabet, src[i]) : NULL;
        if (p == NULL) {
            return -1;
        }

        bits = (bits << 6 | (unsigned) (p - alphabet)) & 0xffff;
        have += 6;

        if (have >= 8) {
            have -= 8;

            if (n == size) {
                return -1;
            }

            dst[n++] = (unsigned char) (bits >> have);
        }
    }

    return have < 6 && (bits & ((1u << have) - 1)) == 0 ? (int) n : -1;
}


static void
put_number(unsigned char *dst, uint64_t value, unsigned bytes)
{
    while (bytes > 0) {
        dst[--bytes] = (unsigned char) value;
        value >>= 8;
    }
}


static uint64_t
get_number(const unsigned char *src, unsigned bytes)
{
    uint64_t  value;

    for (value = 0; bytes > 0; bytes--) {
        value = value << 8 | *src++;
    }

    return value;
}


int
sandbox_sign_key(unsigned char key[SANDBOX_SIGN_KEY], const void *secret,
    size_t len)
{
    unsigned           n;
    static const char  what[] = "sandbox: links, cookies and tickets, 1";

    return len <= 4096
           && HMAC(EVP_sha256(), secret, (int) len,
                   (const unsigned char *) what, sizeof(what) - 1, key, &n)
           && n == SANDBOX_SIGN_KEY ? 0 : -1;
}


sandbox_signer *
sandbox_signer_create(const unsigned char key[SANDBOX_SIGN_KEY])
{
    EVP_MAC      *mac;
    OSSL_PARAM    params[2];
    EVP_MAC_CTX  *ctx;

    mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    ctx = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac);

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                                 (char *) "SHA256", 0);
    params[1] = OSSL_PARAM_construct_end();

    if (ctx != NULL
        && EVP_MAC_init(ctx, key, SANDBOX_SIGN_KEY, params) != 1)
    {
        EVP_MAC_CTX_free(ctx);
        ctx = NULL;
    }

    return (sandbox_signer *) ctx;
}


void
sandbox_signer_free(sandbox_signer *signer)
{
    EVP_MAC_CTX_free((EVP_MAC_CTX *) signer);
}


/* Each part goes in with its length, so that none can take from the next. */
static int
sign_mac(unsigned char mac[SANDBOX_SIGN_MAC], sandbox_signer *signer,
    const sign_part *parts, size_t count)
{
    size_t         i, n;
    EVP_MAC_CTX   *ctx;
    unsigned char  len[4];

    ctx = (EVP_MAC_CTX *) signer;

    /* without a key: from where the one that it has leaves off */

    if (EVP_MAC_init(ctx, NULL, 0, NULL) != 1) {
        return -1;
    }

    for (i = 0; i < count; i++) {
        if (parts[i].len > PART_MAX) {
            return -1;
        }

        put_number(len, parts[i].len, sizeof(len));

        if (EVP_MAC_update(ctx, len, sizeof(len)) != 1
            || (parts[i].len > 0
                && EVP_MAC_update(ctx, parts[i].data, parts[i].len) != 1))
        {
            return -1;
        }
    }

    return EVP_MAC_final(ctx, mac, &n, SANDBOX_SIGN_MAC) == 1
           && n == SANDBOX_SIGN_MAC ? 0 : -1;
}


/* parts[0] is the payload, which has room for the code behind it. */
static size_t
sign_text(char *dst, sandbox_signer *signer,
    unsigned char *payload, size_t len, sign_part *parts, size_t count)
{
    parts[0].data = payload;
    parts[0].len = len;

    if (sign_mac(payload + len, signer, parts, count) < 0) {
        return 0;
    }

    return base64url_encode(dst, payload, len + SANDBOX_SIGN_MAC);
}


/* The payload's length, or -1. */
static int
sign_open(unsigned char *buf, size_t size,
    sandbox_signer *signer, const char *text, size_t len,
    sign_part *parts, size_t count)
{
    int            n;
    unsigned char  mac[SANDBOX_SIGN_MAC];

    n = base64url_decode(buf, size, text, len);

    if (n < SANDBOX_SIGN_MAC) {
        return -1;
    }

    n -= SANDBOX_SIGN_MAC;
    parts[0].data = buf;
    parts[0].len = (size_t) n;

    if (sign_mac(mac, signer, parts, count) < 0
        || CRYPTO_memcmp(mac, buf + n, SANDBOX_SIGN_MAC) != 0)
    {
        return -1;
    }

    return n;
}


/* The exposure, as bytes, and the host. */
static void
pass_parts(sign_part parts[3], unsigned char exposure[6],
    const sandbox_pass_bound *bound)
{
    put_number(exposure, bound->slot, 4);
    put_number(exposure + 4, bound->port, 2);

    parts[1].data = exposure;
    parts[1].len = 6;
    parts[2].data = bound->host;
    parts[2].len = bound->host_len;
}


int
sandbox_pass_sign(char *dst, sandbox_signer *signer,
    const sandbox_pass *pass, const sandbox_pass_bound *bound)
{
    sign_part      parts[3];
    unsigned char  exposure[6], payload[PASS_PAYLOAD + SANDBOX_SIGN_MAC];

    pass_parts(parts, exposure, bound);

    payload[0] = (unsigned char) pass->kind;
    payload[1] = pass->embed != 0;
    put_number(payload + 2, pass->expires, 6);
    put_number(payload + 8, pass->gen, 4);

    return sign_text(dst, signer, payload, PASS_PAYLOAD, parts, 3)
           == SANDBOX_PASS_TEXT ? 0 : -1;
}


int
sandbox_pass_read(sandbox_pass *pass,
    sandbox_signer *signer, sandbox_pass_kind kind,
    const char *text, size_t len, const sandbox_pass_bound *bound)
{
    sign_part      parts[3];
    unsigned char  exposure[6], buf[PASS_PAYLOAD + SANDBOX_SIGN_MAC];

    if (len != SANDBOX_PASS_TEXT) {
        return -1;
    }

    pass_parts(parts, exposure, bound);

    if (sign_open(buf, sizeof(buf), signer, text, len, parts, 3) != PASS_PAYLOAD
        || buf[0] != kind)
    {
        return -1;
    }

    pass->kind = kind;
    pass->embed = buf[1] & 1;
    pass->expires = get_number(buf + 2, 6);
    pass->gen = (uint32_t) get_number(buf + 8, 4);

    return 0;
}


static void
ticket_parts(sign_part parts[5], const sandbox_ticket_bound *bound)
{
    parts[1].data = bound->zone;
    parts[1].len = bound->zone_len;
    parts[2].data = bound->id;
    parts[2].len = bound->id_len;
    parts[3].data = bound->route;
    parts[3].len = bound->route_len;
    parts[4].data = bound->origin;
    parts[4].len = bound->origin_len;
}


size_t
sandbox_ticket_sign(char *dst, sandbox_signer *signer,
    const sandbox_ticket *ticket, const sandbox_ticket_bound *bound)
{
    size_t         n;
    sign_part      parts[5];
    unsigned char  payload[PAYLOAD_MAX + SANDBOX_SIGN_MAC];

    if (ticket->tenant_len > SANDBOX_NAME_MAX
        || ticket->name_len > SANDBOX_NAME_MAX)
    {
        return 0;
    }

    ticket_parts(parts, bound);

    payload[0] = 'T';
    payload[1] = (unsigned char) ticket->scopes;
    put_number(payload + 2, ticket->expires, 6);
    memcpy(payload + 8, ticket->nonce, SANDBOX_NONCE_LEN);

    n = 8 + SANDBOX_NONCE_LEN;
    payload[n++] = (unsigned char) ticket->tenant_len;
    payload[n++] = (unsigned char) ticket->name_len;

    if (ticket->tenant_len > 0) {
        memcpy(payload + n, ticket->tenant, ticket->tenant_len);
        n += ticket->tenant_len;
    }

    if (ticket->name_len > 0) {
        memcpy(payload + n, ticket->name, ticket->name_len);
        n += ticket->name_len;
    }

    return sign_text(dst, signer, payload, n, parts, 5);
}


int
sandbox_ticket_read(sandbox_ticket *ticket, unsigned char
    buf[SANDBOX_TICKET_TEXT], sandbox_signer *signer,
    const char *text, size_t len, const sandbox_ticket_bound *bound)
{
    int            n;
    sign_part      parts[5];

    if (len > SANDBOX_TICKET_TEXT) {
        return -1;
    }

    ticket_parts(parts, bound);

    n = sign_open(buf, SANDBOX_TICKET_TEXT, signer, text, len, parts, 5);

    if (n < TICKET_HEAD || buf[0] != 'T'
        || n != TICKET_HEAD + buf[TICKET_HEAD - 2] + buf[TICKET_HEAD - 1])
    {
        return -1;
    }

    ticket->scopes = buf[1];
    ticket->expires = get_number(buf + 2, 6);
    memcpy(ticket->nonce, buf + 8, SANDBOX_NONCE_LEN);

    ticket->tenant = (const char *) buf + TICKET_HEAD;
    ticket->tenant_len = buf[TICKET_HEAD - 2];
    ticket->name = ticket->tenant + ticket->tenant_len;
    ticket->name_len = buf[TICKET_HEAD - 1];

    return 0;
}
