/* Stop, sleep and destroy; see box.h. */

#include <signal.h>
#include <stdlib.h>

#include "common/log.h"
#include "sandboxd/box.h"


void
box_stop_closed(uv_handle_t *handle)
{
    box_stop    *s;
    box_driver  *bd;

    s = handle->data;
    bd = s->bd;

    if (--s->closing > 0) {
        return;
    }

    free(s);
    box_release(bd);
}


void
box_stop_tell(box_stop *s)
{
    error         *err;
    driver_done    cb;
    driver_slept   slept;

    cb = s->cb;
    slept = s->slept;
    err = s->err;

    s->cb = NULL;
    s->slept = NULL;
    s->err = NULL;

    if (cb != NULL) {
        cb(s->data, err);

    } else if (slept != NULL) {
        slept(s->data, s->kept, err);

    } else if (err != NULL) {
        log_error("%s: what a sandbox has left stays: %s", s->bd->d.name,
                  err->message);
        error_free(err);
    }
}


void
box_stop_finish(box_stop *s)
{
    box_stop_tell(s);

    s->closing = 1;
    uv_close((uv_handle_t *) &s->timer, box_stop_closed);

    if (s->bd->ops->stop_end != NULL) {
        s->bd->ops->stop_end(s);
    }
}


static void
stop_work(uv_work_t *work)
{
    box_stop  *s;

    s = work->data;

    if (s->work_run != NULL) {
        s->work_run(s);
    }
}


static void
stop_worked(uv_work_t *work, int status)
{
    box_stop  *s;

    s = work->data;

    if (s->work_done != NULL) {
        s->work_done(s);
    } else {
        box_stop_finish(s);
    }
}


void
box_stop_work(box_stop *s, void (*run)(box_stop *s),
    void (*done)(box_stop *s))
{
    s->work_run = run;
    s->work_done = done;
    s->work.data = s;
    uv_queue_work(s->bd->host.loop, &s->work, stop_work, stop_worked);
}


/* Nothing of the run is left; now the layer, if it is to go as well.  Through
 * the thread pool in any case: the callback never comes before the driver's
 * function has returned. */
static void
stop_next(box_stop *s)
{
    if (s->destroy && s->err == NULL) {
        s->bd->ops->destroy(s);
    } else {
        box_stop_work(s, NULL, NULL);
    }
}


void
box_stop_ended(box_stop *s, bool kept)
{
    s->box = NULL;
    s->kept = kept;
    uv_timer_stop(&s->timer);
    stop_next(s);
}


static void
stop_kill(uv_timer_t *timer)
{
    box_stop  *s;

    s = timer->data;

    if (s->box != NULL && s->box->state == BOX_STOPPING) {
        box_signal(s->box, SIGKILL);
    }
}


box_stop *
box_stop_create(box_driver *bd, uint32_t slot, driver_done cb, void *data)
{
    box_stop  *s;

    s = calloc(1, bd->ops->stop_size > sizeof(box_stop) ? bd->ops->stop_size
                                                        : sizeof(box_stop));
    if (s == NULL) {
        abort();
    }

    box_hold(bd);
    s->bd = bd;
    s->slot = slot;
    s->cb = cb;
    s->data = data;

    uv_timer_init(bd->host.loop, &s->timer);
    s->timer.data = s;

    return s;
}


/* signo asks its process for the end, which may take that long. */
static void
stop_begin(box_stop *s, int signo, uint64_t grace_ms)
{
    box  *b;

    b = box_find(s->bd, s->slot);

    if (b == NULL) {
        stop_next(s);
        return;
    }

    if (b->stop != NULL || b->start != NULL) {
        error_set(&s->err, 409, "busy", "the sandbox is %s",
                  b->start != NULL ? "starting" : "stopping already");
        stop_next(s);
        return;
    }

    b->stop = s;
    s->box = b;

    if (b->state == BOX_CLEANING) {
        return;
    }

    b->state = BOX_STOPPING;
    box_signal(b, grace_ms > 0 ? signo : SIGKILL);

    if (grace_ms > 0) {
        uv_timer_start(&s->timer, stop_kill, grace_ms, 0);
    }
}


void
box_stop_run(driver *d, uint32_t slot, uint64_t grace_ms, driver_done cb,
    void *data)
{
    stop_begin(box_stop_create((box_driver *) d, slot, cb, data), SIGTERM,
               grace_ms);
}


void
box_sleep_run(driver *d, uint32_t slot, uint64_t timeout_ms,
    driver_slept cb, void *data)
{
    box_stop  *s;

    s = box_stop_create((box_driver *) d, slot, NULL, data);
    s->slept = cb;
    stop_begin(s, SIGUSR1, timeout_ms);
}


void
box_destroy_run(driver *d, uint32_t slot, driver_done cb, void *data)
{
    box_stop  *s;

    s = box_stop_create((box_driver *) d, slot, cb, data);
    s->destroy = true;
    stop_begin(s, SIGKILL, 0);
}
