/* A file with an empty file system; see disk_file.h. */

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandboxd/disk_file.h"


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
        return error_set(err, 500, "disk", "mke2fs: %s", strerror(rc));
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
