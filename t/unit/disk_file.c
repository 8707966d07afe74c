/* sources: sandboxd/disk_file.c common/error.c */

/* How large a file can be. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sandboxd/disk_file.h"
#include "t/unit/tap.h"

#define MIB  (1ull << 20)


/* As on a file system that takes no larger files. */
static uint64_t
most_within(uint64_t bound, const char *dir, uint64_t limit)
{
    uint64_t       most;
    struct rlimit  l;

    l.rlim_cur = bound;
    l.rlim_max = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &l);
    most = disk_file_most(dir, limit);
    l.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &l);

    return most;
}


int
main(void)
{
    char      dir[] = "/tmp/sbx-unit-XXXXXX", path[64];
    uint64_t  most;

    if (mkdtemp(dir) == NULL) {
        abort();
    }

    ok(disk_file_most(dir, 3 * MIB) == 0, "what a file can be is no bound");
    snprintf(path, sizeof(path), "%s/none", dir);
    ok(disk_file_most(path, 3 * MIB) == 0, "nor is what isn't known");

    /* Of this file system itself. */
    most = disk_file_most(dir, 1ull << 62);
    snprintf(path, sizeof(path), "%s/file", dir);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    ok(most == 0
       || (most % MIB == 0 && truncate(path, (off_t) most) == 0
           && truncate(path, (off_t) (most + MIB)) == -1),
       "the largest file is one that can be, and none a MiB larger");

    ok(most_within(100 * MIB + 5, dir, 1ull << 44) == 100 * MIB
       && most_within(100 * MIB + 5, dir, 101 * MIB) == 100 * MIB
       && most_within(100 * MIB + 5, dir, 100 * MIB) == 0,
       "where there is a bound, it is found to the MiB");

    (void) unlink(path);
    ok(rmdir(dir) == 0, "and no file stays");

    return done_testing();
}
