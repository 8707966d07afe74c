/* Frames and handshakes of WebSockets; see websocket.h. */

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/sha1.h"
#include "agent/websocket.h"
#include "common/base64.h"
#include "common/utf8.h"

#define WS_GUID   "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/* A message's memory that is kept for the next one. */
#define WS_KEEP   4096


void
ws_decoder_init(ws_decoder *d, size_t limit)
{
    memset(d, 0, sizeof(*d));
    d->limit = limit;
}


void
ws_decoder_free(ws_decoder *d)
{
    buffer_free(&d->body);
}


static ws_event
ws_fail(ws_decoder *d, unsigned code, const char *problem)
{
    d->failed = 1;
    d->code = code;
    d->problem = problem;

    return WS_ERROR;
}


/* How long the head is, as far as its first two bytes tell. */

static unsigned
ws_head_len(const unsigned char *h)
{
    return (unsigned) 2 + ((h[1] & 0x7f) == 126 ? 2
                           : (h[1] & 0x7f) == 127 ? 8 : 0)
           + (h[1] & 0x80 ? 4 : 0);
}


/* What the first two bytes already show to be wrong. */

static ws_event
ws_head_check(ws_decoder *d)
{
    unsigned  opcode, len;

    opcode = d->head[0] & 0x0f;
    len = d->head[1] & 0x7f;

    if (d->head[0] & 0x70) {
        return ws_fail(d, WS_PROTOCOL, "a reserved bit is set");
    }

    if (!(d->head[1] & 0x80)) {
        return ws_fail(d, WS_PROTOCOL, "the frame is not masked");
    }

    if (opcode >= WS_OP_CLOSE) {
        if (opcode > WS_OP_PONG) {
            return ws_fail(d, WS_PROTOCOL, "an unknown opcode");
        }
        if (!(d->head[0] & 0x80)) {
            return ws_fail(d, WS_PROTOCOL, "a control frame in fragments");
        }
        if (len > WS_CONTROL_MAX) {
            return ws_fail(d, WS_PROTOCOL,
                           "a control frame longer than 125 bytes");
        }
        return WS_MORE;
    }

    if (opcode > WS_OP_BINARY) {
        return ws_fail(d, WS_PROTOCOL, "an unknown opcode");
    }

    if (opcode == WS_OP_MORE ? d->message == 0 : d->message != 0) {
        return ws_fail(d, WS_PROTOCOL, opcode == WS_OP_MORE
                       ? "nothing there to be continued"
                       : "a message inside another one");
    }

    return WS_MORE;
}


/* The head is complete. */

static ws_event
ws_head_done(ws_decoder *d)
{
    size_t    i, extra;
    unsigned  len;

    len = d->head[1] & 0x7f;
    extra = len == 126 ? 2 : len == 127 ? 8 : 0;
    d->left = len;

    if (extra != 0) {
        d->left = 0;
        for (i = 0; i < extra; i++) {
            d->left = d->left << 8 | d->head[2 + i];
        }

        if (d->left < (extra == 2 ? 126 : 65536) || d->left >> 63 != 0) {
            return ws_fail(d, WS_PROTOCOL,
                           "a length in other than its shortest form");
        }
    }

    memcpy(d->mask, d->head + 2 + extra, 4);
    d->mask_at = 0;
    d->opcode = d->head[0] & 0x0f;
    d->fin = d->head[0] >> 7;
    d->in_frame = 1;
    d->nhead = 0;

    if (d->opcode >= WS_OP_CLOSE) {
        d->ncontrol = 0;
        return WS_MORE;
    }

    if (d->opcode != WS_OP_MORE) {
        d->message = d->opcode;
        d->valid = 0;
    }

    if (d->left > d->limit - d->body.len) {
        return ws_fail(d, WS_TOO_BIG, "the message is too long");
    }

    return WS_MORE;
}


static void
ws_unmask(ws_decoder *d, char *dst, const char *src, size_t n)
{
    size_t                i;
    uint64_t              word, mask;
    unsigned char         turned[8];
    const unsigned char  *s;

    s = (const unsigned char *) src;

    for (i = 0; i < 8; i++) {
        turned[i] = d->mask[(d->mask_at + i) & 3];
    }
    memcpy(&mask, turned, 8);

    for (i = 0; i + 8 <= n; i += 8) {
        memcpy(&word, s + i, 8);
        word ^= mask;
        memcpy(dst + i, &word, 8);
    }

    for ( ; i < n; i++) {
        dst[i] = (char) (s[i] ^ turned[i & 7]);
    }

    d->mask_at = (unsigned) ((d->mask_at + n) & 3);
}


/* Text is looked at as it comes, so that what is wrong is told at once. */

static int
ws_text_valid(ws_decoder *d, int whole)
{
    size_t       n, len;
    const char  *p;

    n = d->body.len - d->valid;
    if (n == 0) {
        return 1;
    }

    p = buffer_bytes(&d->body) + d->valid;
    len = utf8_valid(p, n);
    d->valid += len;

    if (len == n) {
        return 1;
    }

    return utf8_next(p + len, n - len, &len) == UTF8_CUT && !whole;
}


static ws_event
ws_close_done(ws_decoder *d)
{
    unsigned char  *c;

    c = (unsigned char *) d->control;
    d->payload = "";
    d->len = 0;

    if (d->ncontrol == 0) {
        d->code = WS_NO_CODE;
        return WS_CLOSE;
    }

    if (d->ncontrol == 1) {
        return ws_fail(d, WS_PROTOCOL, "half a close code");
    }

    d->code = (unsigned) c[0] << 8 | c[1];
    if (!ws_code_valid(d->code)) {
        return ws_fail(d, WS_PROTOCOL, "a close code that is none");
    }

    d->payload = d->control + 2;
    d->len = d->ncontrol - 2;
    if (utf8_valid(d->payload, d->len) != d->len) {
        return ws_fail(d, WS_NOT_UTF8, "the reason is not UTF-8");
    }

    return WS_CLOSE;
}


/* The frame is complete. */

static ws_event
ws_frame_done(ws_decoder *d)
{
    ws_event  event;

    d->in_frame = 0;

    if (d->opcode >= WS_OP_CLOSE) {
        d->control[d->ncontrol] = '\0';
        d->payload = d->control;
        d->len = d->ncontrol;

        return d->opcode == WS_OP_CLOSE ? ws_close_done(d)
               : d->opcode == WS_OP_PING ? WS_PING : WS_PONG;
    }

    if (!d->fin) {
        return WS_MORE;
    }

    if (d->message == WS_OP_TEXT && !ws_text_valid(d, 1)) {
        return ws_fail(d, WS_NOT_UTF8, "the text is not UTF-8");
    }

    event = d->message == WS_OP_TEXT ? WS_TEXT : WS_BINARY;
    d->message = 0;
    d->told = 1;
    d->payload = d->body.data != NULL ? buffer_bytes(&d->body) : "";
    d->len = d->body.len;

    return event;
}


/* Takes payload; returns how much. */

static size_t
ws_payload(ws_decoder *d, const char *p, size_t n)
{
    char  *to;

    if (n > d->left) {
        n = (size_t) d->left;
    }

    if (d->opcode >= WS_OP_CLOSE) {
        ws_unmask(d, d->control + d->ncontrol, p, n);
        d->ncontrol += n;

    } else {
        to = buffer_room(&d->body, n);
        ws_unmask(d, to, p, n);
        buffer_added(&d->body, n);
    }

    d->left -= n;

    return n;
}


static void
ws_forget_message(ws_decoder *d)
{
    d->told = 0;

    if (d->body.size > WS_KEEP) {
        buffer_free(&d->body);
    } else if (d->body.len != 0) {
        buffer_consume(&d->body, d->body.len);
    }
}


ws_event
ws_decode(ws_decoder *d, const char *p, size_t n, size_t *used)
{
    size_t    take;
    ws_event  event;

    *used = 0;

    if (d->failed) {
        return WS_ERROR;
    }

    if (d->told) {
        ws_forget_message(d);
    }

    for ( ;; ) {
        if (d->in_frame) {
            take = d->left == 0 || *used == n
                   ? 0 : ws_payload(d, p + *used, n - *used);
            *used += take;

            if (take != 0 && d->opcode < WS_OP_CLOSE
                && d->message == WS_OP_TEXT && !ws_text_valid(d, 0))
            {
                return ws_fail(d, WS_NOT_UTF8, "the text is not UTF-8");
            }

            if (d->left != 0) {
                return WS_MORE;
            }

            event = ws_frame_done(d);

        } else {
            if (*used == n) {
                return WS_MORE;
            }

            d->head[d->nhead++] = (unsigned char) p[(*used)++];
            event = d->nhead == 2 ? ws_head_check(d) : WS_MORE;

            if (event == WS_MORE && d->nhead >= 2
                && d->nhead == ws_head_len(d->head))
            {
                event = ws_head_done(d);
            }
        }

        if (event != WS_MORE) {
            return event;
        }
    }
}


size_t
ws_head(unsigned char out[WS_HEAD_MAX], unsigned opcode, uint64_t n)
{
    size_t  i, extra;

    extra = n < 126 ? 0 : n < 65536 ? 2 : 8;
    out[0] = (unsigned char) (0x80 | opcode);
    out[1] = (unsigned char) (extra == 0 ? n : extra == 2 ? 126 : 127);

    for (i = 0; i < extra; i++) {
        out[2 + i] = (unsigned char) (n >> (extra - 1 - i) * 8);
    }

    return 2 + extra;
}


int
ws_code_valid(unsigned code)
{
    /* 1004 is reserved; 1005, 1006 and 1015 stand for what was not sent. */
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
           || (code >= 3000 && code <= 4999);
}


int
ws_key_valid(const char *key)
{
    char  bytes[WS_KEY_LEN];

    return strlen(key) == WS_KEY_LEN && key[WS_KEY_LEN - 2] == '='
           && key[WS_KEY_LEN - 3] != '='
           && base64_decode(bytes, key, WS_KEY_LEN) == 16;
}


void
ws_accept_text(const char *key, char out[WS_ACCEPT_LEN + 1])
{
    char           text[WS_KEY_LEN + sizeof(WS_GUID)];
    unsigned char  sum[SHA1_LEN];

    memcpy(text, key, WS_KEY_LEN);
    strcpy(text + WS_KEY_LEN, WS_GUID);
    sha1(text, WS_KEY_LEN + strlen(WS_GUID), sum);
    base64_encode(out, sum, SHA1_LEN);
    out[WS_ACCEPT_LEN] = '\0';
}


int
ws_list_has(const char *list, const char *token)
{
    size_t  n, len;

    len = strlen(token);

    while (*list != '\0') {
        list += strspn(list, " \t,");
        n = strcspn(list, " \t,");
        if (n == len && strncasecmp(list, token, n) == 0) {
            return 1;
        }
        list += n;
    }

    return 0;
}
