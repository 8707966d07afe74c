/* Directories of boxes, their locks, and what they are called; see box.h. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "sandboxd/box.h"

#define LOCK_TRIES  200         /* of 10 ms: a starter of before may be dying */

/* Each driver's directory, and what is in it: what was another's would start
 * without its files. */
static const struct {
    const char  *dir;
    const char  *what;
} dir_kinds[] = {
    { "sandboxes", "a container (sandboxd --driver oci)" },
    { "machines", "a virtual machine (sandboxd --driver qemu)" },
    { "microvms", "a virtual machine (sandboxd --driver firecracker)" },
};


void
box_slot_name(uint32_t slot, char name[9])
{
    snprintf(name, 9, "%08" PRIx32, slot);
}


void
box_socket_path(const box_driver *bd, uint32_t slot, char *path, size_t size)
{
    snprintf(path, size, "%s/%08" PRIx32, bd->sockets, slot);
}


void
box_path(const box_driver *bd, uint32_t slot, const char *name, char *path,
    size_t size)
{
    snprintf(path, size, "%s/%08" PRIx32 "%s%s", bd->dirs, slot,
             name != NULL ? "/" : "", name != NULL ? name : "");
}


int
box_dir_make(const char *path, mode_t mode, error **err)
{
    struct stat  st;

    if (mkdir(path, mode) == -1 && errno != EEXIST) {
        return error_set(err, 500, "driver", "%s: %s", path, strerror(errno));
    }

    if (lstat(path, &st) == -1 || !S_ISDIR(st.st_mode)
        || st.st_uid != geteuid())
    {
        return error_set(err, 500, "driver", "%s is not a directory of ours",
                         path);
    }

    if (chmod(path, mode) == -1) {
        return error_set(err, 500, "driver", "%s: %s", path, strerror(errno));
    }

    return 0;
}


int
box_failed(error **err, const char *what)
{
    return error_set(err, errno == ENOSPC || errno == EDQUOT ? 507 : 500,
                     "start_failed", "%s: %s", what, strerror(errno));
}


int
box_dir_open(const box_driver *bd, uint32_t slot, error **err)
{
    int     dir;
    char    path[BOX_PATH];
    size_t  i;

    for (i = 0; i < sizeof(dir_kinds) / sizeof(dir_kinds[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s/%08" PRIx32, bd->host.state_dir,
                 dir_kinds[i].dir, slot);

        if (strcmp(dir_kinds[i].dir, bd->kind) != 0
            && access(path, F_OK) == 0)
        {
            return error_set(err, 409, "start_failed", "its files are those "
                             "of %s", dir_kinds[i].what);
        }
    }

    box_path(bd, slot, NULL, path, sizeof(path));

    if (mkdir(path, bd->mode) == -1 && errno != EEXIST) {
        return box_failed(err, "can't make the sandbox's directory");
    }

    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    return dir != -1 ? dir : box_failed(err, "sandbox's directory");
}


int
box_lock_take(const box_driver *bd, int dir, int *lock, bool *owned,
    error **err)
{
    int       tries;
    pid_t     pid;
    uint64_t  start_time;

    *lock = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                   0600);
    if (*lock == -1) {
        return box_failed(err, "lock");
    }

    for (tries = 0; flock(*lock, LOCK_EX | LOCK_NB) == -1; tries++) {
        if (errno != EWOULDBLOCK || tries == LOCK_TRIES) {
            return box_failed(err, "the sandbox's directory is in use");
        }

        usleep(10000);
    }

    /* Before anything that a running sandbox needs is touched. */
    pid = slot_lock_read(*lock, bd->boot_id, &start_time);

    if (pid != 0) {
        return error_set(err, 409, "already_running",
                         "the sandbox runs already (process %d)", (int) pid);
    }

    *owned = true;

    return 0;
}


bool
box_disk(driver *d, uint32_t slot, uint64_t *size)
{
    char         path[BOX_PATH];
    struct stat  st;

    box_path((box_driver *) d, slot, "disk", path, sizeof(path));

    if (lstat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        *size = (uint64_t) st.st_size;
        return true;
    }

    box_path((box_driver *) d, slot, "layer", path, sizeof(path));

    if (lstat(path, &st) != 0) {
        return false;
    }

    *size = 0;

    return true;
}


void
box_disk_stats(const box_driver *bd, uint32_t slot, driver_stats *stats)
{
    char            path[BOX_PATH];
    struct stat     st;
    struct timeval  now;

    box_path(bd, slot, "disk", path, sizeof(path));

    if (lstat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        gettimeofday(&now, NULL);
        stats->disk = (int64_t) st.st_blocks * 512;
        stats->disk_limit = (int64_t) st.st_size;
        stats->disk_at = (int64_t) now.tv_sec * 1000 + now.tv_usec / 1000;
    }
}
