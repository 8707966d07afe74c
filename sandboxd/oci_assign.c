/*
 * The start of a sandbox that was prepared: gives it its name, tells its agent
 * whose it is, and waits for the first answer.  What can't be used any more
 * ends, and the start is one from the beginning.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/oci_spec.h"
#include "sandboxd/oci_start_part.h"
#include "sandboxd/oci_wire.h"

#define BOOT_PIPE_LEN  65536    /* what a pipe takes by itself */

static bool
box_fits(const oci_box *ob, const driver_spec *spec)
{
    error          *err;
    uint32_t        image;
    oci_driver     *o;
    driver_limits   limits;

    err = NULL;
    o = (oci_driver *) ob->base.bd;

    if (oci_spec_image(o, spec->image, &image, &err) == -1) {
        error_free(err);
        return false;
    }

    memset(&limits, 0, sizeof(limits));
    oci_spec_limits(o, spec, &limits);

    return ob->base.state == BOX_PREPARED && ob->image == image
           && ob->limits.cpu == limits.cpu
           && ob->limits.memory == limits.memory
           && ob->limits.disk == limits.disk
           && ob->limits.pids == limits.pids
           && oci_image_identity(o, image) == ob->identity;
}


bool
oci_prepared(driver *d, const driver_spec *spec)
{
    box  *b;

    b = box_find((box_driver *) d, spec->slot);

    return b != NULL && b->unused && box_fits((oci_box *) b, spec);
}


/* The whole of it fits into the pipe, of which nothing has been used. */
static int
boot_write(oci_start *s)
{
    int      fd;
    size_t   len;
    ssize_t  n;

    fd = start_box(s)->boot;
    start_box(s)->boot = -1;
    len = strlen(s->boot);

    if (len > BOOT_PIPE_LEN) {
        (void) fcntl(fd, F_SETPIPE_SZ, OCI_BOOT_MAX);
    }

    n = write(fd, s->boot, len);
    close(fd);

    if (n != (ssize_t) len) {
        return error_set(&s->base.err, 503, "start_failed", "the agent can't "
                         "be told whose sandbox it is");
    }

    return 0;
}


static void
assign_named(uv_poll_t *handle, int status, int events)
{
    ssize_t      n;
    oci_start   *s;
    oci_answer   a;

    s = handle->data;

    n = oci_wire_recv(s->answer, &a, sizeof(a), NULL, 0, MSG_DONTWAIT);

    if (n == -1 && errno == EAGAIN) {
        return;
    }

    uv_poll_stop(handle);

    if (s->base.err != NULL || s->base.box->state != BOX_STARTING) {
        return;
    }

    if (n != sizeof(a) || a.type != OCI_DONE) {
        a.message[sizeof(a.message) - 1] = '\0';
        error_set(&s->base.err, 503, "start_failed", "%s", n == sizeof(a)
                  ? a.message : "the sandbox could not be given its name");
        box_start_abort(&s->base);
        return;
    }

    if (start_box(s)->limits.disk != 0) {
        oci_prepare_used(start_driver(s), s->base.slot);
    }

    if (boot_write(s) == -1) {
        box_start_abort(&s->base);
        return;
    }

    box_start_probe(&s->base);
}


static int
name_send(oci_start *s)
{
    int          rc, socks[2], fds[2];
    oci_request  r;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) == -1) {
        return error_set(&s->base.err, 500, "start_failed", "socketpair: %s",
                         strerror(errno));
    }

    memset(&r, 0, sizeof(r));
    r.op = OCI_OP_NAME;
    r.disk = start_box(s)->limits.disk != 0;
    box_slot_name(s->base.slot, r.dir);
    memcpy(r.hostname, s->hostname, sizeof(r.hostname));

    fds[0] = socks[1];
    fds[1] = s->base.box->pidfd;

    rc = oci_request_send(start_driver(s), &r, sizeof(r), NULL, 0, fds, 2,
                          &s->base.err);
    close(socks[1]);

    if (rc == -1) {
        close(socks[0]);
        return -1;
    }

    s->answer = socks[0];
    s->launched = true;
    uv_poll_init(s->base.bd->host.loop, &s->poll, s->answer);
    s->poll.data = s;
    uv_poll_start(&s->poll, UV_READABLE, assign_named);

    return 0;
}


static void
assign_box(oci_box *ob, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data)
{
    oci_start  *s;

    s = oci_start_create((oci_driver *) ob->base.bd, spec, timeout_ms, cb,
                         data);

    /* From here on its end is the end of this start. */
    s->base.box = &ob->base;
    ob->base.start = &s->base;
    ob->base.state = BOX_STARTING;
    ob->base.unused = false;
    ob->base.reported = false;
    box_start_deadline(&s->base);

    log_debug("oci: slot %08x is \"%s\" now", spec->slot, spec->id);

    s->boot = oci_spec_boot(spec, &s->base.err);

    if (s->boot == NULL || name_send(s) == -1) {
        box_start_abort(&s->base);
    }
}


static void
start_fresh(driver *d, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data)
{
    oci_start_fresh((oci_driver *) d, spec, false, timeout_ms, cb, data);
}


void
oci_assign_run(oci_box *ob, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data)
{
    if (box_fits(ob, spec)) {
        assign_box(ob, spec, timeout_ms, cb, data);
    } else {
        box_replace(&ob->base, false, spec, timeout_ms, cb, data, start_fresh);
    }
}
