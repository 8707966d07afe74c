/* The end of a box; see box.h. */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/box.h"

/* The parent of one that lived for a moment only, on its way to us, may be
 * about to end when its status is waited for. */
#define STATUS_RETRIES      300
#define STATUS_INTERVAL_MS  5


static void
box_unlink(box *b)
{
    box  **p;

    for (p = &b->bd->boxes[b->slot % BOX_BUCKETS]; *p != NULL;
         p = &(*p)->next)
    {
        if (*p == b) {
            *p = b->next;
            return;
        }
    }
}


/* Its driver may be gone by now. */
static void
box_free(box *b)
{
    if (b->pidfd != -1) {
        close(b->pidfd);
    }

    if (b->ops->box_free != NULL) {
        b->ops->box_free(b);
    }

    free(b);
}


static void
box_closed(uv_handle_t *handle)
{
    box  *b;

    b = handle->data;

    if (--b->closing == 0) {
        box_free(b);
    }
}


static void
box_clean_work(uv_work_t *work)
{
    box   *b;
    char   path[AGENT_SOCKET_MAX + 32];

    b = work->data;

    if (b->ops->clean != NULL) {
        b->ops->clean(b);
    }

    if (!b->foreign && b->pid != 0) {
        (void) box_kills_take(b->bd, b->slot, &b->killed);
    }

    if (!b->foreign) {
        box_socket_path(b->bd, b->slot, path, sizeof(path));
        (void) unlink(path);
        (void) cgroup_remove(b->bd->cg, b->slot);

        if (b->lock != -1) {
            (void) !ftruncate(b->lock, 0);
        }
    }

    if (b->lock != -1) {
        close(b->lock);
        b->lock = -1;
    }
}


/* From here on the slot is free for another start. */
static void
box_cleaned(uv_work_t *work, int status)
{
    box         *b;
    box_driver  *bd;

    b = work->data;
    bd = b->bd;

    box_unlink(b);
    agent_log_end(b->log);
    log_debug("%s: slot %08x is clean", bd->d.name, b->slot);

    if (b->killed.count > 0) {
        box_kills_tell(bd, b->slot, &b->killed);
    }

    if (b->start != NULL) {
        box_start_ended(b->start, b->status, b->why);
    }

    if (b->reported && bd->host.exited != NULL) {
        bd->host.exited(bd->host.told_data, b->slot, b->status,
                        b->why[0] != '\0' ? b->why : NULL);
    }

    if (b->stop != NULL) {
        box_stop_ended(b->stop, b->kept);
    }

    if (b->watched) {
        b->closing = 2;
        uv_close((uv_handle_t *) &b->exit, box_closed);
        uv_close((uv_handle_t *) &b->retry, box_closed);
    } else {
        box_free(b);
    }

    box_release(bd);
}


void
box_clean(box *b)
{
    b->state = BOX_CLEANING;
    box_kills_end(b);
    b->work.data = b;
    box_hold(b->bd);
    uv_queue_work(b->bd->host.loop, &b->work, box_clean_work, box_cleaned);
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


/* The first process of a pid namespace ends after all others in it.  One that
 * was adopted is another's child. */
static void
box_ended(box *b)
{
    siginfo_t  info;

    memset(&info, 0, sizeof(info));
    b->status = -1;

    if (waitid(P_PIDFD, (id_t) b->pidfd, &info, WEXITED | WNOHANG) == 0) {
        if (info.si_pid != 0) {
            b->status = wait_status(&info);
        }

    } else if (b->child && b->retries++ < STATUS_RETRIES) {
        uv_timer_start(&b->retry, box_retry, STATUS_INTERVAL_MS, 0);
        return;
    }

    log_debug("%s: slot %08x has ended, status %d", b->bd->d.name, b->slot,
              b->status);

    box_clean(b);
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
box_watch(box *b, pid_t pid, uint64_t start_time, int pidfd)
{
    b->pid = pid;
    b->start_time = start_time;
    b->pidfd = pidfd;

    if (uv_poll_init(b->bd->host.loop, &b->exit, pidfd) != 0) {
        return -1;
    }

    uv_timer_init(b->bd->host.loop, &b->retry);
    b->exit.data = b;
    b->retry.data = b;
    b->watched = true;

    return uv_poll_start(&b->exit, UV_READABLE, box_exited) == 0 ? 0 : -1;
}


void
box_signal(box *b, int signo)
{
    cgroup_thaw(b->bd->cg, b->slot);

    if (pidfd_send_signal(b->pidfd, signo, NULL, 0) == -1
        && errno != ESRCH)
    {
        log_error("%s: slot %08x: can't send signal %d: %s", b->bd->d.name,
                  b->slot, signo, strerror(errno));
    }
}
