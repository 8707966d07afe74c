/*
 * Start of a sandbox: prepare (thread pool), wait for a turn, launch (a child
 * of the helper), join the group (thread pool), ping.  Whatever fails, and
 * when the time is over, everything that was made is removed before the
 * callback runs.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/oci.h"
#include "sandboxd/oci_spec.h"
#include "sandboxd/oci_start_part.h"
#include "sandboxd/oci_wire.h"

/* A connection that breaks may be the first sign of an agent's end, whose
 * status says more. */
#define LAST_WORDS_MS  500

static void  launch_next(oci_driver *o);


static void
close_fd(int *fd)
{
    if (*fd != -1) {
        close(*fd);
        *fd = -1;
    }
}


static void
start_closed(uv_handle_t *handle)
{
    oci_start   *s;
    oci_driver  *o;

    s = handle->data;
    o = s->o;

    if (--s->closing > 0) {
        return;
    }

    close_fd(&s->answer);
    close_fd(&s->log_fd);
    close_fd(&s->boot_write);
    free(s->boot);
    free(s->config);
    free(s);

    oci_release(o);
}


static void
start_uncount(oci_start *s)
{
    if (s->counted) {
        s->counted = false;
        s->o->launches--;
        launch_next(s->o);
    }
}


/* The end, good or bad; the box is either running or gone. */
static void
start_finish(oci_start *s, oci_box *box)
{
    error          *err;
    void           *data;
    driver_handle   handle;
    driver_started  cb;

    err = s->err;
    cb = s->cb;
    data = s->data;

    agent_probe_stop(s->probe);
    start_uncount(s);

    s->closing = 1;
    uv_close((uv_handle_t *) &s->timer, start_closed);

    if (s->launched) {
        s->closing++;
        uv_close((uv_handle_t *) &s->poll, start_closed);
    }

    if (err != NULL) {
        cb(data, NULL, err);
        return;
    }

    handle.pid = box->pid;
    handle.start_time = box->start_time;
    cb(data, &handle, NULL);
}


void
oci_start_ended(oci_start *s, int status)
{
    s->box = NULL;

    if (s->err == NULL || s->weak) {
        if (status == -1) {
            error_set(&s->err, 503, "start_failed",
                      "the agent ended before it answered");
        } else if (WIFSIGNALED(status)) {
            error_set(&s->err, 503, "start_failed", "the agent was ended by "
                      "signal %d before it answered", WTERMSIG(status));
        } else {
            error_set(&s->err, 503, "start_failed", "the agent ended with "
                      "status %d before it answered", WEXITSTATUS(status));
        }
    }

    start_finish(s, NULL);
}


static void
queue_remove(oci_start *s)
{
    oci_start  **p;

    for (p = &s->o->waiting; *p != NULL; p = &(*p)->next) {
        if (*p == s) {
            *p = s->next;

            if (*p == NULL) {
                s->o->waiting_end = p;
            }

            s->waiting = false;
            return;
        }
    }
}


/* Takes back what has been done so far, as far as it can at once: what is in
 * other hands (a thread, the helper's child, a dying PID 1) comes back here or
 * to oci_start_ended(). */
void
oci_start_abort(oci_start *s)
{
    if (s->working) {
        return;
    }

    if (s->waiting) {
        queue_remove(s);
    }

    close_fd(&s->prepare.listen);
    close_fd(&s->prepare.disk);
    close_fd(&s->boot_fd);

    if (s->box->pidfd != -1) {
        if (s->box->state == OCI_STARTING) {
            s->box->state = OCI_STOPPING;
            oci_box_signal(s->box, SIGKILL);
        }
        return;
    }

    if (s->launched && s->answer != -1) {
        (void) shutdown(s->answer, SHUT_WR);
        return;
    }

    s->box->lock = s->prepare.lock;
    s->box->foreign = !s->prepare.owned;
    s->prepare.lock = -1;
    oci_box_clean(s->box);
}


static void
start_timeout(uv_timer_t *timer)
{
    oci_start  *s;

    s = timer->data;

    if (s->err == NULL && s->box->state == OCI_STARTING) {
        error_set(&s->err, 503, "start_timeout", "the sandbox didn't start in "
                  "time (%s)", s->waiting ? "waiting for its turn"
                  : s->box->pidfd != -1 ? "the agent didn't answer"
                  : s->launched ? "crun didn't finish" : "preparing");
        oci_start_abort(s);
    }
}


static void
start_give_up(uv_timer_t *timer)
{
    oci_start  *s;

    s = timer->data;

    if (s->box->state == OCI_STARTING) {
        s->weak = false;
        oci_start_abort(s);
    }
}


static void
start_doubt(oci_start *s)
{
    s->weak = true;
    uv_timer_start(&s->timer, start_give_up, LAST_WORDS_MS, 0);
}


static void
start_probed(void *data, error *err)
{
    oci_start  *s;
    oci_box    *box;

    s = data;
    box = s->box;

    if (s->err != NULL || box->state != OCI_STARTING) {
        error_free(err);
        return;
    }

    if (err != NULL) {
        s->err = err;
        start_doubt(s);
        return;
    }

    box->state = OCI_RUNNING;
    box->reported = true;
    box->start = NULL;

    start_finish(s, box);
}


void
oci_start_probe(oci_start *s)
{
    char  path[AGENT_SOCKET_MAX + 32];

    oci_socket_path(s->o, s->box->slot, path, sizeof(path));
    s->probe = agent_probe_start(s->o->host.loop, path, s->key, start_probed, s,
                               &s->err);

    if (s->probe == NULL) {
        start_doubt(s);
    }
}


/* It waits for its boot message now, or for the end of this process. */
static void
start_unused(oci_start *s)
{
    oci_box  *box;

    box = s->box;
    box->state = OCI_PREPARED;
    box->unused = true;
    box->reported = true;
    box->boot = s->boot_write;
    s->boot_write = -1;
    box->image = s->image;
    box->limits = s->prepare.limits;
    box->start = NULL;

    start_finish(s, box);
}


static void
answer_started(oci_start *s, const oci_answer *a, int pidfd)
{
    oci_box  *box;

    box = s->box;
    box->child = true;
    box->log = agent_log_start(s->o->host.loop, box->slot, s->log_fd);
    s->log_fd = -1;
    box->lock = s->prepare.lock;
    s->prepare.lock = -1;

    /* Without our own, a dead agent refuses connections. */
    close_fd(&s->prepare.listen);
    slot_lock_write(box->lock, s->o->boot_id, a->pid, a->start_time);

    /* The helper's child has nothing more to say; its turn is over. */
    uv_poll_stop(&s->poll);
    start_uncount(s);

    if (oci_box_watch(box, a->pid, a->start_time, pidfd) == -1) {
        error_set(&s->err, 500, "internal", "can't watch the sandbox");
        oci_box_signal(box, SIGKILL);
        oci_box_clean(box);
        return;
    }

    if (s->err != NULL) {
        oci_start_abort(s);
        return;
    }

    if (s->unused) {
        start_unused(s);
    } else {
        oci_start_probe(s);
    }
}


static void
join_work(uv_work_t *work)
{
    oci_start  *s;

    s = work->data;
    (void) cgroup_join(s->o->cg, s->box->slot, s->join_pid, &s->prepare.err);
}


static void
start_joined(uv_work_t *work, int status)
{
    oci_start  *s;

    s = work->data;
    s->working = false;

    if (s->err == NULL) {
        s->err = s->prepare.err;
    } else {
        error_free(s->prepare.err);
    }

    s->prepare.err = NULL;

    if (s->err != NULL) {
        oci_start_abort(s);
        return;
    }

    if (send(s->answer, "+", 1, MSG_NOSIGNAL) != 1) {
        log_warn("oci: slot %08x: the launch is gone", s->box->slot);
    }
}


/* The helper's child has said all that it had to say, or died. */
static void
answer_failed(oci_start *s, const char *message)
{
    uv_poll_stop(&s->poll);
    close_fd(&s->answer);
    start_uncount(s);

    if (s->err == NULL) {
        error_set(&s->err, 503, "start_failed", "%s", message);
    }

    s->box->lock = s->prepare.lock;
    s->prepare.lock = -1;
    close_fd(&s->prepare.listen);
    oci_box_clean(s->box);
}


static void
start_answer(uv_poll_t *handle, int status, int events)
{
    int          pidfd;
    ssize_t      n;
    oci_start   *s;
    oci_answer   a;

    s = handle->data;

    n = oci_wire_recv(s->answer, &a, sizeof(a), &pidfd, 1, MSG_DONTWAIT);

    if (n == -1 && errno == EAGAIN) {
        return;
    }

    if (n != sizeof(a)) {
        s->box->orphaned = true;
        answer_failed(s, "the launch died");
        return;
    }

    if (a.type == OCI_READY && !s->working) {
        if (s->err != NULL) {
            return;
        }

        if (cgroup_enforced(s->o->cg) == 0) {
            (void) !send(s->answer, "+", 1, MSG_NOSIGNAL);
            return;
        }

        s->working = true;
        s->join_pid = a.pid;
        uv_queue_work(s->o->host.loop, &s->work, join_work, start_joined);

    } else if (a.type == OCI_STARTED && pidfd != -1) {
        answer_started(s, &a, pidfd);

    } else {
        a.message[sizeof(a.message) - 1] = '\0';
        answer_failed(s, a.type == OCI_FAILED ? a.message : "bad answer");
    }
}


/* The whole of it fits into the pipe: nobody has to wait for its reader. */
static int
boot_pipe(oci_start *s)
{
    int     fds[2];
    size_t  len;

    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) == -1) {
        return error_set(&s->err, 500, "start_failed", "pipe: %s",
                         strerror(errno));
    }

    s->boot_fd = fds[0];

    /* The agent reads it as a plain, blocking pipe. */
    (void) fcntl(fds[0], F_SETFL, 0);

    if (s->unused) {
        s->boot_write = fds[1];
        return 0;
    }

    len = strlen(s->boot);

    if (len > 65536) {
        (void) fcntl(fds[1], F_SETPIPE_SZ, OCI_BOOT_MAX);
    }

    if (write(fds[1], s->boot, len) != (ssize_t) len) {
        close(fds[1]);
        return error_set(&s->err, 500, "start_failed", "the environment "
                         "doesn't fit into a pipe of this host");
    }

    close(fds[1]);

    return 0;
}


static int
launch_send(oci_start *s)
{
    int          rc, socks[2], pipes[2], fds[OCI_REQUEST_FDS];
    oci_request  r;

    if (oci_image_refresh(s->o, s->image, &s->err) == -1
        || boot_pipe(s) == -1)
    {
        return -1;
    }

    s->box->identity = s->o->identities[s->image];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) == -1) {
        return error_set(&s->err, 500, "start_failed", "socketpair: %s",
                         strerror(errno));
    }

    if (agent_log_pipe(pipes) == -1) {
        close(socks[0]);
        close(socks[1]);
        return error_set(&s->err, 500, "start_failed", "pipe: %s",
                         strerror(errno));
    }

    s->log_fd = pipes[0];

    memset(&r, 0, sizeof(r));
    r.op = OCI_OP_START;
    r.image = s->image;
    r.fresh = s->prepare.fresh;
    r.disk = s->prepare.disk != -1;
    r.config_len = (uint32_t) strlen(s->config);
    oci_slot_name(s->box->slot, r.dir);
    memcpy(r.hostname, s->hostname, sizeof(r.hostname));

    fds[0] = socks[1];
    fds[1] = s->prepare.lock;
    fds[2] = s->prepare.listen;
    fds[3] = s->boot_fd;
    fds[4] = pipes[1];
    fds[5] = s->prepare.disk;

    rc = oci_request_send(s->o, &r, sizeof(r), s->config, r.config_len, fds,
                          r.disk ? 6 : 5, &s->err);
    close(socks[1]);
    close(pipes[1]);

    if (rc == -1) {
        close(socks[0]);
        return -1;
    }

    close_fd(&s->boot_fd);
    close_fd(&s->prepare.disk);

    s->answer = socks[0];
    uv_poll_init(s->o->host.loop, &s->poll, s->answer);
    s->poll.data = s;
    s->launched = true;
    uv_poll_start(&s->poll, UV_READABLE, start_answer);

    return 0;
}


/* More at once would only make each of them slower.  A changed image needs
 * another helper, which is not the parent of what this one has begun. */
static void
launch_next(oci_driver *o)
{
    oci_start  *s;

    while (o->waiting != NULL && o->launches < o->launches_max) {
        s = o->waiting;

        if (o->launches > 0 && oci_image_changed(o, s->image)) {
            return;
        }

        queue_remove(s);

        s->counted = true;
        o->launches++;

        if (launch_send(s) == -1) {
            s->counted = false;
            o->launches--;
            oci_start_abort(s);
        }
    }
}


static void
prepare_work(uv_work_t *work)
{
    oci_start  *s;

    s = work->data;

    if (s->err == NULL) {
        oci_prepare_work(&s->prepare);
    }
}


static void
start_prepared(uv_work_t *work, int status)
{
    oci_start  *s;

    s = work->data;
    s->working = false;

    if (s->err == NULL) {
        s->err = s->prepare.err;
    } else {
        error_free(s->prepare.err);
    }

    s->prepare.err = NULL;

    /* The box of somebody else, or none at all: nothing to clean. */
    if (s->box == NULL) {
        start_finish(s, NULL);
        return;
    }

    if (s->err != NULL) {
        oci_start_abort(s);
        return;
    }

    s->waiting = true;
    *s->o->waiting_end = s;
    s->o->waiting_end = &s->next;

    launch_next(s->o);
}


static void
start_check(oci_start *s, const driver_spec *spec)
{
    if (oci_box_find(s->o, spec->slot) != NULL) {
        error_set(&s->err, 409, "busy", "the sandbox is starting, running or "
                  "ending already");
        return;
    }

    if (oci_spec_image(s->o, spec->image, &s->image, &s->err) == -1
        || oci_spec_check(s->o, &spec->limits, &s->err) == -1)
    {
        return;
    }

    if (!s->unused) {
        s->boot = oci_spec_boot(spec, &s->err);

        if (s->boot == NULL) {
            return;
        }
    }

    s->config = oci_spec_config(s->o, spec, s->prepare.limits.memory, &s->err);

    if (s->config == NULL) {
        return;
    }

    s->box = oci_box_add(s->o, spec->slot);

    if (s->box == NULL) {
        error_set(&s->err, 500, "internal", "out of memory");
        return;
    }

    s->box->start = s;
}


oci_start *
oci_start_create(oci_driver *o, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data)
{
    oci_start  *s;

    s = calloc(1, sizeof(oci_start));
    if (s == NULL) {
        abort();
    }

    oci_hold(o);

    s->o = o;
    s->cb = cb;
    s->data = data;
    s->answer = -1;
    s->boot_fd = -1;
    s->boot_write = -1;
    s->log_fd = -1;
    snprintf(s->key, sizeof(s->key), "%s", spec->key);
    snprintf(s->hostname, sizeof(s->hostname), "%s", spec->id);
    oci_prepare_init(&s->prepare);

    uv_timer_init(o->host.loop, &s->timer);
    s->timer.data = s;

    if (timeout_ms != 0) {
        uv_timer_start(&s->timer, start_timeout, timeout_ms, 0);
    }

    return s;
}


void
oci_start_fresh(oci_driver *o, const driver_spec *spec, bool unused,
    uint64_t timeout_ms, driver_started cb, void *data)
{
    oci_start  *s;

    s = oci_start_create(o, spec, timeout_ms, cb, data);
    s->unused = unused;
    s->prepare.o = o;
    s->prepare.slot = spec->slot;
    oci_spec_limits(o, spec, &s->prepare.limits);

    start_check(s, spec);

    /* Nothing has begun that would have to be ended in time. */
    if (s->box == NULL) {
        uv_timer_stop(&s->timer);
    }

    log_debug("oci: slot %08x: start of \"%s\"", spec->slot, spec->id);

    /* Through the thread pool in any case: the callback never comes before
     * this function has returned. */
    s->working = true;
    s->work.data = s;
    uv_queue_work(o->host.loop, &s->work, prepare_work, start_prepared);
}


void
oci_start_run(driver *d, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data)
{
    oci_box     *box;
    oci_driver  *o;

    o = (oci_driver *) d;
    box = oci_box_find(o, spec->slot);

    if (box != NULL && box->unused) {
        oci_assign_run(box, spec, timeout_ms, cb, data);
    } else {
        oci_start_fresh(o, spec, false, timeout_ms, cb, data);
    }
}


void
oci_prepare_run(driver *d, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data)
{
    driver_spec  nobody;

    nobody = *spec;
    nobody.id = "";
    nobody.key = "";

    oci_start_fresh((oci_driver *) d, &nobody, true, timeout_ms, cb, data);
}
