/* The qemu driver; see driver.h and qemu.h. */

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
#include "sandboxd/cgroup_layout.h"
#include "sandboxd/initramfs.h"
#include "sandboxd/qemu.h"

#define QEMU_PROGRAM  "/usr/bin/qemu-system-x86_64"


void
qemu_socket_path(const qemu_driver *q, uint32_t slot, char *path, size_t size)
{
    snprintf(path, size, "%s/%08" PRIx32, q->sockets, slot);
}


void
qemu_path(const qemu_driver *q, uint32_t slot, const char *name, char *path,
    size_t size)
{
    snprintf(path, size, "%s/%08" PRIx32 "%s%s", q->machines, slot,
             name != NULL ? "/" : "", name != NULL ? name : "");
}


qemu_box *
qemu_box_find(qemu_driver *q, uint32_t slot)
{
    qemu_box  *box;

    for (box = q->boxes[slot % QEMU_BUCKETS]; box != NULL; box = box->next) {
        if (box->slot == slot) {
            return box;
        }
    }

    return NULL;
}


qemu_box *
qemu_box_add(qemu_driver *q, uint32_t slot)
{
    qemu_box  *box;

    box = calloc(1, sizeof(qemu_box));
    if (box == NULL) {
        abort();
    }

    box->q = q;
    box->slot = slot;
    box->state = QEMU_STARTING;
    box->pidfd = -1;
    box->lock = -1;
    box->status = -1;
    box->next = q->boxes[slot % QEMU_BUCKETS];
    q->boxes[slot % QEMU_BUCKETS] = box;

    return box;
}


static bool
qemu_adopt(driver *d, uint32_t slot, const driver_handle *handle)
{
    int           pidfd;
    char          path[QEMU_PATH];
    qemu_box     *box;
    qemu_driver  *q;
    struct stat   st;

    q = (qemu_driver *) d;

    if (handle->pid <= 1 || qemu_box_find(q, slot) != NULL) {
        return false;
    }

    qemu_socket_path(q, slot, path, sizeof(path));

    if (lstat(path, &st) == -1 || !S_ISSOCK(st.st_mode)) {
        return false;
    }

    qemu_path(q, slot, "disk", path, sizeof(path));

    if (lstat(path, &st) == -1) {
        return false;
    }

    /* The descriptor names whatever has the number now; the start time, read
     * after that, tells whether it is the same process. */
    pidfd = pidfd_open(handle->pid, 0);
    if (pidfd == -1) {
        return false;
    }

    if (process_start_time(handle->pid) != handle->start_time) {
        close(pidfd);
        return false;
    }

    box = qemu_box_add(q, slot);
    qemu_path(q, slot, "lock", path, sizeof(path));
    box->lock = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (box->lock != -1) {
        (void) flock(box->lock, LOCK_EX | LOCK_NB);
        slot_lock_write(box->lock, q->boot_id, handle->pid,
                        handle->start_time);
    }

    box->state = QEMU_RUNNING;
    box->reported = true;
    box->log = agent_log_start(q->host.loop, slot,
                               agent_log_find(handle->pid));

    if (qemu_box_watch(box, handle->pid, handle->start_time, pidfd) == -1) {
        log_error("qemu: slot %08x can't be watched", slot);
    }

    return true;
}


/* Machines go on running; only this process forgets them. */
static void
boxes_forget(qemu_driver *q)
{
    unsigned   i;
    qemu_box  *box;

    for (i = 0; i < QEMU_BUCKETS; i++) {
        for (box = q->boxes[i]; box != NULL; box = box->next) {
            agent_log_end(box->log);

            if (box->watched) {
                uv_poll_stop(&box->exit);
                uv_close((uv_handle_t *) &box->exit, NULL);
            }
        }
    }
}


static void
qemu_destroy(qemu_driver *q)
{
    unsigned   i;
    qemu_box  *box, *next;

    for (i = 0; i < QEMU_BUCKETS; i++) {
        for (box = q->boxes[i]; box != NULL; box = next) {
            next = box->next;

            if (box->pidfd != -1) {
                close(box->pidfd);
            }

            if (box->lock != -1) {
                close(box->lock);
            }

            free(box);
        }
    }

    cgroup_close(q->cg);
    free(q->machines);
    free(q->sockets);
    free(q->kernel);
    free(q->initramfs);
    free(q);
}


static void
qemu_closed(uv_handle_t *handle)
{
    qemu_driver  *q;

    q = handle->data;
    free(handle);
    qemu_destroy(q);
}


/* libuv runs the callbacks of one turn in reverse order of closing: the handle
 * that is closed first frees everything. */
static void
free_now(qemu_driver *q)
{
    uv_idle_t  *last;

    last = calloc(1, sizeof(uv_idle_t));
    if (last == NULL) {
        abort();
    }

    uv_idle_init(q->host.loop, last);
    last->data = q;

    uv_close((uv_handle_t *) last, qemu_closed);
    boxes_forget(q);
}


void
qemu_hold(qemu_driver *q)
{
    q->held++;
}


void
qemu_release(qemu_driver *q)
{
    if (--q->held == 0 && q->freed) {
        free_now(q);
    }
}


static void
qemu_free(driver *d)
{
    qemu_driver  *q;

    q = (qemu_driver *) d;

    qemu_hold(q);
    q->freed = true;
    qemu_release(q);
}


static int
dir_make(const char *path, mode_t mode, error **err)
{
    struct stat  st;

    if (mkdir(path, mode) == -1 && errno != EEXIST) {
        return error_set(err, 500, "driver", "%s: %s", path, strerror(errno));
    }

    if (lstat(path, &st) == -1 || !S_ISDIR(st.st_mode)
        || st.st_uid != geteuid() || chmod(path, mode) == -1)
    {
        return error_set(err, 500, "driver", "%s is not a directory of ours",
                         path);
    }

    return 0;
}


static int
paths_make(qemu_driver *q, error **err)
{
    if (asprintf(&q->machines, "%s/machines", q->host.state_dir) == -1
        || asprintf(&q->sockets, "%s/s", q->host.run_dir) == -1
        || asprintf(&q->initramfs, "%s/initramfs", q->host.state_dir) == -1
        || asprintf(&q->kernel, "%s/vmlinux", q->host.kernel_dir) == -1)
    {
        abort();
    }

    if (q->machines[0] != '/' || q->sockets[0] != '/') {
        return error_set(err, 500, "driver", "the directories for state and "
                         "run have to be absolute");
    }

    if (strlen(q->sockets) + 9 > AGENT_SOCKET_MAX) {
        return error_set_field(err, 500, "driver", "run_dir",
                               AGENT_SOCKET_MAX, "%s is too long for the "
                               "agents' sockets", q->host.run_dir);
    }

    return dir_make(q->machines, 0700, err) == -1 ? -1
           : dir_make(q->sockets, 0711, err);
}


/* What a start would only find out later. */
static int
host_check(qemu_driver *q, error **err)
{
    if (geteuid() != 0) {
        return error_set(err, 500, "driver", "virtual machines need root, who "
                         "makes their networks");
    }

    if (q->host.kernel_dir == NULL) {
        return error_set(err, 500, "driver", "virtual machines need a kernel: "
                         "give --kernel (scripts/kernel.sh makes one)");
    }

    if (access(q->qemu, X_OK) == -1) {
        return error_set(err, 500, "driver", "%s: %s (Debian's package "
                         "qemu-system-x86)", q->qemu, strerror(errno));
    }

    if (access("/dev/net/tun", R_OK | W_OK) == -1) {
        return error_set(err, 500, "driver", "/dev/net/tun: %s",
                         strerror(errno));
    }

    return 0;
}


static int
boot_make(qemu_driver *q, error **err)
{
    char  modules[QEMU_PATH];

    if (access(q->kernel, R_OK) == -1) {
        return error_set(err, 500, "driver", "%s: %s", q->kernel,
                         strerror(errno));
    }

    snprintf(modules, sizeof(modules), "%s/modules", q->host.kernel_dir);

    return initramfs_write(q->initramfs, q->host.agent_path, modules, err);
}


/* What fails every start: a disk that the kernel has made read-only, a run
 * directory that was cleared away, a package that was removed. */
static int
qemu_health(driver *d, error **err)
{
    size_t        i;
    qemu_driver  *q;

    q = (qemu_driver *) d;

    const struct {
        const char  *path;
        int          mode;
        const char  *what;
    } needed[] = {
        { q->machines, W_OK | X_OK, "the directory of the machines can't be "
                                    "written" },
        { q->sockets, W_OK | X_OK, "the directory of the sandboxes' sockets "
                                   "can't be written" },
        { q->kernel, R_OK, "the machines' kernel can't be read" },
        { q->initramfs, R_OK, "what the machines boot from can't be read" },
        { q->qemu, X_OK, "QEMU can't be run" },
    };

    for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (access(needed[i].path, needed[i].mode) == -1) {
            return error_set(err, 503, "driver", "%s: %s", needed[i].what,
                             strerror(errno));
        }
    }

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


static void
limits_probe(qemu_driver *q)
{
    long  cpus;
    char  tag[24];

    snprintf(tag, sizeof(tag), "%016" PRIx64, path_hash(q->machines));
    q->cg = cgroup_open(tag);

    if (q->cg == NULL) {
        abort();
    }

    /* The machine's own size is the limit of all but the processor's time. */
    q->d.enforces_cpu = cgroup_enforced(q->cg) & CGROUP_CPU;
    q->d.enforces_memory = true;
    q->d.enforces_pids = true;
    q->d.enforces_disk = true;

    cpus = sysconf(_SC_NPROCESSORS_ONLN);
    q->cpus = cpus < 1 ? 1 : (unsigned) cpus;
}


static void
driver_fill(qemu_driver *q)
{
    q->d.name = "qemu";
    q->d.kernel_isolation = true;
    q->d.memory_snapshot = true;
    q->d.start = qemu_start_run;
    q->d.stop = qemu_stop_run;
    q->d.sleep = qemu_sleep_run;
    q->d.destroy = qemu_destroy_run;
    q->d.adopt = qemu_adopt;
    q->d.stats = qemu_stats_run;
    q->d.health = qemu_health;
    q->d.sweep = qemu_sweep_run;
    q->d.free = qemu_free;
}


driver *
driver_qemu_create(const driver_host *host, error **err)
{
    qemu_driver  *q;

    q = calloc(1, sizeof(qemu_driver));
    if (q == NULL) {
        abort();
    }

    q->host = *host;
    q->qemu = host->qemu_path != NULL ? host->qemu_path : QEMU_PROGRAM;
    driver_fill(q);
    boot_id_read(q->boot_id);

    if (host_check(q, err) == -1 || paths_make(q, err) == -1
        || boot_make(q, err) == -1)
    {
        qemu_destroy(q);
        return NULL;
    }

    limits_probe(q);
    q->kvm = qemu_probe_kvm(q);
    log_info("qemu: virtual machines run %s", q->kvm ? "with KVM"
             : "under QEMU's emulation, which is slow");

    return &q->d;
}
