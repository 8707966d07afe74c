/* What of watching blocks; see watch_scan.h.  Runs on a thread. */

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/watch_scan.h"
#include "common/clock.h"

#define SCAN_OPEN_MAX  4000     /* of a path that is opened in one go */

#ifndef MQUEUE_MAGIC
#define MQUEUE_MAGIC  0x19800202
#endif


/* What the kernel makes up as one looks at it: no place to search for
 * changes, and none that inotify tells of. */

static bool
scan_made_up(long type)
{
    switch ((unsigned long) type) {
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case DEVPTS_SUPER_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case BPF_FS_MAGIC:
    case SECURITYFS_MAGIC:
    case MQUEUE_MAGIC:
        return true;
    default:
        return false;
    }
}


/* No link is followed on the way. */

static int
scan_openat(int dir, const char *path, int flags)
{
    int              fd;
    struct open_how  how;
    static bool      missing;

    if (!missing) {
        memset(&how, 0, sizeof(how));
        how.flags = (uint64_t) flags | O_NOFOLLOW;
        how.resolve = RESOLVE_NO_SYMLINKS;
        fd = (int) syscall(SYS_openat2, dir, path, &how, sizeof(how));

        if (fd != -1 || (errno != ENOSYS && errno != EPERM)) {
            return fd;
        }

        missing = errno == ENOSYS;
    }

    return openat(dir, path, flags | O_NOFOLLOW);
}


/* path is below top; paths of any length are opened, piece by piece. */

static int
scan_open(const char *top, const char *path)
{
    int          fd, next, saved;
    char         piece[SCAN_OPEN_MAX + 1];
    size_t       n;

    fd = open(top, (*path == '\0' ? O_RDONLY : O_PATH) | O_DIRECTORY
                   | O_CLOEXEC);

    while (fd != -1 && *path != '\0') {
        n = strlen(path);

        if (n > SCAN_OPEN_MAX) {
            for (n = SCAN_OPEN_MAX; path[n] != '/'; n--) { /* void */ }
        }

        memcpy(piece, path, n);
        piece[n] = '\0';
        path += n;
        path += *path == '/';

        next = scan_openat(fd, piece, (*path == '\0' ? O_RDONLY : O_PATH)
                                      | O_DIRECTORY | O_CLOEXEC);
        saved = errno;
        close(fd);
        errno = saved;
        fd = next;
    }

    return fd;
}


static int
scan_watch(int fd, const watch_scan_item *it, int dir)
{
    int   wd;
    char  path[sizeof("/proc/self/fd/") + 11];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", dir);
    wd = inotify_add_watch(fd, path, it->mask);

    if (wd == -1 && errno == ENOENT && it->is_top) {
        wd = inotify_add_watch(fd, it->top->path, it->mask);   /* no /proc */
    }

    return wd;
}


static void
scan_begin(watch_scan *s, watch_scan_item *it)
{
    int            fd;
    struct stat    st;
    struct statfs  fs;

    it->wd = -1;
    fd = scan_open(it->top->path, it->path);

    if (fd == -1 || fstat(fd, &st) != 0 || fstatfs(fd, &fs) != 0) {
        it->errnum = errno;
        goto failed;
    }

    if (it->is_top) {
        it->found.dev = st.st_dev;
        it->found.ino = st.st_ino;
        it->found.fs_type = (long) fs.f_type;

    } else if (st.st_dev != it->top->dev
               && (long) fs.f_type != it->top->fs_type
               && scan_made_up((long) fs.f_type))
    {
        it->errnum = EXDEV;
        goto failed;
    }

    it->wd = scan_watch(s->fd, it, fd);
    if (it->wd == -1) {
        it->errnum = errno;
        goto failed;
    }

    it->begun = true;

    if (!it->list) {
        it->done = true;
        close(fd);
        return;
    }

    it->dir = fdopendir(fd);
    if (it->dir != NULL) {
        return;
    }

    it->errnum = errno;

failed:

    it->done = true;
    if (fd != -1) {
        close(fd);
    }
}


static bool
scan_is_dir(DIR *dir, const struct dirent *e)
{
    struct stat  st;

    if (e->d_type != DT_UNKNOWN) {
        return e->d_type == DT_DIR;
    }

    return fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0
           && S_ISDIR(st.st_mode);
}


static void
scan_names(watch_scan *s, watch_scan_item *it, uint64_t end)
{
    bool            dir;
    unsigned        i;
    struct dirent  *e;

    for (i = 1; s->names.len < WATCH_SCAN_NAMES; i++) {
        if (i % 256 == 0 && clock_ms(CLOCK_MONOTONIC) >= end) {
            return;
        }

        e = readdir(it->dir);       /* an error is as good as the end */

        if (e == NULL) {
            closedir(it->dir);
            it->dir = NULL;
            it->done = true;
            return;
        }

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }

        dir = scan_is_dir(it->dir, e);

        if (dir || it->files) {
            buffer_append(&s->names, dir ? "d" : "f", 1);
            buffer_append(&s->names, e->d_name, strlen(e->d_name) + 1);
            it->names++;
        }
    }
}


void
watch_scan_run(watch_scan *s)
{
    size_t            i;
    uint64_t          end;
    watch_scan_item  *it;

    end = clock_ms(CLOCK_MONOTONIC) + WATCH_SCAN_MS;

    for (i = 0; i < s->drop_count; i++) {
        (void) inotify_rm_watch(s->fd, s->drop[i]);
    }

    for (i = 0; i < s->count; i++) {
        it = &s->items[i];
        it->names_at = s->names.len;
        it->wd = -1;

        if (i > 0 && (s->names.len >= WATCH_SCAN_NAMES
                      || clock_ms(CLOCK_MONOTONIC) >= end))
        {
            return;
        }

        if (it->dir == NULL) {
            scan_begin(s, it);
        } else {
            it->begun = true;
        }

        if (it->dir != NULL) {
            scan_names(s, it, end);
        }
    }
}


const char *
watch_scan_look(const watch_scan_top *top)
{
    struct stat  st;

    if (stat(top->path, &st) != 0) {
        return errno == ENOENT || errno == ENOTDIR ? "deleted" : NULL;
    }

    return st.st_dev == top->dev && st.st_ino == top->ino ? NULL : "replaced";
}
