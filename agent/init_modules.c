/*
 * The modules of a virtual machine whose kernel is a distribution's, in its
 * first file system: they are loaded in the order of their names, since nothing
 * here knows what one needs.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/init.h"
#include "common/log.h"

#define MODULES  "/lib/sandbox-modules"


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
