/* Stop and destroy, and what a sandbox uses; see qemu.h. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "sandboxd/qemu.h"

struct qemu_stop {
    qemu_driver  *q;
    qemu_box     *box;
    uint32_t      slot;
    bool          destroy;
    bool          kept;     /* its memory was */
    driver_done   cb;
    driver_slept  slept;    /* instead of cb */
    void         *data;
    error        *err;
    uv_work_t     work;
    uv_timer_t    timer;
};

typedef struct {
    qemu_driver      *q;
    uint32_t          slot;
    driver_measured   cb;
    void             *data;
    driver_stats      stats;
    uv_work_t         work;
} qemu_stats;


static void
stop_closed(uv_handle_t *handle)
{
    qemu_stop    *s;
    qemu_driver  *q;

    s = handle->data;
    q = s->q;
    free(s);
    qemu_release(q);
}


int
qemu_dir_remove(const qemu_driver *q, uint32_t slot, error **err)
{
    int     dir;
    char    path[QEMU_PATH];
    size_t  i;

    static const char *const  names[] = { "disk", "disk.new", "end", "lock",
                                          "memory" };

    qemu_path(q, slot, NULL, path, sizeof(path));
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (dir == -1) {
        return errno == ENOENT ? 0
               : error_set(err, 500, "internal", "%s: %s", path,
                           strerror(errno));
    }

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void) unlinkat(dir, names[i], 0);
    }

    (void) unlinkat(dir, "jail", AT_REMOVEDIR);
    close(dir);

    return rmdir(path) == 0 ? 0
           : error_set(err, 500, "internal", "can't remove %s: %s", path,
                       strerror(errno));
}


static void
destroy_work(uv_work_t *work)
{
    qemu_stop  *s;

    s = work->data;

    if (s->destroy && s->err == NULL) {
        (void) qemu_dir_remove(s->q, s->slot, &s->err);
    }
}


static void
destroy_done(uv_work_t *work, int status)
{
    qemu_stop  *s;

    s = work->data;
    uv_close((uv_handle_t *) &s->timer, stop_closed);

    if (s->slept != NULL) {
        s->slept(s->data, s->kept, s->err);
    } else {
        s->cb(s->data, s->err);
    }
}


/* Nothing of the run is left; now the disk, if it is to go as well. */
static void
stop_next(qemu_stop *s)
{
    uv_queue_work(s->q->host.loop, &s->work, destroy_work, destroy_done);
}


void
qemu_stop_ended(qemu_stop *s, bool kept)
{
    s->box = NULL;
    s->kept = kept;
    uv_timer_stop(&s->timer);
    stop_next(s);
}


static void
stop_kill(uv_timer_t *timer)
{
    qemu_stop  *s;

    s = timer->data;

    if (s->box != NULL && s->box->state == QEMU_STOPPING) {
        qemu_box_signal(s->box, SIGKILL);
    }
}


static qemu_stop *
stop_create(qemu_driver *q, uint32_t slot, void *data)
{
    qemu_stop  *s;

    s = calloc(1, sizeof(qemu_stop));
    if (s == NULL) {
        abort();
    }

    qemu_hold(q);
    s->q = q;
    s->slot = slot;
    s->data = data;
    s->work.data = s;
    uv_timer_init(q->host.loop, &s->timer);
    s->timer.data = s;

    return s;
}


/* signo asks the keeper for the end, which may take that long. */
static void
stop_begin(qemu_stop *s, int signo, uint64_t grace_ms)
{
    qemu_box     *box;
    qemu_driver  *q;

    q = s->q;
    box = qemu_box_find(q, s->slot);

    if (box == NULL) {
        stop_next(s);
        return;
    }

    if (box->stop != NULL || box->start != NULL) {
        error_set(&s->err, 409, "busy", "the sandbox is %s",
                  box->start != NULL ? "starting" : "stopping already");
        stop_next(s);
        return;
    }

    box->stop = s;
    s->box = box;

    if (box->state == QEMU_CLEANING) {
        return;
    }

    box->state = QEMU_STOPPING;
    qemu_box_signal(box, grace_ms > 0 ? signo : SIGKILL);

    if (grace_ms > 0) {
        uv_timer_start(&s->timer, stop_kill, grace_ms, 0);
    }
}


void
qemu_stop_run(driver *d, uint32_t slot, uint64_t grace_ms, driver_done cb,
    void *data)
{
    qemu_stop  *s;

    s = stop_create((qemu_driver *) d, slot, data);
    s->cb = cb;
    stop_begin(s, SIGTERM, grace_ms);
}


void
qemu_sleep_run(driver *d, uint32_t slot, uint64_t timeout_ms,
    driver_slept cb, void *data)
{
    qemu_stop  *s;

    s = stop_create((qemu_driver *) d, slot, data);
    s->slept = cb;
    stop_begin(s, SIGUSR1, timeout_ms);
}


void
qemu_destroy_run(driver *d, uint32_t slot, driver_done cb, void *data)
{
    qemu_stop  *s;

    s = stop_create((qemu_driver *) d, slot, data);
    s->cb = cb;
    s->destroy = true;
    stop_begin(s, SIGKILL, 0);
}


static void
stats_work(uv_work_t *work)
{
    char            path[QEMU_PATH];
    qemu_stats     *s;
    struct stat     st;
    struct timeval  now;

    s = work->data;

    /* Of the VMM with all that it has in memory, the guest's among it. */
    if (s->stats.running) {
        cgroup_stats(s->q->cg, s->slot, &s->stats);
        s->stats.pids = -1;
        s->stats.pids_limit = -1;
    }

    qemu_path(s->q, s->slot, "disk", path, sizeof(path));

    if (lstat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        gettimeofday(&now, NULL);
        s->stats.disk = (int64_t) st.st_blocks * 512;
        s->stats.disk_limit = (int64_t) st.st_size;
        s->stats.disk_at = (int64_t) now.tv_sec * 1000 + now.tv_usec / 1000;
    }
}


static void
stats_done(uv_work_t *work, int status)
{
    qemu_stats   *s;
    qemu_driver  *q;

    s = work->data;
    q = s->q;
    s->cb(s->data, &s->stats, NULL);
    free(s);
    qemu_release(q);
}


void
qemu_stats_run(driver *d, uint32_t slot, driver_measured cb, void *data)
{
    qemu_box    *box;
    qemu_stats  *s;

    s = calloc(1, sizeof(qemu_stats));
    if (s == NULL) {
        abort();
    }

    s->q = (qemu_driver *) d;
    s->slot = slot;
    s->cb = cb;
    s->data = data;

    box = qemu_box_find(s->q, slot);
    driver_stats_clear(&s->stats);
    s->stats.running = box != NULL && box->state == QEMU_RUNNING;

    qemu_hold(s->q);
    s->work.data = s;
    uv_queue_work(s->q->host.loop, &s->work, stats_work, stats_done);
}
