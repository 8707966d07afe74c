/*
 * What a sandbox uses.  Its groups are read in the thread pool.  The size of
 * its layer is that of the file that bounds it; where there is none, a child
 * of the helper counts, but only while nothing of the sandbox runs, and not
 * again before it has run.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/net_link.h"
#include "sandboxd/oci.h"
#include "sandboxd/oci_wire.h"

#define SIZE_WAIT_MS  10000     /* the helper's child has its own limit */

typedef struct {
    oci_driver       *o;
    uint32_t          slot;
    bool              idle;     /* nothing of it runs or is about to */
    bool              bounded;  /* its disk is a file */
    int               answer;
    bool              polled;
    unsigned          closing;
    driver_measured   cb;
    void             *data;
    driver_stats      stats;
    uv_work_t         work;
    uv_poll_t         poll;
    uv_timer_t        timer;
} oci_stats;


static int64_t
now_ms(void)
{
    struct timeval  tv;

    gettimeofday(&tv, NULL);

    return (int64_t) tv.tv_sec * 1000 + tv.tv_usec / 1000;
}


static oci_size *
size_entry(const oci_stats *s)
{
    return &s->o->sizes[s->slot % OCI_SIZES];
}


static void
stats_closed(uv_handle_t *handle)
{
    oci_stats   *s;
    oci_driver  *o;

    s = handle->data;
    o = s->o;

    if (--s->closing > 0) {
        return;
    }

    if (s->answer != -1) {
        close(s->answer);
    }

    free(s);
    box_release(&o->base);
}


static void
stats_finish(oci_stats *s)
{
    oci_size  *size;

    size = size_entry(s);

    if (s->stats.disk == -1 && size->slot == s->slot) {
        s->stats.disk = (int64_t) size->bytes;
        s->stats.disk_at = size->at;
        s->stats.disk_partial = size->partial;
    }

    s->cb(s->data, &s->stats, NULL);

    s->closing = 1;
    uv_close((uv_handle_t *) &s->timer, stats_closed);

    if (s->polled) {
        s->closing++;
        uv_close((uv_handle_t *) &s->poll, stats_closed);
    }
}


static void
size_end(oci_stats *s)
{
    s->o->sizings--;
    uv_poll_stop(&s->poll);
    stats_finish(s);
}


static void
size_answer(uv_poll_t *handle, int status, int events)
{
    ssize_t      n;
    oci_size    *size;
    oci_stats   *s;
    oci_answer   a;

    s = handle->data;

    n = oci_wire_recv(s->answer, &a, sizeof(a), NULL, 0, MSG_DONTWAIT);

    if (n == -1 && errno == EAGAIN) {
        return;
    }

    /* A start may have come between. */
    if (n == sizeof(a) && a.type == OCI_DONE
        && box_find(&s->o->base, s->slot) == NULL)
    {
        size = size_entry(s);
        size->slot = s->slot;
        size->bytes = a.bytes;
        size->partial = a.partial != 0;
        size->stale = false;
        size->at = now_ms();

    } else if (n == sizeof(a) && a.type == OCI_FAILED) {
        a.message[sizeof(a.message) - 1] = '\0';
        log_warn("oci: slot %08x: %s", s->slot, a.message);
    }

    size_end(s);
}


static void
size_timeout(uv_timer_t *timer)
{
    size_end(timer->data);
}


/* false: what is known has to do. */
static bool
size_ask(oci_stats *s)
{
    int          rc, socks[2];
    error       *err;
    oci_request  r;

    if (s->o->sizings >= OCI_SIZINGS_MAX || s->o->base.freed
        || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) == -1)
    {
        return false;
    }

    memset(&r, 0, sizeof(r));
    r.op = OCI_OP_SIZE;
    box_slot_name(s->slot, r.dir);

    err = NULL;
    rc = oci_request_send(s->o, &r, sizeof(r), NULL, 0, &socks[1], 1, &err);
    close(socks[1]);

    if (rc == -1) {
        log_warn("oci: slot %08x: %s", s->slot, err->message);
        error_free(err);
        close(socks[0]);
        return false;
    }

    s->o->sizings++;
    s->answer = socks[0];
    s->polled = true;
    uv_poll_init(s->o->base.host.loop, &s->poll, s->answer);
    s->poll.data = s;
    uv_poll_start(&s->poll, UV_READABLE, size_answer);
    uv_timer_start(&s->timer, size_timeout, SIZE_WAIT_MS, 0);

    return true;
}


static void
stats_work(uv_work_t *work)
{
    oci_stats  *s;

    s = work->data;

    if (s->stats.running) {
        cgroup_stats(s->o->base.cg, s->slot, &s->stats);
        net_link_count(s->slot, &s->stats);
    }

    box_disk_stats(&s->o->base, s->slot, &s->stats);
    s->bounded = s->stats.disk != -1;
}


static void
stats_worked(uv_work_t *work, int status)
{
    oci_stats  *s;

    s = work->data;

    if (s->idle && !s->bounded
        && (size_entry(s)->slot != s->slot || size_entry(s)->stale)
        && box_find(&s->o->base, s->slot) == NULL && size_ask(s))
    {
        return;
    }

    stats_finish(s);
}


void
oci_stats_run(driver *d, uint32_t slot, driver_measured cb, void *data)
{
    box        *b;
    oci_stats  *s;

    s = calloc(1, sizeof(oci_stats));
    if (s == NULL) {
        abort();
    }

    s->o = (oci_driver *) d;
    s->slot = slot;
    s->cb = cb;
    s->data = data;
    s->answer = -1;

    b = box_find(&s->o->base, slot);
    s->idle = b == NULL;

    driver_stats_clear(&s->stats);
    s->stats.running = b != NULL && b->state == BOX_RUNNING;

    box_hold(&s->o->base);
    uv_timer_init(s->o->base.host.loop, &s->timer);
    s->timer.data = s;
    s->work.data = s;
    uv_queue_work(s->o->base.host.loop, &s->work, stats_work, stats_worked);
}
