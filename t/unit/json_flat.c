/* sources: common/json_flat.c common/utf8.c common/error.c */
/* The reader of flat JSON objects. */

#include <stdlib.h>
#include <string.h>

#include "common/json_flat.h"
#include "t/unit/tap.h"

static json_flat_object  object;
static char             *text;
static char              message[512];


/* Parses a copy of exactly len bytes, so that the sanitizer sees overruns. */

static int
parse_n(const char *json, size_t len)
{
    int     rc;
    error  *err = NULL;

    free(text);
    text = malloc(len ? len : 1);
    memcpy(text, json, len);
    message[0] = '\0';

    rc = json_flat_parse(&object, text, len, &err);

    if (err != NULL) {
        snprintf(message, sizeof(message), "%s", err->message);
        error_free(err);
    }

    return rc;
}


static int
parse(const char *json)
{
    return parse_n(json, strlen(json));
}


static int
is(const char *name, json_flat_type type, const char *value)
{
    const json_flat  *m = json_flat_get(&object, name);

    return m->type == type && m->len == strlen(value)
           && memcmp(m->text, value, m->len) == 0;
}


static void
good(void)
{
    ok(parse("{}") == 0 && object.count == 0, "an empty object");
    ok(parse(" \t\r\n{ } \n") == 0, "blanks around");
    ok(parse("{\"path\":\"/a b\",\"n\":-1.5e+3,\"t\":true,\"f\":false,"
             "\"z\":null,\"o\":{\"x\":[1,{}]},\"a\":[]}") == 0
       && object.count == 7, "every type");
    ok(is("path", JSON_FLAT_STRING, "/a b"), "a string");
    ok(is("n", JSON_FLAT_NUMBER, "-1.5e+3"), "a number as written");
    ok(is("t", JSON_FLAT_TRUE, "true") && is("f", JSON_FLAT_FALSE, "false")
       && is("z", JSON_FLAT_NULL, "null"), "words");
    ok(is("o", JSON_FLAT_OBJECT, "{\"x\":[1,{}]}")
       && is("a", JSON_FLAT_ARRAY, "[]"), "nested values stay text");
    ok(json_flat_get(&object, "no")->type == JSON_FLAT_ABSENT, "no member");

    ok(parse("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}") == 0
       && is("a", JSON_FLAT_STRING, "\"\\/\b\f\n\r\t"), "short escapes");
    ok(parse("{\"a\":\"h\\u00e9\\u20AC\\ud83d\\ude00!\"}") == 0
       && is("a", JSON_FLAT_STRING, "h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!"),
       "escapes of two, three and four bytes");
    ok(parse("{\"a\":\"\\ud800\"}") == 0
       && is("a", JSON_FLAT_STRING, "\xef\xbf\xbd")
       && parse("{\"a\":\"\\ude00x\\ud83d\\u0041\\ud83d\"}") == 0
       && is("a", JSON_FLAT_STRING,
             "\xef\xbf\xbdx\xef\xbf\xbd" "A\xef\xbf\xbd"),
       "lone surrogates are replaced");
    ok(parse("{\"a\":\"x\\u0000y\"}") == 0
       && json_flat_get(&object, "a")->len == 3
       && memcmp(json_flat_get(&object, "a")->text, "x\0y", 4) == 0,
       "an escaped NUL, and a NUL behind");
    ok(parse("{\"a\":\"0123456789abcdef0123456789\\nabcdefgh\xc3\xa9 tail\"}")
       == 0 && is("a", JSON_FLAT_STRING, "0123456789abcdef0123456789\n"
                  "abcdefgh\xc3\xa9 tail"), "long runs move together");
    ok(parse("{\"\\u0061\":1}") == 0 && is("a", JSON_FLAT_NUMBER, "1"),
       "an escaped name");
    ok(parse("{\"o\":{\"path\":\"inner\"},\"path\":\"outer\"}") == 0
       && is("path", JSON_FLAT_STRING, "outer"), "nested names don't count");
}


static void
bad(void)
{
    size_t  i;
    char    deep[300], many[2048];

    static const char *const  broken[] = {
        "", " ", "{", "}", "[]", "1", "null", "\"a\"", "{\"a\"}", "{\"a\":}",
        "{\"a\":1", "{\"a\":1,}", "{,}", "{a:1}", "{'a':1}", "{\"a\":1}}",
        "{\"a\":1} x", "{\"a\":01}", "{\"a\":-}", "{\"a\":1.}", "{\"a\":.5}",
        "{\"a\":1e}", "{\"a\":+1}", "{\"a\":tru}", "{\"a\":True}",
        "{\"a\":NaN}", "{\"a\":\"", "{\"a\":\"x", "{\"a\":\"\\", "{\"a\":\"\\u",
        "{\"a\":\"\\u12\"}", "{\"a\":\"\\u12g4\"}", "{\"a\":\"\\x\"}",
        "{\"a\":\"\n\"}", "{\"a\":\"\xff\"}", "{\"a\":\"\xc3\"}",
        "{\"a\":\"\xed\xa0\x80\"}", "{\"a\":[1,]}", "{\"a\":[1 2]}",
        "{\"a\":[}", "{\"a\":{]}", "{\"a\":{\"b\"}}", "{\"a\":{\"b\":1,}}",
        "{\"a\":[1}", "{\"a\":{\"b\":1]}", "{\"a\":[", "{\"a\":{", "{\"a\" 1}",
        "{\"a\":1 \"b\":2}", "{\"a\":[\"\xff\"]}", "{\"a\":/**/1}",
        "\xef\xbb\xbf{}"
    };

    for (i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        ok(parse(broken[i]) == -1 && message[0] != '\0', "refused: %zu", i);
    }

    ok(parse_n("{\"a\":\"x\0y\"}", 11) == -1, "a raw NUL");
    ok(parse("{\"a\":1,\"\\u0061\":2}") == -1
       && strstr(message, "twice") != NULL, "a member that is there twice");
    ok(parse("{\"ab\":1,}") == -1 && strstr(message, "at byte 8") != NULL,
       "the message names the place");

    memset(deep, '[', sizeof(deep));
    memcpy(deep, "{\"a\":", 5);
    ok(parse_n(deep, 5 + 65) == -1 && strstr(message, "deeper") != NULL,
       "65 levels");
    memset(deep + 5 + 64, ']', 64);
    memcpy(deep + 5 + 128, "}", 1);
    ok(parse_n(deep, 5 + 129) == 0, "64 levels");

    many[0] = '{';
    for (i = 0; i < 65; i++) {
        snprintf(many + 1 + i * 8, 9, "%s\"%03zu\":1", i ? "," : " ", i);
    }
    strcpy(many + 1 + 64 * 8, "}");
    ok(parse(many) == 0 && object.count == 64, "64 members");
    snprintf(many + 1 + 64 * 8, 10, ",\"064\":1}");
    ok(parse(many) == -1 && strstr(message, "64 members") != NULL,
       "65 members");
}


int
main(void)
{
    good();
    bad();
    free(text);

    return done_testing();
}
