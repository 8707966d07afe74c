/* sources: agent/file_writer.c agent/file_open.c agent/path.c */
/* Files that appear whole, and what can get in their way meanwhile. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/file_error.h"
#include "agent/file_open.h"
#include "agent/file_writer.h"
#include "t/unit/tap.h"

static char         base[] = "/tmp/sbx-unit-XXXXXX";
static char         path_text[4][256];
static file_writer  w;


static const char *
in(const char *name)
{
    static int  turn;

    turn = (turn + 1) % 4;
    snprintf(path_text[turn], sizeof(path_text[turn]), "%s/%s", base, name);

    return path_text[turn];
}


static void
put(const char *name, const char *text)
{
    int  fd;

    fd = open(in(name), O_WRONLY | O_CREAT | O_TRUNC, 0640);
    if (fd == -1 || write(fd, text, strlen(text)) != (ssize_t) strlen(text)) {
        abort();
    }
    close(fd);
}


static int
holds(const char *name, const char *text)
{
    int      fd;
    char     buf[64];
    ssize_t  n;

    fd = open(in(name), O_RDONLY);
    if (fd == -1) {
        return 0;
    }

    n = read(fd, buf, sizeof(buf));
    close(fd);

    return n == (ssize_t) strlen(text) && memcmp(buf, text, (size_t) n) == 0;
}


/* How many entries a directory has that begin as temporary files do. */

static int
leftovers(void)
{
    char   cmd[300];
    int    n;
    FILE  *p;

    snprintf(cmd, sizeof(cmd), "find %s -name '.sandbox-*' | wc -l", base);
    p = popen(cmd, "r");
    if (p == NULL || fscanf(p, "%d", &n) != 1) {
        abort();
    }
    pclose(p);

    return n;
}


static int
begin(const char *name)
{
    return file_writer_open(&w, in(name), NULL) != 0
           || file_writer_write(&w, "new", 3) != 0;
}


static void
in_the_way(void)
{
    struct stat  st;

    put("dir-comes", "old");
    ok(begin("dir-comes") == 0, "a directory takes the name: begin");
    unlink(in("dir-comes"));
    mkdir(in("dir-comes"), 0755);
    put("dir-comes/inner", "inner");
    ok(file_writer_commit(&w) == -1 && errno == EISDIR, "it is refused");
    ok(holds("dir-comes/inner", "inner"), "and has its name again");

    ok(begin("file-comes") == 0, "a file takes a free name: begin");
    put("file-comes", "other");
    ok(file_writer_commit(&w) == 0 && holds("file-comes", "new"),
       "the last one wins");
    file_writer_settle(&w);

    put("goes", "old");
    ok(begin("goes") == 0, "the old file goes: begin");
    unlink(in("goes"));
    ok(file_writer_commit(&w) == 0 && holds("goes", "new"), "no matter");
    file_writer_settle(&w);

    put("becomes-link", "old");
    put("target", "target");
    ok(begin("becomes-link") == 0, "the old file becomes a link: begin");
    unlink(in("becomes-link"));
    ok(symlink("target", in("becomes-link")) == 0
       && file_writer_commit(&w) == 0, "committed");
    ok(holds("target", "target") && holds("becomes-link", "new")
       && lstat(in("becomes-link"), &st) == 0 && S_ISREG(st.st_mode),
       "the link is replaced, not followed");
    file_writer_settle(&w);

    mkdir(in("gone"), 0755);
    ok(begin("gone/file") == 0, "the directory goes: begin");
    rmdir(in("gone"));
    ok(file_writer_commit(&w) == -1 && errno == ENOENT, "an error");
}


static void
confined(void)
{
    int          fd;
    char         name[PATH_NAME_ROOM], root[256];
    struct stat  st;

    snprintf(root, sizeof(root), "%s/root", base);
    mkdir(root, 0755);
    mkdir(in("root/sub"), 0755);
    put("outside", "secret");
    put("root/inside", "inside");
    ok(symlink("../outside", in("root/out")) == 0
       && symlink("..", in("root/up")) == 0
       && symlink(root, in("root/self")) == 0
       && symlink(root, in("alias")) == 0, "links");

    fd = file_open_read(in("root/inside"), root, &st);
    ok(fd != -1 && st.st_size == 6, "inside");
    close(fd);
    fd = file_open_read(in("root/self/self/inside"), root, &st);
    ok(fd != -1, "inside, through links that stay there");
    close(fd);
    fd = file_open_read(in("root/inside"), in("alias"), &st);
    ok(fd != -1, "the root may be a link");
    close(fd);
    ok(file_open_read(in("root/out"), root, &st) == -1
       && errno == FILE_E_OUTSIDE, "a link out");
    ok(file_open_read(in("root/up/outside"), root, &st) == -1
       && errno == FILE_E_OUTSIDE, "a directory out");
    ok(file_open_read(in("root"), root, &st) == -1 && errno == EISDIR,
       "the root itself");

    fd = file_open_target(in("root/a/b/c"), root, name, &st);
    ok(fd != -1 && st.st_mode == 0 && strcmp(name, "c") == 0
       && access(in("root/a/b"), F_OK) == 0, "parents are made");
    close(fd);
    ok(file_open_target(in("root/up/a/b"), root, name, &st) == -1
       && errno == FILE_E_OUTSIDE && access(in("a"), F_OK) != 0,
       "not outside");
    ok(file_open_target(in("root/out"), root, name, &st) == -1
       && errno == FILE_E_OUTSIDE, "nor the target of a link");
}


int
main(void)
{
    char         cmd[300];
    struct stat  st;

    if (mkdtemp(base) == NULL) {
        return 1;
    }

    umask(022);

    ok(begin("fresh") == 0 && access(in("fresh"), F_OK) != 0,
       "nothing is to be seen before the commit");
    ok(leftovers() == 0, "not even a temporary name");
    ok(file_writer_commit(&w) == 0 && holds("fresh", "new"), "then it is");
    file_writer_settle(&w);
    ok(stat(in("fresh"), &st) == 0 && (st.st_mode & 07777) == 0644,
       "with the usual mode");

    put("old", "old");
    chmod(in("old"), 04751);
    ok(begin("old") == 0 && holds("old", "old"), "an old file stays");
    ok(file_writer_commit(&w) == 0 && holds("old", "new"), "and is replaced");
    file_writer_settle(&w);
    file_writer_settle(&w);
    ok(stat(in("old"), &st) == 0 && (st.st_mode & 07777) == 04751
       && st.st_nlink == 1, "its mode stays");

    put("kept", "kept");
    ok(begin("kept") == 0, "begin, and cancel");
    file_writer_cancel(&w);
    file_writer_cancel(&w);
    ok(holds("kept", "kept"), "the old file stays");

    in_the_way();
    confined();
    ok(leftovers() == 0, "nothing temporary is left");

    snprintf(cmd, sizeof(cmd), "rm -rf %s", base);

    return done_testing() | (system(cmd) != 0);
}
