/* sources: agent/first_line.c */
/* libs: */

#include <string.h>

#include "agent/first_line.h"
#include "t/unit/tap.h"

#define KEY  "0123456789abcdef0123456789abcdef"


static first_line_kind
parse(const char *text, first_line *line)
{
    return first_line_parse(text, strlen(text), KEY, line);
}


int
main(void)
{
    char        text[128];
    size_t      i, n;
    first_line  line;

    ok(parse("CONTROL " KEY "\n", &line) == FIRST_LINE_CONTROL
       && line.used == 41, "control");
    ok(parse("CONTROL " KEY "\nGET /", &line) == FIRST_LINE_CONTROL
       && line.used == 41, "what follows is left alone");
    ok(parse("CONNECT 8000 " KEY "\n", &line) == FIRST_LINE_CONNECT
       && line.port == 8000, "connect");
    ok(parse("CONNECT 1 " KEY "\n", &line) == FIRST_LINE_CONNECT
       && line.port == 1, "port 1");
    ok(parse("CONNECT 65535 " KEY "\n", &line) == FIRST_LINE_CONNECT
       && line.port == 65535, "port 65535");

    static const char *const  bad[] = {
        "\n", "CONTROL\n", "CONTROL \n", "CONTROL  " KEY "\n",
        "CONTROL " KEY " \n", "CONTROL " KEY "\r\n", "control " KEY "\n",
        "CONTROL 0123456789abcdef0123456789abcdee\n",
        "CONTROL 0123456789ABCDEF0123456789ABCDEF\n",
        "CONNECT " KEY "\n", "CONNECT 0 " KEY "\n", "CONNECT 65536 " KEY "\n",
        "CONNECT 08 " KEY "\n", "CONNECT +8 " KEY "\n",
        "CONNECT -8 " KEY "\n", "CONNECT 8  " KEY "\n", "CONNECT 8\n",
        "CONNECT 8 \n", "CONNECT 999999 " KEY "\n", "CONNECT 8x " KEY "\n",
        "GET / HTTP/1.1\r\n"
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ok(parse(bad[i], &line) == FIRST_LINE_BAD, "bad line %zu", i);
    }

    n = strlen("CONNECT 65535 " KEY "\n");
    strcpy(text, "CONNECT 65535 " KEY "\n");
    for (i = 0; i < n; i++) {
        if (first_line_parse(text, i, KEY, &line) != FIRST_LINE_MORE) {
            break;
        }
    }
    ok(i == n, "every beginning waits for more");

    memset(text, 'x', sizeof(text));
    ok(first_line_parse(text, 63, KEY, &line) == FIRST_LINE_MORE,
       "63 bytes may still become a line");
    ok(first_line_parse(text, 64, KEY, &line) == FIRST_LINE_BAD,
       "64 bytes without a line feed");
    text[64] = '\n';
    ok(first_line_parse(text, 65, KEY, &line) == FIRST_LINE_BAD,
       "a line feed behind the limit");

    ok(first_line_key_valid(KEY, 32), "a key");
    ok(!first_line_key_valid(KEY, 31), "a short key");
    ok(!first_line_key_valid("0123456789ABCDEF0123456789abcdef", 32),
       "an upper-case key");

    return done_testing();
}
