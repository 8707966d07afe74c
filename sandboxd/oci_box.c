/* The end of a box; see oci.h. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/oci.h"
#include "sandboxd/oci_launch.h"

/* Its parent, a child of the helper, is about to end when a box that lived
 * for a moment only is already waited for. */
#define STATUS_RETRIES      300
#define STATUS_INTERVAL_MS  5

/* crun dies with its launch, and what it was making with it. */
#define ORPHANS_TRIES       50
#define ORPHANS_WAIT_US     20000


static void
box_unlink(oci_box *box)
{
    oci_box  **p;

    for (p = &box->o->boxes[box->slot % OCI_BUCKETS]; *p != NULL;
         p = &(*p)->next)
    {
        if (*p == box) {
            *p = box->next;
            return;
        }
    }
}


static void
box_free(oci_box *box)
{
    if (box->pidfd != -1) {
        close(box->pidfd);
    }

    if (box->boot != -1) {
        close(box->boot);
    }

    free(box);
}


static void
box_closed(uv_handle_t *handle)
{
    oci_box  *box;

    box = handle->data;

    if (--box->closing == 0) {
        box_free(box);
    }
}


static void
orphan_kill(void *data, pid_t pid)
{
    (void) kill(pid, SIGKILL);
}


/* Reaps a child that was crun, or was to become it; false: it isn't dead yet.
 * Only the name tells it from children that others wait for. */
static bool
orphan_reap(pid_t pid)
{
    int       fd;
    char      path[64], text[256], state, *p;
    long      ppid;
    ssize_t   n;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd == -1 ? -1 : read(fd, text, sizeof(text) - 1);

    if (fd != -1) {
        close(fd);
    }

    text[n > 0 ? n : 0] = '\0';
    p = strrchr(text, ')');

    if (p == NULL || sscanf(p, ") %c %ld", &state, &ppid) != 2
        || ppid != getpid()
        || (strstr(text, OCI_CRUN_NAME_END) == NULL
            && strstr(text, OCI_CRUN_NAME_NEW) == NULL))
    {
        return true;
    }

    return state == 'Z' && waitpid(pid, NULL, WNOHANG) == pid;
}


/* What a dead launch has left became children of this process. */
static void
orphans_reap(void)
{
    DIR            *proc;
    bool            all;
    int             tries;
    pid_t           pid;
    struct dirent  *entry;

    for (tries = 0, all = false; !all && tries < ORPHANS_TRIES; tries++) {
        usleep(ORPHANS_WAIT_US);

        proc = opendir("/proc");
        all = true;

        while (proc != NULL && (entry = readdir(proc)) != NULL) {
            pid = (pid_t) atoi(entry->d_name);

            if (pid > 1 && !orphan_reap(pid)) {
                all = false;
            }
        }

        if (proc != NULL) {
            closedir(proc);
        }
    }
}


static void
box_clean_work(uv_work_t *work)
{
    char      path[AGENT_SOCKET_MAX + 32];
    oci_box  *box;

    box = work->data;

    if (box->orphaned) {
        cgroup_processes(box->o->cg, box->slot, orphan_kill, NULL);
    }

    if (!box->foreign) {
        oci_socket_path(box->o, box->slot, path, sizeof(path));
        (void) unlink(path);
        (void) cgroup_remove(box->o->cg, box->slot);

        if (box->lock != -1) {
            (void) !ftruncate(box->lock, 0);
        }
    }

    if (box->orphaned) {
        orphans_reap();
    }

    if (box->lock != -1) {
        close(box->lock);
        box->lock = -1;
    }
}


/* From here on the slot is free for another start. */
static void
box_cleaned(uv_work_t *work, int status)
{
    bool         reported;
    uint32_t     slot;
    oci_box     *box;
    oci_stop    *stop;
    oci_start   *start;
    oci_driver  *o;

    box = work->data;
    o = box->o;
    slot = box->slot;
    start = box->start;
    stop = box->stop;
    reported = box->reported;
    status = box->status;

    box_unlink(box);
    agent_log_end(box->log);

    if (box->watched) {
        box->closing = 2;
        uv_close((uv_handle_t *) &box->exit, box_closed);
        uv_close((uv_handle_t *) &box->retry, box_closed);
    } else {
        box_free(box);
    }

    log_debug("oci: slot %08x is clean", slot);

    if (start != NULL) {
        oci_start_ended(start, status);
    }

    if (reported && o->host.exited != NULL) {
        o->host.exited(o->host.exited_data, slot, status, NULL);
    }

    if (stop != NULL) {
        oci_stop_ended(stop);
    }

    oci_release(o);
}


void
oci_box_clean(oci_box *box)
{
    box->state = OCI_CLEANING;
    box->work.data = box;
    oci_hold(box->o);
    uv_queue_work(box->o->host.loop, &box->work, box_clean_work, box_cleaned);
}


static int
wait_status(const siginfo_t *info)
{
    switch (info->si_code) {
    case CLD_EXITED:
        return (info->si_status & 0xff) << 8;
    case CLD_DUMPED:
        return info->si_status | 0x80;
    default:
        return info->si_status;
    }
}


static void  box_retry(uv_timer_t *timer);


/* The first process of a pid namespace ends after all others in it. */
static void
box_ended(oci_box *box)
{
    siginfo_t  info;

    memset(&info, 0, sizeof(info));
    box->status = -1;

    if (waitid(P_PIDFD, (id_t) box->pidfd, &info, WEXITED | WNOHANG) == 0) {
        if (info.si_pid != 0) {
            box->status = wait_status(&info);
        }

    } else if (box->child && box->retries++ < STATUS_RETRIES) {
        uv_timer_start(&box->retry, box_retry, STATUS_INTERVAL_MS, 0);
        return;
    }

    log_debug("oci: slot %08x has ended, status %d", box->slot, box->status);

    oci_box_clean(box);
}


static void
box_retry(uv_timer_t *timer)
{
    box_ended(timer->data);
}


static void
box_exited(uv_poll_t *handle, int status, int events)
{
    uv_poll_stop(handle);
    box_ended(handle->data);
}


int
oci_box_watch(oci_box *box, pid_t pid, uint64_t start_time, int pidfd)
{
    box->pid = pid;
    box->start_time = start_time;
    box->pidfd = pidfd;

    if (uv_poll_init(box->o->host.loop, &box->exit, pidfd) != 0) {
        return -1;
    }

    uv_timer_init(box->o->host.loop, &box->retry);
    box->exit.data = box;
    box->retry.data = box;
    box->watched = true;

    return uv_poll_start(&box->exit, UV_READABLE, box_exited) == 0 ? 0 : -1;
}


void
oci_box_signal(oci_box *box, int signo)
{
    cgroup_thaw(box->o->cg, box->slot);

    if (pidfd_send_signal(box->pidfd, signo, NULL, 0) == -1
        && errno != ESRCH)
    {
        log_error("oci: slot %08x: can't send signal %d: %s", box->slot, signo,
                  strerror(errno));
    }
}
