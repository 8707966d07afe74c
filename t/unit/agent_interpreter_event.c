/* sources: agent/interpreter_event.c common/utf8.c */
/* libs: */

#include <stdlib.h>
#include <string.h>

#include "agent/interpreter_event.h"
#include "t/unit/tap.h"


static size_t
event(char *out, char type, const char *payload, size_t n)
{
    out[0] = (char) (n & 0xff);
    out[1] = (char) (n >> 8 & 0xff);
    out[2] = (char) (n >> 16 & 0xff);
    out[3] = (char) (n >> 24 & 0xff);
    out[4] = type;
    memcpy(out + 5, payload, n);

    return n + 5;
}


static int
valid(const char *text)
{
    return interpreter_json_valid(text, strlen(text));
}


static void
json(void)
{
    size_t  i, n;
    char   *deep;

    static const char *const  good[] = {
        "{}", "{ }", "{\"a\":1}", "{\"a\":[]}", "{\"a\":[1,2,{\"b\":null}]}",
        "{\"a\" : -1.5e+10 , \"b\":true,\"c\":false}", "{\"\":\"\\u00e9\"}",
        "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "{\"a\":0,\"b\":0.5}",
        "{\"a\":\"\xc3\xa9\"}", "{\"a\":\"\\ud800\"}", "{\"a\":{\"b\":{}}}"
    };

    static const char *const  bad[] = {
        "", "[]", "1", "{", "}", "{]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}",
        "{\"a\":[1,]}", "{\"a\":[,1]}", "{,}", "{\"a\":01}", "{\"a\":1.}",
        "{\"a\":.5}", "{\"a\":-}", "{\"a\":1e}", "{\"a\":+1}", "{a:1}",
        "{\"a\":tru}", "{\"a\":NaN}", "{\"a\":\"\n\"}", "{\n}",
        "{\"a\":\"\\x\"}", "{\"a\":\"\\u12g4\"}", "{\"a\":\"\\u12\"}",
        "{\"a\":\"", "{\"a\":\"\\", "{}}", "{} {}", "{}x", "{\"a\":1 2}",
        "{\"a\":\"\xff\"}", "{\"a\":[1}", "{\"a\":{1}}", "{\"a\":\t1}",
        "{\"a\"::1}", "{1:2}", "{\"a\":1]", "{[]:1}", " {}"
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ok(valid(good[i]), "JSON: %s", good[i]);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ok(!valid(bad[i]), "no JSON, or more than a line: %zu", i);
    }

    ok(!interpreter_json_valid("{\"a\0\":1}", 8), "a NUL");

    n = INTERPRETER_JSON_DEPTH - 1;
    deep = malloc(2 * n + 16);
    strcpy(deep, "{\"a\":");
    memset(deep + 5, '[', n);
    memset(deep + 5 + n, ']', n);
    strcpy(deep + 5 + 2 * n, "}");
    ok(valid(deep), "as deep as it may be");

    memset(deep + 5, '[', n + 1);
    memset(deep + 6 + n, ']', n + 1);
    strcpy(deep + 7 + 2 * n, "}");
    ok(!valid(deep), "not deeper");
    free(deep);
}


int
main(void)
{
    char               b[256];
    size_t             i, n;
    interpreter_event  ev;

    n = event(b, 'r', "", 0);
    ok(interpreter_event_parse(b, n, &ev) == 5 && ev.type
       == INTERPRETER_READY, "ready");

    n = event(b, 'd', "{\"text\":\"2\"}", 12);
    ok(interpreter_event_parse(b, n, &ev) == 17
       && ev.type == INTERPRETER_RESULT && ev.len == 12
       && ev.p == b + 5, "a result");
    for (i = 0; i < n; i++) {
        ok(interpreter_event_parse(b, i, &ev) == 0, "%zu bytes of it", i);
    }
    ok(interpreter_event_parse(b, n + 3, &ev) == 17, "and more behind it");

    n = event(b, 'z', "4294967295", 10);
    ok(interpreter_event_parse(b, n, &ev) == 15 && ev.run == 4294967295u,
       "done");
    n = event(b, 'z', "", 0);
    ok(interpreter_event_parse(b, n, &ev) == -1, "done: no number");
    n = event(b, 'z', "1x", 2);
    ok(interpreter_event_parse(b, n, &ev) == -1, "done: a bad one");
    n = event(b, 'z', "12345678901", 11);
    ok(interpreter_event_parse(b, n, &ev) == -1, "done: too long");
    n = event(b, 'c', "No such file", 12);
    ok(interpreter_event_parse(b, n, &ev) == 17, "opened");
    n = event(b, 'n', "", 0);
    ok(interpreter_event_parse(b, n, &ev) == 5
       && ev.type == INTERPRETER_RENEWED, "renewed");
    n = event(b, 'n', "why not", 7);
    ok(interpreter_event_parse(b, n, &ev) == 12 && ev.len == 7, "or not");
    n = event(b, 'r', "x", 1);
    ok(interpreter_event_parse(b, n, &ev) == -1, "ready with more");
    n = event(b, 'x', "", 0);
    ok(interpreter_event_parse(b, n, &ev) == -1, "an unknown type");
    n = event(b, '\0', "", 0);
    ok(interpreter_event_parse(b, n, &ev) == -1, "none");
    n = event(b, 'e', "{", 1);
    ok(interpreter_event_parse(b, n, &ev) == -1, "an error that is no JSON");

    event(b, 'd', "", 0);
    b[3] = 1;
    b[0] = 1;
    ok(interpreter_event_parse(b, 5, &ev) == -1, "16 MiB and one");
    memcpy(b, "\x00\x00\x00\x01" "d", 5);
    ok(interpreter_event_parse(b, 5, &ev) == 0, "16 MiB");
    memcpy(b, "\x00\x00\x00\x01" "e", 5);
    ok(interpreter_event_parse(b, 5, &ev) == -1, "not of an error");
    memcpy(b, "\xff\xff\xff\xff" "d", 5);
    ok(interpreter_event_parse(b, 5, &ev) == -1, "4 GiB");

    json();

    return done_testing();
}
