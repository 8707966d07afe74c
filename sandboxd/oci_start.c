/*
 * Start of a sandbox: prepare (thread pool), wait for a turn, launch (a child
 * of the helper), join the group (thread pool), ping.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/oci.h"
#include "sandboxd/oci_spec.h"
#include "sandboxd/oci_start_part.h"
#include "sandboxd/oci_wire.h"

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
start_uncount(oci_start *s)
{
    if (s->counted) {
        s->counted = false;
        start_driver(s)->launches--;
        launch_next(start_driver(s));
    }
}


void
oci_start_end(box_start *base)
{
    oci_start  *s;

    s = (oci_start *) base;
    start_uncount(s);

    if (s->launched) {
        s->base.closing++;
        uv_close((uv_handle_t *) &s->poll, box_start_closed);
    }

    close_fd(&s->answer);
    close_fd(&s->log_fd);
    close_fd(&s->boot_write);
    free(s->boot);
    free(s->config);
}


static void
queue_remove(oci_start *s)
{
    oci_start  **p;

    for (p = &start_driver(s)->waiting; *p != NULL; p = &(*p)->next) {
        if (*p == s) {
            *p = s->next;

            if (*p == NULL) {
                start_driver(s)->waiting_end = p;
            }

            s->waiting = false;
            return;
        }
    }
}


/* What is in other hands (a thread, the helper's child, a dying PID 1) comes
 * back by itself. */
bool
oci_start_abort(box_start *base)
{
    oci_start  *s;

    s = (oci_start *) base;

    if (s->waiting) {
        queue_remove(s);
    }

    close_fd(&s->prepare.listen);
    close_fd(&s->prepare.disk);
    close_fd(&s->boot_fd);

    if (s->base.box->pidfd != -1) {
        return false;
    }

    if (s->launched && s->answer != -1) {
        (void) shutdown(s->answer, SHUT_WR);
        return true;
    }

    s->base.box->lock = s->prepare.lock;
    s->base.box->foreign = !s->prepare.owned;
    s->prepare.lock = -1;

    return false;
}


const char *
oci_start_where(const box_start *base)
{
    const oci_start  *s;

    s = (const oci_start *) base;

    return s->waiting ? "waiting for its turn"
           : s->launched && s->base.box->pidfd == -1 ? "crun didn't finish"
           : NULL;
}


/* It waits for its boot message now, or for the end of this process. */
static void
start_unused(oci_start *s)
{
    oci_box  *ob;

    ob = start_box(s);
    ob->boot = s->boot_write;
    s->boot_write = -1;
    ob->image = s->image;
    ob->limits = s->prepare.limits;

    box_start_done(&s->base, true);
}


static void
answer_started(oci_start *s, const oci_answer *a, int pidfd)
{
    box  *b;

    b = s->base.box;
    b->child = true;
    box_listen(b, s->log_fd);
    s->log_fd = -1;
    b->lock = s->prepare.lock;
    s->prepare.lock = -1;

    /* Without our own, a dead agent refuses connections. */
    close_fd(&s->prepare.listen);
    slot_lock_write(b->lock, b->bd->boot_id, a->pid, a->start_time);

    /* The helper's child has nothing more to say; its turn is over. */
    uv_poll_stop(&s->poll);
    start_uncount(s);

    if (!box_start_process(&s->base, a->pid, a->start_time, pidfd)) {
        return;
    }

    if (s->unused) {
        start_unused(s);
        return;
    }

    if (s->prepare.fresh) {
        oci_prepare_used(start_driver(s), b->slot);
    }

    box_start_probe(&s->base);
}


static void
join_work(box_start *base)
{
    (void) cgroup_join(base->bd->cg, base->slot,
                       ((oci_start *) base)->join_pid, &base->work_err);
}


static void
start_joined(box_start *base)
{
    oci_start  *s;

    s = (oci_start *) base;

    if (base->err != NULL) {
        box_start_abort(base);
        return;
    }

    if (send(s->answer, "+", 1, MSG_NOSIGNAL) != 1) {
        log_warn("oci: slot %08x: the launch is gone", base->slot);
    }
}


/* The helper's child has said all that it had to say, or died. */
static void
answer_failed(oci_start *s, const char *message)
{
    uv_poll_stop(&s->poll);
    close_fd(&s->answer);
    start_uncount(s);

    if (s->base.err == NULL) {
        error_set(&s->base.err, 503, "start_failed", "%s", message);
    }

    s->base.box->lock = s->prepare.lock;
    s->prepare.lock = -1;
    close_fd(&s->prepare.listen);
    box_clean(s->base.box);
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
        start_box(s)->orphaned = true;
        answer_failed(s, "the launch died");
        return;
    }

    if (a.type == OCI_READY && !s->base.working) {
        if (s->base.err != NULL) {
            return;
        }

        if (cgroup_enforced(s->base.bd->cg) == 0) {
            (void) !send(s->answer, "+", 1, MSG_NOSIGNAL);
            return;
        }

        s->join_pid = a.pid;
        box_start_work(&s->base, join_work, start_joined);

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
        return error_set(&s->base.err, 500, "start_failed", "pipe: %s",
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
        return error_set(&s->base.err, 500, "start_failed", "the environment "
                         "doesn't fit into a pipe of this host");
    }

    close(fds[1]);

    return 0;
}


static void
launch_request(const oci_start *s, oci_request *r)
{
    memset(r, 0, sizeof(*r));
    r->op = OCI_OP_START;
    r->image = s->image;
    r->fresh = s->prepare.fresh;
    r->disk = s->prepare.disk != -1;
    r->config_len = (uint32_t) strlen(s->config);
    box_slot_name(s->base.slot, r->dir);
    memcpy(r->hostname, s->hostname, sizeof(r->hostname));
}


static int
launch_send(oci_start *s)
{
    int          rc, socks[2], pipes[2], fds[OCI_REQUEST_FDS];
    oci_driver  *o;
    oci_request  r;

    o = start_driver(s);

    if (oci_image_refresh(o, s->image, &s->base.err) == -1
        || boot_pipe(s) == -1)
    {
        return -1;
    }

    start_box(s)->identity = o->identities[s->image];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) == -1) {
        return error_set(&s->base.err, 500, "start_failed", "socketpair: %s",
                         strerror(errno));
    }

    if (agent_log_pipe(pipes) == -1) {
        close(socks[0]);
        close(socks[1]);
        return error_set(&s->base.err, 500, "start_failed", "pipe: %s",
                         strerror(errno));
    }

    s->log_fd = pipes[0];

    launch_request(s, &r);
    fds[0] = socks[1];
    fds[1] = s->prepare.lock;
    fds[2] = s->prepare.listen;
    fds[3] = s->boot_fd;
    fds[4] = pipes[1];
    fds[5] = s->prepare.disk;

    rc = oci_request_send(o, &r, sizeof(r), s->config, r.config_len, fds,
                          r.disk ? 6 : 5, &s->base.err);
    close(socks[1]);
    close(pipes[1]);

    if (rc == -1) {
        close(socks[0]);
        return -1;
    }

    close_fd(&s->boot_fd);
    close_fd(&s->prepare.disk);

    s->answer = socks[0];
    uv_poll_init(o->base.host.loop, &s->poll, s->answer);
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
            box_start_abort(&s->base);
        }
    }
}


static void
prepare_work(box_start *base)
{
    oci_prepare_work(&((oci_start *) base)->prepare, &base->work_err);
}


static void
start_prepared(box_start *base)
{
    oci_start   *s;
    oci_driver  *o;

    if (base->err != NULL) {
        box_start_abort(base);
        return;
    }

    s = (oci_start *) base;
    o = start_driver(s);
    s->waiting = true;
    *o->waiting_end = s;
    o->waiting_end = &s->next;

    launch_next(o);
}


static void
start_check(oci_start *s, const driver_spec *spec)
{
    oci_driver  *o;

    o = start_driver(s);

    if (oci_spec_image(o, spec->image, &s->image, &s->base.err) == -1
        || oci_spec_check(o, &spec->limits, &s->base.err) == -1)
    {
        return;
    }

    if (!s->unused) {
        s->boot = oci_spec_boot(spec, &s->base.err);

        if (s->boot == NULL) {
            return;
        }
    }

    s->config = oci_spec_config(o, spec, s->prepare.limits.memory,
                                &s->base.err);

    if (s->config != NULL && box_start_box(&s->base)) {
        box_start_deadline(&s->base);
    }
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

    box_start_init(&s->base, &o->base, spec, timeout_ms, cb, data);
    s->answer = -1;
    s->boot_fd = -1;
    s->boot_write = -1;
    s->log_fd = -1;
    snprintf(s->hostname, sizeof(s->hostname), "%s", spec->id);
    oci_prepare_init(&s->prepare);

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
    s->prepare.first = spec->first;
    oci_spec_limits(o, spec, &s->prepare.limits);

    start_check(s, spec);

    log_debug("oci: slot %08x: start of \"%s\"", spec->slot, spec->id);

    box_start_work(&s->base, prepare_work, start_prepared);
}


void
oci_start_run(driver *d, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data)
{
    box         *b;
    oci_driver  *o;

    o = (oci_driver *) d;
    b = box_find(&o->base, spec->slot);

    if (b != NULL && b->unused) {
        oci_assign_run((oci_box *) b, spec, timeout_ms, cb, data);
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
