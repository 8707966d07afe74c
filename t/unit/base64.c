/* sources: common/base64.c */
/* Base64: what is encoded comes back, and what is malformed is refused. */

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base64.h"
#include "t/unit/tap.h"


static bool
encodes(const char *in, const char *out)
{
    char    buf[64];
    size_t  n;

    n = base64_encode(buf, in, strlen(in));

    return n == strlen(out) && memcmp(buf, out, n) == 0
           && n == base64_encoded_len(strlen(in));
}


static bool
decodes(const char *in, const char *out)
{
    char     buf[64];
    ssize_t  n;

    n = base64_decode(buf, in, strlen(in));

    return out == NULL ? n == -1
                       : n == (ssize_t) strlen(out)
                         && memcmp(buf, out, (size_t) n) == 0;
}


static bool
round_trip(size_t len)
{
    char           *text;
    bool            same;
    size_t          i, n;
    unsigned char  *raw, *back;

    /* Exact sizes, so that the sanitizer sees a byte too many. */
    raw = malloc(len ? len : 1);
    text = malloc(base64_encoded_len(len) ? base64_encoded_len(len) : 1);

    for (i = 0; i < len; i++) {
        raw[i] = (unsigned char) (i * 37 + len);
    }

    n = base64_encode(text, raw, len);
    back = (unsigned char *) text;
    same = n == base64_encoded_len(len)
           && base64_decode(back, text, n) == (ssize_t) len
           && memcmp(back, raw, len) == 0;

    free(raw);
    free(text);

    return same;
}


int
main(void)
{
    int     i;
    bool    all;
    char    in[4] = "AAAA", out[3], text[48], back[36];

    ok(encodes("", ""), "nothing");
    ok(encodes("f", "Zg=="), "one byte");
    ok(encodes("fo", "Zm8="), "two bytes");
    ok(encodes("foo", "Zm9v"), "three bytes");
    ok(encodes("foobar", "Zm9vYmFy"), "six bytes");

    ok(decodes("", ""), "nothing decodes");
    ok(decodes("Zg==", "f") && decodes("Zm8=", "fo"), "padding");
    ok(decodes("Zg", "f") && decodes("Zm8", "fo"), "padding may be missing");
    ok(decodes("Z", NULL) && decodes("Zm9vY", NULL), "a lone character");
    ok(decodes("Z===", NULL), "three signs of padding");
    ok(decodes("Zg=", NULL), "padding that is too short");
    ok(decodes("Zm9v=", NULL), "padding where none belongs");
    ok(decodes("Zg==Zg==", NULL), "padding in the middle");
    ok(decodes("=", NULL) && decodes("==", NULL), "only padding");
    ok(decodes("Zm9v\n", NULL), "a line feed");
    ok(decodes("Zm-_", NULL), "the URL alphabet");
    ok(decodes("!!!", NULL) && decodes("Zm9v!!!!", NULL), "other characters");
    ok(base64_decode(out, "Zm\0v", 4) == -1, "a NUL");

    for (all = true, i = 0; i < 256; i++) {
        in[3] = (char) i;
        all = all && (base64_decode(out, in, 4) >= 0)
                     == ((i >= 'A' && i <= 'Z') || (i >= 'a' && i <= 'z')
                         || (i >= '0' && i <= '9') || i == '+' || i == '/'
                         || i == '=');
    }
    ok(all, "each of 256 characters is judged right");

    for (all = true, i = 0; i < 300; i++) {
        all = all && round_trip((size_t) i);
    }
    ok(all, "lengths 0 to 299 come back, decoded in place");

    for (all = true, i = 0; i < 48 * 256; i++) {
        memset(text, 'A', sizeof(text));
        text[i / 256] = (char) i;
        memcpy(in, "AAAA", 4);
        in[0] = (char) i;
        all = all && (base64_decode(back, text, sizeof(text)) == -1)
                     == (base64_decode(out, in, 4) == -1
                         && i != 47 * 256 + '=');
    }
    ok(all, "and so at each place of a long text");

    return done_testing();
}
