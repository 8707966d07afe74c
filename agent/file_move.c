/* What mv does; see file_move.h. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "agent/archive_links.h"
#include "agent/file_move.h"
#include "agent/file_open.h"
#include "agent/file_writer.h"

#define FILE_COPY_PIECE  (256 * 1024)
#define FILE_COPY_ATTRS  65536          /* the kernel's own limits */

typedef struct {
    char           *piece;          /* where the kernel can't copy by itself */
    dev_t           dev;            /* of the directory that the copy goes */
    ino_t           ino;            /* to: it must not lie in the source */
    int             top;            /* the same directory */
    archive_links   links;          /* what has several names, by the first */
    size_t          len;            /* of the path, below top */
    char            path[PATH_ROOM];
} file_copy;

static int file_move_target(const char *from, const char *to, char *target);
static int file_move_same(const char *from, const char *to,
    const struct stat *st);
static int file_move_across(const char *from, const char *to,
    const struct stat *st);
static int file_move_copy(int source, const char *name, int target,
    const char *as);
static int file_copy_entry(file_copy *c, int from, const char *name, int to,
    const char *as, int depth);
static int file_copy_any(file_copy *c, int from, const char *name, int to,
    const char *as, int depth);
static int file_copy_as_link(file_copy *c, const struct stat *st, int to,
    const char *as);
static int file_copy_dir(file_copy *c, int from, const char *name, int to,
    const char *as, const struct stat *st, int depth);
static int file_copy_regular(file_copy *c, int from, const char *name, int to,
    const char *as, const struct stat *st);
static int file_copy_data(file_copy *c, int in, int out);
static int file_copy_link(int from, const char *name, int to, const char *as,
    const struct stat *st);
static int file_remove_at(int dir, const char *name, int depth);


int
file_move(const char *from, const char *to, int *missing)
{
    int          rc;
    char         target[PATH_ROOM];
    struct stat  st;

    *missing = 0;

    if (lstat(from, &st) != 0) {
        *missing = errno == ENOENT || errno == ENOTDIR;
        return -1;
    }

    if (file_move_target(from, to, target) != 0) {
        return -1;
    }

    rc = file_move_same(from, target, &st);
    if (rc != 0) {
        return rc < 0 ? -1 : 0;
    }

    if (rename(from, target) == 0) {
        return 0;
    }

    return errno == EXDEV ? file_move_across(from, target, &st) : -1;
}


/* A destination that is a directory takes the source into it. */

static int
file_move_target(const char *from, const char *to, char *target)
{
    size_t       n, name;
    struct stat  st;

    if (path_join(target, PATH_ROOM, "/", to) != 0) {
        errno = ENAMETOOLONG;
        return -1;
    }

    if (stat(to, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return 0;
    }

    for (n = strlen(from); n > 1 && from[n - 1] == '/'; n--) { /* void */ }
    for (name = n; name > 0 && from[name - 1] != '/'; name--) { /* void */ }

    if (name == n || strncmp(from + name, ".", n - name) == 0
        || strncmp(from + name, "..", n - name) == 0)
    {
        errno = EBUSY;
        return -1;
    }

    if (strlen(to) + 1 + (n - name) + 1 > PATH_ROOM) {
        errno = ENAMETOOLONG;
        return -1;
    }

    strcat(target, "/");
    strncat(target, from + name, n - name);

    return 0;
}


/*
 * rename() does nothing for two names of one file.  -1 if both are the same
 * name, 1 if the source was a second one and is gone now, 0 otherwise.
 */

static int
file_move_same(const char *from, const char *to, const struct stat *st)
{
    int          same;
    char         dir[PATH_ROOM], name[PATH_NAME_ROOM], other[PATH_NAME_ROOM];
    struct stat  st_to, dir_from, dir_to;

    if (lstat(to, &st_to) != 0 || st->st_dev != st_to.st_dev
        || st->st_ino != st_to.st_ino)
    {
        return 0;
    }

    same = S_ISDIR(st->st_mode);

    if (!same) {
        if (path_split(from, dir, sizeof(dir), name) != 0
            || stat(dir, &dir_from) != 0
            || path_split(to, dir, sizeof(dir), other) != 0
            || stat(dir, &dir_to) != 0)
        {
            return -1;
        }

        same = strcmp(name, other) == 0 && dir_from.st_dev == dir_to.st_dev
               && dir_from.st_ino == dir_to.st_ino;
    }

    if (same) {
        errno = EEXIST;
        return -1;
    }

    return unlink(from) == 0 ? 1 : -1;
}


/* The directory of a path and the name in it; a slash after a directory's name
 * says nothing more. */

static int
file_move_pin(const char *path, bool directory, char name[PATH_NAME_ROOM])
{
    char    copy[PATH_ROOM], parent[PATH_ROOM];
    size_t  n;

    if (path_join(copy, sizeof(copy), "/", path) != 0) {
        errno = ENAMETOOLONG;
        return -1;
    }

    for (n = strlen(copy); directory && n > 1 && copy[n - 1] == '/'; n--) {
        copy[n - 1] = '\0';
    }

    if (path_split(copy, parent, sizeof(parent), name) != 0) {
        return -1;
    }

    return file_open_dir(parent, NULL, false);
}


/*
 * Both directories are pinned, so that one that is replaced by a link on the
 * way can't lead the copying or the deleting elsewhere.
 */

static int
file_move_across(const char *from, const char *to, const struct stat *st)
{
    int   source, target, rc, saved;
    char  name[PATH_NAME_ROOM], as[PATH_NAME_ROOM];

    source = file_move_pin(from, S_ISDIR(st->st_mode), name);
    if (source == -1) {
        return -1;
    }

    rc = -1;
    target = file_move_pin(to, S_ISDIR(st->st_mode), as);

    if (target != -1) {
        rc = file_move_copy(source, name, target, as);

        if (rc == 0) {
            rc = file_remove_at(source, name, 0);
        }
    }

    saved = errno;

    if (target != -1) {
        close(target);
    }

    close(source);
    errno = saved;

    return rc;
}


static int
file_move_copy(int source, const char *name, int target, const char *as)
{
    int          rc, saved;
    char         temp[48];
    file_copy   *c;
    struct stat  st, at, old;

    if (fstatat(source, name, &st, AT_SYMLINK_NOFOLLOW) != 0
        || fstat(target, &at) != 0)
    {
        return -1;
    }

    if (fstatat(target, as, &old, AT_SYMLINK_NOFOLLOW) == 0
        && S_ISDIR(old.st_mode) != S_ISDIR(st.st_mode))
    {
        errno = S_ISDIR(old.st_mode) ? EISDIR : ENOTDIR;
        return -1;
    }

    c = calloc(1, sizeof(file_copy));
    if (c == NULL) {
        return -1;
    }

    c->dev = at.st_dev;
    c->ino = at.st_ino;
    c->top = target;
    archive_links_init(&c->links);
    file_temp_name(temp, sizeof(temp));

    rc = file_copy_entry(c, source, name, target, temp, 0);

    if (rc == 0) {
        rc = renameat(target, temp, target, as);
    }

    saved = errno;
    archive_links_free(&c->links);
    free(c->piece);
    free(c);

    if (rc != 0) {
        file_remove_at(target, temp, 0);
    }

    errno = saved;

    return rc;
}


/* An entry, whose path is kept while it is copied. */

static int
file_copy_entry(file_copy *c, int from, const char *name, int to,
    const char *as, int depth)
{
    int     rc, n;
    size_t  len;

    len = c->len;
    n = snprintf(c->path + len, sizeof(c->path) - len, "%s%s",
                 len == 0 ? "" : "/", as);

    /* One that is too long only loses its links: it is copied by name. */
    c->len = n > 0 && (size_t) n < sizeof(c->path) - len ? len + (size_t) n
                                                         : sizeof(c->path) - 1;

    rc = file_copy_any(c, from, name, to, as, depth);

    c->len = len;
    c->path[len] = '\0';

    return rc;
}


static int
file_copy_any(file_copy *c, int from, const char *name, int to,
    const char *as, int depth)
{
    struct stat      st;
    struct timespec  times[2];

    if (depth > FILE_MOVE_DEPTH) {
        errno = ELOOP;
        return -1;
    }

    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return -1;
    }

    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1
        && file_copy_as_link(c, &st, to, as) == 0)
    {
        return 0;
    }

    if (S_ISREG(st.st_mode)) {
        return file_copy_regular(c, from, name, to, as, &st);
    }

    if (S_ISDIR(st.st_mode)) {
        return file_copy_dir(c, from, name, to, as, &st, depth);
    }

    if (S_ISLNK(st.st_mode)) {
        return file_copy_link(from, name, to, as, &st);
    }

    if (mknodat(to, as, st.st_mode, st.st_rdev) != 0) {
        return -1;
    }

    (void) !fchownat(to, as, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW);

    times[0] = st.st_atim;
    times[1] = st.st_mtim;
    utimensat(to, as, times, AT_SYMLINK_NOFOLLOW);

    return fchmodat(to, as, st.st_mode & 07777, 0);
}


/* A further name of what was copied already; -1: it wasn't, or can't be had. */

static int
file_copy_as_link(file_copy *c, const struct stat *st, int to, const char *as)
{
    const char  *first;

    if (c->len == sizeof(c->path) - 1) {
        return -1;
    }

    first = archive_links_find(&c->links, st->st_dev, st->st_ino, c->path);

    return first == NULL ? -1 : linkat(c->top, first, to, as, 0);
}


static int
file_copy_piece(file_copy *c)
{
    if (c->piece == NULL) {
        c->piece = malloc(FILE_COPY_PIECE);
    }

    return c->piece == NULL ? -1 : 0;
}


/* Extended attributes, access lists among them, as far as the other file
 * system and our rights allow.  `all`: also what gives a program rights. */

static int
file_copy_xattrs(file_copy *c, int in, int out, int all)
{
    char     *value;
    size_t    at;
    ssize_t   n, len;

    len = flistxattr(in, NULL, 0);
    if (len <= 0) {
        return 0;
    }

    if (file_copy_piece(c) != 0) {
        return -1;
    }

    value = c->piece + FILE_COPY_ATTRS;
    len = flistxattr(in, c->piece, FILE_COPY_ATTRS);

    for (at = 0; len > 0 && at < (size_t) len; at += strlen(c->piece + at) + 1)
    {
        if (!all && strncmp(c->piece + at, "security.", 9) == 0) {
            continue;
        }

        n = fgetxattr(in, c->piece + at, value, FILE_COPY_ATTRS);

        if (n >= 0 && fsetxattr(out, c->piece + at, value, (size_t) n, 0) != 0
            && errno != EOPNOTSUPP && errno != EPERM && errno != EACCES
            && errno != EINVAL)
        {
            return -1;
        }
    }

    return 0;
}


/* Owner, mode and times of what was copied, in the order that keeps them. */

static int
file_copy_attributes(file_copy *c, int in, int fd, const struct stat *st)
{
    int              owned;
    mode_t           mode;
    struct timespec  times[2];

    mode = st->st_mode & 07777;
    owned = fchown(fd, st->st_uid, st->st_gid) == 0;

    if (!owned) {
        mode &= 01777;
    }

    if (file_copy_xattrs(c, in, fd, owned) != 0) {
        return -1;
    }

    times[0] = st->st_atim;
    times[1] = st->st_mtim;

    return fchmod(fd, mode) != 0 ? -1 : futimens(fd, times);
}


static int
file_copy_dir(file_copy *c, int from, const char *name, int to,
    const char *as, const struct stat *st, int depth)
{
    DIR            *d;
    int             in, out, rc, saved;
    struct dirent  *e;

    if (st->st_dev == c->dev && st->st_ino == c->ino) {
        errno = EINVAL;
        return -1;
    }

    in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    d = in == -1 ? NULL : fdopendir(in);

    if (d == NULL) {
        if (in != -1) {
            close(in);
        }

        return -1;
    }

    out = -1;
    rc = mkdirat(to, as, 0700);

    if (rc == 0) {
        out = openat(to, as, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        rc = out == -1 ? -1 : 0;
    }

    while (rc == 0) {
        errno = 0;
        e = readdir(d);

        if (e == NULL) {
            rc = errno ? -1 : file_copy_attributes(c, in, out, st);
            break;
        }

        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            rc = file_copy_entry(c, in, e->d_name, out, e->d_name, depth + 1);
        }
    }

    saved = errno;
    closedir(d);

    if (out != -1) {
        close(out);
    }

    errno = saved;

    return rc;
}


static int
file_copy_regular(file_copy *c, int from, const char *name, int to,
    const char *as, const struct stat *st)
{
    int          in, out, rc, saved;
    struct stat  now;

    in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (in == -1) {
        return -1;
    }

    rc = -1;
    out = -1;

    if (fstat(in, &now) != 0) {
        /* void */

    } else if (now.st_dev != st->st_dev || now.st_ino != st->st_ino) {
        errno = EBUSY;

    } else {
        out = openat(to, as, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    }

    if (out != -1) {
        rc = file_copy_data(c, in, out);

        if (rc == 0) {
            rc = file_copy_attributes(c, in, out, st);
        }

        saved = errno;
        if (close(out) != 0 && rc == 0) {
            rc = -1;
            saved = errno;
        }
        errno = saved;
    }

    saved = errno;
    close(in);
    errno = saved;

    return rc;
}


static int
file_copy_data(file_copy *c, int in, int out)
{
    size_t   n;
    ssize_t  got, put;

    /* The kernel's own copy stops at once where it can't be done. */

    do {
        got = copy_file_range(in, NULL, out, NULL, 1 << 30, 0);
    } while (got > 0);

    if (got == -1 && errno != EXDEV && errno != EINVAL && errno != ENOSYS
        && errno != EOPNOTSUPP && errno != EPERM)
    {
        return -1;
    }

    /* Also where it reported the end: files of /proc and some others have
     * content that only read() gives. */

    if (file_copy_piece(c) != 0) {
        return -1;
    }

    for ( ;; ) {
        got = read(in, c->piece, FILE_COPY_PIECE);

        if (got <= 0) {
            return (int) got;
        }

        for (n = 0; n < (size_t) got; n += (size_t) put) {
            put = write(out, c->piece + n, (size_t) got - n);
            if (put == -1) {
                return -1;
            }
        }
    }
}


static int
file_copy_link(int from, const char *name, int to, const char *as,
    const struct stat *st)
{
    char             link[4096];
    ssize_t          n;
    struct timespec  times[2];

    n = readlinkat(from, name, link, sizeof(link) - 1);
    if (n == -1) {
        return -1;
    }

    link[n] = '\0';

    if (symlinkat(link, to, as) != 0) {
        return -1;
    }

    (void) !fchownat(to, as, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW);

    times[0] = st->st_atim;
    times[1] = st->st_mtim;
    utimensat(to, as, times, AT_SYMLINK_NOFOLLOW);

    return 0;
}


int
file_remove_tree(int dir, const char *name)
{
    return file_remove_at(dir, name, 0);
}


static int
file_remove_at(int dir, const char *name, int depth)
{
    DIR            *d;
    int             fd, rc, saved;
    struct stat     st;
    struct dirent  *e;

    if (unlinkat(dir, name, 0) == 0) {
        return 0;
    }

    saved = errno;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0
        || !S_ISDIR(st.st_mode) || depth > FILE_MOVE_DEPTH)
    {
        errno = saved;
        return -1;
    }

    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    d = fd == -1 ? NULL : fdopendir(fd);

    if (d == NULL) {
        if (fd != -1) {
            close(fd);
        }

        return -1;
    }

    rc = 0;

    while (rc == 0) {
        errno = 0;
        e = readdir(d);

        if (e == NULL) {
            rc = errno ? -1 : 0;
            break;
        }

        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            rc = file_remove_at(fd, e->d_name, depth + 1);
        }
    }

    saved = errno;
    closedir(d);
    errno = saved;

    return rc == 0 ? unlinkat(dir, name, AT_REMOVEDIR) : -1;
}
