/* A file system in a file; see loop_mount.h. */

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "sandboxd/loop_mount.h"

#define LOOP_TRIES  64


/* A loop device that is detached when its last user goes. */
static int
loop_open(int file, bool readonly, char *path, size_t size, error **err)
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

        fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        if (fd == -1) {
            break;
        }

        memset(&config, 0, sizeof(config));
        config.fd = (uint32_t) file;
        config.info.lo_flags = LO_FLAGS_AUTOCLEAR
                               | (readonly ? LO_FLAGS_READ_ONLY : 0);

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
device_mount(const char *device, const char *type, bool readonly)
{
    int  fs, fd, saved;

    fd = -1;
    fs = fsopen(type, FSOPEN_CLOEXEC);

    if (fs != -1
        && fsconfig(fs, FSCONFIG_SET_STRING, "source", device, 0) == 0
        && (!readonly || fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) == 0)
        && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
    {
        fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID
                                          | (readonly ? MOUNT_ATTR_RDONLY : 0));
    }

    saved = errno;

    if (fs != -1) {
        close(fs);
    }

    errno = saved;

    return fd;
}


int
loop_mount(int file, const char *const *types, bool readonly, error **err)
{
    int     loop, fd, saved;
    char    device[32];
    size_t  i;

    loop = loop_open(file, readonly, device, sizeof(device), err);
    if (loop == -1) {
        return -1;
    }

    fd = -1;

    for (i = 0; types[i] != NULL && fd == -1; i++) {
        fd = device_mount(device, types[i], readonly);
    }

    if (fd == -1) {
        error_set(err, 500, "disk", "can't mount the file: %s",
                  strerror(errno));
    }

    /* From here on the mount alone keeps the device. */
    saved = errno;
    close(loop);
    errno = saved;

    return fd;
}
