/* sources: sandboxd/oci_tree.c */

/* Deleting a hostile tree. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/oci_tree.h"
#include "t/unit/tap.h"

#define DEPTH  20000


static int
put(int dir, const char *name)
{
    int  fd;

    fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return fd == -1 ? -1 : close(fd);
}


int
main(void)
{
    int            base, top, dir, next, i;
    char           path[] = "/tmp/sbx-tree-XXXXXX", name[300];
    struct rlimit  few = { 32, 32 };

    if (mkdtemp(path) == NULL) {
        return 1;
    }

    base = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mkdirat(base, "top", 0755);
    top = openat(base, "top", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    ok(oci_tree_empty(top) == 0, "an empty directory");

    /* Neither descriptors nor names grow with the depth. */
    setrlimit(RLIMIT_NOFILE, &few);

    dir = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    for (i = 0; i < DEPTH; i++) {
        if (mkdirat(dir, "a directory with a longer name", 0755) == -1) {
            break;
        }

        next = openat(dir, "a directory with a longer name",
                      O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        put(dir, "file");
        close(dir);
        dir = next;
    }

    close(dir);
    ok(i == DEPTH, "a tree that is %d deep", DEPTH);
    ok(oci_tree_empty(top) == 0, "is emptied");

    /* Names that are used while trees are taken apart. */
    mkdirat(top, "upper", 0755);
    mkdirat(top, "upper/d0", 0);
    mkdirat(top, "d0", 0755);
    put(top, "d0/x");
    mkdirat(top, "d1", 0755);
    put(top, "d2");
    mkdirat(top, "d1/d1", 0755);
    mkdirat(top, "d1/d1/d1", 0755);
    put(top, "d1/d1/d1/d1");
    ok(oci_tree_empty(top) == 0, "names that are ours");

    /* Links out, of every kind. */
    put(base, "precious");
    mkdirat(base, "precious-dir", 0755);
    put(base, "precious-dir/file");
    mkdirat(top, "d", 0755);
    snprintf(name, sizeof(name), "%s/precious-dir", path);
    ok(symlinkat(name, top, "d/link") == 0
       && symlinkat("../../precious-dir", top, "d/up") == 0
       && symlinkat("/", top, "root") == 0
       && symlinkat("d/link", top, "chain") == 0
       && linkat(base, "precious", top, "d/hard", 0) == 0, "links out");
    ok(oci_tree_empty(top) == 0, "are removed");
    ok(faccessat(base, "precious-dir/file", F_OK, 0) == 0
       && faccessat(base, "precious", F_OK, 0) == 0,
       "not what they pointed to");

    mkdirat(top, "d", 0755);
    memset(name, 'n', 255);
    name[255] = '\0';
    put(top, name);
    put(top, "d/\n\x01\xff");
    mkfifoat(top, "d/fifo", 0600);
    mkdirat(top, "d/...", 0755);
    put(top, "d/.../..x");
    fchmodat(top, "d/...", 0, 0);
    ok(oci_tree_empty(top) == 0, "odd names and modes");

    for (i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "w%d", i);
        mkdirat(top, name, 0755);
        snprintf(name, sizeof(name), "w%d/d", i);
        mkdirat(top, name, 0755);
        snprintf(name, sizeof(name), "w%d/d/f", i);
        put(top, name);
    }

    ok(oci_tree_empty(top) == 0, "a wide tree");
    ok(unlinkat(base, "top", AT_REMOVEDIR) == 0, "nothing is left");

    errno = 0;
    ok(oci_tree_empty(top) == 0, "a directory that is gone");

    unlinkat(base, "precious-dir/file", 0);
    unlinkat(base, "precious-dir", AT_REMOVEDIR);
    unlinkat(base, "precious", 0);
    ok(rmdir(path) == 0, "nor beside it");

    return done_testing();
}
