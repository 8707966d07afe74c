/*
 * The modules of a virtual machine whose kernel is a distribution's, in its
 * first file system: they are loaded in the order of their names, since nothing
 * here knows what one needs.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/init.h"
#include "common/log.h"
#include "common/small_file.h"

#define MODULES     "/lib/sandbox-modules"
#define INIT        "/init"     /* this program, there */
#define FUSE        "fuse"
#define FUSE_MAJOR  10
#define FUSE_MINOR  229

static bool  modules_fuse;          /* there is one */


static int
modules_by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}


static int
modules_is_one(const struct dirent *e)
{
    size_t  len;

    len = strlen(e->d_name);

    return len > 3 && strcmp(e->d_name + len - 3, ".ko") == 0;
}


static void
modules_load(const char *path)
{
    int  fd;

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1 || (syscall(SYS_finit_module, fd, "", 0) != 0
                     && errno != EEXIST))
    {
        log_warn("init: %s: %s", path, strerror(errno));
    }
    if (fd != -1) {
        close(fd);
    }

    /* Its memory is the machine's. */
    unlink(path);
}


void
init_modules(const char *of)
{
    int              i, n;
    char             dir[128], path[512];
    struct dirent  **list;

    snprintf(dir, sizeof(dir), MODULES "/%s", of != NULL ? of : "");
    n = scandir(dir, &list, modules_is_one, modules_by_name);

    for (i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, list[i]->d_name);
        modules_load(path);
        free(list[i]);
    }

    if (n >= 0) {
        free(list);
    }
}


/* The kernel's own threads share root and working directory with its first
 * process, until that has some of its own: so they still see the first file
 * system, and what they start does. */
void
init_modules_later(void)
{
    if (access(MODULES "/" FUSE, F_OK) != 0) {
        return;
    }

    modules_fuse = small_file_write("/proc/sys/kernel/modprobe", INIT) == 0
                   && unshare(CLONE_FS) == 0;

    if (!modules_fuse) {
        log_warn("init: no modules for later: %s", strerror(errno));
    }
}


int
init_modules_asked(char **argv)
{
    static const char *const  names[] = { "char-major-10-229", "fs-fuse" };

    if (argv[0] == NULL || strcmp(argv[0], INIT) != 0
        || argv[1] == NULL || strcmp(argv[1], "-q") != 0
        || argv[2] == NULL || strcmp(argv[2], "--") != 0
        || argv[3] == NULL || argv[4] != NULL)
    {
        return -1;
    }

    if (strcmp(argv[3], names[0]) != 0 && strcmp(argv[3], names[1]) != 0) {
        return 1;
    }

    init_modules(FUSE);

    return 0;
}


/* The kernel makes the device when it has the module, which it asks for when
 * the device is opened. */
void
init_fuse(void)
{
    if (modules_fuse
        && mknod("/dev/fuse", S_IFCHR | 0666, makedev(FUSE_MAJOR, FUSE_MINOR))
           != 0 && errno != EEXIST)
    {
        log_warn("init: /dev/fuse: %s", strerror(errno));
    }

    (void) chmod("/dev/fuse", 0666);
}
