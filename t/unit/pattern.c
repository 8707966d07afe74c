/* sources: agent/pattern.c agent/pattern_parse.c agent/pattern_search.c common/utf8.c common/error.c */
/* libs: */
/* Patterns for lines of output. */

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/pattern.h"
#include "t/unit/tap.h"


/* "[whole][group]...", "none", or what is wrong. */

static const char *
search(const char *text, const char *flags, const char *line)
{
    error         *err;
    size_t         i;
    pattern       *p;
    static char    out[1024];
    pattern_span   spans[PATTERN_GROUPS + 1];

    err = NULL;
    p = pattern_compile(text, strlen(text), flags, &err);

    if (p == NULL) {
        snprintf(out, sizeof(out), "%s: %s", err->field, err->message);
        error_free(err);
        return out;
    }

    strcpy(out, "none");

    if (pattern_search(p, line, strlen(line), spans)) {
        out[0] = '\0';
        for (i = 0; i <= pattern_groups(p); i++) {
            if (spans[i].from < 0) {
                strcat(out, "[-]");
                continue;
            }
            strcat(out, "[");
            strncat(out, line + spans[i].from,
                    (size_t) (spans[i].to - spans[i].from));
            strcat(out, "]");
        }
    }

    pattern_free(p);

    return out;
}


static int
finds(const char *text, const char *line, const char *want)
{
    const char  *got;

    got = search(text, "", line);
    if (strcmp(got, want) != 0) {
        printf("# /%s/ in '%s': %s, not %s\n", text, line, got, want);
        return 0;
    }

    return 1;
}


static int
wrong(const char *text)
{
    return strncmp(search(text, "", ""), "pattern: ", 9) == 0;
}


int
main(void)
{
    char           *big;
    size_t          i;
    error          *err;
    pattern        *p;
    clock_t         begin;
    pattern_span    spans[PATTERN_GROUPS + 1];

    ok(finds("ready", "it is ready now", "[ready]")
       && finds("ready", "no", "none") && finds("", "x", "[]"), "text");
    ok(finds("port (\\d+)", "on port 8080!", "[port 8080][8080]")
       && finds("(a)|(b)", "b", "[b][-][b]")
       && finds("(?:x)(?<n>y)", "xy", "[xy][y]"), "groups");
    ok(finds("a*", "aab", "[aa]") && finds("a*?", "aab", "[]")
       && finds("a+?", "aab", "[a]") && finds("ab?c", "ac", "[ac]")
       && finds("a{2}", "aaa", "[aa]") && finds("a{2,}", "aaaa", "[aaaa]")
       && finds("a{1,2}?", "aa", "[a]") && finds("(ab){2}", "abab",
       "[abab][ab]"), "repetitions");
    ok(finds("a|ab", "ab", "[a]") && finds("ab|a", "ab", "[ab]")
       && finds("(|a)b", "ab", "[ab][a]"), "the first way that fits");
    ok(finds("^a", "ba", "none") && finds("a$", "ab", "none")
       && finds("^$", "", "[]") && finds("\\bb", "a b", "[b]")
       && finds("\\Bb", "b ab", "[b]"), "places");
    ok(finds("[a-c]+", "xabcd", "[abc]") && finds("[^a-c]+", "abxyc", "[xy]")
       && finds("[]]", "x", "none") && finds("[\\]x-]+", "]-x", "[]-x]")
       && finds("[\\D]+", "12ab", "[ab]") && finds("\\w+\\s\\S", "a_1 -",
       "[a_1 -]") && finds("[a-]", "-", "[-]"), "classes");
    ok(finds("\\x41\\u0042\\u{43}\\.\\t", "ABC.\t", "[ABC.\t]"), "escapes");
    ok(finds("\xc3\xa9.", "x\xc3\xa9\xe2\x82\xac", "[\xc3\xa9\xe2\x82\xac]")
       && finds("[\xc3\xa0-\xc3\xaf]+", "\xc3\xa9\xc3\xa8z",
       "[\xc3\xa9\xc3\xa8]") && finds("a.b", "a\xff" "b", "[a\xff" "b]"),
       "characters are not bytes");
    ok(finds("a{,2}", "a{,2}", "[a{,2}]") && finds("{x}", "{x}", "[{x}]"),
       "braces that are text");
    ok(strcmp(search("rEADY", "i", "Ready"), "[Ready]") == 0
       && strcmp(search("[a-c]+", "gi", "xABC"), "[ABC]") == 0
       && strcmp(search("[^a]", "i", "A"), "none") == 0
       && strcmp(search("a.b", "s", "a\nb"), "[a\nb]") == 0
       && strcmp(search("a.b", "", "a\nb"), "none") == 0
       && strncmp(search("a", "x", "a"), "flags: ", 7) == 0, "flags");

    ok(wrong("(") && wrong(")") && wrong("a)") && wrong("[a") && wrong("*")
       && wrong("a**") && wrong("\\") && wrong("[b-a]") && wrong("a{2,1}")
       && wrong("a{2}{3}") && wrong("(?<n") && wrong("\\xZZ")
       && wrong("\\u{110000}") && wrong("\\q"), "what can't be read");
    ok(wrong("(a)\\1") && wrong("(?=a)") && wrong("(?<!a)"),
       "what can't be matched in bounded time");
    ok(wrong("a{1001}") && wrong("(a{100}){100}")
       && !wrong("(?:(?:(?:(?:){1000}){1000}){1000}){1000}"),
       "what would be too long");

    big = malloc(70000);
    memset(big, '(', 70000);
    err = NULL;
    ok(pattern_compile(big, PATTERN_MAX + 1, "", &err) == NULL, "too long");
    error_free(err);
    err = NULL;
    ok(pattern_compile(big, PATTERN_MAX, "", &err) == NULL, "too deep");
    error_free(err);

    /* What takes others for ever. */
    memset(big, 'a', 70000);
    begin = clock();
    p = pattern_compile("(a*)*(a|aa)+(a?){30}b", 21, "", NULL);
    ok(p != NULL && pattern_search(p, big, 16384, spans) == 0,
       "a line that almost fits");
    ok((clock() - begin) / CLOCKS_PER_SEC < 10, "takes no time");

    for (i = 0; i < 3; i++) {
        big[16383] = i == 1 ? 'b' : 'a';
        ok(pattern_search(p, big, 16384, spans) == (i == 1), "again: %zu", i);
    }
    pattern_free(p);
    free(big);

    return done_testing();
}
