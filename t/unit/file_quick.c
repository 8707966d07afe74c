/* sources: agent/file_quick.c */
/* Files that the loop takes itself: what isn't surely quick is left alone. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/file_quick.h"
#include "t/unit/tap.h"


static const char *
file(const char *name, size_t size)
{
    int          fd;
    char        *p;
    static char  path[256];

    snprintf(path, sizeof(path), "%s", name);
    p = malloc(size + 1);
    memset(p, 'x', size);
    fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0644);
    (void) !write(fd, p, size);
    close(fd);
    free(p);

    return path;
}


/* The length, or -1; 0: something was given that should not have been. */

static ssize_t
reads(const char *path)
{
    char     *data;
    ssize_t   n, i;

    data = (char *) "";
    n = file_quick_read(path, 0, &data);

    if (n == -1) {
        return data == NULL ? -1 : 0;
    }

    for (i = 0; i < n && data[i] == 'x'; i++) { /* look on */ }
    free(data);

    return i == n ? n : 0;
}


int
main(void)
{
    int   quick;
    char  dir[] = "/tmp/quick-XXXXXX";

    ok(mkdtemp(dir) != NULL && chdir(dir) == 0, "a directory");

    /* Old kernels and some sandboxes have no such call: all is for threads. */
    file("kilo", 1024);
    quick = file_quick_exists("kilo") == 1;

    ok(!quick || access("none", F_OK) == -1, "nothing is there");
    ok(!quick || file_quick_exists("none") != 1, "and nothing is found");
    ok(!quick || file_quick_exists("kilo/below") != 1, "nor below a file");
    ok(file_quick_exists("/no/such/place") != 1, "nor where nobody looked");

    /* The file system decides whether it may be read. */
    ok(reads("kilo") == 1024 || reads("kilo") == -1, "a file");
    file("most", FILE_QUICK_MAX);
    ok(reads("most") == FILE_QUICK_MAX || reads("most") == -1, "the longest");
    file("long", FILE_QUICK_MAX + 1);
    ok(reads("long") == -1, "a longer one is for a thread");
    file("empty", 0);
    ok(reads("empty") == -1, "so is one that tells no size");
    ok(reads("/proc/self/status") == -1, "or the kernel's own");
    ok(reads("none") == -1, "or none");
    ok(reads(".") == -1, "or a directory");

    ok(mkfifo("fifo", 0644) == 0 && reads("fifo") == -1, "or a FIFO");
    ok(symlink("kilo", "link") == 0 && symlink("loop", "loop") == 0,
       "two links");
    ok(reads("link") == 1024 || reads("link") == -1, "one leads to a file");
    ok(reads("loop") == -1 && file_quick_exists("loop") != 1,
       "one to nothing");

    unlink("kilo");
    unlink("most");
    unlink("long");
    unlink("empty");
    unlink("fifo");
    unlink("link");
    unlink("loop");
    ok(chdir("/") == 0 && rmdir(dir) == 0, "and it is empty again");

    return done_testing();
}
