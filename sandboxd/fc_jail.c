/*
 * What is in a Firecracker's jail, and on which terms.  Runs in the keeper, as
 * root, before there is a VMM; see fc.h.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/fc.h"
#include "sandboxd/mount.h"

#define DATA       (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
#define READ_ONLY  (DATA | MOUNT_ATTR_RDONLY)
#define RUN_ONLY   (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY)

#define JAIL_PATH  512


static int
failed(const char *what, error **err)
{
    return error_set(err, 500, "start_failed", "jail: %.200s: %s", what,
                     strerror(errno));
}


/* The programs, which nobody may change under a jailer that is root. */
static int
jail_programs(const fc_told *told, error **err)
{
    char  jailer[VM_PATH_MAX];

    fc_jailer_path(told->program, jailer, sizeof(jailer));

    if (vm_jail_file(told->program, "." FC_PROGRAM, RUN_ONLY) != 0) {
        return failed(told->program, err);
    }

    if (vm_jail_file(jailer, "." FC_JAILER, RUN_ONLY) != 0) {
        return failed(jailer, err);
    }

    return 0;
}


/* In memory, and for this machine alone.  The jail has device nodes and a copy
 * of the program; the sockets are in a place that the keeper can reach, which
 * can't enter the jail once that is the VMM's. */
static int
jail_places(const vm_order *order, const fc_told *told, char path[JAIL_PATH],
    error **err)
{
    int   i;
    char  options[128];

    snprintf(options, sizeof(options),
             "mode=0711,uid=%u,gid=%u,size=64k,nr_inodes=16",
             (unsigned) order->vmm_uid, (unsigned) order->vmm_uid);

    if (mkdir("." FC_SOCKETS, 0711) != 0
        || mount("sockets", "." FC_SOCKETS, "tmpfs", MS_NOSUID | MS_NODEV
                 | MS_NOEXEC, options) != 0
        || mkdir("." FC_JAILS, 0700) != 0
        || mount("jails", "." FC_JAILS, "tmpfs", MS_NOSUID,
                 "mode=0700,size=64m,nr_inodes=1024") != 0)
    {
        return failed("places", err);
    }

    snprintf(path, JAIL_PATH, "." FC_JAILS);

    for (i = 0; i < 3; i++) {
        strncat(path, i == 0 ? "/firecracker/" : i == 1 ? told->id : "/root",
                JAIL_PATH - strlen(path) - 1);

        if (mkdir(path, 0700) != 0) {
            return failed(path, err);
        }
    }

    return 0;
}


/* A file of the host's, which becomes the VMM's user's if that writes to it. */
static int
jail_file(const vm_order *order, const char *root, const char *source,
    const char *name, bool write, error **err)
{
    char  target[JAIL_PATH + 32];

    snprintf(target, sizeof(target), "%s%s", root, name);

    if ((write && chown(source, order->vmm_uid, order->vmm_uid) != 0)
        || vm_jail_file(source, target, write ? DATA : READ_ONLY) != 0)
    {
        return failed(source, err);
    }

    return 0;
}


/* One of the machine's directory, where nobody but root is. */
static int
jail_own(const vm_order *order, const char *root, const char *file,
    const char *name, bool write, error **err)
{
    char  source[VM_PATH_MAX + 32];

    snprintf(source, sizeof(source), "%s/%s", order->dir, file);

    return jail_file(order, root, source, name, write, err);
}


/* What a sleep has kept is there once: from here on it is a mount, and goes
 * with that.  Before, whatever fails leaves it to the next start. */
static int
jail_kept(const vm_order *order, const char *root, error **err)
{
    int     rc;
    size_t  i;
    char    path[VM_PATH_MAX + 32];

    static const char *const  kept[][2] = {
        { VMM_KEPT, FC_IN_KEPT }, { VMM_KEPT_STATE, FC_IN_KEPT_STATE }
    };

    /* Also after a power loss: the disk is another one soon. */
    if (ftruncate(VM_FD_END, 0) != 0 || fdatasync(VM_FD_END) != 0) {
        return failed("what was kept", err);
    }

    for (i = 0, rc = 0; i < 2 && rc == 0; i++) {
        snprintf(path, sizeof(path), "%s/%s", order->dir, kept[i][0]);

        if (chown(path, order->vmm_uid, order->vmm_uid) != 0) {
            return failed(path, err);
        }

        rc = jail_own(order, root, kept[i][0], kept[i][1], false, err);
        (void) unlink(path);
    }

    return rc;
}


/* A drive has to be a file with a name; this one is in memory, and the guest
 * overwrites it. */
static int
jail_boot(const vm_order *order, const char *root, error **err)
{
    int          fd;
    char         target[JAIL_PATH + 32];
    off_t        at;
    ssize_t      n;
    struct stat  st;

    snprintf(target, sizeof(target), "%s" FC_IN_BOOT, root);
    fd = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    n = -1;

    if (fd != -1 && fstat(VM_FD_BOOT, &st) == 0
        && fchown(fd, order->vmm_uid, order->vmm_uid) == 0)
    {
        for (at = 0, n = 1; at < st.st_size && n > 0; ) {
            n = sendfile(fd, VM_FD_BOOT, &at, (size_t) (st.st_size - at));
        }
    }

    if (fd != -1) {
        close(fd);
    }

    return n > 0 ? 0 : failed("boot object", err);
}


int
fc_jail(const vm_order *order, error **err)
{
    char     root[JAIL_PATH], sockets[JAIL_PATH + 32];
    fc_told  told;

    if (fc_args_told(order, &told) != 0) {
        return error_set(err, 500, "internal", "the order is incomplete");
    }

    if (jail_programs(&told, err) != 0
        || jail_places(order, &told, root, err) != 0)
    {
        return -1;
    }

    snprintf(sockets, sizeof(sockets), "%s/s", root);

    if (mkdir(sockets, 0700) != 0
        || mount_bind("." FC_SOCKETS, sockets, DATA) != 0)
    {
        return failed("sockets", err);
    }

    if (jail_file(order, root, order->kernel, FC_IN_KERNEL, false, err) != 0
        || jail_file(order, root, order->initramfs, FC_IN_INITRAMFS, false,
                     err) != 0
        || jail_file(order, root, order->image, FC_IN_IMAGE, false, err) != 0
        || jail_own(order, root, "disk", FC_IN_DISK, true, err) != 0
        || jail_own(order, root, "memory", FC_IN_MEMORY, true, err) != 0
        || jail_own(order, root, "state", FC_IN_STATE, true, err) != 0
        || jail_boot(order, root, err) != 0)
    {
        return -1;
    }

    return order->boot_len != 0 ? jail_kept(order, root, err) : 0;
}


/* The VMM opens it by its name; it is the user's that the VMM has then, and
 * stays until its namespace goes. */
int
fc_tap(const vm_order *order, error **err)
{
    if (ioctl(VM_FD_TAP, TUNSETOWNER, (unsigned long) order->vmm_uid) != 0
        || ioctl(VM_FD_TAP, TUNSETPERSIST, 1UL) != 0)
    {
        return failed("TAP", err);
    }

    return 0;
}
