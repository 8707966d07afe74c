/* sources: agent/websocket.c agent/sha1.c common/base64.c common/buffer.c common/utf8.c */
/* libs: */

/* WebSocket frames, case by case: each in one piece, in two, and byte by byte,
 * which must make no difference. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/websocket.h"
#include "t/unit/tap.h"

#define LIMIT  200000

static char    wire[1024 * 1024];
static size_t  wire_len;


static void
bytes(const char *p, size_t n)
{
    memcpy(wire + wire_len, p, n);
    wire_len += n;
}


/* A frame with everything that can be wrong about it: first byte, payload,
 * how its length is written (0: as it should be; 7, 16, 64 bits). */

static void
frame_as(unsigned first, const char *p, size_t n, int form, int masked)
{
    char                        head[14];
    size_t                      i, len;
    static const unsigned char  mask[4] = { 0x37, 0xfa, 0x21, 0x3d };

    if (form == 0) {
        form = n < 126 ? 7 : n < 65536 ? 16 : 64;
    }

    head[0] = (char) first;
    head[1] = (char) ((masked ? 0x80 : 0)
                      | (form == 7 ? (int) n : form == 16 ? 126 : 127));
    len = 2;

    for (i = form == 7 ? 0 : (size_t) form / 8; i > 0; i--) {
        head[len++] = (char) ((unsigned long long) n >> (i - 1) * 8);
    }

    bytes(head, len);

    if (masked) {
        bytes((const char *) mask, 4);
    }

    for (i = 0; i < n; i++) {
        wire[wire_len++] = (char) (p[i] ^ (masked ? mask[i & 3] : 0));
    }
}


static void
frame(unsigned first, const char *text)
{
    frame_as(first, text, strlen(text), 0, 1);
}


/* What a decoder tells of the wire, in words: T(text) B(bytes) or their length
 * if that is long, ping(..), pong(..), close(code,reason), error(code). */

static void
tell(char *out, size_t size, const char *what, const ws_decoder *d)
{
    size_t  len;

    len = strlen(out);

    if (d->len > 60) {
        snprintf(out + len, size - len, "%s(%zu bytes) ", what, d->len);
    } else {
        snprintf(out + len, size - len, "%s(%.*s) ", what, (int) d->len,
                 d->payload);
    }
}


static int
tell_event(char *out, size_t size, ws_event event, const ws_decoder *d)
{
    size_t  len;

    len = strlen(out);

    switch (event) {
    case WS_TEXT:
        tell(out, size, "T", d);
        break;
    case WS_BINARY:
        tell(out, size, "B", d);
        break;
    case WS_PING:
        tell(out, size, "ping", d);
        break;
    case WS_PONG:
        tell(out, size, "pong", d);
        break;
    case WS_CLOSE:
        snprintf(out + len, size - len, "close(%u,%.*s) ", d->code,
                 (int) d->len, d->payload);
        return 1;
    case WS_ERROR:
        snprintf(out + len, size - len, "error(%u) ", d->code);
        return 1;
    default:
        break;
    }

    return 0;
}


static void
decode(char *out, size_t size, size_t piece)
{
    int          over;
    char        *copy;
    size_t       at, n, used;
    ws_event     event;
    ws_decoder   d;

    ws_decoder_init(&d, LIMIT);
    out[0] = '\0';
    over = 0;

    for (at = 0; at < wire_len && !over; at += used) {
        n = wire_len - at < piece ? wire_len - at : piece;

        /* Exactly n bytes, so that the sanitizer sees a look beyond. */
        copy = malloc(n);
        memcpy(copy, wire + at, n);
        event = ws_decode(&d, copy, n, &used);
        free(copy);

        over = tell_event(out, size, event, &d);
        if (event == WS_MORE && used != n) {
            strcat(out, "stuck ");
            over = 1;
        }
    }

    ws_decoder_free(&d);
}


/* Compares, and begins a new wire. */

static void
gives(const char *want, const char *name)
{
    char    whole[4096], cut[4096];
    int     same;
    size_t  piece;

    decode(whole, sizeof(whole), sizeof(wire));
    same = strcmp(whole, want) == 0;

    for (piece = 1; same && piece < 8; piece++) {
        decode(cut, sizeof(cut), piece);
        same = strcmp(whole, cut) == 0;
    }

    if (!same) {
        printf("# got: %s\n", whole);
    }

    ok(same, "%s", name);
    wire_len = 0;
}


static char *
many(char c, size_t n)
{
    static char  text[300001];

    memset(text, c, n);
    text[n] = '\0';

    return text;
}


static void
test_framing(void)
{
    size_t               i;
    char                 want[64], name[64];
    static const size_t  sizes[] = {
        61, 125, 126, 127, 128, 65535, 65536, 131072, LIMIT
    };

    frame(0x81, "");
    gives("T() ", "an empty text");
    frame(0x82, "");
    gives("B() ", "an empty binary message");
    frame(0x81, "hello");
    frame(0x82, "world");
    gives("T(hello) B(world) ", "two messages");

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        snprintf(want, sizeof(want), "T(%zu bytes) B(%zu bytes) ", sizes[i],
                 sizes[i]);
        snprintf(name, sizeof(name), "%zu bytes", sizes[i]);
        frame(0x81, many('*', sizes[i]));
        frame_as(0x82, many('\xfe', sizes[i]), sizes[i], 0, 1);
        gives(want, name);
    }

    frame_as(0x81, many('x', 125), 125, 16, 1);
    gives("error(1002) ", "125 in 16 bits");
    frame_as(0x82, "", 0, 16, 1);
    gives("error(1002) ", "nothing in 16 bits");
    frame_as(0x82, many('x', 65535), 65535, 64, 1);
    gives("error(1002) ", "65535 in 64 bits");
    frame_as(0x82, "x", 1, 64, 1);
    gives("error(1002) ", "1 in 64 bits");
    bytes("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" "abcd", 14);
    gives("error(1002) ", "a length with its highest bit");
    bytes("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" "abcd", 14);
    gives("error(1009) ", "the longest one");

    frame_as(0x81, "x", 1, 0, 0);
    gives("error(1002) ", "not masked");
    frame_as(0x89, "x", 1, 0, 0);
    gives("error(1002) ", "a ping that is not masked");
    frame(0x81, "one");
    frame_as(0x81, "x", 1, 0, 0);
    gives("T(one) error(1002) ", "what came before is told");
}


static void
test_control(void)
{
    frame(0x89, "");
    gives("ping() ", "a ping without payload");
    frame(0x89, "hello");
    gives("ping(hello) ", "with one");
    frame_as(0x89, "\x00\xff\xfe", 3, 0, 1);
    gives("ping() ", "of any bytes");
    frame(0x89, many('x', 125));
    gives("ping(125 bytes) ", "of 125 bytes");
    frame(0x89, many('x', 126));
    gives("error(1002) ", "of 126");
    frame_as(0x89, "x", 1, 16, 1);
    gives("error(1002) ", "in a long form");
    frame_as(0x89, "x", 1, 64, 1);
    gives("error(1002) ", "in a longer one");
    frame(0x8a, "");
    frame(0x8a, "unasked");
    frame(0x89, "x");
    gives("pong() pong(unasked) ping(x) ", "pongs that nobody asked for");
    frame(0x09, "x");
    gives("error(1002) ", "a ping in fragments");
    frame(0x0a, "x");
    gives("error(1002) ", "a pong in fragments");
    frame(0x08, "");
    gives("error(1002) ", "a close in fragments");
}


static void
test_reserved(void)
{
    unsigned  bit, op;
    char      name[64];

    for (bit = 0x10; bit <= 0x70; bit += 0x10) {
        snprintf(name, sizeof(name), "reserved bits %02x", bit);
        frame(0x81, "ok");
        frame(0x81 | bit, "x");
        gives("T(ok) error(1002) ", name);
        frame(0x89 | bit, "");
        gives("error(1002) ", name);
        frame(0x88 | bit, "");
        gives("error(1002) ", name);
    }

    for (op = 3; op < 16; op++) {
        if (op >= 8 && op <= 10) {
            continue;
        }
        snprintf(name, sizeof(name), "opcode %u", op);
        frame(0x80 | op, "");
        gives("error(1002) ", name);
        frame(0x81, "ok");
        frame(0x80 | op, "x");
        frame(0x89, "");
        gives("T(ok) error(1002) ", name);
        frame(op, "x");
        gives("error(1002) ", name);
    }
}


static void
test_fragments(void)
{
    frame(0x01, "a");
    frame(0x80, "b");
    gives("T(ab) ", "two fragments");
    frame(0x02, "a");
    frame(0x00, "b");
    frame(0x00, "");
    frame(0x80, "c");
    gives("B(abc) ", "four");
    frame(0x01, "");
    frame(0x00, "");
    frame(0x80, "");
    gives("T() ", "of nothing");
    frame(0x01, "a");
    frame(0x89, "p");
    frame(0x00, "b");
    frame(0x8a, "q");
    frame(0x80, "c");
    gives("ping(p) pong(q) T(abc) ", "control frames in between");
    frame(0x01, "a");
    frame(0x88, "\x03\xe8" "bye");
    gives("close(1000,bye) ", "a close in between");
    frame(0x80, "a");
    gives("error(1002) ", "the end of nothing");
    frame(0x00, "a");
    gives("error(1002) ", "the middle of nothing");
    frame(0x81, "a");
    frame(0x80, "b");
    gives("T(a) error(1002) ", "an end more");
    frame(0x01, "a");
    frame(0x81, "b");
    gives("error(1002) ", "a message inside another");
    frame(0x01, "a");
    frame(0x02, "b");
    gives("error(1002) ", "a beginning inside another");
    frame(0x02, "a");
    frame(0x80, "b");
    frame(0x02, "c");
    frame(0x80, "d");
    frame(0x81, "e");
    gives("B(ab) B(cd) T(e) ", "one after another");
}


static void
test_utf8(void)
{
    size_t              i;
    static const char  *const  good[] = {
        "Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc-UTF-8!!",
        "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", "\xc2\x80",
        "\xe0\xa0\x80", "\xf0\x90\x80\x80", "\x7f", "\xdf\xbf",
        "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xef\xbf\xbd", "\xef\xbf\xbe", "\xf0\x9f\x98\x80"
    };
    static const char  *const  bad[] = {
        "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80" "edited",
        "\x80", "\xbf", "\x80\xbf", "\xc0 ", "\xfe", "\xff", "\xc0\xaf",
        "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x88\x80\x80\x80",
        "\xfc\x84\x80\x80\x80\x80", "\xc1\xbf", "\xe0\x9f\xbf",
        "\xf0\x8f\xbf\xbf", "\xed\xa0\x80", "\xed\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xc2", "\xe2\x82",
        "\xf0\x9f\x98", "\xe2\x28\xa1"
    };
    char                want[128];

    for (i = 0; i < sizeof(good) / sizeof(char *); i++) {
        snprintf(want, sizeof(want), "T(%s) ", good[i]);
        frame(0x81, good[i]);
        gives(want, "valid UTF-8");
        frame_as(0x01, good[i], 1, 0, 1);
        frame(0x80, good[i] + 1);
        gives(want, "... cut after its first byte");
    }

    for (i = 0; i < sizeof(bad) / sizeof(char *); i++) {
        frame(0x81, bad[i]);
        gives("error(1007) ", "no UTF-8");
        frame_as(0x01, bad[i], 1, 0, 1);
        frame(0x80, bad[i] + 1);
        gives("error(1007) ", "... in fragments");
        frame(0x82, bad[i]);
        snprintf(want, sizeof(want), "B(%s) ", bad[i]);
        gives(want, "... but binary is anything");
    }

    /* It is told before the message is complete. */
    frame(0x01, "abc\xed\xa0");
    frame(0x89, "");
    gives("error(1007) ", "what can't be made good is told at once");
    frame(0x01, "\xf4");
    frame(0x00, "\x90");
    frame(0x89, "");
    gives("error(1007) ", "... across fragments");
    wire_len = 0;
    bytes("\x81\x85" "\0\0\0\0" "\xff", 7);
    gives("error(1007) ", "... and within a frame");
}


static void
test_close(void)
{
    size_t           i;
    char             payload[2], want[64];
    static const unsigned  good[] = {
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013,
        1014, 3000, 3999, 4000, 4999
    };
    static const unsigned  bad[] = {
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535
    };

    frame(0x88, "");
    gives("close(1005,) ", "a close without a code");
    frame(0x88, "\x03");
    gives("error(1002) ", "with half a code");
    frame(0x88, "\x03\xe8");
    gives("close(1000,) ", "with a code");
    frame(0x88, "\x03\xe8" "see you");
    frame(0x81, "ignored");
    gives("close(1000,see you) ", "with a reason; nothing comes after it");
    frame_as(0x88, "\x03\xe8" "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
             48, 0, 1);
    gives("close(1000,xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx) ",
          "a longer reason");
    frame(0x88, many('x', 126));
    gives("error(1002) ", "126 bytes");
    frame(0x88, "\x03\xe8\xce\xba\xed\xa0\x80");
    gives("error(1007) ", "a reason that is no UTF-8");
    frame(0x88, "\x03\xe8\xc2");
    gives("error(1007) ", "a reason that is cut");

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        payload[0] = (char) (good[i] >> 8);
        payload[1] = (char) good[i];
        frame_as(0x88, payload, 2, 0, 1);
        snprintf(want, sizeof(want), "close(%u,) ", good[i]);
        gives(want, want);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        payload[0] = (char) (bad[i] >> 8);
        payload[1] = (char) bad[i];
        frame_as(0x88, payload, 2, 0, 1);
        snprintf(want, sizeof(want), "no code to send: %u", bad[i]);
        gives("error(1002) ", want);
    }
}


static void
test_limits(void)
{
    int  i;

    frame(0x81, many('x', LIMIT + 1));
    gives("error(1009) ", "one byte too long");

    frame(0x01, many('x', LIMIT));
    frame(0x80, "");
    gives("T(200000 bytes) ", "as long as it may be, in fragments");
    frame(0x01, many('x', LIMIT));
    frame(0x80, "x");
    gives("error(1009) ", "too long in the end");

    for (i = 0; i < 2000; i++) {
        frame(0x00 | (i == 0 ? 2 : 0), many('x', 100));
    }
    frame(0x80, "x");
    gives("error(1009) ", "in many fragments");

}


static void
test_out(void)
{
    unsigned char  head[WS_HEAD_MAX];
    char           sum[WS_ACCEPT_LEN + 1];

    ok(ws_head(head, WS_OP_TEXT, 5) == 2 && head[0] == 0x81 && head[1] == 5,
       "a short head");
    ok(ws_head(head, WS_OP_BINARY, 125) == 2 && head[1] == 125, "125");
    ok(ws_head(head, WS_OP_BINARY, 126) == 4
       && memcmp(head, "\x82\x7e\x00\x7e", 4) == 0, "126");
    ok(ws_head(head, WS_OP_BINARY, 65535) == 4
       && memcmp(head, "\x82\x7e\xff\xff", 4) == 0, "65535");
    ok(ws_head(head, WS_OP_BINARY, 65536) == 10
       && memcmp(head, "\x82\x7f\0\0\0\0\0\1\0\0", 10) == 0, "65536");

    ws_accept_text("dGhlIHNhbXBsZSBub25jZQ==", sum);
    ok(strcmp(sum, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") == 0,
       "the answer to a key");
    ok(ws_key_valid("dGhlIHNhbXBsZSBub25jZQ=="), "a key");
    ok(!ws_key_valid(""), "no key");
    ok(!ws_key_valid("dGhlIHNhbXBsZSBub25jZQ"), "without its padding");
    ok(!ws_key_valid("dGhlIHNhbXBsZSBub25jZQ= "), "a blank");
    ok(!ws_key_valid("dGhlIHNhbXBsZSBub25jZQ==="), "too long");
    ok(!ws_key_valid("dGhlIHNhbXBsZSBub25j"), "15 bytes");
    ok(!ws_key_valid("dGhlIHNhbXBsZSBub25jZWE="), "17 bytes");
    ok(!ws_key_valid("dGhlIHNhbXBs-SBub25jZQ=="), "another alphabet");

    ok(ws_list_has("Upgrade", "upgrade"), "a token");
    ok(ws_list_has("keep-alive, Upgrade", "upgrade"), "in a list");
    ok(ws_list_has(" ,upgrade ,", "upgrade"), "in an odd one");
    ok(!ws_list_has("upgraded", "upgrade") && !ws_list_has("", "upgrade")
       && !ws_list_has("no-upgrade,up grade", "upgrade"), "not there");
}


int
main(void)
{
    test_framing();
    test_control();
    test_reserved();
    test_fragments();
    test_utf8();
    test_close();
    test_limits();
    test_out();

    return done_testing();
}
