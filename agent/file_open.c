/* Opening files by path; see file_open.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/file_error.h"
#include "agent/file_open.h"

#define FILE_LINKS_MAX  40      /* as many as the kernel follows */

static int file_check_root(int fd, const char *root);
static int file_make_dirs(char *path, const char *root);
static int file_follow(int dir, const char *name, char *path, size_t room);


static int
file_close_error(int fd, int errnum)
{
    if (fd != -1) {
        close(fd);
    }

    errno = errnum;

    return -1;
}


int
file_open_read(const char *path, const char *root, struct stat *st)
{
    int   fd, pinned;
    char  self[32];

    pinned = open(path, O_PATH | O_CLOEXEC);
    if (pinned == -1) {
        return -1;
    }

    if ((root != NULL && file_check_root(pinned, root) != 0)
        || fstat(pinned, st) != 0)
    {
        return file_close_error(pinned, errno);
    }

    if (!S_ISREG(st->st_mode)) {
        return file_close_error(pinned, S_ISDIR(st->st_mode) ? EISDIR
                                        : FILE_E_NOT_REGULAR);
    }

    snprintf(self, sizeof(self), "/proc/self/fd/%d", pinned);

    fd = open(self, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    file_close_error(pinned, errno);

    return fd;
}


int
file_open_dir(const char *path, const char *root, bool create)
{
    int   fd;
    char  copy[PATH_ROOM];

    if (strlen(path) >= sizeof(copy)) {
        errno = ENAMETOOLONG;
        return -1;
    }

    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd == -1) {
        if (errno != ENOENT || !create) {
            return -1;
        }

        memcpy(copy, path, strlen(path) + 1);

        return file_make_dirs(copy, root);
    }

    if (root != NULL && file_check_root(fd, root) != 0) {
        return file_close_error(fd, errno);
    }

    return fd;
}


int
file_open_target(const char *path, const char *root,
    char name[PATH_NAME_ROOM], struct stat *st)
{
    int   dir, links;
    char  at[PATH_ROOM], parent[PATH_ROOM];

    if (path_join(at, sizeof(at), "/", path) != 0) {
        errno = ENAMETOOLONG;
        return -1;
    }

    for (links = 0; links < FILE_LINKS_MAX; links++) {
        if (path_split(at, parent, sizeof(parent), name) != 0) {
            return -1;
        }

        dir = file_open_dir(parent, root, true);
        if (dir == -1) {
            return -1;
        }

        if (fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno != ENOENT) {
                return file_close_error(dir, errno);
            }

            st->st_mode = 0;
            return dir;
        }

        if (S_ISREG(st->st_mode)) {
            return dir;
        }

        if (!S_ISLNK(st->st_mode)) {
            return file_close_error(dir, S_ISDIR(st->st_mode) ? EISDIR
                                         : FILE_E_NOT_REGULAR);
        }

        if (file_follow(dir, name, at, sizeof(at)) != 0) {
            return file_close_error(dir, errno);
        }

        close(dir);
    }

    errno = ELOOP;

    return -1;
}


int
file_real_path(int fd, char *dst, size_t room)
{
    char     self[32];
    ssize_t  n;

    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);

    n = readlink(self, dst, room);

    if (n == -1) {
        return -1;
    }

    if ((size_t) n == room) {
        errno = ENAMETOOLONG;
        return -1;
    }

    dst[n] = '\0';

    return 0;
}


/* The root is asked for its own place each time: it may itself be a link. */

static int
file_check_root(int fd, const char *root)
{
    int   dir, rc;
    char  real[PATH_ROOM], real_root[PATH_ROOM];

    dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir == -1) {
        return -1;
    }

    rc = file_real_path(dir, real_root, sizeof(real_root));
    file_close_error(dir, errno);

    if (rc != 0 || file_real_path(fd, real, sizeof(real)) != 0) {
        return -1;
    }

    if (!path_within(real, real_root)) {
        errno = FILE_E_OUTSIDE;
        return -1;
    }

    return 0;
}


/* Opens the longest part of path that exists, makes the rest below it one
 * directory after the other, following no link there, and returns the last. */

static int
file_make_dirs(char *path, const char *root)
{
    int    dir, next;
    char  *end, *name;

    if (root != NULL && mkdir(root, 0777) != 0 && errno != EEXIST) {
        return -1;
    }

    for (end = path + strlen(path); end > path && end[-1] == '/'; end--) {
        /* void */
    }

    name = end;
    *end = '\0';

    do {
        while (name > path && name[-1] != '/') { name--; }
        while (name > path && name[-1] == '/') { *--name = '\0'; }

        dir = open(name == path ? "/" : path,
                   O_PATH | O_DIRECTORY | O_CLOEXEC);

    } while (dir == -1 && errno == ENOENT && name > path);

    if (dir == -1) {
        return -1;
    }

    if (root != NULL && file_check_root(dir, root) != 0) {
        return file_close_error(dir, errno);
    }

    for ( ;; ) {
        while (name < end && *name == '\0') { name++; }

        if (name == end) {
            return dir;
        }

        if (mkdirat(dir, name, 0777) != 0 && errno != EEXIST) {
            return file_close_error(dir, errno);
        }

        next = openat(dir, name,
                      O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        file_close_error(dir, errno);

        if (next == -1) {
            return -1;
        }

        dir = next;
        name += strlen(name);
    }
}


/* path becomes what the link says, behind the directory that it lies in. */

static int
file_follow(int dir, const char *name, char *path, size_t room)
{
    char     real[PATH_ROOM], link[4096];
    ssize_t  n;

    n = readlinkat(dir, name, link, sizeof(link) - 1);
    if (n == -1 || file_real_path(dir, real, sizeof(real)) != 0) {
        return -1;
    }

    link[n] = '\0';

    if (path_join(path, room, real, link) != 0) {
        errno = ENAMETOOLONG;
        return -1;
    }

    return 0;
}
