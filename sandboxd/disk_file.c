/* A file with an empty file system, and copies of files; see disk_file.h. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandboxd/disk_file.h"

#define MIB_SHIFT  20


/* 0.4 % of the size for tables; no journal is lost on nobody: a sandbox's
 * files are as durable as a killed process leaves them, and the journal keeps
 * the filesystem mountable after a power loss. */
static int
disk_format(int fd, error **err)
{
    int                         rc, status;
    char                        path[64];
    pid_t                       pid;
    posix_spawn_file_actions_t  actions;

    char *const  argv[] = {
        "mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E",
        "lazy_itable_init=1,lazy_journal_init=1,nodiscard", path, NULL
    };
    static char *const  env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int) getpid(), fd);

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);

    rc = posix_spawnp(&pid, "mke2fs", &actions, NULL, argv, env);
    posix_spawn_file_actions_destroy(&actions);

    if (rc != 0) {
        return error_set(err, 500, "disk", "mke2fs (package e2fsprogs): %s",
                         strerror(rc));
    }

    while (waitpid(pid, &status, 0) == -1) {
        if (errno != EINTR) {
            return error_set(err, 500, "disk", "mke2fs: %s", strerror(errno));
        }
    }

    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return error_set(err, 500, "disk", "mke2fs failed with status %d",
                         WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    }

    return 0;
}


/* Between 0, which fits, and a limit that doesn't. */
static uint64_t
most_find(int fd, uint64_t limit)
{
    uint64_t  low, high, mid;

    low = 0;
    high = limit >> MIB_SHIFT;

    while (high - low > 1) {
        mid = low + (high - low) / 2;

        if (ftruncate(fd, (off_t) (mid << MIB_SHIFT)) == 0) {
            low = mid;
        } else {
            high = mid;
        }
    }

    return low << MIB_SHIFT;
}


uint64_t
disk_file_most(const char *dir, uint64_t limit)
{
    int        fd;
    char       path[PATH_MAX];
    uint64_t   most;
    void     (*old)(int);

    /* One that is there is of a process that was killed just here. */
    snprintf(path, sizeof(path), "%s/trash-size", dir);
    (void) unlink(path);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd == -1) {
        return 0;
    }

    (void) unlink(path);

    /* A process's own limit would end it. */
    old = signal(SIGXFSZ, SIG_IGN);
    most = ftruncate(fd, (off_t) limit) == 0 || errno != EFBIG
           ? 0 : most_find(fd, limit);
    (void) signal(SIGXFSZ, old);
    close(fd);

    return most;
}


int
disk_file_create(int dir, const char *name, uint64_t size, error **err)
{
    int   fd;
    char  new[64];

    snprintf(new, sizeof(new), "%s.new", name);

    fd = openat(dir, new, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC
                | O_NOFOLLOW, 0600);

    if (fd == -1 || ftruncate(fd, (off_t) size) == -1) {
        error_set(err, 500, "disk", "can't make the layer's file: %s",
                  strerror(errno));

    } else if (disk_format(fd, err) == 0) {
        if (renameat(dir, new, dir, name) == 0) {
            return fd;
        }

        error_set(err, 500, "disk", "%s: %s", name,
                  strerror(errno));
    }

    if (fd != -1) {
        close(fd);
    }

    (void) unlinkat(dir, new, 0);

    return -1;
}


/* Only what is there: most of a disk and much of a memory is holes. */
static int
data_copy(int in, int out, off_t size)
{
    off_t    at, hole, to;
    ssize_t  n;

    if (ftruncate(out, size) != 0) {
        return -1;
    }

    for (hole = 0; hole < size; ) {
        at = lseek(in, hole, SEEK_DATA);

        if (at == -1) {
            return errno == ENXIO ? 0 : -1;
        }

        hole = lseek(in, at, SEEK_HOLE);

        if (hole == -1) {
            return -1;
        }

        for (to = at; at < hole; ) {
            n = copy_file_range(in, &at, out, &to, (size_t) (hole - at), 0);

            if (n <= 0) {
                return -1;
            }
        }
    }

    return 0;
}


static int
room_check(int fd, uint64_t bytes, uint64_t floor, error **err)
{
    uint64_t        available;
    struct statvfs  fs;

    if (fstatvfs(fd, &fs) != 0) {
        return 0;
    }

    available = (uint64_t) fs.f_bavail * fs.f_frsize;

    return available >= floor && available - floor >= bytes ? 0
           : error_set_field(err, 507, "insufficient_storage", "",
                             (long long) floor, "a copy takes %llu MiB of "
                             "disk, which are not left beside the %llu MiB "
                             "that are kept for records and logs",
                             (unsigned long long) bytes >> 20,
                             (unsigned long long) floor >> 20);
}


static int
file_copy(int in, int out, const char *name, uint64_t floor, error **err)
{
    struct stat  st;

    if (fstat(in, &st) == 0) {
        if (ioctl(out, FICLONE, in) == 0) {
            return 0;
        }

        if (room_check(out, (uint64_t) st.st_blocks * 512, floor, err) != 0) {
            return -1;
        }

        if (data_copy(in, out, st.st_size) == 0) {
            return 0;
        }
    }

    return errno == ENOSPC || errno == EDQUOT
           ? error_set(err, 507, "insufficient_storage", "can't copy the "
                       "sandbox's %s: %s", name, strerror(errno))
           : error_set(err, 500, "disk", "can't copy the sandbox's %s: %s",
                       name, strerror(errno));
}


int
disk_file_copy(int from, int to, const char *name, uint64_t floor,
    error **err)
{
    int  in, out, rc;

    in = openat(from, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    out = in == -1 ? -1 : openat(to, name, O_WRONLY | O_CREAT | O_EXCL
                                 | O_CLOEXEC | O_NOFOLLOW, 0600);

    rc = out != -1 ? file_copy(in, out, name, floor, err)
         : error_set(err, 500, "disk", "can't copy the sandbox's %s: %s", name,
                     strerror(errno));

    if (in != -1) {
        close(in);
    }
    if (out != -1) {
        close(out);
    }

    return rc;
}
