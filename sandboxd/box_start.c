/*
 * Start of a sandbox, as far as it is the same for all drivers: what a thread
 * of the pool is at comes back before anything is taken back; a late start is
 * ended; the agent's first answer is the end of a good one.  Whatever fails,
 * all that was made is removed before the callback runs.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "common/log.h"
#include "sandboxd/box.h"

/* A connection that breaks may be the first sign of an agent's end, whose
 * status says more. */
#define LAST_WORDS_MS  500


void
box_start_closed(uv_handle_t *handle)
{
    box_start   *s;
    box_driver  *bd;

    s = handle->data;
    bd = s->bd;

    if (--s->closing > 0) {
        return;
    }

    free(s);
    box_release(bd);
}


/* The end, good or bad; the box is either running or gone. */
static void
start_finish(box_start *s, box *b)
{
    error          *err;
    void           *data;
    driver_handle   handle;
    driver_started  cb;

    err = s->err;
    cb = s->cb;
    data = s->data;

    agent_probe_stop(s->probe);

    s->closing = 1;
    uv_close((uv_handle_t *) &s->timer, box_start_closed);

    if (s->bd->ops->start_end != NULL) {
        s->bd->ops->start_end(s);
    }

    if (err != NULL) {
        cb(data, NULL, err);
        return;
    }

    handle.pid = b->pid;
    handle.start_time = b->start_time;
    handle.forgot = s->forgot;
    cb(data, &handle, NULL);
}


static void
error_ended(error **err, int status, const char *why)
{
    if (why[0] != '\0') {
        error_set(err, 503, "start_failed", "%s", why);
    } else if (status == -1) {
        error_set(err, 503, "start_failed",
                  "the agent ended before it answered");
    } else if (WIFSIGNALED(status)) {
        error_set(err, 503, "start_failed", "the agent was ended by "
                  "signal %d before it answered", WTERMSIG(status));
    } else {
        error_set(err, 503, "start_failed", "the agent ended with "
                  "status %d before it answered", WEXITSTATUS(status));
    }
}


void
box_start_ended(box_start *s, int status, const char *why)
{
    s->box = NULL;

    if (s->weak) {
        error_free(s->err);
        s->err = NULL;
        s->weak = false;
    }

    if (s->err == NULL) {
        agent_probe_stop(s->probe);
        s->probe = NULL;

        if (!s->bd->freed && s->bd->ops->start_again != NULL
            && s->bd->ops->start_again(s, why))
        {
            return;
        }

        error_ended(&s->err, status, why);
    }

    start_finish(s, NULL);
}


void
box_start_abort(box_start *s)
{
    if (s->working) {
        return;
    }

    if (s->bd->ops->start_abort != NULL && s->bd->ops->start_abort(s)) {
        return;
    }

    if (s->box->pidfd != -1) {
        if (s->box->state == BOX_STARTING) {
            s->box->state = BOX_STOPPING;
            box_signal(s->box, SIGKILL);
        }
        return;
    }

    box_clean(s->box);
}


static void
start_timeout(uv_timer_t *timer)
{
    box_start   *s;
    const char  *where;

    s = timer->data;

    if (s->err != NULL || s->box->state != BOX_STARTING) {
        return;
    }

    where = s->bd->ops->start_where != NULL ? s->bd->ops->start_where(s) : NULL;

    if (where == NULL) {
        where = s->box->pidfd != -1 ? "the agent didn't answer" : "preparing";
    }

    error_set(&s->err, 503, "start_timeout", "the sandbox didn't start in "
              "time (%s)", where);
    box_start_abort(s);
}


void
box_start_deadline(box_start *s)
{
    uint64_t  now;

    now = uv_now(s->bd->host.loop);
    uv_timer_stop(&s->timer);

    if (s->deadline != 0) {
        uv_timer_start(&s->timer, start_timeout,
                       s->deadline > now ? s->deadline - now : 1, 0);
    }
}


static void
start_give_up(uv_timer_t *timer)
{
    box_start  *s;

    s = timer->data;

    if (s->box->state == BOX_STARTING) {
        s->weak = false;
        box_start_abort(s);
    }
}


static void
start_doubt(box_start *s)
{
    s->weak = true;
    uv_timer_start(&s->timer, start_give_up, LAST_WORDS_MS, 0);
}


static void
start_probed(void *data, error *err)
{
    box        *b;
    box_start  *s;

    s = data;
    b = s->box;

    if (s->err != NULL || b == NULL || b->state != BOX_STARTING) {
        error_free(err);
        return;
    }

    if (err != NULL) {
        s->err = err;
        start_doubt(s);
        return;
    }

    if (s->bd->ops->start_answered == NULL
        || !s->bd->ops->start_answered(s))
    {
        box_start_done(s, false);
    }
}


/* Clients wait in the socket's queue until the agent listens. */
void
box_start_probe(box_start *s)
{
    char  path[AGENT_SOCKET_MAX + 32];

    box_socket_path(s->bd, s->slot, path, sizeof(path));
    s->probe = agent_probe_start(s->bd->host.loop, path, s->key, start_probed,
                                 s, &s->err);

    if (s->probe == NULL) {
        start_doubt(s);
    }
}


void
box_start_done(box_start *s, bool unused)
{
    box  *b;

    b = s->box;
    b->state = unused ? BOX_PREPARED : BOX_RUNNING;
    b->unused = unused;
    b->reported = true;
    b->start = NULL;

    start_finish(s, b);
}


bool
box_start_process(box_start *s, pid_t pid, uint64_t start_time, int pidfd)
{
    if (box_watch(s->box, pid, start_time, pidfd) == -1) {
        if (s->err == NULL) {
            error_set(&s->err, 500, "internal", "can't watch the sandbox");
        }

        box_signal(s->box, SIGKILL);
        box_clean(s->box);
        return false;
    }

    if (s->err != NULL) {
        box_start_abort(s);
        return false;
    }

    return true;
}


static void
start_work(uv_work_t *work)
{
    box_start  *s;

    s = work->data;

    if (s->work_run != NULL) {
        s->work_run(s);
    }
}


static void
start_worked(uv_work_t *work, int status)
{
    box_start  *s;

    s = work->data;
    s->working = false;

    if (s->err == NULL) {
        s->err = s->work_err;
    } else {
        error_free(s->work_err);
    }

    s->work_err = NULL;

    /* The box of somebody else, or none at all: nothing to clean. */
    if (s->box == NULL) {
        start_finish(s, NULL);
        return;
    }

    s->work_done(s);
}


void
box_start_work(box_start *s, void (*run)(box_start *s),
    void (*done)(box_start *s))
{
    s->working = true;
    s->work_run = s->err == NULL ? run : NULL;
    s->work_done = done;
    s->work.data = s;
    uv_queue_work(s->bd->host.loop, &s->work, start_work, start_worked);
}


bool
box_start_box(box_start *s)
{
    if (box_find(s->bd, s->slot) != NULL) {
        error_set(&s->err, 409, "busy", "the sandbox is starting, running or "
                  "ending already");
        return false;
    }

    s->box = box_add(s->bd, s->slot);
    s->box->start = s;

    return true;
}


void
box_start_init(box_start *s, box_driver *bd, const driver_spec *spec,
    uint64_t timeout_ms, driver_started cb, void *data)
{
    box_hold(bd);

    s->bd = bd;
    s->slot = spec->slot;
    s->cb = cb;
    s->data = data;
    snprintf(s->key, sizeof(s->key), "%s", spec->key);

    uv_timer_init(bd->host.loop, &s->timer);
    s->timer.data = s;

    if (timeout_ms != 0) {
        s->deadline = uv_now(bd->host.loop) + timeout_ms;
    }
}


/* A start that has to wait for the end of what was prepared. */
typedef struct {
    box_driver      *bd;
    driver_spec      spec;
    uint64_t         timeout_ms;
    driver_started   cb;
    void            *data;
    box_fresh        fresh;
} replacement;


static void
replace_stopped(void *data, error *err)
{
    replacement  *r;

    r = data;

    if (err == NULL && r->bd->freed) {
        error_set(&err, 503, "shutting_down", "sandboxd is being stopped");
    }

    if (err != NULL) {
        r->cb(r->data, NULL, err);
    } else {
        r->fresh(&r->bd->d, &r->spec, r->timeout_ms, r->cb, r->data);
    }

    free(r);
}


void
box_replace(box *b, bool files, const driver_spec *spec, uint64_t timeout_ms,
    driver_started cb, void *data, box_fresh fresh)
{
    replacement  *r;

    log_info("%s: slot %08x was prepared for something else",
             b->bd->d.name, spec->slot);

    r = calloc(1, sizeof(replacement));
    if (r == NULL) {
        abort();
    }

    r->bd = b->bd;
    r->spec = *spec;
    r->timeout_ms = timeout_ms;
    r->cb = cb;
    r->data = data;
    r->fresh = fresh;

    if (files) {
        box_destroy_run(&b->bd->d, spec->slot, replace_stopped, r);
    } else {
        box_stop_run(&b->bd->d, spec->slot, 0, replace_stopped, r);
    }
}
