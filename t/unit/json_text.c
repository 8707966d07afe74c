/* sources: common/json_text.c common/utf8.c */
/* Escaping for JSON and UTF-8 in pieces. */

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_text.h"
#include "common/utf8.h"
#include "t/unit/tap.h"


static bool
escapes(const char *in, size_t len, const char *out)
{
    char    buf[256];
    size_t  n, used;

    n = json_text_escape(buf, sizeof(buf), in, len, &used, true);

    return used == len && n == strlen(out) && memcmp(buf, out, n) == 0;
}


/* The same result however the input is cut and however small the room is. */

static bool
cuts_alike(const char *in, size_t len)
{
    char    whole[1024], part[1024], *piece;
    size_t  n, total, from, cut, room, used, have;

    n = json_text_escape(whole, sizeof(whole), in, len, &used, true);

    for (cut = 1; cut <= len; cut++) {
        for (room = JSON_TEXT_GROWTH; room < 20; room++) {
            total = 0;
            have = 0;

            for (from = 0; from < len; from += used) {
                /* At least a whole character must be there to go on. */
                have = from + (cut < 4 ? 4 : cut);
                have = have > len ? len : have;

                piece = malloc(have - from);
                memcpy(piece, in + from, have - from);
                total += json_text_escape(part + total, room, piece,
                                          have - from, &used, have == len);
                free(piece);

                if (used == 0) {
                    return false;
                }
            }

            if (total != n || memcmp(whole, part, n) != 0) {
                return false;
            }
        }
    }

    return true;
}


int
main(void)
{
    size_t      used;
    char        buf[16];

    static const char  mixed[] =
        "plain text, a \"quote\", a \\ and \x01\x1f\n, \xc3\xa9 \xe2\x82\xac "
        "\xf0\x9f\x98\x80 \xff\xfe \xed\xa0\x80 \xf0\x9f\x98 end \xe2\x82";

    ok(escapes("", 0, ""), "nothing");
    ok(escapes("hello, world: 12345678", 22, "hello, world: 12345678"),
       "plain text");
    ok(escapes("a\"b\\c/d", 7, "a\\\"b\\\\c/d"), "quotes and backslashes");
    ok(escapes("\b\f\n\r\t", 5, "\\b\\f\\n\\r\\t"), "short escapes");
    ok(escapes("\0\x01\x1f\x7f", 4, "\\u0000\\u0001\\u001f\x7f"),
       "control characters, and DEL as it is");
    ok(escapes("1234567\n12345678\"", 17, "1234567\\n12345678\\\""),
       "at the edges of eight bytes");
    ok(escapes("h\xc3\xa9\xf0\x9f\x98\x80", 7, "h\xc3\xa9\xf0\x9f\x98\x80"),
       "characters of two and four bytes");
    ok(escapes("a\xff" "b", 3, "a\xef\xbf\xbd" "b"), "a byte that is never");
    ok(escapes("\xe2\x82" "A", 3, "\xef\xbf\xbd" "A"),
       "a cut character is one replacement");
    ok(escapes("\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"),
       "a surrogate is three");
    ok(escapes("\xc0\x80", 2, "\xef\xbf\xbd\xef\xbf\xbd"), "overlong forms");
    ok(escapes("\xf4\x90\x80\x80", 4,
               "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"),
       "beyond U+10FFFF");

    ok(json_text_escape(buf, sizeof(buf), "ab\xe2\x82", 4, &used, false) == 2
       && used == 2, "a character cut at the end waits for its rest");
    ok(json_text_escape(buf, sizeof(buf), "ab\xe2\x82", 4, &used, true) == 5
       && used == 4, "unless nothing follows");
    ok(cuts_alike(mixed, sizeof(mixed) - 1), "pieces of any size and room");

    ok(utf8_complete("abc", 3) == 3 && utf8_complete("", 0) == 0,
       "complete: ASCII");
    ok(utf8_complete("a\xc3", 2) == 1 && utf8_complete("\xf0\x9f\x98", 3) == 0
       && utf8_complete("a\xe2\x82", 3) == 1, "complete: a cut character");
    ok(utf8_complete("\xf0\x9f\x98\x80", 4) == 4
       && utf8_complete("a\xe2\x82\xac", 4) == 4, "complete: a whole one");
    ok(utf8_complete("a\x80\x80\x80\x80", 5) == 5
       && utf8_complete("\xff", 1) == 1 && utf8_complete("\xed\xa0", 2) == 2,
       "complete: what can never become one isn't held back");

    ok(utf8_valid("abcdefgh\xc3\xa9", 10) == 10, "valid text");
    ok(utf8_valid("abcdefghij\xff", 11) == 10, "valid up to a bad byte");
    ok(utf8_valid("abc\xe2\x82", 5) == 3, "valid up to a cut character");

    return done_testing();
}
