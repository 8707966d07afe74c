/* sources: agent/watch_pattern.c */
/* Patterns of paths. */

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/watch_pattern.h"
#include "t/unit/tap.h"


static bool
matches(const char *pattern, const char *text)
{
    bool            got;
    watch_pattern  *p;

    p = watch_pattern_make(pattern, strlen(pattern));
    got = watch_pattern_match(p, text, strlen(text));
    free(p);

    return got;
}


static void
problems(void)
{
    char  text[300];

    memset(text, 'a', sizeof(text));

    ok(watch_pattern_problem("*.c", 3) == NULL, "good");
    ok(watch_pattern_problem("**/x?", 5) == NULL, "all there is");
    ok(watch_pattern_problem("", 0) != NULL, "empty");
    ok(watch_pattern_problem("[ab]", 4) != NULL, "a class");
    ok(watch_pattern_problem("{a,b}", 5) != NULL, "alternatives");
    ok(watch_pattern_problem("a\0b", 3) != NULL, "a NUL");
    ok(watch_pattern_problem(text, 255) == NULL, "255 bytes");
    ok(watch_pattern_problem(text, 256) != NULL, "256 bytes");
}


static void
single(void)
{
    ok(matches("a", "a") && !matches("a", "b") && !matches("a", "aa"),
       "itself");
    ok(matches("*.c", "x.c") && matches("*.c", ".c") && !matches("*.c", "x.cc"),
       "a star");
    ok(!matches("*", "a/b") && matches("*", "") && matches("a*", "a"),
       "a star stays within a name");
    ok(matches("a*b*c", "axxbxbc") && !matches("a*b*c", "axxbxb"), "stars");
    ok(matches("?", "x") && !matches("?", "") && !matches("?", "/")
       && !matches("?", "xy"), "a question mark");
    ok(matches("?", "\xc3\xa4") && matches("??", "\xc3\xa4x")
       && !matches("??", "\xc3\xa4") && matches("?\xc3\xa4", "x\xc3\xa4"),
       "takes a whole character");
    ok(matches("a.b", "a.b") && !matches("a.b", "axb"), "a dot is a dot");
    ok(matches("a\\*", "a\\b") && matches("!x", "!x"), "nothing else is odd");
}


static void
double_stars(void)
{
    ok(matches("**", "") && matches("**", "a/b/c"), "anything");
    ok(matches("src/**", "src/a") && matches("src/**", "src/a/b")
       && !matches("src/**", "src") && !matches("src/**", "srcs/a"),
       "below a directory");
    ok(matches("**/x", "x") && matches("**/x", "a/x")
       && matches("**/x", "a/b/x") && !matches("**/x", "ax")
       && !matches("**/x", "a/xx"), "at any depth");
    ok(matches("a/**/b", "a/b") && matches("a/**/b", "a/x/b")
       && matches("a/**/b", "a/x/y/b") && !matches("a/**/b", "ab")
       && !matches("a/**/b", "a/xb"), "between");
    ok(matches("a/**/**/b", "a/b") && matches("**/**", "x"), "twice");
    ok(matches("**/*.c", "x.c") && matches("**/*.c", "a/x.c")
       && !matches("**/*.c", "a/x.h"), "with a star");
    ok(matches("a**b", "axx/yyb") && !matches("a**b", "axx/yy"), "unbounded");
    ok(matches("a***b", "ax/b"), "three are two");
}


static void
rules(void)
{
    int          i, rc;
    watch_rules  r;

    memset(&r, 0, sizeof(r));
    ok(watch_rules_includes(&r, "a/b", "b"), "everything is included");
    ok(!watch_rules_excludes(&r, "a/b", "b"), "and nothing excluded");

    watch_rules_include(&r, "*.c", 3);
    ok(!r.paths, "names only");
    ok(watch_rules_includes(&r, "a/b.c", "b.c")
       && !watch_rules_includes(&r, "a/b.h", "b.h"), "by name");
    watch_rules_exclude(&r, "out/", 4);
    ok(!r.paths && watch_rules_excludes(&r, "a/out", "out"),
       "a slash at the end says nothing");
    watch_rules_exclude(&r, "/top", 4);
    ok(r.paths && watch_rules_excludes(&r, "top", "top")
       && !watch_rules_excludes(&r, "a/top", "top"), "by path");
    watch_rules_exclude(&r, "./a/b", 5);
    ok(watch_rules_excludes(&r, "a/b", "b"), "./ is nothing");

    for (rc = 0, i = 0; i < WATCH_PATTERNS_MAX; i++) {
        rc |= watch_rules_include(&r, "x", 1);
    }
    ok(rc == -1, "no more than there is room for");

    watch_rules_free(&r);
    ok(r.included == 0 && r.excluded == 0, "freed");
}


/* What makes others try all the ways there are. */

static void
worst(void)
{
    int              i;
    char             pattern[256], *path;
    clock_t          begun;
    watch_pattern   *p;

    for (i = 0; i + 3 < 255; i += 3) {
        memcpy(pattern + i, "**a", 3);
    }
    pattern[i++] = 'b';
    pattern[i] = '\0';

    path = malloc(8192);
    memset(path, 'a', 8191);
    path[8191] = '\0';

    begun = clock();
    p = watch_pattern_make(pattern, strlen(pattern));
    ok(!watch_pattern_match(p, path, 8191), "no match");
    ok(clock() - begun < 5 * CLOCKS_PER_SEC, "and soon said so");

    free(p);
    free(path);
}


int
main(void)
{
    problems();
    single();
    double_stars();
    rules();
    worst();

    return done_testing();
}
