/* The oci driver; see driver.h and oci.h. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/cgroup_layout.h"
#include "sandboxd/oci.h"
#include "sandboxd/oci_disk.h"
#include "sandboxd/oci_prepare.h"
#include "sandboxd/oci_wire.h"
#include "sandboxd/seccomp.h"

#define NOFILE_MAX  524288


void
oci_slot_name(uint32_t slot, char name[9])
{
    snprintf(name, 9, "%08" PRIx32, slot);
}


void
oci_socket_path(const oci_driver *o, uint32_t slot, char *path, size_t size)
{
    snprintf(path, size, "%s/%08" PRIx32, o->sockets, slot);
}


oci_box *
oci_box_find(oci_driver *o, uint32_t slot)
{
    oci_box  *box;

    for (box = o->boxes[slot % OCI_BUCKETS]; box != NULL; box = box->next) {
        if (box->slot == slot) {
            return box;
        }
    }

    return NULL;
}


oci_box *
oci_box_add(oci_driver *o, uint32_t slot)
{
    oci_box  *box;

    box = calloc(1, sizeof(oci_box));
    if (box == NULL) {
        return NULL;
    }

    box->o = o;
    box->slot = slot;
    box->state = OCI_STARTING;
    box->pidfd = -1;
    box->lock = -1;
    box->boot = -1;
    box->status = -1;
    o->sizes[slot % OCI_SIZES].stale = true;
    box->next = o->boxes[slot % OCI_BUCKETS];
    o->boxes[slot % OCI_BUCKETS] = box;

    return box;
}


int
oci_request_send(oci_driver *o, const void *head, size_t head_len,
    const void *body, size_t body_len, const int *fds, unsigned nfds,
    error **err)
{
    if (o->helper.pid > 0
        && oci_wire_send(o->helper.sock, head, head_len, body, body_len, fds,
                         nfds) != -1)
    {
        return 0;
    }

    /* It never ends by itself: somebody killed it. */
    log_warn("oci: the helper process is gone, making a new one");
    oci_helper_stop(&o->helper);
    oci_images_note(o);

    if (oci_helper_start(&o->helper, &o->host, o->layers, &o->map, err) == -1)
    {
        return -1;
    }

    if (oci_wire_send(o->helper.sock, head, head_len, body, body_len, fds,
                      nfds) == -1)
    {
        return error_set(err, 500, "internal", "the helper doesn't listen: %s",
                         strerror(errno));
    }

    return 0;
}


static bool
oci_adopt(driver *d, uint32_t slot, const driver_handle *handle)
{
    int           pidfd;
    char          path[4200], name[9];
    oci_box      *box;
    oci_driver   *o;
    struct stat   st;

    o = (oci_driver *) d;

    if (handle->pid <= 1 || oci_box_find(o, slot) != NULL) {
        return false;
    }

    oci_socket_path(o, slot, path, sizeof(path));

    if (lstat(path, &st) == -1 || !S_ISSOCK(st.st_mode)) {
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

    box = oci_box_add(o, slot);
    if (box == NULL) {
        close(pidfd);
        return false;
    }

    oci_slot_name(slot, name);
    snprintf(path, sizeof(path), "%s/%s/lock", o->layers, name);
    box->lock = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (box->lock != -1) {
        (void) flock(box->lock, LOCK_EX | LOCK_NB);
        slot_lock_write(box->lock, o->boot_id, handle->pid,
                       handle->start_time);
    }

    box->state = OCI_RUNNING;
    box->reported = true;
    box->log = agent_log_start(o->host.loop, slot, agent_log_find(handle->pid));

    if (oci_box_watch(box, handle->pid, handle->start_time, pidfd) == -1) {
        log_error("oci: slot %08x can't be watched", slot);
    }

    return true;
}


/* Sandboxes go on running; only this process forgets them. */
static void
boxes_forget(oci_driver *o)
{
    unsigned   i;
    oci_box   *box;

    for (i = 0; i < OCI_BUCKETS; i++) {
        for (box = o->boxes[i]; box != NULL; box = box->next) {
            agent_log_end(box->log);

            if (box->watched) {
                uv_poll_stop(&box->exit);
                uv_close((uv_handle_t *) &box->exit, NULL);
                uv_close((uv_handle_t *) &box->retry, NULL);
            }
        }
    }
}


static void
driver_destroy(oci_driver *o)
{
    unsigned   i;
    oci_box   *box, *next;

    for (i = 0; i < OCI_BUCKETS; i++) {
        for (box = o->boxes[i]; box != NULL; box = next) {
            next = box->next;

            if (box->pidfd != -1) {
                close(box->pidfd);
            }

            if (box->lock != -1) {
                close(box->lock);
            }

            if (box->boot != -1) {
                close(box->boot);
            }

            free(box);
        }
    }

    oci_helper_stop(&o->helper);
    cgroup_close(o->cg);
    free(o->identities);
    free(o->sizes);
    free(o->seccomp);
    free(o->layers);
    free(o->sockets);
    free(o);
}


static void
driver_closed(uv_handle_t *handle)
{
    oci_driver  *o;

    o = handle->data;
    free(handle);
    driver_destroy(o);
}


/* libuv runs the callbacks of one turn in reverse order of closing: the handle
 * that is closed first frees everything. */
static void
free_now(oci_driver *o)
{
    uv_idle_t  *last;

    last = calloc(1, sizeof(uv_idle_t));

    if (last == NULL) {
        abort();
    }

    uv_idle_init(o->host.loop, last);
    last->data = o;

    uv_close((uv_handle_t *) last, driver_closed);
    boxes_forget(o);
}


void
oci_hold(oci_driver *o)
{
    o->held++;
}


void
oci_release(oci_driver *o)
{
    if (--o->held == 0 && o->freed) {
        free_now(o);
    }
}


static void
oci_free(driver *d)
{
    oci_driver  *o;

    o = (oci_driver *) d;

    oci_hold(o);
    o->freed = true;
    oci_stop_abandon(o);
    oci_release(o);
}


static int
dir_make(const char *path, mode_t mode, error **err)
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

    /* Whatever the umask was. */
    if (chmod(path, mode) == -1) {
        return error_set(err, 500, "driver", "%s: %s", path, strerror(errno));
    }

    return 0;
}


/* Layers: the sandboxes' root passes through, but lists nothing.  Sockets: the
 * workers pass through; each socket has its own permissions. */
static int
paths_make(oci_driver *o, error **err)
{
    if (asprintf(&o->layers, "%s/sandboxes", o->host.state_dir) == -1
        || asprintf(&o->sockets, "%s/s", o->host.run_dir) == -1)
    {
        return error_set(err, 500, "internal", "out of memory");
    }

    if (o->layers[0] != '/' || o->sockets[0] != '/') {
        return error_set(err, 500, "driver", "the directories for state and "
                         "run have to be absolute");
    }

    if (strlen(o->sockets) + 9 > AGENT_SOCKET_MAX) {
        return error_set_field(err, 500, "driver", "run_dir", AGENT_SOCKET_MAX,
                               "%s is too long for the agents' sockets",
                               o->host.run_dir);
    }

    if (dir_make(o->layers, 0711, err) == -1) {
        return -1;
    }

    return dir_make(o->sockets, 0711, err);
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
limits_probe(oci_driver *o)
{
    long           cpus;
    char           tag[24];
    unsigned       enforced;
    struct rlimit  rl;

    snprintf(tag, sizeof(tag), "%016" PRIx64, path_hash(o->layers));
    o->cg = cgroup_open(tag);

    if (o->cg == NULL) {
        abort();
    }

    enforced = cgroup_enforced(o->cg);
    o->d.enforces_cpu = enforced & CGROUP_CPU;
    o->d.enforces_memory = enforced & CGROUP_MEMORY;
    o->d.enforces_pids = enforced & CGROUP_PIDS;
    o->d.enforces_disk = o->map.root && oci_disk_works(o->layers);

    o->nofile = NOFILE_MAX;

    if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_max < o->nofile) {
        o->nofile = rl.rlim_max;
    }

    cpus = sysconf(_SC_NPROCESSORS_ONLN);
    o->launches_max = cpus < 1 ? 2 : cpus > OCI_LAUNCHES_MAX / 2
                      ? OCI_LAUNCHES_MAX : (unsigned) cpus * 2;
}


/* A disk that the kernel has made read-only, or a run directory that was
 * cleared away, fails every start. */
static int
oci_health(driver *d, error **err)
{
    oci_driver  *o;

    o = (oci_driver *) d;

    if (access(o->layers, W_OK | X_OK) == -1) {
        return error_set(err, 503, "driver", "the directory of the sandboxes' "
                         "layers can't be written: %s", strerror(errno));
    }

    if (access(o->sockets, W_OK | X_OK) == -1) {
        return error_set(err, 503, "driver", "the directory of the sandboxes' "
                         "sockets can't be written: %s", strerror(errno));
    }

    if (o->helper.pid <= 0) {
        return error_set(err, 503, "driver", "the process that starts "
                         "sandboxes can't be started");
    }

    return 0;
}


static void
driver_fill(oci_driver *o)
{
    o->d.name = "oci";
    o->d.kernel_isolation = false;
    o->d.memory_snapshot = false;
    o->d.start = oci_start_run;
    o->d.stop = oci_stop_run;
    o->d.destroy = oci_destroy_run;
    o->d.adopt = oci_adopt;
    o->d.prepare = oci_prepare_run;
    o->d.prepared = oci_prepared;
    o->d.stats = oci_stats_run;
    o->d.health = oci_health;
    o->d.sweep = oci_sweep_run;
    o->d.free = oci_free;
    o->waiting_end = &o->waiting;
    o->doomed_end = &o->doomed;
}


driver *
driver_oci_create(const driver_host *host, error **err)
{
    oci_driver  *o;

    o = calloc(1, sizeof(oci_driver));
    if (o == NULL) {
        error_set(err, 500, "internal", "out of memory");
        return NULL;
    }

    o->host = *host;
    o->sizes = calloc(OCI_SIZES, sizeof(oci_size));

    if (o->sizes == NULL) {
        abort();
    }

    driver_fill(o);
    userns_map_choose(&o->map);
    boot_id_read(o->boot_id);

    if (paths_make(o, err) == -1) {
        goto failed;
    }

    o->seccomp = seccomp_filter_build(err);
    if (o->seccomp == NULL) {
        goto failed;
    }

    oci_images_note(o);

    if (oci_helper_start(&o->helper, &o->host, o->layers, &o->map, err) == -1)
    {
        goto failed;
    }

    limits_probe(o);

    /* A sandbox's first process becomes ours when its launch is over, and so
     * tells us how it ended. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1) {
        log_warn("oci: prctl: %s", strerror(errno));
    }

    return &o->d;

failed:

    oci_helper_stop(&o->helper);
    free(o->identities);
    free(o->sizes);
    free(o->seccomp);
    free(o->layers);
    free(o->sockets);
    free(o);

    return NULL;
}
