/* sources: common/utf8.c */
/* Text made of any bytes; the pieces are tested with JSON's escaping. */

#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"
#include "t/unit/tap.h"


/* In exactly the room and from exactly the bytes that are given, so that the
 * sanitizer sees a step too far. */

static int
cleans(const char *in, size_t len, size_t room, const char *out)
{
    int     same;
    char   *src, *dst;
    size_t  n;

    src = malloc(len != 0 ? len : 1);
    dst = malloc(room);
    memcpy(src, in, len);

    n = utf8_clean(dst, room, src, len);
    same = n == strlen(out) && n < room && strcmp(dst, out) == 0;

    free(src);
    free(dst);

    return same;
}


int
main(void)
{
    int     good;
    char    in[64], out[256];
    size_t  len, room, n, i;

    ok(cleans("", 0, 1, ""), "nothing");
    ok(cleans("abc", 3, 4, "abc"), "just enough room");
    ok(cleans("abc", 3, 3, "ab"), "one byte less");
    ok(cleans("abc", 3, 1, ""), "room for the end only");
    ok(cleans("h\xc3\xa9!", 4, 16, "h\xc3\xa9!"), "two bytes");
    ok(cleans("h\xc3\xa9", 3, 3, "h"), "a character is not cut");
    ok(cleans("h\xc3", 2, 16, "h"), "one that is cut is left out");
    ok(cleans("a\xf0\x9f\x98", 4, 16, "a"), "a longer one, too");
    ok(cleans("a\xff" "b", 3, 16, "a\xef\xbf\xbd" "b"), "a bad byte");
    ok(cleans("a\xc3'", 3, 16, "a\xef\xbf\xbd'"), "cut in the middle");
    ok(cleans("a\xff", 2, 4, "a"), "no room for a replacement");
    ok(cleans("\xed\xa0\x80", 3, 16, "\xef\xbf\xbd\xef\xbf\xbd"
              "\xef\xbf\xbd"), "a surrogate");

    good = 1;
    srand(7);

    for (i = 0; i < 20000; i++) {
        len = (size_t) rand() % sizeof(in);
        room = 1 + (size_t) rand() % sizeof(out);
        for (n = 0; n < len; n++) {
            in[n] = (char) (1 + rand() % 255);
        }
        n = utf8_clean(out, room, in, len);
        good &= n < room && strlen(out) == n && utf8_valid(out, n) == n;
    }
    ok(good, "whatever comes, valid text is what goes");

    return done_testing();
}
