/* sources: agent/path.c */
/* Paths as text. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/path.h"
#include "t/unit/tap.h"


static bool
becomes(const char *in, const char *out)
{
    bool   same;
    char  *dst;

    /* A text needs at most a slash more than it has. */
    dst = malloc(strlen(in) + 2);
    same = path_normalize(dst, strlen(in) + 2, in) == 0
           && strcmp(dst, out) == 0;
    free(dst);

    return same;
}


static bool
splits(const char *path, const char *dir, const char *name)
{
    char  d[64], n[PATH_NAME_ROOM];

    errno = 0;

    if (path_split(path, d, sizeof(d), n) != 0) {
        return dir == NULL && errno == EISDIR;
    }

    return dir != NULL && strcmp(d, dir) == 0 && strcmp(n, name) == 0;
}


static void
problems(void)
{
    char  *long_path;

    ok(path_problem("/a", 2) == NULL && path_problem("a", 1) == NULL, "good");
    ok(strcmp(path_problem("", 0), "Path must be a non-empty string") == 0,
       "empty");
    ok(strcmp(path_problem("/a\0b", 4), "Path contains null bytes") == 0,
       "NUL");

    long_path = malloc(8194);
    memset(long_path, 'a', 8194);
    ok(path_problem(long_path, 4096) == NULL, "4096 characters");
    ok(strcmp(path_problem(long_path, 4097),
              "Path too long (max 4096 characters)") == 0, "4097");
    for (int i = 0; i < 8194; i += 2) {
        memcpy(long_path + i, "\xc3\xa9", 2);
    }
    ok(path_problem(long_path, 8192) == NULL, "4096 characters of two bytes");
    ok(path_problem(long_path, 8194) != NULL, "4097 of them");
    memset(long_path, '\x80', 8194);
    ok(path_problem(long_path, 8194) == NULL, "bytes that begin nothing");
    free(long_path);
}


int
main(void)
{
    char  dst[16], name[PATH_NAME_ROOM], long_name[300];

    problems();

    ok(path_join(dst, sizeof(dst), "/w", "a/b") == 0
       && strcmp(dst, "/w/a/b") == 0, "join");
    ok(path_join(dst, sizeof(dst), "/", "a") == 0 && strcmp(dst, "/a") == 0,
       "join to the root");
    ok(path_join(dst, sizeof(dst), "/w", "/a/../b") == 0
       && strcmp(dst, "/a/../b") == 0, "an absolute path stays as it is");
    ok(path_join(dst, sizeof(dst), "/workspace", "abc") == 0
       && strcmp(dst, "/workspace/abc") == 0, "join that just fits");
    ok(path_join(dst, sizeof(dst), "/workspace", "abcde") == -1, "no room");

    ok(becomes("/workspace/a", "/workspace/a"), "normal");
    ok(becomes("workspace/a", "/workspace/a"), "a slash before");
    ok(becomes("//workspace///a//", "/workspace/a"), "doubled slashes");
    ok(becomes("/./workspace/./a/.", "/workspace/a"), "dots");
    ok(becomes("/workspace/b/../a", "/workspace/a"), "two dots");
    ok(becomes("/workspace/b/..", "/workspace"), "two dots at the end");
    ok(becomes("/workspace/../etc/passwd", "/etc/passwd"), "out and on");
    ok(becomes("/../../..", "/") && becomes("..", "/") && becomes("", "/")
       && becomes("/", "/"), "never above the root");
    ok(becomes("/a/../../b", "/b"), "above the root and down again");
    ok(becomes("/...", "/...") && becomes("/..a/b..", "/..a/b.."),
       "names with dots");
    ok(becomes("/ /\xff", "/ /\xff"), "any bytes");
    ok(path_normalize(dst, 5, "/abc") == 0
       && path_normalize(dst, 4, "/abc") == -1
       && path_normalize(dst, 1, "/") == -1, "never more than the room");

    ok(path_within("/workspace", "/workspace")
       && path_within("/workspace/a", "/workspace"), "within");
    ok(!path_within("/workspaces", "/workspace")
       && !path_within("/work", "/workspace") && !path_within("/", "/w"),
       "not within");
    ok(path_within("/a", "/") && path_within("/", "/"), "within the root");

    ok(splits("/a/b", "/a", "b") && splits("/a", "/", "a")
       && splits("//a", "/", "a"), "split");
    ok(splits("/a/b c.txt", "/a", "b c.txt") && splits("/a/..b", "/a", "..b"),
       "split odd names");
    ok(splits("/", NULL, NULL) && splits("/a/", NULL, NULL)
       && splits("/a/.", NULL, NULL) && splits("/a/..", NULL, NULL),
       "what can only be a directory");
    memset(long_name, 'n', sizeof(long_name));
    long_name[0] = '/';
    long_name[257] = '\0';
    ok(path_split(long_name, dst, sizeof(dst), name) == -1
       && errno == ENAMETOOLONG, "a name of 256 bytes");
    long_name[256] = '\0';
    ok(path_split(long_name, dst, sizeof(dst), name) == 0
       && strlen(name) == 255, "a name of 255 bytes");
    ok(path_split("/0123456789abcde/f", dst, sizeof(dst), name) == -1
       && errno == ENAMETOOLONG, "no room for the directory");

    return done_testing();
}
