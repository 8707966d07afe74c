/*
 * What a VMM and its keeper see of the host's files: programs and libraries,
 * the kernel, three devices; nothing of it can be written to.  See vm.h.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandboxd/mount.h"
#include "sandboxd/vm.h"

#define READ_ONLY  (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)


static int
jail_failed(const char *what, error **err)
{
    return error_set(err, 500, "start_failed", "jail: %s: %s", what,
                     strerror(errno));
}


/* In the jail's directory, which is the current one. */
int
vm_jail_file(const char *source, const char *target, uint64_t attributes)
{
    int  fd;

    fd = open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd == -1) {
        return -1;
    }

    close(fd);

    return mount_bind(source, target, attributes);
}


/* Where /usr is not the whole of the system's programs, these are directories
 * of their own. */
static int
jail_programs(error **err)
{
    char                      path[16], target[256];
    size_t                    i;
    ssize_t                   n;
    static const char *const  names[] = { "bin", "lib", "lib64", "sbin" };

    if (mkdir("usr", 0755) != 0 || mount_bind("/usr", "usr", READ_ONLY) != 0) {
        return jail_failed("/usr", err);
    }

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "/%s", names[i]);
        n = readlink(path, target, sizeof(target) - 1);

        if (n > 0) {
            target[n] = '\0';
            if (symlink(target, names[i]) != 0) {
                return jail_failed(path, err);
            }

        } else if (access(path, F_OK) == 0
                   && (mkdir(names[i], 0755) != 0
                       || mount_bind(path, names[i], READ_ONLY) != 0))
        {
            return jail_failed(path, err);
        }
    }

    return 0;
}


static int
jail_devices(const vm_order *order, error **err)
{
    if (mkdir("dev", 0755) != 0
        || vm_jail_file("/dev/null", "dev/null", MOUNT_ATTR_NOEXEC) != 0
        || vm_jail_file("/dev/urandom", "dev/urandom", MOUNT_ATTR_NOEXEC) != 0)
    {
        return jail_failed("devices", err);
    }

    if (order->kvm
        && vm_jail_file("/dev/kvm", "dev/kvm", MOUNT_ATTR_NOEXEC) != 0)
    {
        return jail_failed("/dev/kvm", err);
    }

    return 0;
}


int
vm_jail(const vm_order *order,
    int (*more)(const vm_order *order, error **err), error **err)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0
        || mount("jail", order->jail, "tmpfs", MS_NOSUID | MS_NODEV,
                 "mode=0755,size=64k,nr_inodes=64") != 0
        || chdir(order->jail) != 0)
    {
        return jail_failed("root", err);
    }

    if (jail_programs(err) != 0 || jail_devices(order, err) != 0) {
        return -1;
    }

    if (mkdir("vm", 0755) != 0
        || vm_jail_file(order->kernel, "." VM_KERNEL, READ_ONLY) != 0
        || vm_jail_file(order->initramfs, "." VM_INITRAMFS, READ_ONLY) != 0)
    {
        return jail_failed("kernel", err);
    }

    if (more != NULL && more(order, err) != 0) {
        return -1;
    }

    if (syscall(SYS_pivot_root, ".", ".") != 0
        || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0
        || mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID
                 | MS_NODEV, NULL) != 0)
    {
        return jail_failed("pivot_root", err);
    }

    return 0;
}
