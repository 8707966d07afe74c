/* The helper's world; see oci_root.h. */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandboxd/image_hold.h"
#include "sandboxd/image_host.h"
#include "sandboxd/loop_mount.h"
#include "sandboxd/mount.h"
#include "sandboxd/oci_root.h"

#define AGENT_MAX  (256 * 1024 * 1024)     /* a sanitized build is large */

/* Descriptors that are opened while the host's files can still be seen. */
typedef struct {
    int   usr, usr_image, proc, sys, dev, layers;
    int  *images;
} root_clones;


static int
failed(error **err, const char *what)
{
    return error_set(err, 500, "driver", "%s: %s", what, strerror(errno));
}


static int
copy_bytes(int to, int from)
{
    char     buf[65536];
    size_t   total;
    ssize_t  n;

    total = 0;

    while ((n = read(from, buf, sizeof(buf))) > 0) {
        total += (size_t) n;

        if (total > AGENT_MAX) {
            errno = EFBIG;
            return -1;
        }

        if (write(to, buf, (size_t) n) != n) {
            return -1;
        }
    }

    return n == 0 ? 0 : -1;
}


/* crun copies and executes itself again, so that a container can't overwrite
 * it through /proc, unless it runs from a sealed memory file already. */
static int
crun_seal(const char *path, error **err)
{
    int  from, fd;

    from = open(path, O_RDONLY | O_CLOEXEC);
    if (from == -1) {
        return failed(err, path);
    }

    fd = memfd_create("crun", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd == -1 || copy_bytes(fd, from) == -1
        || fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW
                                  | F_SEAL_WRITE) == -1)
    {
        failed(err, path);

        if (fd != -1) {
            close(fd);
            fd = -1;
        }
    }

    close(from);

    return fd;
}


/* A file with a file system in it is mounted, for as long as this process or a
 * sandbox has it. */
static int
image_mount(const char *path)
{
    int          file, fd;
    struct stat  st;

    static const char *const  types[] = { "squashfs", "erofs", "ext4", NULL };

    if (stat(path, &st) == -1 || !S_ISREG(st.st_mode)) {
        return mount_clone(path);
    }

    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file == -1) {
        return -1;
    }

    /* The loop device has the open file, and with it the lock. */
    fd = image_hold(file) == 0 ? loop_mount(file, types, true, NULL) : -1;
    close(file);

    return fd;
}


static int
image_clone(const char *name, const char *path, int userns, error **err)
{
    int  fd;

    fd = image_mount(path);
    if (fd == -1) {
        /* Without its path: who starts a sandbox may hear of this. */
        return error_set(err, 500, "image", "image %s: it can't be used: "
                         "%s", name, strerror(errno));
    }

    if (userns != -1 && mount_idmap(fd, userns) == -1) {
        close(fd);
        return error_set(err, 500, "image", "image %s: its filesystem can't "
                         "map owners: %s", name, strerror(errno));
    }

    return fd;
}


/* /usr for crun and /usr for sandboxes are two mounts: only the second must
 * not carry anything that an administrator mounted below /usr. */
static int
clones_open(const oci_root *root, root_clones *c, int userns, error **err)
{
    unsigned  i;

    c->usr = mount_clone("/usr");
    c->usr_image = mount_clone("/usr");
    c->proc = mount_clone_tree("/proc");
    c->sys = mount_clone("/sys");
    c->dev = mount_clone("/dev");
    c->layers = mount_clone(root->layers);

    if (c->usr == -1 || c->usr_image == -1 || c->proc == -1 || c->sys == -1
        || c->dev == -1 || c->layers == -1)
    {
        return failed(err, "can't clone the host's mounts");
    }

    if (mount_restrict(c->usr, MOUNT_ATTR_RDONLY) == -1
        || mount_restrict(c->usr_image, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID
                                        | MOUNT_ATTR_NODEV) == -1
        || mount_restrict(c->layers, MOUNT_ATTR_NODEV
                                     | MOUNT_ATTR_NOSUID) == -1)
    {
        return failed(err, "can't restrict the host's mounts");
    }

    c->images = calloc(root->host->image_count + 1, sizeof(int));
    if (c->images == NULL) {
        return failed(err, "memory");
    }

    for (i = 0; i < root->host->image_count; i++) {
        c->images[i] = image_clone(root->host->image_names[i],
                                   root->host->image_dirs[i], userns, err);
        if (c->images[i] == -1) {
            return -1;
        }
    }

    return 0;
}


static int
agent_copy(int from, error **err)
{
    int  fd, rc;

    fd = open("agent", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0555);
    if (fd == -1) {
        return failed(err, "agent");
    }

    rc = copy_bytes(fd, from);

    if (rc == 0) {
        rc = fchmod(fd, 0555);
    }

    close(fd);

    return rc == 0 ? 0 : failed(err, "agent");
}


static int
links_copy(void)
{
    char     source[16], target[256];
    size_t   i;
    ssize_t  n;

    static const char *const  names[] = {
        "bin", "lib", "lib32", "lib64", "libx32", "sbin"
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(source, sizeof(source), "/%s", names[i]);
        n = readlink(source, target, sizeof(target) - 1);

        if (n <= 0) {
            /* A system from before the merge of /usr. */
            if (access(source, F_OK) == 0
                && (mkdir(names[i], 0755) == -1
                    || mount_bind(source, names[i], MOUNT_ATTR_RDONLY) == -1))
            {
                return -1;
            }

            continue;
        }

        target[n] = '\0';

        if (symlink(target, names[i]) == -1) {
            return -1;
        }
    }

    return 0;
}


static int
attach(int fd, const char *dir, error **err)
{
    int  rc;

    if ((mkdir(dir, 0755) == -1 && errno != EEXIST)
        || mount_attach(fd, dir) == -1)
    {
        rc = failed(err, dir);
    } else {
        rc = 0;
    }

    close(fd);

    return rc;
}


static int
images_attach(const oci_root *root, root_clones *c, const userns_map *map,
    error **err)
{
    char      dir[32];
    unsigned  i;

    if (mkdir("i", 0755) == -1) {
        return failed(err, "i");
    }

    for (i = 0; i < root->host->image_count; i++) {
        snprintf(dir, sizeof(dir), "i/%u", i);

        if (attach(c->images[i], dir, err) == -1) {
            return -1;
        }
    }

    if (!root->host_image) {
        close(c->usr_image);
        return 0;
    }

    snprintf(dir, sizeof(dir), "i/%u", i);

    if (mkdir(dir, 0755) == -1) {
        return failed(err, dir);
    }

    /* An ordinary user has become root of the namespace already. */
    if (image_host_build(dir, map->root ? map->uid : 0,
                         map->root ? map->gid : 0, err) == -1)
    {
        return -1;
    }

    return attach(c->usr_image, "i/usr", err);
}


/* In the new root, which is the current directory. */
static int
root_fill(const oci_root *root, root_clones *c, const userns_map *map,
    int agent, error **err)
{
    if (attach(c->usr, "usr", err) == -1
        || attach(c->proc, "proc", err) == -1
        || attach(c->sys, "sys", err) == -1
        || attach(c->dev, "dev", err) == -1
        || attach(c->layers, "s", err) == -1
        || images_attach(root, c, map, err) == -1
        || agent_copy(agent, err) == -1)
    {
        return -1;
    }

    if (links_copy() == -1) {
        return failed(err, "can't copy the links into /usr");
    }

    /* crun looks here for what kind of host this is; it doesn't get to manage
     * any groups, and this spares it all that version 1 needs. */
    if (mount("cgroup2", "sys/fs/cgroup", "cgroup2",
              MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == -1)
    {
        return failed(err, "can't mount cgroup2");
    }

    if (mkdir("b", 0755) == -1 || mkdir("tmp", 0755) == -1
        || mkdir("run", 0755) == -1)
    {
        return failed(err, "b");
    }

    return 0;
}


static int
root_change(error **err)
{
    if (syscall(SYS_pivot_root, ".", ".") == -1) {
        return failed(err, "pivot_root");
    }

    /* Both roots are at "."; the old one is on top. */
    if (umount2(".", MNT_DETACH) == -1 || chdir("/") == -1) {
        return failed(err, "can't leave the host's root");
    }

    return 0;
}


static int
root_build(oci_root *root, const userns_map *map, int userns, error **err)
{
    int          agent, rc;
    root_clones  c;

    /* What is unmounted on the host goes away here too, nothing flows back. */
    if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) == -1) {
        return failed(err, "can't detach from the host's mounts");
    }

    agent = open(root->host->agent_path, O_RDONLY | O_CLOEXEC);
    if (agent == -1) {
        return failed(err, root->host->agent_path);
    }

    root->crun = crun_seal(root->host->crun_path, err);
    if (root->crun == -1) {
        close(agent);
        return -1;
    }

    if (clones_open(root, &c, userns, err) == -1) {
        close(agent);
        return -1;
    }

    if (mount("sandboxd", root->layers, "tmpfs", MS_NOSUID | MS_NODEV,
              "mode=0755,size=64m") == -1
        || chdir(root->layers) == -1)
    {
        close(agent);
        return failed(err, root->layers);
    }

    rc = root_fill(root, &c, map, agent, err);
    close(agent);
    free(c.images);

    return rc == 0 ? root_change(err) : -1;
}


static int
root_enter_privileged(oci_root *root, userns_map *map, error **err)
{
    int  userns, rc;

    userns = userns_create(map, err);
    if (userns == -1) {
        return -1;
    }

    if (unshare(CLONE_NEWNS) == -1) {
        close(userns);
        return failed(err, "unshare");
    }

    rc = root_build(root, map, userns, err);

    if (rc == 0) {
        rc = userns_enter(userns, err);
    }

    close(userns);

    if (rc == -1) {
        return -1;
    }

    /* From here on this process has no privilege on the host. */
    if (unshare(CLONE_NEWNS) == -1) {
        return failed(err, "unshare");
    }

    return 0;
}


int
oci_root_enter(oci_root *root, userns_map *map, error **err)
{
    if (map->root) {
        return root_enter_privileged(root, map, err);
    }

    if (userns_enter_new(map, err) == -1) {
        return -1;
    }

    if (unshare(CLONE_NEWNS | CLONE_NEWCGROUP) == -1) {
        return failed(err, "unshare");
    }

    return root_build(root, map, -1, err);
}
