/*
 * Start of a sandbox: what qemu_launch.c does in the thread pool, then the
 * agent's first answer.  Whatever fails, and when the time is over, all that
 * was made is removed before the callback runs.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "sandboxd/agent_probe.h"
#include "sandboxd/qemu.h"

#define BOOT_MAX       (1024 * 1024)
#define ENTROPY        32
#define LAST_WORDS_MS  500      /* a broken connection may be a sign of the end */

struct qemu_start {
    qemu_driver     *q;
    qemu_box        *box;
    driver_started   cb;
    void            *data;
    error           *err;       /* the reason, once there is one */
    bool             working;   /* in the thread pool */
    uint64_t         deadline;  /* 0: none */
    bool             weak;      /* err may follow from the machine's end */
    qemu_launch      launch;
    agent_probe     *probe;
    uv_work_t        work;
    uv_timer_t       timer;
};


static void
start_closed(uv_handle_t *handle)
{
    qemu_start   *s;
    qemu_driver  *q;

    s = handle->data;
    q = s->q;

    if (s->launch.boot != NULL) {
        explicit_bzero(s->launch.boot, strlen(s->launch.boot));
        free(s->launch.boot);
    }

    free(s);
    qemu_release(q);
}


/* The end, good or bad; the box is either running or gone. */
static void
start_finish(qemu_start *s, qemu_box *box)
{
    driver_handle  handle;

    agent_probe_stop(s->probe);
    uv_close((uv_handle_t *) &s->timer, start_closed);

    if (s->err != NULL) {
        s->cb(s->data, NULL, s->err);
        return;
    }

    handle.pid = box->pid;
    handle.start_time = box->start_time;
    s->cb(s->data, &handle, NULL);
}


static void  start_launch(qemu_start *s);
static void  start_time_left(qemu_start *s);


void
qemu_start_ended(qemu_start *s, const char *why)
{
    s->box = NULL;

    if (s->weak) {
        error_free(s->err);
        s->err = NULL;
        s->weak = false;
    }

    /* What was kept is gone by now: this time it boots. */
    if (s->err == NULL && s->launch.again && !s->q->freed) {
        log_info("qemu: slot %08x: it doesn't go on, and boots: %s",
                 s->launch.slot, why);
        agent_probe_stop(s->probe);
        s->probe = NULL;
        s->launch.again = false;
        start_time_left(s);
        s->box = qemu_box_add(s->q, s->launch.slot);
        s->box->start = s;
        start_launch(s);
        return;
    }

    if (s->err == NULL) {
        error_set(&s->err, 503, "start_failed", "%s", why[0] != '\0' ? why
                  : "the virtual machine ended before its agent answered");
    }

    start_finish(s, NULL);
}


/* Takes back what has been done so far; what a thread is at comes back here. */
static void
start_abort(qemu_start *s)
{
    if (s->working) {
        return;
    }

    if (s->box->pidfd != -1) {
        if (s->box->state == QEMU_STARTING) {
            s->box->state = QEMU_STOPPING;
            qemu_box_signal(s->box, SIGKILL);
        }
        return;
    }

    qemu_box_clean(s->box);
}


static void
start_timeout(uv_timer_t *timer)
{
    qemu_start  *s;

    s = timer->data;

    if (s->err == NULL && s->box->state == QEMU_STARTING) {
        error_set(&s->err, 503, "start_timeout", "the sandbox didn't start in "
                  "time (%s)", s->working ? "preparing"
                  : "the agent didn't answer");
        start_abort(s);
    }
}


static void
start_time_left(qemu_start *s)
{
    uint64_t  now;

    now = uv_now(s->q->host.loop);
    uv_timer_stop(&s->timer);

    if (s->deadline != 0) {
        uv_timer_start(&s->timer, start_timeout,
                       s->deadline > now ? s->deadline - now : 1, 0);
    }
}


static void
start_give_up(uv_timer_t *timer)
{
    qemu_start  *s;

    s = timer->data;

    if (s->box->state == QEMU_STARTING) {
        s->weak = false;
        start_abort(s);
    }
}


static void
start_doubt(qemu_start *s)
{
    s->weak = true;
    uv_timer_start(&s->timer, start_give_up, LAST_WORDS_MS, 0);
}


static void
start_probed(void *data, error *err)
{
    qemu_box    *box;
    qemu_start  *s;

    s = data;
    box = s->box;

    if (s->err != NULL || box == NULL || box->state != QEMU_STARTING) {
        error_free(err);
        return;
    }

    if (err != NULL) {
        s->err = err;
        start_doubt(s);
        return;
    }

    box->state = QEMU_RUNNING;
    box->reported = true;
    box->start = NULL;

    start_finish(s, box);
}


static void
launch_work(uv_work_t *work)
{
    qemu_start  *s;

    s = work->data;

    if (s->err == NULL) {
        qemu_launch_work(&s->launch);
    }
}


/* Clients wait in the socket's queue until the agent listens. */
static void
start_probe(qemu_start *s)
{
    char  path[AGENT_SOCKET_MAX + 32];

    qemu_socket_path(s->q, s->box->slot, path, sizeof(path));
    s->probe = agent_probe_start(s->q->host.loop, path, s->launch.key,
                                 start_probed, s, &s->err);

    if (s->probe == NULL) {
        start_doubt(s);
    }
}


static void
start_launched(uv_work_t *work, int status)
{
    qemu_box     *box;
    qemu_start   *s;
    qemu_launch  *l;

    s = work->data;
    l = &s->launch;
    box = s->box;
    s->working = false;

    if (s->err == NULL) {
        s->err = l->err;
    } else {
        error_free(l->err);
    }

    l->err = NULL;

    if (box == NULL) {
        start_finish(s, NULL);
        return;
    }

    box->lock = l->lock;
    box->foreign = !l->owned;
    box->log = agent_log_start(s->q->host.loop, box->slot, l->log);

    if (l->pid != 0
        && qemu_box_watch(box, l->pid, l->start_time, l->pidfd) == -1)
    {
        if (s->err == NULL) {
            error_set(&s->err, 500, "internal", "can't watch the sandbox");
        }
        qemu_box_signal(box, SIGKILL);
        qemu_box_clean(box);
        return;
    }

    if (s->err != NULL) {
        start_abort(s);
        return;
    }

    start_probe(s);
}


/* Through the thread pool in any case: the callback never comes before the
 * driver's function has returned. */
static void
start_launch(qemu_start *s)
{
    s->launch.lock = -1;
    s->launch.log = -1;
    s->launch.pid = 0;
    s->launch.pidfd = -1;
    s->launch.owned = false;
    s->working = true;
    s->work.data = s;
    uv_queue_work(s->q->host.loop, &s->work, launch_work, start_launched);
}


static int
image_find(const qemu_driver *q, const char *name, unsigned *image,
    error **err)
{
    unsigned  i;

    for (i = 0; i < q->host.image_count; i++) {
        if (strcmp(q->host.image_names[i], name) == 0) {
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


static int
limits_find(const qemu_driver *q, const driver_spec *spec, driver_limits *l,
    error **err)
{
    uint64_t  memory;

    if (spec->limits.cpu > 0 && !q->d.enforces_cpu) {
        return error_set_field(err, 422, "unenforceable", "cpu", 0,
                               "cpu can't be limited on this host");
    }

    l->cpu = spec->limits.cpu > 0 ? spec->limits.cpu : spec->defaults.cpu;
    l->disk = spec->limits.disk ? spec->limits.disk
              : spec->defaults.disk ? spec->defaults.disk : QEMU_DISK;
    l->pids = spec->limits.pids ? spec->limits.pids : spec->defaults.pids;
    memory = spec->limits.memory ? spec->limits.memory
             : spec->defaults.memory ? spec->defaults.memory : QEMU_MEMORY;

    if (memory < QEMU_MEMORY_MIN) {
        return error_set_field(err, 422, "unenforceable", "memory",
                               (long long) QEMU_MEMORY_MIN, "a virtual "
                               "machine needs at least %llu MiB of memory",
                               (unsigned long long) QEMU_MEMORY_MIN >> 20);
    }

    l->memory = memory & ~0xfffffull;

    return 0;
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
start_check(qemu_start *s, const driver_spec *spec)
{
    qemu_launch  *l;

    l = &s->launch;

    if (qemu_box_find(s->q, spec->slot) != NULL) {
        error_set(&s->err, 409, "busy", "the sandbox is starting, running or "
                  "ending already");
        return;
    }

    if (image_find(s->q, spec->image, &l->image, &s->err) == -1
        || limits_find(s->q, spec, &l->limits, &s->err) == -1)
    {
        return;
    }

    l->boot = boot_build(spec, &l->limits, &s->err);
    if (l->boot == NULL) {
        return;
    }

    s->box = qemu_box_add(s->q, spec->slot);
    s->box->start = s;
}


void
qemu_start_run(driver *d, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data)
{
    qemu_start   *s;
    qemu_driver  *q;

    q = (qemu_driver *) d;
    s = calloc(1, sizeof(qemu_start));

    if (s == NULL) {
        abort();
    }

    qemu_hold(q);
    s->q = q;
    s->cb = cb;
    s->data = data;
    s->launch.q = q;
    s->launch.slot = spec->slot;
    snprintf(s->launch.key, sizeof(s->launch.key), "%s", spec->key);

    uv_timer_init(q->host.loop, &s->timer);
    s->timer.data = s;
    start_check(s, spec);

    if (s->box != NULL && timeout_ms != 0) {
        s->deadline = uv_now(q->host.loop) + timeout_ms;
        start_time_left(s);
    }

    log_debug("qemu: slot %08x: start of \"%s\"", spec->slot, spec->id);

    start_launch(s);
}
