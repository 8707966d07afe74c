/*
 * The memory of a guest as a file in memory, which its VMM has mapped: so the
 * keeper can write it down and fill it itself, while the VMM is at something
 * else.  The file is on a file system of its own, in the jail, which goes with
 * the keeper.  See vm.h.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/vm.h"

#define RAM_DIR   "vm/ram"
#define RAM_PAGE  4096
#define RAM_ONCE  (256 * 1024)      /* fits into a processor's cache */
#define RAM_MORE  (2 << 20)         /* large pages are whole ones */

static int       ram_fd = -1;
static uint64_t  ram_size;
static char      ram_buffer[RAM_ONCE];


static int
ram_failed(const char *what, error **err)
{
    return error_set(err, errno == ENOSPC ? 507 : 500, "start_failed",
                     "memory: %s: %s", what, strerror(errno));
}


/* With large pages where the VMM asks for them. */
static int
ram_mount(uint64_t size)
{
    char  options[128];

    snprintf(options, sizeof(options), "mode=0755,nr_inodes=4,size=%llu,"
             "huge=advise", (unsigned long long) size + RAM_MORE);

    if (mount("ram", RAM_DIR, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              options) == 0)
    {
        return 0;
    }

    *strstr(options, ",huge") = '\0';

    return mount("ram", RAM_DIR, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                 options);
}


int
vm_ram_make(const vm_order *order, error **err)
{
    int  fd;

    if (mkdir(RAM_DIR, 0755) != 0 || ram_mount(order->memory) != 0) {
        return ram_failed("file system", err);
    }

    fd = open("." VM_RAM, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    /* Away from the numbers that have a meaning. */
    ram_fd = fd != -1 ? fcntl(fd, F_DUPFD_CLOEXEC, VM_FD_LAST + 1) : -1;

    if (ram_fd == -1 || fchown(ram_fd, order->vmm_uid, order->vmm_uid) != 0
        || ftruncate(ram_fd, (off_t) order->memory) != 0)
    {
        ram_failed("file", err);
        if (fd != -1) {
            close(fd);
        }
        return -1;
    }

    ram_size = order->memory;
    close(fd);

    return 0;
}


static int
ram_write(int fd, const char *p, size_t len, off_t at)
{
    size_t   done;
    ssize_t  n;

    for (done = 0; done < len; done += (size_t) n) {
        n = pwrite(fd, p + done, len - done, at + (off_t) done);

        if (n == -1 && errno == EINTR) {
            n = 0;

        } else if (n <= 0) {
            return -1;
        }
    }

    return 0;
}


static bool
page_is_zero(const char *p)
{
    return p[0] == 0 && memcmp(p, p + 1, RAM_PAGE - 1) == 0;
}


/* Pages of zeros are none. */
static int
ram_write_pages(int fd, const char *p, size_t len, off_t at)
{
    size_t  from, to;

    for (from = 0; from < len; from = to) {
        to = from + RAM_PAGE;

        if (page_is_zero(p + from)) {
            continue;
        }

        while (to < len && !page_is_zero(p + to)) {
            to += RAM_PAGE;
        }

        if (ram_write(fd, p + from, to - from, at + (off_t) from) != 0) {
            return -1;
        }
    }

    return 0;
}


/* Both work on a range that isn't all holes. */
static int
ram_save_range(char *unused, off_t at, off_t end)
{
    size_t   len;
    ssize_t  n;

    at &= ~(off_t) (RAM_PAGE - 1);

    while (at < end) {
        len = end - at < RAM_ONCE ? (size_t) (end - at) : RAM_ONCE;
        n = pread(ram_fd, ram_buffer, len, at);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        /* Ranges and the size are of whole pages. */
        if (n <= 0 || n % RAM_PAGE != 0
            || ram_write_pages(VM_FD_MEMORY, ram_buffer, (size_t) n, at) != 0)
        {
            return -1;
        }

        at += n;
    }

    return 0;
}


static int
ram_load_range(char *ram, off_t at, off_t end)
{
    size_t   len;
    ssize_t  n;

    while (at < end) {
        len = end - at < RAM_ONCE ? (size_t) (end - at) : RAM_ONCE;
        n = pread(VM_FD_KEPT, ram + at, len, at);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n <= 0) {
            return -1;
        }

        at += n;
    }

    return 0;
}


/* Most of a memory is holes. */
static int
ram_each(int in, char *ram, int (*range)(char *ram, off_t at, off_t end))
{
    off_t  at, hole;

    for (hole = 0; hole < (off_t) ram_size; ) {
        at = lseek(in, hole, SEEK_DATA);

        if (at == -1) {
            return errno == ENXIO ? 0 : -1;
        }

        hole = lseek(in, at, SEEK_HOLE);

        if (hole == -1 || range(ram, at, hole) != 0) {
            return -1;
        }
    }

    return 0;
}


/* Through a mapping it gets large pages, which takes half of the time. */
int
vm_ram_load(error **err)
{
    int           rc;
    char         *ram;
    struct stat   st;

    if (fstat(VM_FD_KEPT, &st) != 0 || (uint64_t) st.st_size != ram_size) {
        return error_set(err, 500, "start_failed",
                         "the memory that was kept is not whole");
    }

    ram = mmap(NULL, ram_size, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd, 0);
    if (ram == MAP_FAILED) {
        return ram_failed("mmap", err);
    }

    (void) madvise(ram, ram_size, MADV_HUGEPAGE);
    rc = ram_each(VM_FD_KEPT, ram, ram_load_range);
    (void) munmap(ram, ram_size);

    return rc == 0 ? 0 : ram_failed("what was kept", err);
}


uint64_t
vm_ram_used(void)
{
    struct stat  st;

    return ram_fd != -1 && fstat(ram_fd, &st) == 0
           ? (uint64_t) st.st_blocks * 512 : UINT64_MAX;
}


int
vm_ram_save(error **err)
{
    if (ftruncate(VM_FD_MEMORY, 0) != 0
        || ftruncate(VM_FD_MEMORY, (off_t) ram_size) != 0
        || ram_each(ram_fd, NULL, ram_save_range) != 0)
    {
        return ram_failed("it can't be kept", err);
    }

    return 0;
}
