/* What a start needs; see oci_prepare.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/oci_disk.h"
#include "sandboxd/oci_prepare.h"

#define LOCK_TRIES  200         /* of 10 ms: a starter of before may be dying */


void
oci_prepare_init(oci_prepare *p)
{
    p->lock = -1;
    p->listen = -1;
    p->disk = -1;
    p->owned = false;
    p->fresh = false;
    p->err = NULL;
}


static int
failed(oci_prepare *p, const char *what)
{
    return error_set(&p->err, errno == ENOSPC || errno == EDQUOT ? 507 : 500,
                     "start_failed", "%s: %s", what, strerror(errno));
}


/* A directory of root's, in which only the layer belongs to the sandbox. */
static int
dir_open(oci_prepare *p)
{
    int   layers, dir;
    char  name[9], machine[4200];

    oci_slot_name(p->slot, name);

    /* It would start without them. */
    snprintf(machine, sizeof(machine), "%s/machines/%s", p->o->host.state_dir,
             name);

    if (access(machine, F_OK) == 0) {
        return error_set(&p->err, 409, "start_failed", "its files are those "
                         "of a virtual machine (sandboxd --driver qemu)");
    }

    layers = open(p->o->layers, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (layers == -1) {
        return failed(p, "layers");
    }

    if (mkdirat(layers, name, 0711) == -1 && errno != EEXIST) {
        failed(p, "can't make the sandbox's directory");
        close(layers);
        return -1;
    }

    dir = openat(layers, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC
                 | O_NOFOLLOW);
    close(layers);

    return dir != -1 ? dir : failed(p, "sandbox's directory");
}


static int
lock_take(oci_prepare *p, int dir)
{
    int       tries;
    pid_t     pid;
    uint64_t  start_time;

    p->lock = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                     0600);
    if (p->lock == -1) {
        return failed(p, "lock");
    }

    for (tries = 0; flock(p->lock, LOCK_EX | LOCK_NB) == -1; tries++) {
        if (errno != EWOULDBLOCK || tries == LOCK_TRIES) {
            return failed(p, "the sandbox's directory is in use");
        }

        usleep(10000);
    }

    /* Before anything that a running sandbox needs is touched. */
    pid = slot_lock_read(p->lock, p->o->boot_id, &start_time);

    if (pid != 0) {
        return error_set(&p->err, 409, "already_running",
                         "the sandbox runs already (process %d)", (int) pid);
    }

    p->owned = true;

    return 0;
}


/* upper is made last: it tells a complete layer.  The file "unused" stays until
 * the layer has the name of the sandbox that runs in it. */
static int
layer_make(oci_prepare *p, int dir)
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
            return failed(p, "can't make the writable layer");
        }

        if (i == 0) {
            fd = openat(dir, "layer/unused", O_WRONLY | O_CREAT | O_CLOEXEC
                        | O_NOFOLLOW, 0600);

            if (fd == -1) {
                return failed(p, "can't make the writable layer");
            }

            close(fd);
        }
    }

    p->fresh = true;

    return 0;
}


static int
disk_make(oci_prepare *p, int dir)
{
    if (p->limits.disk == 0
        && faccessat(dir, "disk", F_OK, AT_SYMLINK_NOFOLLOW) == -1)
    {
        return layer_make(p, dir);
    }

    p->disk = oci_disk_open(dir, p->limits.disk, p->o->map.uid,
                            p->o->map.gid, &p->fresh, &p->err);

    return p->disk == -1 ? -1 : 0;
}


static int
socket_make(oci_prepare *p)
{
    char  path[AGENT_SOCKET_MAX + 32];

    oci_socket_path(p->o, p->slot, path, sizeof(path));
    p->listen = agent_socket(path, p->o->host.socket_gid, &p->err);

    return p->listen == -1 ? -1 : 0;
}


void
oci_prepare_work(oci_prepare *p)
{
    int  dir;

    dir = dir_open(p);
    if (dir == -1) {
        return;
    }

    if (lock_take(p, dir) == 0 && disk_make(p, dir) == 0
        && socket_make(p) == 0)
    {
        (void) cgroup_create(p->o->cg, p->slot, &p->limits, &p->err);
    }

    close(dir);
}
