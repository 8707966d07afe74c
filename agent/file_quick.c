/* Files without a wait; see file_quick.h. */

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent/file_quick.h"

#ifndef RESOLVE_CACHED
#define RESOLVE_CACHED  0x20
#endif

#define FILE_QUICK_PAGES   (FILE_QUICK_MAX / 4096 + 1)
#define FILE_QUICK_TABLE   (64 * 1024)      /* of mounts, in bytes, looked at */
#define FILE_QUICK_MOUNTS  64

static int       mounts_fd = -1;
static int       mounts_known;
static uint64_t  mounts_local[FILE_QUICK_MOUNTS];
static size_t    mounts_count;


static int
file_quick_open(const char *path, int flags)
{
    struct open_how  how;

    memset(&how, 0, sizeof(how));
    how.flags = (unsigned) flags | O_CLOEXEC;
    how.resolve = RESOLVE_CACHED;

    return (int) syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}


int
file_quick_exists(const char *path)
{
    int  fd;

    fd = file_quick_open(path, O_PATH);

    if (fd == -1) {
        return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    }

    close(fd);

    return 1;
}


int
file_quick_is_dir(const char *path)
{
    int  fd;

    fd = file_quick_open(path, O_PATH | O_DIRECTORY);

    if (fd == -1) {
        return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    }

    close(fd);

    return 1;
}


void
file_quick_init(void)
{
    mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
}


/*
 * Network file systems and FUSE ask somebody when a file is opened, and when
 * it is asked what it is and where: even fstat() and fstatfs() wait then.  So
 * the table of mounts tells.  An overlay asks those below it, which can be
 * anything; that of the whole system is as good as the system.
 */

static bool
file_quick_local_type(const char *type, const char *at)
{
    size_t              i;
    static const char  *const  types[] = {
        "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs"
    };

    if (strcmp(type, "overlay") == 0) {
        return strcmp(at, "/") == 0;
    }

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(type, types[i]) == 0) {
            return true;
        }
    }

    return false;
}


static void
file_quick_mount(const char *line)
{
    char                 at[3], type[16];
    const char          *rest;
    unsigned long long   id;

    rest = strstr(line, " - ");

    if (rest != NULL && mounts_count < FILE_QUICK_MOUNTS
        && sscanf(line, "%llu %*s %*s %*s %2s", &id, at) == 2
        && sscanf(rest, " - %15s", type) == 1
        && file_quick_local_type(type, at))
    {
        mounts_local[mounts_count++] = id;
    }
}


static void
file_quick_mounts(void)
{
    char     *text, *line, *nl;
    size_t    len;
    ssize_t   n;

    mounts_count = 0;
    text = malloc(FILE_QUICK_TABLE);
    if (text == NULL) {
        return;
    }

    for (len = 0; len < FILE_QUICK_TABLE - 1; len += (size_t) n) {
        n = pread(mounts_fd, text + len, FILE_QUICK_TABLE - 1 - len,
                  (off_t) len);
        if (n <= 0) {
            break;
        }
    }
    text[len] = '\0';

    for (line = text; (nl = strchr(line, '\n')) != NULL; line = nl + 1) {
        *nl = '\0';
        file_quick_mount(line);
    }

    free(text);
}


/* A mount that a descriptor is in keeps its number. */

static bool
file_quick_local(uint64_t mount)
{
    size_t         i;
    struct pollfd  p;

    p.fd = mounts_fd;
    p.events = POLLPRI;
    p.revents = 0;

    if (mounts_fd == -1 || poll(&p, 1, 0) < 0) {
        return false;
    }

    if (!mounts_known || p.revents != 0) {
        mounts_known = 1;
        file_quick_mounts();
    }

    for (i = 0; i < mounts_count; i++) {
        if (mounts_local[i] == mount) {
            return true;
        }
    }

    return false;
}


/* Where a read can't be told not to wait. */

static bool
file_quick_resident(int fd, size_t size)
{
    void           *p;
    bool            all;
    size_t          i, pages, page;
    unsigned char   there[FILE_QUICK_PAGES];

    page = (size_t) sysconf(_SC_PAGESIZE);
    pages = (size + page - 1) / page;

    if (pages > sizeof(there)) {
        return false;
    }

    p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        return false;
    }

    all = mincore(p, size, there) == 0;

    for (i = 0; all && i < pages; i++) {
        all = there[i] & 1;
    }

    munmap(p, size);

    return all;
}


static ssize_t
file_quick_take(int fd, char *p, size_t size)
{
    ssize_t       n;
    struct iovec  iov;

    iov.iov_base = p;
    iov.iov_len = size;

    n = preadv2(fd, &iov, 1, 0, RWF_NOWAIT);

    if (n == -1 && errno == EOPNOTSUPP && file_quick_resident(fd, size)) {
        n = pread(fd, p, size, 0);
    }

    return n == (ssize_t) size ? n : -1;
}


/* What isn't a regular file must not be opened, and what is opened must be
 * what was looked at, though the path leads elsewhere by now. */

ssize_t
file_quick_read(const char *path, size_t spare, char **data)
{
    int            fd, pinned;
    char          *p, again[32];
    ssize_t        n;
    struct statx   st;

    *data = NULL;

    *data = NULL;

    pinned = file_quick_open(path, O_PATH);
    if (pinned == -1) {
        return -1;
    }

    fd = -1;

    if (statx(pinned, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
              STATX_TYPE | STATX_SIZE | STATX_MNT_ID, &st) == 0
        && (st.stx_mask & STATX_MNT_ID) && file_quick_local(st.stx_mnt_id)
        && S_ISREG(st.stx_mode) && st.stx_size > 0
        && st.stx_size <= FILE_QUICK_MAX)
    {
        snprintf(again, sizeof(again), "/proc/self/fd/%d", pinned);
        fd = open(again, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    }

    close(pinned);

    if (fd == -1) {
        return -1;
    }

    n = -1;
    p = malloc((size_t) st.stx_size + spare);
    if (p != NULL) {
        n = file_quick_take(fd, p, (size_t) st.stx_size);
    }

    close(fd);

    if (n == -1) {
        free(p);
        return -1;
    }

    *data = p;

    return n;
}
