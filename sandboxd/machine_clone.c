/*
 * A sandbox from another one: what the thread pool is asked to copy, and a
 * bound for how many copies are made at once.  See driver.h.
 */

#include <stdlib.h>

#include "sandboxd/machine.h"

typedef struct {
    machine_driver  *m;
    uint32_t         from, to;
    bool             running;       /* `from` is */
    bool             memory;
    bool             counted;
    error           *err;
    driver_slept     cb;
    void            *data;
    uv_work_t        work;
} machine_clone;


static void
clone_work(uv_work_t *work)
{
    char            from[BOX_PATH], to[BOX_PATH];
    machine_clone  *c;

    c = work->data;

    if (c->err != NULL) {
        return;
    }

    box_path(&c->m->base, c->from, NULL, from, sizeof(from));
    box_path(&c->m->base, c->to, NULL, to, sizeof(to));

    if (machine_copy(from, c->running, to, c->m->base.host.disk_floor,
                     &c->memory, &c->err) != 0)
    {
        (void) machine_dir_remove(to, NULL);
    }
}


static void
clone_done(uv_work_t *work, int status)
{
    machine_clone   *c;
    machine_driver  *m;

    c = work->data;
    m = c->m;
    m->copies -= c->counted;
    c->cb(c->data, c->memory, c->err);
    free(c);
    box_release(&m->base);
}


void
machine_clone_run(driver *d, uint32_t from, uint32_t to, driver_slept cb,
    void *data)
{
    box            *b;
    machine_clone  *c;

    c = calloc(1, sizeof(machine_clone));
    if (c == NULL) {
        abort();
    }

    c->m = (machine_driver *) d;
    c->from = from;
    c->to = to;
    c->cb = cb;
    c->data = data;
    b = box_find(&c->m->base, from);
    c->running = b != NULL;

    if (b != NULL && (b->state != BOX_RUNNING || b->stop != NULL)) {
        error_set(&c->err, 409, "busy", "the sandbox starts or ends");
        c->err->retry_after = 1;

    } else if (b != NULL && !c->m->vmm->memory) {
        error_set(&c->err, 501, "unsupported", "the memory of virtual machines "
                  "that are reached by %s can't be copied: put it to sleep "
                  "first", c->m->vmm->channel);

    } else if (c->m->copies >= MACHINE_COPIES_MAX) {
        error_set_field(&c->err, 503, "busy", "", MACHINE_COPIES_MAX,
                        "%d sandboxes are being copied already",
                        MACHINE_COPIES_MAX);
        c->err->retry_after = 2;

    } else {
        c->counted = true;
        c->m->copies++;
    }

    box_hold(&c->m->base);
    c->work.data = c;
    uv_queue_work(c->m->base.host.loop, &c->work, clone_work, clone_done);
}
