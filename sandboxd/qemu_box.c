/* The end of a box; see qemu.h. */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/qemu.h"


static void
box_unlink(qemu_box *box)
{
    qemu_box  **p;

    for (p = &box->q->boxes[box->slot % QEMU_BUCKETS]; *p != NULL;
         p = &(*p)->next)
    {
        if (*p == box) {
            *p = box->next;
            return;
        }
    }
}


static void
box_closed(uv_handle_t *handle)
{
    qemu_box  *box;

    box = handle->data;

    if (box->pidfd != -1) {
        close(box->pidfd);
    }

    free(box);
}


/* Words of the keeper's, of QEMU's, or of the guest's kernel. */
static void
why_read(qemu_box *box)
{
    int      fd;
    char     path[QEMU_PATH];
    size_t   i;
    ssize_t  n;

    qemu_path(box->q, box->slot, "end", path, sizeof(path));
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    n = fd == -1 ? -1 : read(fd, box->why, sizeof(box->why) - 1);

    if (fd != -1) {
        close(fd);
    }

    box->why[n > 0 ? n : 0] = '\0';

    /* That is no reason, and holds a key. */
    if (strncmp(box->why, QEMU_KEPT, sizeof(QEMU_KEPT) - 1) == 0) {
        box->kept = true;
        explicit_bzero(box->why, sizeof(box->why));
    }

    for (i = 0; box->why[i] != '\0'; i++) {
        if (!isprint((unsigned char) box->why[i])) {
            box->why[i] = '?';
        }
    }
}


static void
box_clean_work(uv_work_t *work)
{
    char       path[AGENT_SOCKET_MAX + 32];
    qemu_box  *box;

    box = work->data;

    if (!box->foreign) {
        qemu_socket_path(box->q, box->slot, path, sizeof(path));
        (void) unlink(path);
        (void) cgroup_remove(box->q->cg, box->slot);

        if (box->pid != 0) {
            why_read(box);
        }

        if (box->lock != -1) {
            (void) !ftruncate(box->lock, 0);
        }
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
    qemu_box     *box;
    qemu_driver  *q;

    box = work->data;
    q = box->q;

    box_unlink(box);
    agent_log_end(box->log);
    log_debug("qemu: slot %08x is clean", box->slot);

    if (box->start != NULL) {
        qemu_start_ended(box->start, box->why);
    }

    if (box->reported && q->host.exited != NULL) {
        q->host.exited(q->host.exited_data, box->slot, box->status, box->why);
    }

    if (box->stop != NULL) {
        qemu_stop_ended(box->stop, box->kept);
    }

    if (box->watched) {
        uv_close((uv_handle_t *) &box->exit, box_closed);
    } else {
        free(box);
    }

    qemu_release(q);
}


void
qemu_box_clean(qemu_box *box)
{
    box->state = QEMU_CLEANING;
    box->work.data = box;
    qemu_hold(box->q);
    uv_queue_work(box->q->host.loop, &box->work, box_clean_work, box_cleaned);
}


/* The keeper is the first process of its namespace, and ends after all others
 * in it. */
static void
box_exited(uv_poll_t *handle, int status, int events)
{
    qemu_box   *box;
    siginfo_t   info;

    box = handle->data;
    uv_poll_stop(handle);
    memset(&info, 0, sizeof(info));

    /* One that was adopted is another's child. */
    if (waitid(P_PIDFD, (id_t) box->pidfd, &info, WEXITED | WNOHANG) == 0
        && info.si_pid != 0)
    {
        box->status = info.si_code == CLD_EXITED
                      ? (info.si_status & 0xff) << 8 : info.si_status;
    }

    log_debug("qemu: slot %08x has ended, status %d", box->slot, box->status);
    qemu_box_clean(box);
}


int
qemu_box_watch(qemu_box *box, pid_t pid, uint64_t start_time, int pidfd)
{
    box->pid = pid;
    box->start_time = start_time;
    box->pidfd = pidfd;

    if (uv_poll_init(box->q->host.loop, &box->exit, pidfd) != 0) {
        return -1;
    }

    box->exit.data = box;
    box->watched = true;

    return uv_poll_start(&box->exit, UV_READABLE, box_exited) == 0 ? 0 : -1;
}


void
qemu_box_signal(qemu_box *box, int signo)
{
    cgroup_thaw(box->q->cg, box->slot);

    if (pidfd_send_signal(box->pidfd, signo, NULL, 0) == -1
        && errno != ESRCH)
    {
        log_error("qemu: slot %08x: can't send signal %d: %s", box->slot,
                  signo, strerror(errno));
    }
}
