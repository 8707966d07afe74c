/* What a start needs; see oci_prepare.h. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sandboxd/oci_disk.h"
#include "sandboxd/oci_prepare.h"
#include "sandboxd/oci_wire.h"

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


void
oci_lock_write(int lock, const char *boot_id, pid_t pid, uint64_t start_time)
{
    int   n;
    char  text[128];

    n = snprintf(text, sizeof(text), "%d %" PRIu64 " %s\n", (int) pid,
                 start_time, boot_id);

    if (pwrite(lock, text, (size_t) n, 0) == n) {
        (void) !ftruncate(lock, n);
    }
}


pid_t
oci_lock_read(int lock, const char *boot_id, uint64_t *start_time)
{
    int       pid;
    char      text[128], boot[64];
    ssize_t   n;

    n = pread(lock, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';

    if (sscanf(text, "%d %" SCNu64 " %63s", &pid, start_time, boot) != 3
        || strcmp(boot, boot_id) != 0 || pid <= 1
        || oci_start_time(pid) != *start_time)
    {
        return 0;
    }

    return pid;
}


/* A directory of root's, in which only the layer belongs to the sandbox. */
static int
dir_open(oci_prepare *p)
{
    int   layers, dir;
    char  name[9];

    oci_slot_name(p->slot, name);

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
    pid = oci_lock_read(p->lock, p->o->boot_id, &start_time);

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


/* The permissions are set before anybody can connect. */
static int
socket_listen(oci_prepare *p)
{
    struct sockaddr_un  sun;

    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;
    oci_socket_path(p->o, p->slot, sun.sun_path, sizeof(sun.sun_path));

    p->listen = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->listen == -1) {
        return failed(p, "socket");
    }

    if (unlink(sun.sun_path) == -1 && errno != ENOENT) {
        return failed(p, "can't replace the agent's socket");
    }

    if (bind(p->listen, (struct sockaddr *) &sun, sizeof(sun)) == -1
        || (p->o->host.socket_gid != (gid_t) -1
            && lchown(sun.sun_path, (uid_t) -1, p->o->host.socket_gid) == -1)
        || chmod(sun.sun_path, 0660) == -1
        || listen(p->listen, OCI_BACKLOG) == -1)
    {
        return failed(p, "can't make the agent's socket");
    }

    return 0;
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
        && socket_listen(p) == 0)
    {
        (void) cgroup_create(p->o->cg, p->slot, &p->limits, &p->err);
    }

    close(dir);
}
