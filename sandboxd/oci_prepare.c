/* What a start needs; see oci_prepare.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/oci_disk.h"
#include "sandboxd/oci_prepare.h"


void
oci_prepare_init(oci_prepare *p)
{
    p->lock = -1;
    p->listen = -1;
    p->disk = -1;
    p->owned = false;
    p->fresh = false;
}


/* upper is made last: it tells a complete layer.  The file "unused" stays until
 * the layer has the name of the sandbox that runs in it. */
static int
layer_make(oci_prepare *p, int dir, error **err)
{
    int     fd;
    size_t  i;
    uid_t   uid;
    gid_t   gid;

    static const char *const  names[] = {
        "layer", "layer/work", "layer/upper"
    };

    if (faccessat(dir, names[2], F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        p->fresh = faccessat(dir, "layer/unused", F_OK, AT_SYMLINK_NOFOLLOW)
                   == 0;
        return 0;
    }

    uid = p->o->map.root ? p->o->map.uid : (uid_t) -1;
    gid = p->o->map.root ? p->o->map.gid : (gid_t) -1;

    for (i = 0; i < 3; i++) {
        if ((mkdirat(dir, names[i], 0755) == -1 && errno != EEXIST)
            || fchownat(dir, names[i], uid, gid, AT_SYMLINK_NOFOLLOW) == -1
            || fchmodat(dir, names[i], i < 2 ? 0700 : 0755, 0) == -1)
        {
            return box_failed(err, "can't make the writable layer");
        }

        if (i == 0) {
            fd = openat(dir, "layer/unused", O_WRONLY | O_CREAT | O_CLOEXEC
                        | O_NOFOLLOW, 0600);

            if (fd == -1) {
                return box_failed(err, "can't make the writable layer");
            }

            close(fd);
        }
    }

    p->fresh = true;

    return 0;
}


/* One that was prepared may be of another size than it was to be in the end. */
static bool
disk_is(const oci_prepare *p, int dir)
{
    uint64_t     size;
    struct stat  st;

    if (fstatat(dir, "disk", &st, AT_SYMLINK_NOFOLLOW) == -1) {
        return false;
    }

    size = p->limits.disk == 0 ? 0
           : p->limits.disk < OCI_DISK_MIN ? OCI_DISK_MIN : p->limits.disk;

    if (!p->first || (uint64_t) st.st_size == size) {
        return true;
    }

    return unlinkat(dir, "disk", 0) == -1;
}


/* As "layer/unused", but beside the disk, which isn't mounted when somebody
 * wants to know. */
static int
disk_mark(int dir, error **err)
{
    int  fd;

    fd = openat(dir, "unused", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                0600);

    if (fd == -1) {
        return box_failed(err, "can't make the writable layer");
    }

    close(fd);

    return 0;
}


/* Files stay where they are, whatever the limit is by now. */
static int
disk_make(oci_prepare *p, int dir, error **err)
{
    bool  is;

    is = disk_is(p, dir);

    if (!is
        && (p->limits.disk == 0
            || (!p->first && faccessat(dir, "layer/upper", F_OK,
                                       AT_SYMLINK_NOFOLLOW) == 0)))
    {
        return layer_make(p, dir, err);
    }

    if (!is && disk_mark(dir, err) == -1) {
        return -1;
    }

    p->disk = oci_disk_open(dir, p->limits.disk, p->o->map.uid,
                            p->o->map.gid, &p->fresh, err);

    if (faccessat(dir, "unused", F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        p->fresh = true;
    }

    return p->disk == -1 ? -1 : 0;
}


void
oci_prepare_used(const oci_driver *o, uint32_t slot)
{
    char  path[BOX_PATH];

    box_path(&o->base, slot, "unused", path, sizeof(path));
    (void) unlink(path);
}


static int
socket_make(oci_prepare *p, error **err)
{
    char  path[AGENT_SOCKET_MAX + 32];

    box_socket_path(&p->o->base, p->slot, path, sizeof(path));
    p->listen = agent_socket(path, p->o->base.host.socket_gid, err);

    return p->listen == -1 ? -1 : 0;
}


void
oci_prepare_work(oci_prepare *p, error **err)
{
    int  dir;

    dir = box_dir_open(&p->o->base, p->slot, err);
    if (dir == -1) {
        return;
    }

    if (box_lock_take(&p->o->base, dir, &p->lock, &p->owned, err) == 0
        && disk_make(p, dir, err) == 0 && socket_make(p, err) == 0)
    {
        (void) cgroup_create(p->o->base.cg, p->slot, &p->limits, err);
    }

    close(dir);
}
