/*
 * Start of a sandbox: what machine_launch.c does in the thread pool, then the
 * agent's first answer.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "common/log.h"
#include "sandboxd/machine_start_part.h"

#define BOOT_MAX  (1024 * 1024)
#define ENTROPY   32

void
machine_start_end(box_start *base)
{
    machine_start   *s;
    machine_driver  *m;

    s = (machine_start *) base;
    m = (machine_driver *) base->bd;
    m->starting -= s->counted;
    machine_call_forget(s);
    base->forgot = !s->launch.own && (s->kept || s->launch.unfit);

    if (base->err == NULL) {
        machine_template_want(&s->launch);
    }

    if (s->launch.boot != NULL) {
        explicit_bzero(s->launch.boot, strlen(s->launch.boot));
        free(s->launch.boot);
    }
}


/* Once more with what was kept, where nothing says that it is of no use: it may
 * have been killed.  Then it boots; but for one of a jailer's, which is still
 * there only if it had not come to that, and stays. */
bool
machine_start_again(box_start *base, const char *why)
{
    bool            jailer;
    machine_start  *s;

    s = (machine_start *) base;
    jailer = s->launch.m->vmm->jailer;

    machine_call_forget(s);

    if ((!s->launch.again && !s->assigned) || (jailer && s->retried)) {
        return false;
    }

    s->launch.forget = !jailer && (s->retried || !s->launch.own);
    s->kept = s->kept || s->launch.own;
    s->launch.again = false;
    s->assigned = false;
    s->retried = true;
    log_info("%s: slot %08x: it doesn't go on%s: %s", base->bd->d.name,
             base->slot, s->launch.forget ? ", and boots" : "",
             why[0] != '\0' ? why : "it was ended");
    s->drop = s->launch.templated;
    s->launch.templated = false;

    if (box_start_box(base)) {
        box_start_deadline(base);
    }

    machine_start_launch(s);

    return true;
}


/* Of a start's time, so that there is enough left for a boot. */
uint64_t
machine_again_ms(const machine_launch *l)
{
    uint64_t  ms;

    ms = l->timeout_ms / 6;

    return ms > MACHINE_AGAIN_MS ? ms : MACHINE_AGAIN_MS;
}


static void
launch_work(box_start *base)
{
    machine_start  *s;

    s = (machine_start *) base;

    if (s->drop) {
        machine_template_drop(&s->launch);
        s->drop = false;
    }

    machine_launch_work(&((machine_start *) base)->launch, &base->work_err);
}


static void
start_launched(box_start *base)
{
    machine_launch  *l;

    l = &((machine_start *) base)->launch;
    base->box->lock = l->lock;
    base->box->foreign = !l->owned;
    ((machine_box *) base->box)->owner = l->owner;
    box_listen(base->box, l->log);

    if (l->pid == 0) {
        box_start_abort(base);

    } else if (box_start_process(base, l->pid, l->start_time, l->pidfd)) {
        box_start_probe(base);
    }
}


void
machine_start_launch(machine_start *s)
{
    machine_launch_init(&s->launch);
    box_start_work(&s->base, launch_work, start_launched);
}


int
machine_start_image(const machine_driver *m, const char *name,
    unsigned *image, error **err)
{
    unsigned  i;

    for (i = 0; i < m->base.host.image_count; i++) {
        if (strcmp(m->base.host.image_names[i], name) == 0) {
            *image = i;
            return 0;
        }
    }

    if (strcmp(name, "host") == 0) {
        return error_set_field(err, 422, "unknown_image", "image", 0,
                               "the image \"host\" is none for virtual "
                               "machines");
    }

    return error_set_field(err, 422, "unknown_image", "image", 0,
                           "there is no image \"%s\"", name);
}


static json_t *
boot_entropy(void)
{
    char           text[2 * ENTROPY + 1];
    size_t         i;
    unsigned char  bytes[ENTROPY];

    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) {
        abort();
    }

    for (i = 0; i < sizeof(bytes); i++) {
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }

    return json_string(text);
}


static char *
boot_build(const driver_spec *spec, const driver_limits *limits, error **err)
{
    char             *text;
    json_t           *boot;
    struct timespec   now;

    clock_gettime(CLOCK_REALTIME, &now);

    boot = json_pack("{s:i, s:s, s:I, s:s, s:s, s:O, s:s, s:I, s:o, s:I,"
                     " s:{s:s, s:s, s:i, s:s}}",
                     "version", 1, "id", spec->id,
                     "epoch", (json_int_t) spec->epoch, "key", spec->key,
                     "hostname", spec->id, "env", spec->env,
                     "cwd", "/workspace",
                     "time", (json_int_t) now.tv_sec * 1000
                             + now.tv_nsec / 1000000,
                     "entropy", boot_entropy(),
                     "processes", (json_int_t) limits->pids,
                     "network", "interface", VM_GUEST_DEVICE,
                     "address", VM_GUEST_ADDRESS, "prefix", VM_PREFIX,
                     "gateway", VM_HOST_ADDRESS);
    text = boot != NULL ? json_dumps(boot, JSON_COMPACT) : NULL;
    json_decref(boot);

    if (text == NULL) {
        error_set(err, 500, "internal", "can't build the boot object");
        return NULL;
    }

    if (strlen(text) > BOOT_MAX) {
        error_set_field(err, 413, "too_large", "env", BOOT_MAX,
                        "the environment is too large");
        free(text);
        return NULL;
    }

    return text;
}


static void
start_check(machine_start *s, const driver_spec *spec)
{
    error           **err;
    machine_launch   *l;

    l = &s->launch;
    err = &s->base.err;

    if (machine_start_image(l->m, spec->image, &l->image, err) == -1
        || machine_limits(l->m, spec, &l->limits, err) == -1)
    {
        return;
    }

    l->boot = boot_build(spec, &l->limits, err);
}


machine_start *
machine_start_create(machine_driver *m, const driver_spec *spec,
    uint64_t timeout_ms, driver_started cb, void *data)
{
    machine_start  *s;

    s = calloc(1, sizeof(machine_start));
    if (s == NULL) {
        abort();
    }

    box_start_init(&s->base, &m->base, spec, timeout_ms, cb, data);
    s->counted = spec->slot != MACHINE_TEMPLATE_SLOT;
    m->starting += s->counted;
    s->launch.m = m;
    s->launch.slot = spec->slot;
    s->launch.first = spec->first;
    snprintf(s->launch.key, sizeof(s->launch.key), "%s", spec->key);
    s->launch.timeout_ms = timeout_ms;
    machine_launch_init(&s->launch);
    start_check(s, spec);

    return s;
}


void
machine_start_fresh(driver *d, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data)
{
    machine_start  *s;

    s = machine_start_create((machine_driver *) d, spec, timeout_ms, cb,
                             data);

    if (s->base.err == NULL && box_start_box(&s->base)) {
        box_start_deadline(&s->base);
    }

    log_debug("%s: slot %08x: start of \"%s\"", d->name, spec->slot,
              spec->id);

    machine_start_launch(s);
}


void
machine_start_run(driver *d, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data)
{
    box  *b;

    b = box_find((box_driver *) d, spec->slot);

    if (b != NULL && b->state == BOX_PREPARED && b->stop == NULL) {
        machine_assign(b, spec, timeout_ms, cb, data);
    } else {
        machine_start_fresh(d, spec, timeout_ms, cb, data);
    }
}
