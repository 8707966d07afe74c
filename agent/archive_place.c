/* Places below a directory; see archive_place.h. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/archive_place.h"
#include "agent/file_open.h"

#define PLACE_TRIES  4              /* against somebody who changes it back */

static int place_walk(archive_place *p, const char *path, size_t len,
    bool create);


int
archive_place_open(archive_place *p, const char *dir)
{
    p->dir = -1;
    p->path[0] = '\0';
    p->root = file_open_dir(dir, NULL, true);

    return p->root == -1 ? -1 : 0;
}


void
archive_place_close(archive_place *p)
{
    if (p->dir != -1) {
        close(p->dir);
        p->dir = -1;
    }

    if (p->root != -1) {
        close(p->root);
        p->root = -1;
    }
}


/* Splits the path; the length of its directory. */

static size_t
place_split(const char *path, const char **name)
{
    const char  *slash;

    slash = strrchr(path, '/');
    *name = slash != NULL ? slash + 1 : path;

    return slash != NULL ? (size_t) (slash - path) : 0;
}


int
archive_place_parent(archive_place *p, const char *path, const char **name)
{
    int     dir;
    size_t  len;

    len = place_split(path, name);

    if (p->dir != -1 && strlen(p->path) == len
        && memcmp(p->path, path, len) == 0)
    {
        return p->dir;
    }

    dir = place_walk(p, path, len, true);
    if (dir == -1) {
        return -1;
    }

    if (p->dir != -1) {
        close(p->dir);
    }

    p->dir = dir;
    memcpy(p->path, path, len);
    p->path[len] = '\0';

    return dir;
}


int
archive_place_other(archive_place *p, const char *path, const char **name)
{
    size_t  len;

    len = place_split(path, name);

    return place_walk(p, path, len, false);
}


static int
place_open(int dir, const char *name)
{
    return openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}


int
archive_place_mkdir(int dir, const char *name, mode_t mode)
{
    int          i;
    struct stat  st;

    for (i = 0; i < PLACE_TRIES; i++) {
        if (mkdirat(dir, name, mode) == 0) {
            return 0;
        }

        if (errno != EEXIST) {
            return -1;
        }

        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno != ENOENT) {
                return -1;
            }
            continue;
        }

        if (S_ISDIR(st.st_mode)) {
            return 0;
        }

        if (unlinkat(dir, name, 0) != 0 && errno != ENOENT) {
            return -1;
        }
    }

    errno = EEXIST;

    return -1;
}


static int
place_step(int dir, const char *name, bool create)
{
    int  i, fd;

    for (i = 0; i < PLACE_TRIES; i++) {
        fd = place_open(dir, name);

        if (fd != -1 || !create
            || (errno != ENOENT && errno != ENOTDIR && errno != ELOOP))
        {
            return fd;
        }

        if (archive_place_mkdir(dir, name, 0777) != 0) {
            return -1;
        }
    }

    return -1;
}


static int
place_walk(archive_place *p, const char *path, size_t len, bool create)
{
    int          dir, next, saved;
    char         name[256];
    size_t       n;
    const char  *end, *slash;

    dir = fcntl(p->root, F_DUPFD_CLOEXEC, 3);

    for (end = path + len; dir != -1 && path < end; path += n + 1) {
        slash = memchr(path, '/', (size_t) (end - path));
        n = (size_t) ((slash != NULL ? slash : end) - path);

        if (n >= sizeof(name)) {
            close(dir);
            errno = ENAMETOOLONG;
            return -1;
        }

        memcpy(name, path, n);
        name[n] = '\0';

        next = place_step(dir, name, create);

        saved = errno;
        close(dir);
        errno = saved;

        dir = next;
    }

    return dir;
}
