/* sources: sandboxd/oci_size.c sandboxd/oci_tree.c */

/* What a guest has written: counted once, within bounds, without following. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/oci_size.h"
#include "sandboxd/oci_tree.h"
#include "t/unit/tap.h"

#define FILE_BYTES  (1 << 20)


static void
put(int dir, const char *name, size_t size)
{
    int    fd;
    char  *text;

    text = malloc(size + 1);
    memset(text, 'x', size);
    fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    (void) !write(fd, text, size);
    close(fd);
    free(text);
}


int
main(void)
{
    int        top, dir, next, i;
    bool       partial;
    char       path[] = "/tmp/sbx-size-XXXXXX", name[32];
    uint64_t   empty, size;

    top = open(mkdtemp(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    empty = oci_tree_size(top, &partial);
    ok(empty == 0 && !partial, "an empty directory");

    put(top, "file", FILE_BYTES);
    linkat(top, "file", top, "again", 0);
    mkdirat(top, "dir", 0700);
    linkat(top, "file", top, "dir/third", 0);
    size = oci_tree_size(top, &partial);
    ok(size >= FILE_BYTES - 4096 && size < FILE_BYTES + 65536 && !partial,
       "a file with three names is counted once");

    (void) !symlinkat("/usr", top, "usr");
    (void) !symlinkat(".", top, "dir/self");
    mkfifoat(top, "fifo", 0600);
    ok(oci_tree_size(top, &partial) < FILE_BYTES + 65536 && !partial,
       "links are not followed, pipes not opened");

    dir = openat(top, "dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    for (i = 0; i < OCI_SIZE_DEPTH + 10; i++) {
        mkdirat(dir, "deep", 0700);
        next = openat(dir, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(dir);
        dir = next;
    }

    put(dir, "bottom", FILE_BYTES);
    close(dir);
    size = oci_tree_size(top, &partial);
    ok(partial && size < 2 * FILE_BYTES, "what is too deep is said to be more");

    oci_tree_empty(top);

    for (i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        put(top, name, 1);
    }

    size = oci_tree_size(top, &partial);
    ok(size >= 3000 * 512 && !partial, "many files");

    oci_tree_empty(top);
    close(top);
    rmdir(path);

    return done_testing();
}
