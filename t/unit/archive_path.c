/* sources: agent/archive_path.c agent/archive_links.c agent/file_tag.c */
/* Names in archives, files with several names, and versions of files. */

#include <stdlib.h>
#include <string.h>

#include "agent/archive_links.h"
#include "agent/archive_path.h"
#include "agent/file_tag.h"
#include "t/unit/tap.h"


static bool
is(const char *name, const char *clean)
{
    char  dst[64];

    return archive_path_clean(dst, sizeof(dst), name) == NULL
           && strcmp(dst, clean) == 0;
}


static bool
bad(const char *name)
{
    char  dst[64];

    return archive_path_clean(dst, sizeof(dst), name) != NULL;
}


static void
test_paths(void)
{
    char  dst[4096], name[400];

    ok(is("a", "a") && is("./a/b", "a/b") && is("a//b/./c/", "a/b/c"),
       "names");
    ok(is(".", "") && is("./", "") && is(".//./", ""), "the directory");
    ok(is("...", "...") && is("..a/a..", "..a/a.."), "dots in names");
    ok(bad("..") && bad("../a") && bad("a/..") && bad("a/../b")
       && bad("./.."), "dots");
    ok(bad("/") && bad("/a") && bad("//a") && bad("/."), "absolute");
    ok(bad("") && bad(NULL), "nothing");
    ok(bad("0123456789012345678901234567890123456789/"
           "0123456789012345678901234567890"), "no room");

    memset(name, 'x', sizeof(name));
    name[255] = '\0';
    ok(archive_path_clean(dst, sizeof(dst), name) == NULL, "255 bytes");
    name[255] = 'x';
    name[256] = '\0';
    ok(archive_path_clean(dst, sizeof(dst), name) != NULL, "256");
}


static void
test_links(void)
{
    int            same;
    char           path[32], *longest;
    size_t         i;
    const char    *first;
    archive_links  l;

    archive_links_init(&l);
    ok(archive_links_find(&l, 1, 2, "a") == NULL, "seen first");
    first = archive_links_find(&l, 1, 2, "b");
    ok(first != NULL && strcmp(first, "a") == 0, "seen again");
    ok(archive_links_find(&l, 2, 2, "c") == NULL
       && archive_links_find(&l, 1, 3, "d") == NULL, "others");

    for (i = 0, same = 1; i < 2 * ARCHIVE_LINKS_MAX; i++) {
        snprintf(path, sizeof(path), "%zu", i);
        same &= archive_links_find(&l, 7, i, path) == NULL;
    }
    for (i = 0; i < 1000; i++) {
        first = archive_links_find(&l, 7, i, "x");
        same &= first != NULL && (size_t) atoi(first) == i;
    }
    ok(same, "many");
    ok(l.count == ARCHIVE_LINKS_MAX
       && archive_links_find(&l, 7, 2 * ARCHIVE_LINKS_MAX - 1, "x") == NULL,
       "no more than it should");
    archive_links_free(&l);

    longest = malloc(1000001);
    memset(longest, 'x', 1000000);
    longest[1000000] = '\0';
    for (i = 0; i < 50; i++) {
        archive_links_find(&l, 1, i, longest);
    }
    ok(l.bytes <= ARCHIVE_LINKS_BYTES && l.count == 8, "nor more bytes");
    free(longest);
    archive_links_free(&l);
}


static void
test_tags(void)
{
    char         list[256];
    file_tag     t, u;
    struct stat  st;

    memset(&st, 0, sizeof(st));
    st.st_mtim.tv_sec = 1000000000;
    st.st_size = 10;
    st.st_ino = 5;
    file_tag_of(&t, &st);

    ok(t.tag[0] == '"' && t.tag[strlen(t.tag) - 1] == '"', "a tag");
    ok(strcmp(t.date, "Sun, 09 Sep 2001 01:46:40 GMT") == 0, "a date");

    st.st_mtim.tv_nsec = 1;
    file_tag_of(&u, &st);
    ok(strcmp(t.tag, u.tag) != 0, "another time");
    st.st_mtim.tv_nsec = 0;
    st.st_ino = 6;
    file_tag_of(&u, &st);
    ok(strcmp(t.tag, u.tag) != 0, "another file");
    st.st_ino = 5;
    st.st_size = 11;
    file_tag_of(&u, &st);
    ok(strcmp(t.tag, u.tag) != 0, "another size");

    ok(file_tag_same(&t, NULL) && file_tag_same(&t, t.tag)
       && file_tag_same(&t, t.date) && !file_tag_same(&t, u.tag)
       && !file_tag_same(&t, ""), "If-Range");

    snprintf(list, sizeof(list), "%s , W/%s,", u.tag, t.tag);
    ok(file_tag_known(&t, list, NULL) && file_tag_known(&t, "*", NULL)
       && !file_tag_known(&t, u.tag, t.date) && !file_tag_known(&t, "", NULL)
       && !file_tag_known(&t, "W/", NULL), "If-None-Match");
    ok(file_tag_known(&t, NULL, t.date) && !file_tag_known(&t, NULL, "x")
       && !file_tag_known(&t, NULL, NULL), "If-Modified-Since");
}


int
main(void)
{
    test_paths();
    test_links();
    test_tags();

    return done_testing();
}
