/* Mounts by descriptor; see mount.h. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "sandboxd/mount.h"


int
mount_clone_tree(const char *path)
{
    return open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
                     | AT_RECURSIVE);
}


int
mount_clone(const char *path)
{
    int  fd;

    fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

    /* In a less privileged mount namespace, what a mount hides may not be
     * uncovered by leaving the mount out. */
    if (fd == -1 && errno == EINVAL) {
        fd = mount_clone_tree(path);
    }

    return fd;
}


int
mount_restrict(int fd, uint64_t attributes)
{
    struct mount_attr  attr;

    memset(&attr, 0, sizeof(attr));
    attr.attr_set = attributes;

    return mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr,
                         sizeof(attr));
}


int
mount_idmap(int fd, int userns)
{
    struct mount_attr  attr;

    memset(&attr, 0, sizeof(attr));
    attr.attr_set = MOUNT_ATTR_IDMAP;
    attr.userns_fd = (uint64_t) userns;

    return mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr));
}


int
mount_attach(int fd, const char *target)
{
    return move_mount(fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
}


int
mount_bind(const char *source, const char *target, uint64_t attributes)
{
    int  fd, rc, saved;

    fd = mount_clone(source);
    if (fd == -1) {
        return -1;
    }

    rc = 0;

    if (attributes) {
        rc = mount_restrict(fd, attributes);
    }

    if (rc == 0) {
        rc = mount_attach(fd, target);
    }

    saved = errno;
    close(fd);
    errno = saved;

    return rc;
}
