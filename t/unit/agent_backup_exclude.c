/* sources: agent/backup_exclude.c common/buffer.c */
/* libs: */

#include <string.h>

#include "agent/backup_exclude.h"
#include "t/unit/tap.h"


static int
is(const char *text, const char *want)
{
    int          same;
    buffer       b;
    const char  *why;

    memset(&b, 0, sizeof(b));
    why = backup_exclude_glob(&b, text, strlen(text), "/workspace");
    buffer_append(&b, "", 1);
    same = why == NULL && strcmp(buffer_bytes(&b), want) == 0;
    if (!same) {
        printf("# %s: %s\n# %s\n", text, why ? why : "", buffer_bytes(&b));
    }
    buffer_free(&b);

    return same;
}


static int
refused(const char *text)
{
    int     no;
    buffer  b;

    memset(&b, 0, sizeof(b));
    no = backup_exclude_glob(&b, text, strlen(text), "/workspace") != NULL
         && b.len == 0;
    buffer_free(&b);

    return no;
}


static size_t
lines(const char *text)
{
    size_t  i, n;
    buffer  b;

    memset(&b, 0, sizeof(b));
    n = 0;
    if (backup_exclude_glob(&b, text, strlen(text), "/workspace") == NULL) {
        for (i = 0; i < b.len; i++) {
            n += buffer_bytes(&b)[i] == '\n';
        }
    }
    buffer_free(&b);

    return n;
}


int
main(void)
{
    char         big[1100];
    buffer       b;
    static const char  paths[] = "a\0b c/\0x*[y]\0l\nf\0\0/\0end";

    ok(is("node_modules", "\\... node_modules\n"), "a name");
    ok(is("node_modules/", "\\... node_modules\n"), "with a slash");
    ok(is("**/node_modules", "\\... node_modules\n"), "the long form");
    ok(is("**/**/node_modules", "\\... node_modules\n"), "doubled");
    ok(is("*.log", "\\... *.log\n\\... .*.log\n"), "hidden ones, too");
    ok(is("?x", "\\... ?x\n\\... .x\n"), "one character");
    ok(is("a**b", "\\... a*b\n"), "stars in a row");
    ok(is("/dist", "\\dist\n"), "at the top only");
    ok(is("./dist", "\\... dist\n"), "a dot is nothing");
    ok(is("a/b", "\\a/b\n"), "a path");
    ok(is("/workspace/a/b", "\\a/b\n"), "from the root");
    ok(is("/workspace/a", "\\a\n"), "at the top, from the root");
    ok(is("a//b/./c", "\\a/b/c\n"), "doubled slashes");
    ok(is("a/*", "\\a/*\n\\a/@(*|.*)\n"), "all in a directory");
    ok(is("a/**", "\\a/*\n\\a/@(*|.*)\n"), "the long form");
    ok(is("a/**/*", "\\a/*\n\\a/@(*|.*)\n"), "with more stars");
    ok(is("**", "\\... *\n\\... .*\n"), "everything");
    ok(is("a(b)|c", "\\... a\\(b\\)\\|c\n"), "no patterns of the shell");
    ok(is("a\\*b", "\\... a\\*b\n"), "a star");
    ok(is("#x", "\\... #x\n"), "no comment");
    ok(is("\\{x", "\\... \\{x\n"), "a brace");
    ok(lines("a/**/b") == 33, "any number of directories");
    ok(lines("**/a/b") == 33, "before a path");
    ok(refused(""), "nothing");
    ok(refused("/"), "the root");
    ok(refused("."), "itself");
    ok(refused("a/../b"), "dots");
    ok(refused("!x"), "a negation");
    ok(refused("*.{a,b}"), "alternatives");
    ok(refused("{a}"), "at the beginning");
    ok(refused("a\\"), "half an escape");
    ok(refused("a\nb"), "two lines");
    ok(refused("a\\\nb"), "with a backslash between");
    ok(refused("a/**/b/**/c"), "twice any number");
    memset(big, 'a', sizeof(big));
    big[1024] = '\0';
    ok(lines(big) == 1, "as long as may be");
    big[1024] = 'a';
    big[1025] = '\0';
    ok(refused(big), "longer");

    memset(&b, 0, sizeof(b));
    ok(backup_exclude_paths(&b, paths, sizeof(paths) - 1) == NULL, "paths");
    buffer_append(&b, "", 1);
    ok(strcmp(buffer_bytes(&b), "\\a\n\\b c\n\\x\\*\\[y\\]\n\\l?f\n\\end\n")
       == 0, "as they are");
    buffer_free(&b);

    return done_testing();
}
