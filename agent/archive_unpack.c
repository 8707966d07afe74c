/* A directory from a tar stream; see archive_tar.h. */

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "agent/archive_attr.h"
#include "agent/archive_path.h"
#include "agent/archive_place.h"
#include "agent/archive_tar.h"
#include "agent/file_writer.h"

typedef struct {
    struct archive        *in;
    struct archive_entry  *entry;
    archive_source         source;
    void                  *arg;
    archive_result        *result;
    archive_place          place;
    archive_late           late;
    size_t                 header;      /* bytes of the entry's head so far */
    bool                   in_header;
    uint32_t               salt, turn;
    char                   path[ARCHIVE_PATH_MAX];
    char                   temp[40];    /* "": it has no name yet */
    bool                   named;       /* there are no files without one */
} unpack;


/* The library keeps some of what belongs to an entry's head in memory. */

static la_ssize_t
unpack_read(struct archive *a, void *data, const void **p)
{
    unpack      *u;
    ssize_t      n;
    const char  *bytes;

    u = data;
    n = u->source(u->arg, &bytes);

    if (n < 0) {
        archive_fail(u->result, TAR_GONE, "The client left");
        archive_set_error(a, EPIPE, "gone");
        return -1;
    }

    if (u->in_header) {
        u->header += (size_t) n;

        if (u->header > ARCHIVE_HEADERS_MAX) {
            archive_fail(u->result, TAR_BAD,
                         "the headers of one entry are larger than %d bytes",
                         ARCHIVE_HEADERS_MAX);
            archive_set_error(a, EINVAL, "headers");
            return -1;
        }
    }

    *p = bytes;

    return n;
}


/* The library has failed: the client is gone, or the archive is bad. */

static int
unpack_broken(unpack *u)
{
    const char  *why;

    if (u->result->outcome != TAR_DONE) {
        return -1;
    }

    why = archive_error_string(u->in);

    return archive_fail(u->result, TAR_BAD, "%.300s",
                        why ? why : "it can't be read");
}


static int
unpack_failed(unpack *u)
{
    return archive_fail(u->result, TAR_FAILED, "%.300s", u->path);
}


static int
unpack_bad(unpack *u, const char *what, const char *name)
{
    return archive_fail(u->result, TAR_BAD, "%s: %.300s", what,
                        name ? name : "");
}


static void
unpack_temp(unpack *u)
{
    snprintf(u->temp, sizeof(u->temp), ".sandbox-%08x%08x.tmp",
             (unsigned) u->salt, (unsigned) u->turn++);
}


/* What was made under a name of its own takes its place. */

static int
unpack_publish(unpack *u, int dir, const char *name)
{
    int  saved;

    if (renameat(dir, u->temp, dir, name) == 0) {
        return 0;
    }

    /* An empty directory makes way. */

    saved = errno;

    if (saved == EISDIR && unlinkat(dir, name, AT_REMOVEDIR) == 0) {
        if (renameat(dir, u->temp, dir, name) == 0) {
            return 0;
        }

        saved = errno;
    }

    unlinkat(dir, u->temp, 0);
    errno = saved;

    return unpack_failed(u);
}


static int
unpack_put(int fd, const char *p, size_t n, int64_t at)
{
    ssize_t  done;

    while (n > 0) {
        done = pwrite(fd, p, n, at);

        if (done == -1) {
            if (errno == EINTR) {
                continue;
            }
            return -1;
        }

        p += done;
        at += done;
        n -= (size_t) done;
    }

    return 0;
}


/* Pieces have their offsets: what lies between them is a hole. */

static int
unpack_content(unpack *u, int fd)
{
    int          rc;
    size_t       n;
    int64_t      at, end, size;
    const void  *p;

    end = 0;

    for ( ;; ) {
        rc = archive_read_data_block(u->in, &p, &n, &at);

        if (rc == ARCHIVE_EOF) {
            break;
        }

        if (rc < ARCHIVE_WARN) {
            return unpack_broken(u);
        }

        if (n > 0 && unpack_put(fd, p, n, at) != 0) {
            return unpack_failed(u);
        }

        if (at + (int64_t) n > end) {
            end = at + (int64_t) n;
        }
    }

    size = archive_entry_size(u->entry);

    if (size > end && ftruncate(fd, size) != 0) {
        return unpack_failed(u);
    }

    return 0;
}


/* A file that is written: nothing of it is left if the agent is killed, where
 * it can go without a name until it is complete. */

static int
unpack_create(unpack *u, int dir)
{
    int  fd;

    if (!u->named) {
        u->temp[0] = '\0';
        fd = file_nameless_open(dir, 0600);

        if (fd != -1 || errno != EOPNOTSUPP) {
            return fd;
        }

        u->named = true;
    }

    unpack_temp(u);

    return openat(dir, u->temp,
                  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}


/* 1: it has its own name now; 0: one that is to be published. */

static int
unpack_name(unpack *u, int fd, int dir, const char *name)
{
    if (file_nameless_link(fd, dir, name) == 0) {
        return 1;
    }

    if (errno == EEXIST) {
        unpack_temp(u);
        if (file_nameless_link(fd, dir, u->temp) == 0) {
            return 0;
        }
        u->temp[0] = '\0';
    }

    return unpack_failed(u);
}


static int
unpack_file(unpack *u, int dir, const char *name)
{
    int           fd, rc;
    archive_attr  attr;

    fd = unpack_create(u, dir);
    if (fd == -1) {
        return unpack_failed(u);
    }

    rc = unpack_content(u, fd);

    if (rc == 0) {
        archive_attr_of(&attr, u->entry);
        archive_attr_set_fd(&attr, fd);
    }

    if (rc == 0 && u->temp[0] == '\0') {
        rc = unpack_name(u, fd, dir, name);
    }

    /* Some file systems tell only now that they couldn't keep the data. */

    if (close(fd) != 0 && errno != EINTR && rc >= 0) {
        rc = unpack_failed(u);
    }

    if (rc < 0 && u->temp[0] != '\0') {
        unlinkat(dir, u->temp, 0);
    }

    if (rc != 0) {
        return rc < 0 ? -1 : 0;
    }

    return unpack_publish(u, dir, name);
}


static int
unpack_symlink(unpack *u, int dir, const char *name)
{
    const char    *target;
    archive_attr   attr;

    target = archive_entry_symlink(u->entry);

    if (target == NULL || *target == '\0') {
        return unpack_bad(u, "a symbolic link to nothing", u->path);
    }

    unpack_temp(u);

    if (symlinkat(target, dir, u->temp) != 0) {
        return unpack_failed(u);
    }

    archive_attr_of(&attr, u->entry);
    archive_attr_set_link(&attr, dir, u->temp);

    return unpack_publish(u, dir, name);
}


static int
unpack_fifo(unpack *u, int dir, const char *name)
{
    archive_attr  attr;

    unpack_temp(u);

    if (mkfifoat(dir, u->temp, 0600) != 0) {
        return unpack_failed(u);
    }

    archive_attr_of(&attr, u->entry);
    archive_attr_set_name(&attr, dir, u->temp);

    return unpack_publish(u, dir, name);
}


/* A second name for what lies below the directory; a link is linked itself,
 * never what it leads to. */

static int
unpack_hardlink(unpack *u, int dir, const char *name)
{
    int          from, rc;
    char         target[ARCHIVE_PATH_MAX];
    const char  *why, *link;

    link = archive_entry_hardlink(u->entry);
    why = archive_path_clean(target, sizeof(target), link);

    if (why != NULL || target[0] == '\0') {
        return unpack_bad(u, why ? why : "a hard link to the directory itself",
                          link);
    }

    from = archive_place_other(&u->place, target, &link);
    if (from == -1) {
        return unpack_failed(u);
    }

    unpack_temp(u);
    rc = linkat(from, link, dir, u->temp, 0);
    close(from);

    if (rc != 0) {
        return unpack_failed(u);
    }

    rc = unpack_publish(u, dir, name);

    /* Nothing is renamed where both already were the same file. */

    unlinkat(dir, u->temp, 0);

    return rc;
}


static int
unpack_directory(unpack *u, int dir, const char *name)
{
    archive_attr  attr;

    if (archive_place_mkdir(dir, name, 0700) != 0) {
        return unpack_failed(u);
    }

    archive_attr_of(&attr, u->entry);
    archive_late_add(&u->late, &u->place, u->path, &attr);

    return 0;
}


static int
unpack_entry(unpack *u)
{
    int          dir;
    const char  *why, *name;

    name = archive_entry_pathname(u->entry);
    why = archive_path_clean(u->path, sizeof(u->path), name);

    if (why != NULL) {
        return unpack_bad(u, why, name);
    }

    if (u->path[0] == '\0') {
        return archive_entry_filetype(u->entry) == AE_IFDIR
               ? 0 : unpack_bad(u, "no directory, but the name of one", name);
    }

    dir = archive_place_parent(&u->place, u->path, &name);
    if (dir == -1) {
        return unpack_failed(u);
    }

    if (archive_entry_hardlink(u->entry) != NULL) {
        return unpack_hardlink(u, dir, name);
    }

    switch (archive_entry_filetype(u->entry)) {
    case AE_IFREG:
        return unpack_file(u, dir, name);

    case AE_IFDIR:
        return unpack_directory(u, dir, name);

    case AE_IFLNK:
        return unpack_symlink(u, dir, name);

    case AE_IFIFO:
        return unpack_fifo(u, dir, name);

    default:
        return unpack_bad(u, "a device node, which isn't extracted", u->path);
    }
}


/* The directory isn't made for what turns out to be no archive. */

static int
unpack_entries(unpack *u, const char *dir)
{
    int     rc;
    size_t  count;

    for (count = 0; count < ARCHIVE_ENTRIES_MAX; count++) {
        u->header = 0;
        u->in_header = true;

        rc = archive_read_next_header(u->in, &u->entry);

        u->in_header = false;

        /* A header that is damaged can be retried, says the library. */

        if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN && rc != ARCHIVE_EOF) {
            return unpack_broken(u);
        }

        if (count == 0 && archive_place_open(&u->place, dir) != 0) {
            return archive_fail(u->result, TAR_FAILED, "%.300s", dir);
        }

        if (rc == ARCHIVE_EOF) {
            return 0;
        }

        if (unpack_entry(u) != 0) {
            return -1;
        }
    }

    return archive_fail(u->result, TAR_BAD, "more than %d entries",
                        ARCHIVE_ENTRIES_MAX);
}


void
archive_unpack(const char *dir, archive_source source, void *arg,
    archive_result *result)
{
    unpack  *u;

    u = calloc(1, sizeof(unpack));
    if (u == NULL) {
        abort();
    }

    u->source = source;
    u->arg = arg;
    u->result = result;
    memset(result, 0, sizeof(archive_result));

    if (getrandom(&u->salt, sizeof(u->salt), 0) != sizeof(u->salt)) {
        abort();
    }

    u->in = archive_read_new();
    if (u->in == NULL) {
        abort();
    }

    u->place.root = -1;
    u->place.dir = -1;
    u->named = access("/proc/self/fd", X_OK) != 0;  /* where names come from */

    if (archive_read_support_format_tar(u->in) != ARCHIVE_OK
        || archive_read_open(u->in, u, NULL, unpack_read, NULL) < ARCHIVE_WARN)
    {
        unpack_broken(u);

    } else {
        unpack_entries(u, dir);
    }

    archive_late_apply(&u->late, &u->place);
    archive_place_close(&u->place);
    archive_read_free(u->in);
    free(u);
}
