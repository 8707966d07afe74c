/* A writable layer of bounded size; see oci_disk.h. */

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/disk_file.h"
#include "sandboxd/oci_disk.h"

#define LOOP_TRIES  64


/* A loop device that is detached when its last user goes. */
static int
loop_open(int file, char *path, size_t size, error **err)
{
    int                 control, fd, i, n;
    struct loop_config  config;

    control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control == -1) {
        return error_set(err, 500, "disk", "/dev/loop-control: %s",
                         strerror(errno));
    }

    fd = -1;

    for (i = 0; i < LOOP_TRIES; i++) {
        n = ioctl(control, LOOP_CTL_GET_FREE);
        if (n == -1) {
            break;
        }

        snprintf(path, size, "/dev/loop%d", n);

        fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd == -1) {
            break;
        }

        memset(&config, 0, sizeof(config));
        config.fd = (uint32_t) file;
        config.info.lo_flags = LO_FLAGS_AUTOCLEAR;

        if (ioctl(fd, LOOP_CONFIGURE, &config) == 0) {
            close(control);
            return fd;
        }

        close(fd);
        fd = -1;

        /* Another program may have been faster. */
        if (errno != EBUSY) {
            break;
        }
    }

    error_set(err, 500, "disk", "no loop device: %s", strerror(errno));
    close(control);

    return fd;
}


static int
ext4_mount(const char *device, error **err)
{
    int  fs, fd;

    fd = -1;
    fs = fsopen("ext4", FSOPEN_CLOEXEC);

    if (fs != -1
        && fsconfig(fs, FSCONFIG_SET_STRING, "source", device, 0) == 0
        && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
    {
        fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);
    }

    if (fd == -1) {
        error_set(err, 500, "disk", "can't mount the layer: %s",
                  strerror(errno));
    }

    if (fs != -1) {
        close(fs);
    }

    return fd;
}


static int
layer_make(int mount, uid_t uid, gid_t gid, bool *fresh, error **err)
{
    size_t  i;

    static const char *const  names[] = {
        "layer", "layer/work", "layer/upper"
    };

    /* The last one is made last, so that it tells a complete layer. */
    if (faccessat(mount, names[2], F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        return 0;
    }

    for (i = 0; i < 3; i++) {
        if ((mkdirat(mount, names[i], 0755) == -1 && errno != EEXIST)
            || fchownat(mount, names[i], uid, gid, AT_SYMLINK_NOFOLLOW) == -1)
        {
            return error_set(err, 500, "disk", "layer: %s", strerror(errno));
        }
    }

    *fresh = true;

    return 0;
}


int
oci_disk_open(int dir, uint64_t size, uid_t uid, gid_t gid, bool *fresh,
    error **err)
{
    int   file, loop, fd;
    char  device[32];

    if (size < OCI_DISK_MIN) {
        size = OCI_DISK_MIN;
    }

    file = openat(dir, "disk", O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (file == -1 && errno == ENOENT) {
        file = disk_file_create(dir, "disk", size, err);
        if (file == -1) {
            return -1;
        }
    }

    if (file == -1) {
        return error_set(err, 500, "disk", "disk: %s", strerror(errno));
    }

    loop = loop_open(file, device, sizeof(device), err);
    close(file);

    if (loop == -1) {
        return -1;
    }

    fd = ext4_mount(device, err);

    /* From here on the mount alone keeps the device. */
    close(loop);

    if (fd != -1 && layer_make(fd, uid, gid, fresh, err) == -1) {
        close(fd);
        fd = -1;
    }

    return fd;
}


bool
oci_disk_works(const char *dir)
{
    int    fd, mount;
    bool   fresh;
    char   path[32];

    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd == -1) {
        return false;
    }

    snprintf(path, sizeof(path), "trash-disk");

    if (mkdirat(fd, path, 0700) == -1 && errno != EEXIST) {
        close(fd);
        return false;
    }

    mount = -1;

    int  sub = openat(fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (sub != -1) {
        mount = oci_disk_open(sub, OCI_DISK_MIN, 0, 0, &fresh, NULL);
        (void) unlinkat(sub, "disk", 0);
        close(sub);
    }

    if (mount != -1) {
        close(mount);
    }

    (void) unlinkat(fd, path, AT_REMOVEDIR);
    close(fd);

    return mount != -1;
}
