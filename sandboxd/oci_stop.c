/*
 * Stop and destroy.  Destroying renames the sandbox's directory first, so that
 * its slot is free at once and a crash leaves nothing that could be taken for
 * a sandbox; then a child of the helper, which is nobody on the host, deletes
 * what the guest has written.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/oci.h"
#include "sandboxd/oci_wire.h"

/* A destroyed sandbox with millions of files is gone for its user long before
 * the last of them is deleted. */
#define DESTROY_WAIT_MS  5000

struct oci_stop {
    oci_driver   *o;
    oci_stop     *prev, *next;      /* all that go on */
    oci_stop     *later;            /* those that wait for their removal */
    oci_box      *box;
    uint32_t      slot;
    bool          destroy;
    bool          polled;
    bool          removing;         /* among the removals */
    int           answer;
    driver_done   cb;           /* NULL once it has run */
    void         *data;
    error        *err;
    char          name[30];     /* of the doomed directory; "": none */
    unsigned      closing;
    uv_work_t     work;
    uv_poll_t     poll;
    uv_timer_t    timer;
};


static void
stop_closed(uv_handle_t *handle)
{
    oci_stop    *s;
    oci_driver  *o;

    s = handle->data;
    o = s->o;

    if (--s->closing > 0) {
        return;
    }

    if (s->answer != -1) {
        close(s->answer);
    }

    error_free(s->err);
    free(s);

    oci_release(o);
}


static void
stop_tell(oci_stop *s)
{
    error        *err;
    driver_done   cb;

    cb = s->cb;
    err = s->err;

    if (cb != NULL) {
        s->cb = NULL;
        s->err = NULL;
        cb(s->data, err);

    } else if (err != NULL) {
        log_error("oci: %s", err->message);
    }
}


static void  trash_next(oci_driver *o);


static void
stop_finish(oci_stop *s)
{
    stop_tell(s);

    if (s->prev != NULL) {
        s->prev->next = s->next;
    } else {
        s->o->stops = s->next;
    }

    if (s->next != NULL) {
        s->next->prev = s->prev;
    }

    if (s->removing) {
        s->removing = false;
        s->o->removals--;
        trash_next(s->o);
    }

    s->closing = 1;
    uv_close((uv_handle_t *) &s->timer, stop_closed);

    if (s->polled) {
        s->closing++;
        uv_close((uv_handle_t *) &s->poll, stop_closed);
    }
}


/* What root's part of a sandbox's directory consists of. */
static void
trash_rest_work(uv_work_t *work)
{
    int        layers, dir;
    oci_stop  *s;

    s = work->data;

    layers = open(s->o->layers, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (layers == -1) {
        return;
    }

    dir = openat(layers, s->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC
                 | O_NOFOLLOW);

    if (dir != -1) {
        (void) unlinkat(dir, "lock", 0);
        (void) unlinkat(dir, "disk", 0);
        (void) unlinkat(dir, "disk.new", 0);
        (void) unlinkat(dir, "layer", AT_REMOVEDIR);
        close(dir);

        if (unlinkat(layers, s->name, AT_REMOVEDIR) == -1 && s->err == NULL) {
            error_set(&s->err, 500, "internal", "can't remove %s: %s",
                      s->name, strerror(errno));
        }
    }

    close(layers);
}


static void
trash_done(uv_work_t *work, int status)
{
    stop_finish(work->data);
}


static void
trash_answer(uv_poll_t *handle, int status, int events)
{
    ssize_t      n;
    oci_stop    *s;
    oci_answer   a;

    s = handle->data;

    n = oci_wire_recv(s->answer, &a, sizeof(a), NULL, 0, MSG_DONTWAIT);

    if (n == -1 && errno == EAGAIN) {
        return;
    }

    uv_poll_stop(handle);

    if (n != sizeof(a) || a.type != OCI_DONE) {
        a.message[sizeof(a.message) - 1] = '\0';
        error_set(&s->err, 500, "internal", "%s", n == sizeof(a)
                  ? a.message : "the removal of a sandbox's files died");
    }

    uv_queue_work(s->o->host.loop, &s->work, trash_rest_work, trash_done);
}


static void
trash_timeout(uv_timer_t *timer)
{
    stop_tell(timer->data);
}


static void
trash_ask(oci_stop *s)
{
    int          rc, socks[2];
    oci_request  r;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) == -1) {
        error_set(&s->err, 500, "internal", "socketpair: %s",
                  strerror(errno));
        stop_finish(s);
        return;
    }

    memset(&r, 0, sizeof(r));
    r.op = OCI_OP_REMOVE;
    memcpy(r.dir, s->name, sizeof(r.dir));

    rc = oci_request_send(s->o, &r, sizeof(r), NULL, 0, &socks[1], 1, &s->err);
    close(socks[1]);

    if (rc == -1) {
        close(socks[0]);
        stop_finish(s);
        return;
    }

    s->answer = socks[0];
    uv_poll_init(s->o->host.loop, &s->poll, s->answer);
    s->poll.data = s;
    s->polled = true;
    uv_poll_start(&s->poll, UV_READABLE, trash_answer);
}


static void
trash_next(oci_driver *o)
{
    oci_stop  *s;

    while (o->doomed != NULL && o->removals < OCI_REMOVALS_MAX && !o->freed) {
        s = o->doomed;
        o->doomed = s->later;

        if (o->doomed == NULL) {
            o->doomed_end = &o->doomed;
        }

        s->removing = true;
        o->removals++;
        trash_ask(s);
    }
}


static void
trash_empty(oci_stop *s)
{
    if (s->cb != NULL) {
        uv_timer_start(&s->timer, trash_timeout, DESTROY_WAIT_MS, 0);
    }

    s->later = NULL;
    *s->o->doomed_end = s;
    s->o->doomed_end = &s->later;

    trash_next(s->o);
}


void
oci_stop_abandon(oci_driver *o)
{
    oci_stop  *s, *next;

    /* Those that still wait have no handle that is polled; those in the
     * thread pool end by themselves. */
    while (o->doomed != NULL) {
        s = o->doomed;
        o->doomed = s->later;
        stop_finish(s);
    }

    o->doomed_end = &o->doomed;

    for (s = o->stops; s != NULL; s = next) {
        next = s->next;

        if (s->cb == NULL && s->polled
            && uv_is_active((uv_handle_t *) &s->poll))
        {
            uv_poll_stop(&s->poll);
            stop_finish(s);
        }
    }
}


static void
doom_work(uv_work_t *work)
{
    int        layers;
    char       name[9];
    oci_stop  *s;

    s = work->data;

    if (!s->destroy) {
        return;
    }

    layers = open(s->o->layers, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    oci_slot_name(s->slot, name);

    if (layers == -1 || renameat(layers, name, layers, s->name) == -1) {
        if (errno != ENOENT) {
            error_set(&s->err, 500, "internal", "can't remove a sandbox's "
                      "directory: %s", strerror(errno));
        }

        s->name[0] = '\0';
    }

    if (layers != -1) {
        close(layers);
    }
}


static void
doom_done(uv_work_t *work, int status)
{
    oci_stop  *s;

    s = work->data;

    if (s->destroy && s->name[0] != '\0') {
        trash_empty(s);
    } else {
        stop_finish(s);
    }
}


/* Nothing of the run is left; now the layer, if it is to go as well. */
static void
stop_next(oci_stop *s)
{
    if (s->destroy && s->name[0] == '\0') {
        snprintf(s->name, sizeof(s->name), "trash-%08x-%x", s->slot,
                 s->o->trash++);
    }

    uv_queue_work(s->o->host.loop, &s->work, doom_work, doom_done);
}


void
oci_stop_ended(oci_stop *s)
{
    s->box = NULL;
    uv_timer_stop(&s->timer);
    stop_next(s);
}


static void
stop_kill(uv_timer_t *timer)
{
    oci_stop  *s;

    s = timer->data;

    if (s->box != NULL && s->box->state == OCI_STOPPING) {
        oci_box_signal(s->box, SIGKILL);
    }
}


static oci_stop *
stop_create(oci_driver *o, uint32_t slot, driver_done cb, void *data)
{
    oci_stop  *s;

    s = calloc(1, sizeof(oci_stop));
    if (s == NULL) {
        abort();
    }

    s->o = o;
    s->slot = slot;
    s->cb = cb;
    s->data = data;
    s->answer = -1;
    s->work.data = s;
    s->next = o->stops;

    if (s->next != NULL) {
        s->next->prev = s;
    }

    o->stops = s;
    oci_hold(o);

    uv_timer_init(o->host.loop, &s->timer);
    s->timer.data = s;

    return s;
}


static void
refuse_work(uv_work_t *work)
{
}


static void
refuse_done(uv_work_t *work, int status)
{
    stop_finish(work->data);
}


static void
stop_run(oci_driver *o, uint32_t slot, bool destroy, uint64_t grace_ms,
    driver_done cb, void *data)
{
    oci_box   *box;
    oci_stop  *s;

    s = stop_create(o, slot, cb, data);
    s->destroy = destroy;

    box = oci_box_find(o, slot);

    if (box == NULL) {
        stop_next(s);
        return;
    }

    if (box->stop != NULL || box->start != NULL) {
        error_set(&s->err, 409, "busy", "the sandbox is %s",
                  box->start != NULL ? "starting" : "stopping already");
        uv_queue_work(o->host.loop, &s->work, refuse_work, refuse_done);
        return;
    }

    box->stop = s;
    s->box = box;

    if (box->state == OCI_CLEANING) {
        return;
    }

    box->state = OCI_STOPPING;

    if (grace_ms > 0) {
        oci_box_signal(box, SIGTERM);
        uv_timer_start(&s->timer, stop_kill, grace_ms, 0);
    } else {
        oci_box_signal(box, SIGKILL);
    }
}


void
oci_stop_run(driver *d, uint32_t slot, uint64_t grace_ms, driver_done cb,
    void *data)
{
    stop_run((oci_driver *) d, slot, false, grace_ms, cb, data);
}


void
oci_destroy_run(driver *d, uint32_t slot, driver_done cb, void *data)
{
    stop_run((oci_driver *) d, slot, true, 0, cb, data);
}


void
oci_trash_remove(oci_driver *o, const char *name)
{
    oci_stop  *s;

    s = stop_create(o, 0, NULL, NULL);
    s->destroy = true;
    snprintf(s->name, sizeof(s->name), "%s", name);

    trash_empty(s);
}
