/* sources: agent/archive_exclude.c */
/* Patterns of what an archive leaves out. */

#include <string.h>
#include <time.h>

#include "agent/archive_exclude.h"
#include "t/unit/tap.h"


static bool
is(const char *list, const char *path)
{
    bool             found;
    archive_exclude  x;

    if (archive_exclude_parse(&x, list, strlen(list)) != NULL) {
        return false;
    }

    found = archive_exclude_match(&x, path);
    archive_exclude_free(&x);

    return found;
}


static bool
refused(const char *list, size_t len)
{
    archive_exclude  x;

    if (archive_exclude_parse(&x, list, len) == NULL) {
        archive_exclude_free(&x);
        return false;
    }

    return x.text == NULL;
}


static void
test_patterns(void)
{
    ok(is("a", "a"), "a name");
    ok(is("a", "a/b/c"), "what is below it");
    ok(!is("a", "ab") && !is("ab", "a") && !is("a", "b/a"), "no other");
    ok(is("./a/b/", "a/b") && is(".//a", "a"), "as a path");
    ok(is("x,,a,", "a") && is("x,a", "x"), "several");
    ok(!is("", "a") && !is(",", "a") && !is("./", "a"), "none");
    ok(is("*.o", "a.o") && is("*.o", "d/a.o") && is("*.o", "d.o/a"), "a star");
    ok(!is("*.o", "a.oo") && !is("*.o", "o"), "and what it isn't");
    ok(is("a*b*c", "axbxc") && is("a*b*c", "abbcbc") && !is("a*b*c", "axcxb"),
       "two stars");
    ok(is("a/*", "a/b/c") && !is("a/*", "a") && !is("a/*", "ab"), "below");
    ok(is("**/n", "n") && is("**/n", "a/b/n/x") && !is("**/n", "an"),
       "at any depth");
    ok(is("?", "a") && is("a?c", "a/c") && !is("?", "ab"), "any character");
    ok(is("[abc]", "b") && !is("[abc]", "d") && is("[a-c]x", "bx"), "a set");
    ok(is("[!a]", "b") && !is("[^a]", "a") && is("[]]", "]")
       && is("[!]]", "a"), "its negation");
    ok(is("[a\\]]", "]") && is("[a-]", "-") && is("[", "["), "odd sets");
    ok(is("\\*", "*") && !is("\\*", "a") && is("a\\", "a\\")
       && is("\\[a]", "[a]"), "a backslash");
    ok(is("\xc3\xa9*", "\xc3\xa9t\xc3\xa9") && is("[\xc0-\xff]*", "\xff"),
       "bytes");
}


static void
test_limits(void)
{
    char             list[8192], path[4096];
    size_t           i;
    clock_t          start;
    archive_exclude  x;

    ok(refused("a,../b", 6) && refused("..", 2) && refused("a..b", 4),
       "no dots");
    ok(refused("a\0b", 3), "no NUL");

    memset(list, 'a', sizeof(list));
    ok(refused(list, ARCHIVE_EXCLUDE_LENGTH + 1)
       && !refused(list, ARCHIVE_EXCLUDE_LENGTH), "the length of one");

    for (i = 0; i < 1000; i++) {
        list[2 * i + 1] = ',';
    }
    ok(refused(list, 2 * ARCHIVE_EXCLUDE_MAX + 1)
       && !refused(list, 2 * ARCHIVE_EXCLUDE_MAX), "how many");

    ok(archive_exclude_parse(&x, NULL, 0) == NULL
       && !archive_exclude_match(&x, "a"), "no list");
    archive_exclude_free(&x);

    for (i = 0; i < 500; i++) {
        memcpy(list + 2 * i, "*a", 2);
    }
    list[1000] = 'b';
    memset(path, 'a', sizeof(path));
    path[sizeof(path) - 1] = '\0';

    archive_exclude_parse(&x, list, 1001);
    start = clock();
    ok(!archive_exclude_match(&x, path), "five hundred stars");
    ok(clock() - start < 10 * CLOCKS_PER_SEC, "in bounded time");
    archive_exclude_free(&x);
}


int
main(void)
{
    test_patterns();
    test_limits();

    return done_testing();
}
