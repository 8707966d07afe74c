/* Interpreter processes; see interpreter_executor.h. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/interpreter.h"
#include "common/log.h"

#define EXECUTOR_PIECE      (48 * 1024)     /* of output at one time */
#define EXECUTOR_TURNS      32              /* before others have theirs */
#define EXECUTOR_DRAIN_MAX  (1088 * 1024)   /* what a pipe may hold, and more */
#define EXECUTOR_END_MS     1000            /* from its last event to its end */

static char  executor_scratch[EXECUTOR_PIECE];


static void executor_pump(executor *x);
static void executor_finish(executor *x);


/* Timers belong to the executor, but close after it. */

static void
executor_timer_closed(uv_handle_t *handle)
{
    free(handle);
}


void
executor_timer_stop(uv_timer_t **timer)
{
    if (*timer != NULL) {
        uv_close((uv_handle_t *) *timer, executor_timer_closed);
        *timer = NULL;
    }
}


void
executor_timer_start(executor *x, uv_timer_t **timer, uint64_t ms,
    uv_timer_cb cb)
{
    if (*timer == NULL) {
        *timer = malloc(sizeof(uv_timer_t));
        if (*timer == NULL) {
            abort();
        }
        uv_timer_init(agent.loop, *timer);
        (*timer)->data = x;
    }

    uv_timer_start(*timer, cb, ms, 0);
}


void
executor_close_fd(int *fd)
{
    if (*fd != -1) {
        close(*fd);
        *fd = -1;
    }
}


static void
executor_free(executor *x)
{
    executor_timer_stop(&x->timer);
    executor_timer_stop(&x->again);
    io_close(x->requests);
    io_close(x->events);
    io_close(x->out);
    io_close(x->err);
    executor_close_fd(&x->stop_fd);
    executor_close_fd(&x->kids_fd);
    executor_close_fd(&x->orphans_fd);
    buffer_free(&x->pending);
    buffer_free(&x->in);
    json_decref(x->renewal);
    free(x);
}


void
executor_end(executor *x)
{
    if (x->gone) {
        return;
    }

    x->gone = 1;
    x->cb = NULL;

    if (x->sh != NULL) {
        shim_quit(x->sh);
        x->sh = NULL;
    }

    if (!x->pumping) {
        executor_free(x);
    }
}


static void
executor_reason(const executor *x, char *out, size_t size)
{
    int  n;

    if (x->killed) {
        n = snprintf(out, size, "The interpreter did not stop when it was "
                     "interrupted and was ended");

    } else if (!x->exited) {
        n = snprintf(out, size, "The interpreter was lost");

    } else if (WIFSIGNALED(x->wait_status)) {
        n = snprintf(out, size, "The interpreter was ended by signal %d",
                     WTERMSIG(x->wait_status));
    } else {
        n = snprintf(out, size, "The interpreter exited with code %d",
                     WEXITSTATUS(x->wait_status));
    }

    if (!x->ready && x->early_len != 0) {
        snprintf(out + n, size - (size_t) n, ": %.*s", (int) x->early_len,
                 x->early);
    }
}


void
executor_die(executor *x, const char *why)
{
    char         reason[sizeof(x->early) + 128];
    executor_cb  cb;

    if (x->gone) {
        return;
    }

    if (why == NULL) {
        executor_reason(x, reason, sizeof(reason));
        why = reason;
    }

    log_debug("executor %d: %s", (int) x->pid, why);

    cb = x->cb;
    if (cb != NULL) {
        x->cb = NULL;
        cb(x, EXECUTOR_DEAD, why, strlen(why));
    }
    executor_end(x);
}


/* What comes from it. */

static void
executor_early(executor *x, const char *p, size_t n)
{
    size_t  room;

    room = sizeof(x->early) - x->early_len;
    if (n > room) {
        n = room;
    }
    memcpy(x->early + x->early_len, p, n);
    x->early_len += n;
}


/* One piece of a pipe.  Returns 1 if there was something. */

static int
executor_read_output(executor *x, io **w, executor_what what)
{
    ssize_t  n;

    if (*w == NULL || x->gone || x->paused) {
        return 0;
    }

    do {
        n = read((*w)->fd, executor_scratch, sizeof(executor_scratch));
    } while (n < 0 && errno == EINTR);

    if (n < 0 && errno == EAGAIN) {
        return 0;
    }

    if (n <= 0) {
        io_close(*w);
        *w = NULL;
        return 0;
    }

    x->drained += (size_t) n;

    if (!x->ready) {
        executor_early(x, executor_scratch, (size_t) n);

    } else if (x->run != 0 && x->cb != NULL) {
        x->cb(x, what, executor_scratch, (size_t) n);
    }

    return 1;
}


/* Reads events until there is a whole one.  Returns 1 then. */

static int
executor_read_event(executor *x)
{
    ssize_t  n;

    for ( ;; ) {
        x->ev_len = interpreter_event_parse(buffer_bytes(&x->in), x->in.len,
                                            &x->ev);
        if (x->ev_len > 0) {
            return 1;
        }

        if (x->ev_len < 0) {
            x->ev_len = 0;
            executor_die(x, "The interpreter's events were disturbed");
            return 0;
        }

        if (x->events == NULL) {
            return 0;
        }

        n = read(x->events->fd, buffer_room(&x->in, 65536), 65536);

        if (n > 0) {
            buffer_added(&x->in, (size_t) n);
            x->clean = 0;

        } else if (n == 0) {
            io_close(x->events);
            x->events = NULL;
            return 0;

        } else if (errno != EINTR) {
            return 0;
        }
    }
}


void
executor_problem(const executor *x, char problem[INTERPRETER_PROBLEM_MAX + 1])
{
    memcpy(problem, x->ev.p, x->ev.len);
    problem[x->ev.len] = '\0';
}


static void
executor_tell_event(executor *x)
{
    char               problem[INTERPRETER_PROBLEM_MAX + 1];
    interpreter_event  ev;

    ev = x->ev;

    switch (ev.type) {
    case INTERPRETER_READY:
        if (!x->ready && !x->renewing) {
            x->ready = 1;
            executor_timer_stop(&x->timer);
            x->cb(x, EXECUTOR_READY, NULL, 0);
        }
        break;

    case INTERPRETER_RENEWED:
        if (x->renewing) {
            executor_renewed(x);
        }
        break;

    case INTERPRETER_OPENED:
        if (x->opening) {
            x->opening = 0;
            executor_timer_stop(&x->timer);
            executor_problem(x, problem);
            x->cb(x, EXECUTOR_OPENED, problem, ev.len);
        }
        break;

    case INTERPRETER_DONE:
        if (x->run != 0 && ev.run == x->run) {
            executor_done(x);
        }
        break;

    default:
        if (x->run != 0 && !x->done) {
            x->cb(x, ev.type == INTERPRETER_RESULT ? EXECUTOR_RESULT
                                                   : EXECUTOR_ERROR,
                  ev.p, ev.len);
        }
    }
}


/* An event is told when the pipes are empty, or nearly: who else writes to
 * them without an end must not hold it back. */

static int
executor_step_event(executor *x, int got)
{
    if (got && x->drained < EXECUTOR_DRAIN_MAX) {
        return 1;
    }

    x->clean = !got;
    executor_tell_event(x);
    if (x->gone) {
        return 0;
    }

    buffer_consume(&x->in, (size_t) x->ev_len);
    x->ev_len = 0;

    return 1;
}


/*
 * The pipes first, then an event: what a cell printed before it is in them by
 * then.
 */

static int
executor_step(executor *x)
{
    int  got, out;

    if (x->gone || x->paused) {
        return 0;
    }

    got = 0;

    if (!x->clean) {
        out = executor_read_output(x, &x->out, EXECUTOR_STDOUT);
        got = executor_read_output(x, &x->err, EXECUTOR_STDERR);
        got |= out;
    }

    if (x->gone || x->paused) {
        return 0;
    }

    if (x->ev_len > 0) {
        return executor_step_event(x, got);
    }

    if (got && x->drained < EXECUTOR_DRAIN_MAX) {
        return 1;
    }

    /* Pipes that are never empty don't hide the events. */
    x->drained = 0;

    if (executor_read_event(x)) {
        return 1;
    }

    if (x->exited && !x->gone) {
        executor_die(x, NULL);
    }

    return got && !x->gone;
}


/* Is there a process of an earlier cell that this one's end must spare?  Most
 * often not, which the kernel tells in one read each. */

static int
executor_has_company(const executor *x)
{
    int      own;
    char     text[32], expected[16];
    ssize_t  n;

    if (x->kids_fd == -1 || x->orphans_fd == -1) {
        return 1;
    }

    if (pread(x->kids_fd, text, 1, 0) > 0) {
        return 1;
    }

    own = snprintf(expected, sizeof(expected), "%d ", (int) x->pid);
    n = pread(x->orphans_fd, text, sizeof(text), 0);

    return n != own || memcmp(text, expected, (size_t) own) != 0;
}


static void
executor_look_around(executor *x)
{
    x->unsure = 0;
    x->company = executor_has_company(x);
}


static void
executor_again(uv_timer_t *timer)
{
    executor_pump(timer->data);
}


static void
executor_abandoned(uv_timer_t *timer)
{
    executor_die(timer->data, "The interpreter closed its events");
}


static void
executor_pump(executor *x)
{
    int  turns;

    if (x->pumping || x->gone) {
        return;
    }

    x->pumping = 1;
    x->clean = 0;

    for (turns = 0; turns < EXECUTOR_TURNS && executor_step(x); turns++) {
        /* go on */
    }

    if (!x->gone && x->ready) {
        x->cb(x, EXECUTOR_REST, NULL, 0);
    }

    if (!x->gone && x->unsure && x->run == 0) {
        executor_look_around(x);
    }

    x->pumping = 0;

    if (x->gone) {
        executor_free(x);

    } else if (turns == EXECUTOR_TURNS) {
        executor_timer_start(x, &x->again, 0, executor_again);

    } else if (x->events == NULL && !x->exited && !x->paused) {
        /* Without its events it is of no use; its end may tell more. */
        executor_timer_start(x, &x->again, EXECUTOR_END_MS,
                             executor_abandoned);
    }
}


void
executor_readable(io *w, int events)
{
    executor_pump(w->data);
}


void
executor_pause(executor *x)
{
    io  *all[3] = { x->out, x->err, x->events };
    int  i;

    x->paused = 1;
    for (i = 0; i < 3; i++) {
        if (all[i] != NULL) {
            io_want(all[i], 0);
        }
    }
}


void
executor_resume(executor *x)
{
    io  *all[3] = { x->out, x->err, x->events };
    int  i;

    if (!x->paused || x->gone) {
        return;
    }

    x->paused = 0;
    for (i = 0; i < 3; i++) {
        if (all[i] != NULL) {
            io_want(all[i], UV_READABLE);
        }
    }

    executor_timer_start(x, &x->again, 0, executor_again);
}


/* What goes to it. */

static void
executor_flush(executor *x)
{
    ssize_t  n;

    while (x->pending.len != 0) {
        n = write(x->requests->fd, buffer_bytes(&x->pending), x->pending.len);

        if (n > 0) {
            buffer_consume(&x->pending, (size_t) n);

        } else if (n < 0 && errno == EAGAIN) {
            io_want(x->requests, UV_WRITABLE);
            return;

        } else if (n < 0 && errno != EINTR) {
            buffer_free(&x->pending);       /* its end is told elsewhere */
        }
    }

    io_want(x->requests, 0);
}


void
executor_writable(io *w, int events)
{
    executor_flush(w->data);
}


void
executor_send(executor *x, json_t *request)
{
    char      *text, head[4];
    size_t     n;

    text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    if (text == NULL) {
        abort();
    }

    n = strlen(text);
    head[0] = (char) (n & 0xff);
    head[1] = (char) (n >> 8 & 0xff);
    head[2] = (char) (n >> 16 & 0xff);
    head[3] = (char) (n >> 24 & 0xff);
    buffer_append(&x->pending, head, sizeof(head));
    buffer_append(&x->pending, text, n);
    free(text);
    executor_flush(x);
}


void
executor_open(executor *x, json_t *request)
{
    x->opening = 1;
    executor_timer_start(x, &x->timer, x->wait_ms, executor_start_expired);
    json_object_set_new(request, "op", json_string("open"));
    executor_send(x, request);
}


void
executor_run(executor *x, uint32_t run, json_t *request)
{
    int     any;
    size_t  n;

    /* What came since the last one belongs to nobody. */
    n = 0;
    do {
        any = executor_read_output(x, &x->out, EXECUTOR_STDOUT);
        any |= executor_read_output(x, &x->err, EXECUTOR_STDERR);
        n++;
    } while (any && n < EXECUTOR_DRAIN_MAX / EXECUTOR_PIECE);

    if (x->unsure) {
        executor_look_around(x);
    }

    if (x->company || x->marked) {
        shim_send(x->sh, SHIM_MARK, 0, !x->company, NULL, 0);
        x->marked = x->company;
    }

    x->unsure = 1;

    x->run = run;
    x->drained = 0;
    json_object_set_new(request, "op", json_string("run"));
    json_object_set_new(request, "id", json_integer(run));
    executor_send(x, request);
}


/* Its life. */

static int
executor_children_fd(pid_t pid)
{
    char  path[64];

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int) pid,
             (int) pid);

    return open(path, O_RDONLY | O_CLOEXEC);
}


void
executor_shim_event(shim *s, const shim_msg *m)
{
    executor  *x;

    x = s->data;

    if (m == NULL) {
        x->sh = NULL;
        executor_die(x, NULL);
        return;
    }

    switch (m->op) {
    case SHIM_SPAWNED:
        x->pid = m->pid;
        x->kids_fd = executor_children_fd(m->pid);
        x->orphans_fd = executor_children_fd(s->pid);
        break;

    case SHIM_FAILED:
        executor_die(x, strerror(m->value));
        break;

    case SHIM_INTERRUPTED:
        if (x->signals > 0 && --x->signals == 0 && x->done) {
            executor_done(x);
        }
        break;

    case SHIM_EXIT:
        if (m->pid == x->pid) {
            x->exited = 1;
            x->wait_status = m->value;
            x->drained = 0;
            x->signals = 0;
            executor_finish(x);
        }
        break;

    default:
        break;
    }
}


/* It has exited: what it has left in its pipes is told first. */

static void
executor_finish(executor *x)
{
    executor_timer_stop(&x->timer);
    executor_pump(x);
}
