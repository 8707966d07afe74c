/* sources: agent/archive_unpack.c agent/archive_pack.c agent/archive_attr.c agent/archive_place.c agent/archive_path.c agent/archive_links.c agent/archive_exclude.c agent/file_writer.c agent/file_open.c agent/path.c */
/* libs: -larchive */

/*
 * Whatever is sent as an archive: nothing appears beside the directory, what
 * is kept there is not changed, and what was extracted can be packed again.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/archive_tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char  base[64] = "/tmp/fuzz-tar-XXXXXX";
static int   base_fd;

typedef struct {
    const uint8_t  *p;
    size_t          left;
    size_t          packed;
} input;


static ssize_t
source(void *arg, const char **p)
{
    size_t   n;
    input   *in;

    in = arg;
    n = in->left < 700 ? in->left : 700;
    *p = (const char *) in->p;
    in->p += n;
    in->left -= n;

    return (ssize_t) n;
}


/* What is large is a hole: it isn't read to its end. */

static int
sink(void *arg, const void *p, size_t n)
{
    input  *in;

    in = arg;
    in->packed += n;

    return in->packed > 1024 * 1024 ? -1 : 0;
}


static void
empty(int dir)
{
    int             fd;
    DIR            *d;
    struct dirent  *e;

    d = fdopendir(dir);
    if (d == NULL) {
        abort();
    }

    while ((e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }

        if (unlinkat(dirfd(d), e->d_name, 0) == 0) {
            continue;
        }

        fchmodat(dirfd(d), e->d_name, 0700, 0);
        fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (fd == -1) {
            abort();
        }

        empty(fd);

        if (unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR) != 0) {
            abort();
        }
    }

    closedir(d);
}


static void
clean(void)
{
    int  fd;

    fd = open(base, O_RDONLY | O_DIRECTORY);
    if (fd != -1) {
        empty(fd);
        rmdir(base);
    }
}


/* The base holds the directory, and a file that must stay what it is. */

static void
check_outside(const struct stat *was)
{
    int             count;
    DIR            *d;
    struct stat     st;
    struct dirent  *e;

    d = fdopendir(openat(base_fd, ".", O_RDONLY | O_DIRECTORY));
    for (count = 0; (e = readdir(d)) != NULL; count++) { /* void */ }
    closedir(d);

    if (count != 4 || fstatat(base_fd, "keep", &st, 0) != 0 || st.st_ino != was->st_ino
        || st.st_mode != was->st_mode || st.st_nlink != 1
        || st.st_size != 4 || st.st_mtim.tv_nsec != was->st_mtim.tv_nsec)
    {
        abort();
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                    fd;
    char                   dir[80];
    input                  in;
    archive_result         result;
    archive_exclude        none;
    static struct stat     keep;

    if (keep.st_ino == 0) {
        if (mkdtemp(base) == NULL
            || (base_fd = open(base, O_RDONLY | O_DIRECTORY)) == -1)
        {
            abort();
        }

        atexit(clean);
        fd = openat(base_fd, "keep", O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (fd == -1 || write(fd, "keep", 4) != 4 || fstat(fd, &keep) != 0) {
            abort();
        }
        close(fd);
    }

    snprintf(dir, sizeof(dir), "%s/in", base);

    if (mkdirat(base_fd, "in", 0755) != 0
        || symlinkat("../keep", base_fd, "in/l") != 0
        || symlinkat("..", base_fd, "in/d") != 0)
    {
        abort();
    }

    in.p = data;
    in.left = size;
    in.packed = 0;
    archive_unpack(dir, source, &in, &result);

    if (result.outcome == TAR_GONE
        || (result.outcome != TAR_DONE && result.text[0] == '\0'))
    {
        abort();
    }

    check_outside(&keep);

    memset(&none, 0, sizeof(none));
    archive_pack(dir, &none, sink, &in, &result);

    if (result.outcome == TAR_BAD
        || (result.outcome == TAR_FAILED && result.errnum != EACCES
            && result.errnum != ENAMETOOLONG))
    {
        fprintf(stderr, "%s: %s\n", result.text, strerror(result.errnum));
        abort();
    }

    fd = open(dir, O_RDONLY | O_DIRECTORY);
    empty(fd);
    rmdir(dir);

    return 0;
}
