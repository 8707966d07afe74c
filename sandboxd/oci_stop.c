/*
 * The end of a sandbox's files.  Its directory is renamed first, so that its
 * slot is free at once and a crash leaves nothing that could be taken for a
 * sandbox; then a child of the helper, which is nobody on the host, deletes
 * what the guest has written.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/oci.h"
#include "sandboxd/oci_wire.h"

/* A destroyed sandbox with millions of files is gone for its user long before
 * the last of them is deleted. */
#define DESTROY_WAIT_MS  5000
#define HURRY_WAIT_MS    500        /* at the end, for all of them: most are
                                       deleted in less */

static void  trash_next(oci_driver *o);


static void
removing_begin(oci_stop *s)
{
    oci_driver  *o;

    o = (oci_driver *) s->base.bd;
    s->removing = true;
    s->prev = NULL;
    s->next = o->removing;

    if (s->next != NULL) {
        s->next->prev = s;
    }

    o->removing = s;
    o->removals++;
}


static void
removing_end(oci_stop *s)
{
    oci_driver  *o;

    o = (oci_driver *) s->base.bd;
    s->removing = false;

    if (s->prev != NULL) {
        s->prev->next = s->next;
    } else {
        o->removing = s->next;
    }

    if (s->next != NULL) {
        s->next->prev = s->prev;
    }

    o->removals--;
    trash_next(o);
}


void
oci_stop_end(box_stop *base)
{
    oci_stop  *s;

    s = (oci_stop *) base;

    if (s->removing) {
        removing_end(s);
    }

    if (s->polled) {
        base->closing++;
        uv_close((uv_handle_t *) &s->poll, box_stop_closed);
        close(s->answer);
    }
}


/* What root's part of a sandbox's directory consists of. */
static void
trash_rest_work(box_stop *base)
{
    int        layers, dir;
    oci_stop  *s;

    s = (oci_stop *) base;

    layers = open(base->bd->dirs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (layers == -1) {
        return;
    }

    dir = openat(layers, s->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC
                 | O_NOFOLLOW);

    if (dir != -1) {
        (void) unlinkat(dir, "lock", 0);
        (void) unlinkat(dir, "disk", 0);
        (void) unlinkat(dir, "disk.new", 0);
        (void) unlinkat(dir, "unused", 0);
        (void) unlinkat(dir, "layer", AT_REMOVEDIR);
        close(dir);

        if (unlinkat(layers, s->name, AT_REMOVEDIR) == -1
            && base->err == NULL)
        {
            error_set(&base->err, 500, "internal", "can't remove %s: %s",
                      s->name, strerror(errno));
        }
    }

    close(layers);
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
        error_set(&s->base.err, 500, "internal", "%s", n == sizeof(a)
                  ? a.message : "the removal of a sandbox's files died");
    }

    box_stop_work(&s->base, trash_rest_work, NULL);
}


static void
trash_timeout(uv_timer_t *timer)
{
    box_stop_tell(timer->data);
}


static void
trash_ask(oci_stop *s)
{
    int          rc, socks[2];
    box_stop    *base;
    oci_request  r;

    base = &s->base;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) == -1) {
        error_set(&base->err, 500, "internal", "socketpair: %s",
                  strerror(errno));
        box_stop_finish(base);
        return;
    }

    memset(&r, 0, sizeof(r));
    r.op = OCI_OP_REMOVE;
    memcpy(r.dir, s->name, sizeof(r.dir));

    rc = oci_request_send((oci_driver *) base->bd, &r, sizeof(r), NULL, 0,
                          &socks[1], 1, &base->err);
    close(socks[1]);

    if (rc == -1) {
        close(socks[0]);
        box_stop_finish(base);
        return;
    }

    s->answer = socks[0];
    uv_poll_init(base->bd->host.loop, &s->poll, s->answer);
    s->poll.data = s;
    s->polled = true;
    uv_poll_start(&s->poll, UV_READABLE, trash_answer);
}


static void
trash_next(oci_driver *o)
{
    oci_stop  *s;

    while (o->doomed != NULL && o->removals < OCI_REMOVALS_MAX
           && !o->base.freed)
    {
        s = o->doomed;
        o->doomed = s->later;

        if (o->doomed == NULL) {
            o->doomed_end = &o->doomed;
        }

        removing_begin(s);
        trash_ask(s);
    }
}


/* For as long, its destroy waits. */
static void
trash_wait(oci_stop *s)
{
    uint64_t     now, wait;
    oci_driver  *o;

    o = (oci_driver *) s->base.bd;
    now = uv_now(o->base.host.loop);
    wait = o->hurried == 0 ? DESTROY_WAIT_MS
           : o->hurried > now ? o->hurried - now : 0;

    if (s->base.cb != NULL) {
        uv_timer_start(&s->base.timer, trash_timeout, wait, 0);
    }
}


void
oci_stop_hurry(driver *d)
{
    oci_stop    *s;
    oci_driver  *o;

    o = (oci_driver *) d;
    o->hurried = uv_now(o->base.host.loop) + HURRY_WAIT_MS;

    for (s = o->doomed; s != NULL; s = s->later) {
        trash_wait(s);
    }

    for (s = o->removing; s != NULL; s = s->next) {
        trash_wait(s);
    }
}


static void
trash_empty(oci_stop *s)
{
    oci_driver  *o;

    o = (oci_driver *) s->base.bd;

    trash_wait(s);
    s->later = NULL;
    *o->doomed_end = s;
    o->doomed_end = &s->later;

    trash_next(o);
}


void
oci_stop_abandon(box_driver *bd)
{
    oci_stop    *s, *next;
    oci_driver  *o;

    o = (oci_driver *) bd;

    /* Those that still wait have no handle that is polled; those in the
     * thread pool end by themselves. */
    while (o->doomed != NULL) {
        s = o->doomed;
        o->doomed = s->later;
        box_stop_finish(&s->base);
    }

    o->doomed_end = &o->doomed;

    for (s = o->removing; s != NULL; s = next) {
        next = s->next;

        if (s->base.cb == NULL && s->polled
            && uv_is_active((uv_handle_t *) &s->poll))
        {
            uv_poll_stop(&s->poll);
            box_stop_finish(&s->base);
        }
    }
}


static void
doom_work(box_stop *base)
{
    int        layers;
    char       name[9];
    oci_stop  *s;

    s = (oci_stop *) base;
    box_slot_name(base->slot, name);
    layers = open(base->bd->dirs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (layers == -1 || renameat(layers, name, layers, s->name) == -1) {
        if (errno != ENOENT) {
            error_set(&base->err, 500, "internal", "can't remove a sandbox's "
                      "directory: %s", strerror(errno));
        }

        s->name[0] = '\0';
    }

    if (layers != -1) {
        close(layers);
    }
}


static void
doom_done(box_stop *base)
{
    oci_stop  *s;

    s = (oci_stop *) base;

    if (s->name[0] != '\0') {
        trash_empty(s);
    } else {
        box_stop_finish(base);
    }
}


void
oci_stop_destroy(box_stop *base)
{
    oci_stop  *s;

    s = (oci_stop *) base;
    snprintf(s->name, sizeof(s->name), "trash-%08x-%x", base->slot,
             ((oci_driver *) base->bd)->trash++);

    box_stop_work(base, doom_work, doom_done);
}


void
oci_trash_remove(oci_driver *o, const char *name)
{
    oci_stop  *s;

    s = (oci_stop *) box_stop_create(&o->base, 0, NULL, NULL);
    s->base.destroy = true;
    snprintf(s->name, sizeof(s->name), "%s", name);

    trash_empty(s);
}
