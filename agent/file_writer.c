/* Files that appear whole; see file_writer.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "agent/file_open.h"
#include "agent/file_writer.h"

static int file_writer_temp(file_writer *w);
static int file_writer_publish(file_writer *w);
static int file_writer_fail(file_writer *w, int errnum);


int
file_writer_open(file_writer *w, const char *path, const char *root)
{
    w->fd = -1;
    w->replaced = -1;
    w->written = 0;
    w->temp[0] = '\0';

    w->dir = file_open_target(path, root, w->name, &w->old);
    if (w->dir == -1) {
        return -1;
    }

    /* A rename would get round the mode of a file that is write-protected. */

    if (w->old.st_mode != 0
        && faccessat(w->dir, w->name, W_OK, AT_EACCESS) != 0
        && errno != ENOENT)
    {
        return file_writer_fail(w, errno);
    }

    w->fd = file_nameless_open(w->dir, 0666);

    if (w->fd != -1) {
        return 0;
    }

    return errno == EOPNOTSUPP ? file_writer_temp(w)
                               : file_writer_fail(w, errno);
}


int
file_writer_write(file_writer *w, const void *p, size_t n)
{
    ssize_t      done;
    const char  *from;

    for (from = p; n > 0; from += done, n -= (size_t) done) {
        done = write(w->fd, from, n);

        if (done == -1) {
            if (errno == EINTR) {
                done = 0;
                continue;
            }

            return file_writer_fail(w, errno);
        }

        w->written += done;
    }

    return 0;
}


int
file_writer_commit(file_writer *w)
{
    int  fd;

    if (w->old.st_mode != 0) {

        /* In this order: a change of the owner clears set-user-ID.  Where the
         * owner can't be passed on, neither is that. */

        if ((w->old.st_uid != geteuid() || w->old.st_gid != getegid())
            && fchown(w->fd, w->old.st_uid, w->old.st_gid) != 0)
        {
            w->old.st_mode &= 0777;
        }

        if (fchmod(w->fd, w->old.st_mode & 07777) != 0) {
            return file_writer_fail(w, errno);
        }
    }

    if (w->temp[0] == '\0') {
        return file_writer_publish(w);
    }

    /* Some file systems tell only now that they couldn't keep the data. */

    fd = w->fd;
    w->fd = -1;

    if (close(fd) != 0 && errno != EINTR) {
        return file_writer_fail(w, errno);
    }

    if (renameat(w->dir, w->temp, w->dir, w->name) != 0) {
        return file_writer_fail(w, errno);
    }

    w->temp[0] = '\0';
    file_writer_cancel(w);

    return 0;
}


void
file_writer_settle(file_writer *w)
{
    if (w->fd != -1) {
        (void) !sync_file_range(w->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    }

    file_writer_cancel(w);
}


void
file_writer_cancel(file_writer *w)
{
    if (w->dir == -1) {
        return;
    }

    if (w->temp[0] != '\0') {
        unlinkat(w->dir, w->temp, 0);
        w->temp[0] = '\0';
    }

    if (w->fd != -1) {
        close(w->fd);
        w->fd = -1;
    }

    if (w->replaced != -1) {
        close(w->replaced);
        w->replaced = -1;
    }

    close(w->dir);
    w->dir = -1;
}


void
file_temp_name(char *dst, size_t room)
{
    uint64_t  number;

    if (getrandom(&number, sizeof(number), 0) != sizeof(number)) {
        abort();
    }

    snprintf(dst, room, ".sandbox-%016llx.tmp", (unsigned long long) number);
}


int
file_nameless_open(int dir, mode_t mode)
{
    int  fd;

    fd = openat(dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, mode);

    if (fd == -1 && (errno == EISDIR || errno == EINVAL || errno == ENOSYS)) {
        errno = EOPNOTSUPP;
    }

    return fd;
}


int
file_nameless_link(int fd, int dir, const char *name)
{
    char  self[32];

    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);

    return linkat(AT_FDCWD, self, dir, name, AT_SYMLINK_FOLLOW);
}


static int
file_writer_temp(file_writer *w)
{
    file_temp_name(w->temp, sizeof(w->temp));

    /* Nobody may read the new content of a private file meanwhile. */

    w->fd = openat(w->dir, w->temp,
                   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                   w->old.st_mode ? 0600 : 0666);

    if (w->fd == -1) {
        w->temp[0] = '\0';
        return file_writer_fail(w, errno);
    }

    return 0;
}


/*
 * Gives a name to what has none.  Onto an old file it is exchanged rather than
 * renamed: some file systems write a file's data out before they let it
 * replace another, so that a crash of the machine can't leave an empty file,
 * and the client would wait for that.  file_writer_settle() does it when the
 * client has its answer.
 */

static int
file_writer_publish(file_writer *w)
{
    int  saved;

    if (w->old.st_mode == 0) {
        if (file_nameless_link(w->fd, w->dir, w->name) == 0) {
            file_writer_cancel(w);
            return 0;
        }

        if (errno != EEXIST) {
            return file_writer_fail(w, errno);
        }
    }

    file_temp_name(w->temp, sizeof(w->temp));

    if (file_nameless_link(w->fd, w->dir, w->temp) != 0) {
        w->temp[0] = '\0';
        return file_writer_fail(w, errno);
    }

    if (renameat2(w->dir, w->temp, w->dir, w->name, RENAME_EXCHANGE) != 0) {

        /* Not here, or there is nothing to exchange it with any more. */

        if (renameat(w->dir, w->temp, w->dir, w->name) != 0) {
            return file_writer_fail(w, errno);
        }

        w->temp[0] = '\0';
        return 0;
    }

    /* While it is held its blocks aren't given back, which takes longer than
     * the rest: the client doesn't wait for that either. */
    w->replaced = openat(w->dir, w->temp, O_PATH | O_NOFOLLOW | O_CLOEXEC);

    if (unlinkat(w->dir, w->temp, 0) != 0) {

        /* A directory has taken the name meanwhile: it gets it back. */

        saved = errno;
        renameat2(w->dir, w->temp, w->dir, w->name, RENAME_EXCHANGE);
        return file_writer_fail(w, saved);
    }

    w->temp[0] = '\0';

    return 0;
}


static int
file_writer_fail(file_writer *w, int errnum)
{
    file_writer_cancel(w);
    errno = errnum;

    return -1;
}
