/* A writable layer of bounded size; see oci_disk.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/disk_file.h"
#include "sandboxd/loop_mount.h"
#include "sandboxd/oci_disk.h"

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
    int  file, fd;

    static const char *const  types[] = { "ext4", NULL };

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

    fd = loop_mount(file, types, false, err);
    close(file);

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
