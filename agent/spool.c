/* Output with offsets; see spool.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/spool.h"

#define SPOOL_PUNCH  (16LL * 1024 * 1024)   /* the ring is cut in such steps */

static const char  *spool_dir = "/tmp";


void
spool_set_dir(const char *dir)
{
    spool_dir = dir;
}


static int
spool_open(void)
{
    int   fd;
    char  path[256];

    if (spool_dir == NULL) {
        return -1;
    }

    fd = open(spool_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd != -1) {
        return fd;
    }

    snprintf(path, sizeof(path), "%s/.sandbox-agent-XXXXXX", spool_dir);

    fd = mkostemp(path, O_CLOEXEC);
    if (fd != -1) {
        unlink(path);
    }

    return fd;
}


static int
spool_put(int fd, const char *p, size_t n, uint64_t off)
{
    ssize_t  rc;

    while (n != 0) {
        rc = pwrite(fd, p, n, (off_t) off);

        if (rc < 0 && errno == EINTR) {
            continue;
        }

        if (rc <= 0) {
            return rc < 0 ? errno : ENOSPC;
        }

        p += rc;
        n -= (size_t) rc;
        off += (uint64_t) rc;
    }

    return 0;
}


/* From memory to a file; without one, memory keeps the newest bytes. */

static void
spool_spill(spool *s)
{
    int  fd;

    fd = spool_open();
    if (fd == -1) {
        s->failed = errno != 0 ? errno : ENOSPC;
        return;
    }

    s->failed = spool_put(fd, buffer_bytes(&s->mem), s->mem.len, s->start);
    if (s->failed) {
        close(fd);
        return;
    }

    buffer_free(&s->mem);
    s->fd = fd;
}


/* Gives the oldest bytes of the file back to the disk. */

static void
spool_cut(spool *s)
{
    uint64_t  keep;

    keep = s->end - (uint64_t) SPOOL_MAX;

    if (s->end - s->start < (uint64_t) (SPOOL_MAX + SPOOL_PUNCH)) {
        return;
    }

    /* Where holes can't be made, only the readers' view is cut. */
    (void) !fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      (off_t) s->start, (off_t) (keep - s->start));
    s->start = keep;
}


/* The disk is full: what is in the file can't be gone on with, since a gap
 * would be a lie.  It makes room; memory keeps what comes from now on. */

static void
spool_give_up(spool *s)
{
    close(s->fd);
    s->fd = 0;
    s->start = s->end;
}


void
spool_append(spool *s, const void *p, size_t n)
{
    size_t  over;

    if (s->fd == 0 && !s->failed && s->mem.len + n > SPOOL_MEMORY) {
        spool_spill(s);
    }

    if (s->fd != 0 && !s->failed) {
        s->failed = spool_put(s->fd, p, n, s->end);

        if (!s->failed) {
            s->end += n;
            spool_cut(s);
            return;
        }

        spool_give_up(s);
    }

    s->end += n;
    buffer_append(&s->mem, p, n);

    if (s->mem.len > SPOOL_MEMORY) {
        over = s->mem.len - SPOOL_MEMORY;
        buffer_consume(&s->mem, over);
        s->start += over;
    }
}


size_t
spool_read(spool *s, uint64_t *off, void *p, size_t n)
{
    ssize_t  rc;

    if (*off < s->start) {
        *off = s->start;
    }

    if (*off >= s->end) {
        return 0;
    }

    if (n > s->end - *off) {
        n = (size_t) (s->end - *off);
    }

    if (s->fd == 0) {
        memcpy(p, buffer_bytes(&s->mem) + (*off - s->start), n);
        *off += n;
        return n;
    }

    rc = pread(s->fd, p, n, (off_t) *off);
    if (rc <= 0) {
        *off = s->end;
        return 0;
    }

    *off += (uint64_t) rc;

    return (size_t) rc;
}


void
spool_free(spool *s)
{
    buffer_free(&s->mem);
    if (s->fd != 0) {
        close(s->fd);
    }
    memset(s, 0, sizeof(*s));
}
