/* A directory as a tar stream; see archive_tar.h. */

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/archive_links.h"
#include "agent/archive_tar.h"

#define PACK_PIECE  (128 * 1024)

/* A directory that is being read. */
typedef struct {
    int      fd;
    size_t   path_len;              /* of its path, in pack.path */
    ssize_t  len, at;               /* of what is in names */
    char     names[8192] __attribute__((aligned(8)));
} pack_level;

typedef struct {
    struct archive         *out;
    struct archive_entry   *entry;
    const archive_exclude  *exclude;
    archive_sink            sink;
    void                   *arg;
    archive_result         *result;
    archive_links           links;
    pack_level             *levels[ARCHIVE_DEPTH_MAX];
    size_t                  depth;
    char                    path[ARCHIVE_PATH_MAX];
    char                    piece[PACK_PIECE];
} pack;


int
archive_fail(archive_result *result, archive_outcome outcome, const char *fmt,
    ...)
{
    va_list  args;

    result->outcome = outcome;
    result->errnum = outcome == TAR_FAILED ? errno : 0;

    va_start(args, fmt);
    vsnprintf(result->text, sizeof(result->text), fmt, args);
    va_end(args);

    return -1;
}


static la_ssize_t
pack_write(struct archive *a, void *data, const void *p, size_t n)
{
    pack  *k;

    k = data;

    if (k->result->outcome != TAR_DONE) {
        archive_set_error(a, EPIPE, "failed");
        return -1;
    }

    if (k->sink(k->arg, p, n) != 0) {
        archive_fail(k->result, TAR_GONE, "The client left");
        archive_set_error(a, EPIPE, "gone");
        return -1;
    }

    return (la_ssize_t) n;
}


/* The library has failed: the client is gone, or it can't word the entry. */

static int
pack_broken(pack *k)
{
    const char  *why;

    if (k->result->outcome == TAR_GONE) {
        return -1;
    }

    why = archive_error_string(k->out);
    errno = archive_errno(k->out) > 0 ? archive_errno(k->out) : EIO;

    return archive_fail(k->result, TAR_FAILED, "%.200s: %.100s", k->path,
                        why ? why : "can't be archived");
}


static void
pack_describe(pack *k, const struct stat *st)
{
    archive_entry_clear(k->entry);
    archive_entry_copy_pathname(k->entry, k->path);
    archive_entry_set_mode(k->entry, st->st_mode);
    archive_entry_set_uid(k->entry, st->st_uid);
    archive_entry_set_gid(k->entry, st->st_gid);
    archive_entry_set_mtime(k->entry, st->st_mtim.tv_sec,
                            st->st_mtim.tv_nsec);
    archive_entry_set_size(k->entry, S_ISREG(st->st_mode) ? st->st_size : 0);
}


static int
pack_header(pack *k)
{
    return archive_write_header(k->out, k->entry) >= ARCHIVE_WARN
           ? 0 : pack_broken(k);
}


/* As many bytes as the header has announced; what is missing the library
 * makes up with zeros. */

static int
pack_content(pack *k, int fd, int64_t left)
{
    ssize_t  n;
    size_t   want;

    while (left > 0) {
        want = left < PACK_PIECE ? (size_t) left : PACK_PIECE;
        n = read(fd, k->piece, want);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n == -1) {
            return archive_fail(k->result, TAR_FAILED, "%.300s", k->path);
        }

        if (n == 0) {
            break;
        }

        if (archive_write_data(k->out, k->piece, (size_t) n) < 0) {
            return pack_broken(k);
        }

        left -= n;
    }

    return archive_write_finish_entry(k->out) >= ARCHIVE_WARN
           ? 0 : pack_broken(k);
}


/* What was there a moment ago may be gone or something else by now. */

static int
pack_vanished(void)
{
    return errno == ENOENT || errno == ELOOP || errno == ENOTDIR
           || errno == ENXIO;
}


static int
pack_file(pack *k, int dir, const char *name)
{
    int          fd, rc;
    struct stat  st;
    const char  *first;

    fd = openat(dir, name,
                O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd == -1) {
        return pack_vanished() ? 0
               : archive_fail(k->result, TAR_FAILED, "%.300s", k->path);
    }

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return 0;
    }

    first = st.st_nlink > 1
            ? archive_links_find(&k->links, st.st_dev, st.st_ino, k->path)
            : NULL;

    pack_describe(k, &st);

    if (first != NULL) {
        archive_entry_set_hardlink(k->entry, first);
        archive_entry_set_size(k->entry, 0);
        rc = pack_header(k);

    } else {
        (void) posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
        rc = pack_header(k);
        if (rc == 0) {
            rc = pack_content(k, fd, st.st_size);
        }
    }

    close(fd);

    return rc;
}


static int
pack_symlink(pack *k, int dir, const char *name, const struct stat *st)
{
    ssize_t  n;

    n = readlinkat(dir, name, k->piece, PACK_PIECE - 1);

    if (n == -1) {
        return pack_vanished() || errno == EINVAL ? 0
               : archive_fail(k->result, TAR_FAILED, "%.300s", k->path);
    }

    k->piece[n] = '\0';
    pack_describe(k, st);
    archive_entry_set_symlink(k->entry, k->piece);

    return pack_header(k);
}


/* Its header, and its place on the stack. */

static int
pack_enter(pack *k, int dir, const char *name)
{
    int          fd;
    struct stat  st;
    pack_level  *level;

    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOCTTY | O_CLOEXEC
                           | (dir == AT_FDCWD ? 0 : O_NOFOLLOW));

    if (fd == -1) {
        return pack_vanished() && dir != AT_FDCWD ? 0
               : archive_fail(k->result, TAR_FAILED, "%.300s",
                              dir == AT_FDCWD ? name : k->path);
    }

    if (fstat(fd, &st) != 0) {
        archive_fail(k->result, TAR_FAILED, "%.300s", k->path);
        close(fd);
        return -1;
    }

    if (k->depth == ARCHIVE_DEPTH_MAX) {
        close(fd);
        errno = ENAMETOOLONG;
        return archive_fail(k->result, TAR_FAILED,
                            "more than %d directories within one another",
                            ARCHIVE_DEPTH_MAX);
    }

    pack_describe(k, &st);

    if (pack_header(k) != 0) {
        close(fd);
        return -1;
    }

    level = malloc(sizeof(pack_level));
    if (level == NULL) {
        abort();
    }

    level->fd = fd;
    level->path_len = strlen(k->path);
    level->len = 0;
    level->at = 0;
    k->levels[k->depth++] = level;

    return 0;
}


static void
pack_leave(pack *k)
{
    pack_level  *level;

    level = k->levels[--k->depth];
    close(level->fd);
    free(level);
}


static int
pack_entry(pack *k, pack_level *level, const char *name)
{
    int          n;
    struct stat  st;

    n = snprintf(k->path + level->path_len,
                 sizeof(k->path) - level->path_len, "/%s", name);

    if ((size_t) n >= sizeof(k->path) - level->path_len) {
        errno = ENAMETOOLONG;
        return archive_fail(k->result, TAR_FAILED, "%.300s", k->path);
    }

    if (archive_exclude_match(k->exclude, k->path + 2)) {
        return 0;
    }

    if (fstatat(level->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return pack_vanished() ? 0
               : archive_fail(k->result, TAR_FAILED, "%.300s", k->path);
    }

    switch (st.st_mode & S_IFMT) {
    case S_IFREG:
        return pack_file(k, level->fd, name);

    case S_IFDIR:
        return pack_enter(k, level->fd, name);

    case S_IFLNK:
        return pack_symlink(k, level->fd, name, &st);

    case S_IFIFO:
        pack_describe(k, &st);
        return pack_header(k);

    default:
        return 0;
    }
}


/* One name after the other of the innermost directory. */

static int
pack_walk(pack *k)
{
    const char       *name;
    pack_level       *level;
    struct dirent64  *d;

    while (k->depth > 0) {
        level = k->levels[k->depth - 1];
        k->path[level->path_len] = '\0';

        if (level->at == level->len) {
            level->at = 0;
            level->len = getdents64(level->fd, level->names,
                                    sizeof(level->names));

            /* Nothing may be written for long where all is left out. */

            if (k->sink(k->arg, NULL, 0) != 0) {
                return archive_fail(k->result, TAR_GONE,
                                    "The client left");
            }

            if (level->len == -1) {
                level->len = 0;
                if (errno != ENOENT) {
                    return archive_fail(k->result, TAR_FAILED, "%.300s",
                                        k->path);
                }
            }

            if (level->len == 0) {
                pack_leave(k);
                continue;
            }
        }

        d = (struct dirent64 *) (level->names + level->at);
        level->at += d->d_reclen;
        name = d->d_name;

        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0
            && pack_entry(k, level, name) != 0)
        {
            return -1;
        }
    }

    return 0;
}


static int
pack_open(pack *k)
{
    k->out = archive_write_new();
    k->entry = archive_entry_new();

    if (k->out == NULL || k->entry == NULL) {
        abort();
    }

    /* No blocks of the library's own: the sink has its buffer. */

    if (archive_write_set_format_pax_restricted(k->out) != ARCHIVE_OK
        || archive_write_set_bytes_per_block(k->out, 0) != ARCHIVE_OK
        || archive_write_open(k->out, k, NULL, pack_write, NULL) != ARCHIVE_OK)
    {
        return pack_broken(k);
    }

    return 0;
}


void
archive_pack(const char *dir, const archive_exclude *exclude,
    archive_sink sink, void *arg, archive_result *result)
{
    int    rc;
    pack  *k;

    k = malloc(sizeof(pack));
    if (k == NULL) {
        abort();
    }

    k->exclude = exclude;
    k->sink = sink;
    k->arg = arg;
    k->result = result;
    k->depth = 0;
    strcpy(k->path, ".");
    archive_links_init(&k->links);

    memset(result, 0, sizeof(archive_result));

    rc = pack_open(k);

    if (rc == 0) {
        rc = pack_enter(k, AT_FDCWD, dir);
    }

    if (rc == 0) {
        rc = pack_walk(k);
    }

    while (k->depth > 0) {
        pack_leave(k);
    }

    /* After a failure nothing gets through any more, the end mark neither, but
     * only this frees all that the library holds. */

    if (archive_write_close(k->out) < ARCHIVE_WARN && rc == 0) {
        pack_broken(k);
    }

    archive_write_free(k->out);
    archive_entry_free(k->entry);
    archive_links_free(&k->links);
    free(k);
}
