/*
 * The root of a virtual machine that was started from a first file system
 * which holds nothing but modules and the agent: the image on one disk, never
 * written to, and over it what has been changed, on another; see init.h.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/init.h"
#include "common/log.h"
#include "common/small_file.h"

#define ROOT_IMAGE   INIT_DISKS "/root"
#define ROOT_DISK    INIT_DISKS "/disk"

#define ROOT_BASE    "/.image"
#define ROOT_LAYER   "/.layer"
#define ROOT_NEW     "/.root"

#define SERIAL_MAX   20             /* of a virtio disk */


static int
root_serial(const char *name, char serial[SERIAL_MAX + 1])
{
    char    path[512];
    size_t  i;

    snprintf(path, sizeof(path), "/sys/block/%s/serial", name);
    (void) small_file_text(path, serial, SERIAL_MAX + 1);

    for (i = 0; serial[i] >= 'a' && serial[i] <= 'z'; i++) {
        /* void */
    }

    serial[i] = '\0';

    return serial[0] != '\0' ? 0 : -1;
}


static void
root_link(const char *disk, const char *as)
{
    char  link[256], target[512];

    mkdir(INIT_DISKS, 0700);
    snprintf(link, sizeof(link), INIT_DISKS "/%s", as);
    snprintf(target, sizeof(target), "/dev/%s", disk);

    if (symlink(target, link) != 0 && errno != EEXIST) {
        log_warn("init: %s: %s", link, strerror(errno));
    }
}


static int
root_is_disk(const struct dirent *e)
{
    return strncmp(e->d_name, "vd", 2) == 0;
}


/* Firecracker gives its disks no serial numbers of ours; they have the order in
 * which it was told of them.  Names of one length, as all are that a machine
 * of few disks has, have the order of their letters. */
static void
root_by_order(struct dirent **disks, int n, const char *names)
{
    int     i;
    char    name[SERIAL_MAX + 1];
    size_t  len;

    for (i = 0; i < n && *names != '\0'; i++) {
        len = strcspn(names, ",");
        snprintf(name, sizeof(name), "%.*s", (int) len, names);
        root_link(disks[i]->d_name, name);
        names += len + (names[len] == ',');
    }
}


/* Else the order of the disks' names is the kernel's to choose. */

void
init_disks(void)
{
    int              i, n;
    char             serial[SERIAL_MAX + 1];
    const char      *names;
    struct dirent  **disks;

    n = scandir("/sys/block", &disks, root_is_disk, alphasort);
    names = getenv("SANDBOX_DISKS");

    if (names != NULL && n > 0) {
        root_by_order(disks, n, names);
    }

    for (i = 0; i < n; i++) {
        if (names == NULL && root_serial(disks[i]->d_name, serial) == 0) {
            root_link(disks[i]->d_name, serial);
        }
        free(disks[i]);
    }

    if (n >= 0) {
        free(disks);
    }
}


static int
root_mount_image(void)
{
    size_t                    i;
    static const char *const  types[] = { "squashfs", "erofs", "ext4" };

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        init_modules(types[i]);

        if (mount(ROOT_IMAGE, ROOT_BASE, types[i], MS_RDONLY | MS_NODEV, NULL)
            == 0)
        {
            return 0;
        }
    }

    return -1;
}


static int
root_mount_layer(void)
{
    static const char *const  dirs[] = {
        ROOT_LAYER "/work", ROOT_LAYER "/upper"
    };

    if (access(ROOT_DISK, F_OK) != 0) {
        /* What is changed goes with the machine. */
        if (mount("tmpfs", ROOT_LAYER, "tmpfs", MS_NODEV, "mode=0755") != 0) {
            return -1;
        }

    } else if (mount(ROOT_DISK, ROOT_LAYER, "ext4", MS_NODEV | MS_NOATIME,
                     "discard") != 0)
    {
        return -1;
    }

    return (mkdir(dirs[0], 0700) == 0 || errno == EEXIST)
           && (mkdir(dirs[1], 0755) == 0 || errno == EEXIST) ? 0 : -1;
}


int
init_root(void)
{
    const char  *step;

    if (access(ROOT_IMAGE, F_OK) != 0) {
        return 0;
    }

    mkdir(ROOT_BASE, 0755);
    mkdir(ROOT_LAYER, 0755);
    mkdir(ROOT_NEW, 0755);
    step = NULL;

    if (root_mount_image() != 0) {
        step = "the image can't be mounted";

    } else if (root_mount_layer() != 0) {
        step = "the disk can't be mounted";

    } else if (mount("overlay", ROOT_NEW, "overlay", 0,
                     "lowerdir=" ROOT_BASE ",upperdir=" ROOT_LAYER "/upper,"
                     "workdir=" ROOT_LAYER "/work") != 0)
    {
        step = "the root can't be mounted";

    } else if (chdir(ROOT_NEW) != 0
               || mount(".", "/", NULL, MS_MOVE, NULL) != 0
               || chroot(".") != 0 || chdir("/") != 0)
    {
        step = "the root can't be entered";
    }

    if (step != NULL) {
        log_error("init: %s: %s", step, strerror(errno));
        return -1;
    }

    return 1;
}


/* Room for more processes and threads than there are, the kernel's own among
 * them. */

void
init_processes(unsigned more)
{
    char   text[32];
    FILE  *f;
    long   threads;

    if (more == 0) {
        return;
    }

    threads = 0;
    f = fopen("/proc/loadavg", "re");

    if (f == NULL || fscanf(f, "%*s %*s %*s %*d/%ld", &threads) != 1) {
        threads = 0;
    }
    if (f != NULL) {
        fclose(f);
    }

    snprintf(text, sizeof(text), "%ld", threads + (long) more);

    if (threads == 0
        || small_file_write("/proc/sys/kernel/threads-max", text) != 0)
    {
        log_error("init: processes can't be limited: %s", strerror(errno));
    }
}
