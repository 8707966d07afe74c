/* The first file system of a virtual machine; see initramfs.h. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/initramfs.h"

#define WHERE  "lib/sandbox-modules"

typedef struct {
    FILE      *to;
    unsigned   inode;
    error    **err;
} archive;


static void
archive_pad(archive *a)
{
    long  at;

    for (at = ftell(a->to); at % 4 != 0; at++) {
        putc(0, a->to);
    }
}


/* The format that the kernel calls "newc": fields of eight digits. */
static void
archive_header(archive *a, const char *name, mode_t mode, size_t size)
{
    fprintf(a->to, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx"
            "%08x%s", ++a->inode, (unsigned) mode, 0, 0, 1, 0, size, 0, 0, 0,
            0, strlen(name) + 1, 0, name);
    putc(0, a->to);
    archive_pad(a);
}


static int
archive_file(archive *a, const char *name, const char *path, mode_t mode)
{
    FILE         *from;
    char          block[16384];
    size_t        n, rest;
    struct stat   st;

    from = fopen(path, "re");

    if (from == NULL || fstat(fileno(from), &st) == -1
        || !S_ISREG(st.st_mode))
    {
        error_set(a->err, 500, "driver", "%s: %s", path, from == NULL
                  ? strerror(errno) : "not a file");
        if (from != NULL) {
            fclose(from);
        }
        return -1;
    }

    rest = (size_t) st.st_size;
    archive_header(a, name, S_IFREG | mode, rest);

    while (rest > 0) {
        n = fread(block, 1, rest < sizeof(block) ? rest : sizeof(block), from);
        if (n == 0) {
            break;
        }

        fwrite(block, 1, n, a->to);
        rest -= n;
    }

    fclose(from);
    archive_pad(a);

    return rest == 0 ? 0 : error_set(a->err, 500, "driver", "%s: it got "
                                     "shorter", path);
}


static int
is_module(const struct dirent *e)
{
    size_t  len;

    len = strlen(e->d_name);

    return len > 3 && strcmp(e->d_name + len - 3, ".ko") == 0;
}


/* -1: error set; else how many there are. */
static int
archive_modules(archive *a, const char *dir, const char *to)
{
    int              i, n, rc;
    char             name[512], path[4608];
    struct dirent  **list;

    n = scandir(dir, &list, is_module, alphasort);
    if (n == -1) {
        return error_set(a->err, 500, "driver", "%s: %s", dir,
                         strerror(errno));
    }

    rc = 0;

    for (i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "%s/%s", to, list[i]->d_name);
        snprintf(path, sizeof(path), "%s/%s", dir, list[i]->d_name);

        if (rc == 0) {
            rc = archive_file(a, name, path, 0644);
        }

        free(list[i]);
    }

    free(list);

    return rc == 0 ? n : -1;
}


/* What not every machine needs.  A kernel's directory that was made before
 * there was one has none. */
static int
archive_some(archive *a, const char *modules, const char *of)
{
    char  dir[4352], to[64];

    snprintf(dir, sizeof(dir), "%s/%s", modules, of);
    snprintf(to, sizeof(to), WHERE "/%s", of);

    if (access(dir, F_OK) == -1) {
        return 0;
    }

    archive_header(a, to, S_IFDIR | 0755, 0);

    return archive_modules(a, dir, to);
}


static int
archive_all_modules(archive *a, const char *modules, const char *more)
{
    int  n;

    archive_header(a, "lib", S_IFDIR | 0755, 0);
    archive_header(a, WHERE, S_IFDIR | 0755, 0);
    n = archive_modules(a, modules, WHERE);

    if (n == -1 || archive_some(a, modules, "erofs") == -1
        || archive_some(a, modules, "fuse") == -1)
    {
        return -1;
    }

    if (more == NULL) {
        return n;
    }

    if (access(more, F_OK) == -1) {
        return n == 0 ? 0
               : error_set(a->err, 500, "driver", "%s is missing: make the "
                           "kernel's directory anew (scripts/kernel.sh)",
                           more);
    }

    return archive_modules(a, more, WHERE);
}


int
initramfs_write(const char *path, const char *agent, const char *modules,
    const char *more, error **err)
{
    int      rc;
    char     new[4200];
    archive  a;

    snprintf(new, sizeof(new), "%s.new", path);
    a.to = fopen(new, "we");
    a.inode = 0;
    a.err = err;

    if (a.to == NULL) {
        return error_set(err, 500, "driver", "%s: %s", new, strerror(errno));
    }

    rc = archive_file(&a, "init", agent, 0755);

    if (rc == 0) {
        rc = archive_all_modules(&a, modules, more) == -1 ? -1 : 0;
    }

    archive_header(&a, "TRAILER!!!", 0, 0);

    if ((ferror(a.to) | fclose(a.to)) != 0 && rc == 0) {
        rc = error_set(err, 500, "driver", "%s: can't be written", new);
    }

    if (rc == 0 && (chmod(new, 0644) == -1 || rename(new, path) == -1)) {
        rc = error_set(err, 500, "driver", "%s: %s", path, strerror(errno));
    }

    if (rc != 0) {
        (void) unlink(new);
    }

    return rc;
}
