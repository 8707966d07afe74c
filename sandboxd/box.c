/* The table of boxes, and the life of their driver; see box.h. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/process_start.h"
#include "sandboxd/box.h"
#include "sandboxd/cgroup_layout.h"
#include "sandboxd/disk_file.h"


box *
box_find(box_driver *bd, uint32_t slot)
{
    box  *b;

    for (b = bd->boxes[slot % BOX_BUCKETS]; b != NULL; b = b->next) {
        if (b->slot == slot) {
            return b;
        }
    }

    return NULL;
}


box *
box_add(box_driver *bd, uint32_t slot)
{
    box  *b;

    b = calloc(1, bd->ops->box_size > sizeof(box) ? bd->ops->box_size
                                                  : sizeof(box));
    if (b == NULL) {
        abort();
    }

    b->bd = bd;
    b->ops = bd->ops;
    b->slot = slot;
    b->state = BOX_STARTING;
    b->pidfd = -1;
    b->lock = -1;
    b->status = -1;
    b->next = bd->boxes[slot % BOX_BUCKETS];
    bd->boxes[slot % BOX_BUCKETS] = b;

    if (bd->ops->box_init != NULL) {
        bd->ops->box_init(b);
    }

    return b;
}


bool
box_adopt(driver *d, uint32_t slot, const driver_handle *handle)
{
    int           lock, pidfd;
    box          *b;
    char          path[BOX_PATH];
    box_driver   *bd;
    struct stat   st;

    bd = (box_driver *) d;

    if (handle->pid <= 1 || box_find(bd, slot) != NULL) {
        return false;
    }

    box_socket_path(bd, slot, path, sizeof(path));

    if (lstat(path, &st) == -1 || !S_ISSOCK(st.st_mode)) {
        return false;
    }

    /* The descriptor names whatever has the number now; the start time, read
     * after that, tells whether it is the same process. */
    pidfd = pidfd_open(handle->pid, 0);
    if (pidfd == -1) {
        return false;
    }

    /* Without it, its directory is another driver's. */
    box_path(bd, slot, "lock", path, sizeof(path));
    lock = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (lock == -1 || process_start_time(handle->pid) != handle->start_time) {
        if (lock != -1) {
            close(lock);
        }
        close(pidfd);
        return false;
    }

    (void) flock(lock, LOCK_EX | LOCK_NB);
    slot_lock_write(lock, bd->boot_id, handle->pid, handle->start_time);

    b = box_add(bd, slot);
    b->lock = lock;
    b->state = BOX_RUNNING;
    b->reported = true;
    box_listen(b, agent_log_find(handle->pid));
    box_kills_look(b);

    if (box_watch(b, handle->pid, handle->start_time, pidfd) == -1) {
        log_error("%s: slot %08x can't be watched", bd->d.name, slot);
    }

    return true;
}


/* Sandboxes go on running; only this process forgets them. */
static void
boxes_forget(box_driver *bd)
{
    box       *b;
    unsigned   i;

    for (i = 0; i < BOX_BUCKETS; i++) {
        for (b = bd->boxes[i]; b != NULL; b = b->next) {
            box_kills_end(b);
            agent_log_end(b->log);

            if (b->watched) {
                uv_poll_stop(&b->exit);
                uv_close((uv_handle_t *) &b->exit, NULL);
                uv_close((uv_handle_t *) &b->retry, NULL);
            }
        }
    }
}


void
box_driver_destroy(box_driver *bd)
{
    box       *b, *next;
    unsigned   i;

    for (i = 0; i < BOX_BUCKETS; i++) {
        for (b = bd->boxes[i]; b != NULL; b = next) {
            next = b->next;

            if (b->pidfd != -1) {
                close(b->pidfd);
            }

            if (b->lock != -1) {
                close(b->lock);
            }

            if (bd->ops->box_free != NULL) {
                bd->ops->box_free(b);
            }

            free(b);
        }
    }

    if (bd->ops->driver_free != NULL) {
        bd->ops->driver_free(bd);
    }

    if (bd->cg != NULL) {
        cgroup_close(bd->cg);
    }

    free(bd->dirs);
    free(bd->sockets);
    free(bd);
}


static void
driver_closed(uv_handle_t *handle)
{
    box_driver  *bd;

    bd = handle->data;
    free(handle);
    box_driver_destroy(bd);
}


/* libuv runs the callbacks of one turn in reverse order of closing: the handle
 * that is closed first frees everything. */
static void
free_now(box_driver *bd)
{
    uv_idle_t  *last;

    last = calloc(1, sizeof(uv_idle_t));

    if (last == NULL) {
        abort();
    }

    uv_idle_init(bd->host.loop, last);
    last->data = bd;

    uv_close((uv_handle_t *) last, driver_closed);
    boxes_forget(bd);
}


void
box_hold(box_driver *bd)
{
    bd->held++;
}


void
box_release(box_driver *bd)
{
    if (--bd->held == 0 && bd->freed) {
        free_now(bd);
    }
}


void
box_free_run(driver *d)
{
    box_driver  *bd;

    bd = (box_driver *) d;

    box_hold(bd);
    bd->freed = true;

    if (bd->ops->abandon != NULL) {
        bd->ops->abandon(bd);
    }

    box_release(bd);
}


/* Boxes: what has a directory of its own in it passes through, but lists
 * nothing.  Sockets: the workers pass through; each socket has its own
 * permissions. */
static int
paths_make(box_driver *bd, error **err)
{
    if (asprintf(&bd->dirs, "%s/%s", bd->host.state_dir, bd->kind) == -1
        || asprintf(&bd->sockets, "%s/s", bd->host.run_dir) == -1)
    {
        abort();
    }

    if (bd->dirs[0] != '/' || bd->sockets[0] != '/') {
        return error_set(err, 500, "driver", "the directories for state and "
                         "run have to be absolute");
    }

    if (strlen(bd->sockets) + 9 > AGENT_SOCKET_MAX) {
        return error_set_field(err, 500, "driver", "run_dir", AGENT_SOCKET_MAX,
                               "%s is too long for the agents' sockets",
                               bd->host.run_dir);
    }

    if (box_dir_make(bd->dirs, bd->mode, err) == -1) {
        return -1;
    }

    return box_dir_make(bd->sockets, 0711, err);
}


int
box_driver_init(box_driver *bd, const driver_host *host, const box_ops *ops,
    const char *kind, mode_t mode, error **err)
{
    bd->kind = kind;
    bd->mode = mode;
    bd->host = *host;
    bd->ops = ops;
    boot_id_read(bd->boot_id);

    bd->d.stop = box_stop_run;
    bd->d.destroy = box_destroy_run;
    bd->d.adopt = box_adopt;
    bd->d.disk = box_disk;
    bd->d.sweep = box_sweep_run;
    bd->d.free = box_free_run;

    if (paths_make(bd, err) != 0) {
        return -1;
    }

    bd->d.disk_max = disk_file_most(bd->dirs, DRIVER_DISK_MAX);

    return 0;
}


/* Two sandboxds of one host differ in their directories. */
static uint64_t
path_hash(const char *path)
{
    uint64_t  hash;

    for (hash = 14695981039346656037ULL; *path != '\0'; path++) {
        hash = (hash ^ (unsigned char) *path) * 1099511628211ULL;
    }

    return hash;
}


void
box_driver_groups(box_driver *bd)
{
    char  tag[24];

    snprintf(tag, sizeof(tag), "%016" PRIx64, path_hash(bd->dirs));
    bd->cg = cgroup_open(tag);

    if (bd->cg == NULL) {
        abort();
    }
}


/* A disk that the kernel has made read-only, or a run directory that was
 * cleared away. */
int
box_driver_health(box_driver *bd, error **err)
{
    if (access(bd->dirs, W_OK | X_OK) == -1) {
        return error_set(err, 503, "driver", "the directory of the sandboxes' "
                         "layers can't be written: %s", strerror(errno));
    }

    if (access(bd->sockets, W_OK | X_OK) == -1) {
        return error_set(err, 503, "driver", "the directory of the sandboxes' "
                         "sockets can't be written: %s", strerror(errno));
    }

    return 0;
}
