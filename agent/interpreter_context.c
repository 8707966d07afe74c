/* Contexts and what runs in them; see interpreter.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/agent.h"
#include "agent/http.h"
#include "agent/interpreter.h"
#include "common/log.h"

/* Of what a cell prints after it was interrupted. */
#define CONTEXT_LATE_MAX  (256 * 1024)

#define CONTEXT_HEAD_MS   5

#define CONTEXT_DEAD  "Context executor has terminated. Please delete and " \
                      "recreate the context."

static context   context_list = { .next = &context_list,
                                  .prev = &context_list };
static unsigned  context_count;


static void context_next(context *c);
static void context_event(executor *x, executor_what what, const char *p,
    size_t n);


static void
context_uuid(char out[37])
{
    unsigned char  b[16];

    if (getrandom(b, sizeof(b), 0) != sizeof(b)) {
        abort();
    }

    b[6] = (unsigned char) ((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char) ((b[8] & 0x3f) | 0x80);

    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
             "%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5],
             b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}


/* Timers close after their owner. */

static void
context_timer_closed(uv_handle_t *handle)
{
    free(handle);
}


static void
context_timer_close(uv_timer_t **timer)
{
    if (*timer != NULL) {
        uv_close((uv_handle_t *) *timer, context_timer_closed);
        *timer = NULL;
    }
}


static void
context_timer_start(context *c, uv_timer_t **timer, uint64_t ms,
    uv_timer_cb cb)
{
    if (*timer == NULL) {
        *timer = malloc(sizeof(uv_timer_t));
        if (*timer == NULL) {
            abort();
        }
        uv_timer_init(agent.loop, *timer);
        (*timer)->data = c;
    }

    uv_timer_start(*timer, cb, ms, 0);
}


static void
context_timers_stop(context *c)
{
    if (c->timer != NULL) {
        uv_timer_stop(c->timer);
    }
    if (c->begin != NULL) {
        uv_timer_stop(c->begin);
    }
}


/* Frames that come one after another go out together. */

static void
context_cork(context *c, interpreter_run *run)
{
    if (c->cork == NULL) {
        c->cork = http_cork(run->r);
    }
}


static void
context_uncork(context *c)
{
    http_conn  *cork;

    cork = c->cork;
    c->cork = NULL;
    http_uncork(cork);
}


/* Runs. */

static void
run_free(interpreter_run *run)
{
    json_decref(run->request);
    json_decref(run->answer);
    free(run->error);
    free(run);
}


static void
run_stop(interpreter_run *run)
{
    context  *c;

    c = run->in;
    run->stopping = 1;
    executor_interrupt(c->x);
    executor_resume(c->x);
}


/* The client left: a cell that nobody waits for is stopped. */

static void
run_client_left(http_request *r)
{
    context           *c;
    interpreter_run   *run, **link;

    run = r->data;
    run->r = NULL;
    c = run->in;

    if (c == NULL) {
        return;
    }

    if (c->current == run) {
        run_stop(run);
        return;
    }

    for (link = &c->head; *link != run; link = &(*link)->next) { /* find */ }

    *link = run->next;
    if (c->tail == &run->next) {
        c->tail = link;
    }
    c->waiting--;
    run_free(run);
}


static void
run_drained(http_request *r)
{
    interpreter_run  *run;

    run = r->data;
    if (run != NULL && run->in != NULL && run->in->current == run) {
        executor_resume(run->in->x);
    }
}


static void
run_expired(uv_timer_t *timer)
{
    context  *c;

    c = timer->data;
    c->current->timed_out = 1;
    run_stop(c->current);
}


static void
run_output(interpreter_run *run, int err, const char *p, size_t n)
{
    if (run->r == NULL) {
        return;
    }

    /* An interrupted cell is read whether its client reads or not. */
    if (run->stopping) {
        run->dropped += n;
        if (run->dropped > CONTEXT_LATE_MAX) {
            return;
        }
    }

    context_cork(run->in, run);

    if (frames_output(run, err, p, n) && !run->stopping) {
        executor_pause(run->in->x);
    }
}


static void
run_result(interpreter_run *run, const char *p, size_t n)
{
    if (run->r == NULL) {
        return;
    }

    if (run->stopping) {
        run->dropped += n;
        if (run->dropped > CONTEXT_LATE_MAX) {
            return;
        }
    }

    context_cork(run->in, run);

    if (frames_result(run, p, n) && !run->stopping) {
        executor_pause(run->in->x);
    }
}


static void
run_error(interpreter_run *run, const char *p, size_t n)
{
    if (run->error != NULL) {
        return;
    }

    run->error = malloc(n);
    if (run->error == NULL) {
        abort();
    }
    memcpy(run->error, p, n);
    run->error_len = n;
}


static void
run_done(context *c)
{
    interpreter_run  *run;

    run = c->current;
    c->current = NULL;
    context_timers_stop(c);

    if (run->r != NULL) {
        context_cork(c, run);
    }

    if (run->r == NULL) {
        /* nobody is told */

    } else if (run->timed_out) {
        frames_failure(run, "TimeoutError", "Execution timeout");

    } else if (run->error != NULL) {
        frames_error(run, run->error, run->error_len);

    } else {
        frames_complete(run, c->count);
    }

    run_free(run);
    context_next(c);

    /* Last: what the client has sent behind its request is handled here, and
     * that may be the end of the context. */
    context_uncork(c);
}


/* A cell that is quick is answered in one piece; the client of one that isn't
 * sees that it runs. */

static void
run_begin(uv_timer_t *timer)
{
    context  *c;

    c = timer->data;

    if (c->current != NULL && c->current->r != NULL) {
        frames_begin(c->current);
    }
}


static void
run_start(context *c, interpreter_run *run)
{
    json_t    *request;
    uint64_t   ms;

    c->current = run;
    c->count++;
    c->run_id = c->run_id == INT32_MAX ? 1 : c->run_id + 1;

    ms = run->timeout_ms;
    if (ms == 0) {
        ms = c->timeout_ms;
    }
    if (ms == 0) {
        ms = interpreter_setting("INTERPRETER_EXECUTION_TIMEOUT_MS", 0);
    }
    if (ms != 0) {
        context_timer_start(c, &c->timer, ms, run_expired);
    }

    if (!run->begun) {
        context_timer_start(c, &c->begin, CONTEXT_HEAD_MS, run_begin);
    }

    request = run->request;
    run->request = NULL;
    json_object_set_new(request, "count", json_integer(c->count));
    executor_run(c->x, c->run_id, request);
}


static void
context_next(context *c)
{
    interpreter_run  *run;

    if (c->current != NULL || c->head == NULL || !c->open || c->x == NULL) {
        return;
    }

    run = c->head;
    c->head = run->next;
    if (c->head == NULL) {
        c->tail = &c->head;
    }
    run->next = NULL;
    c->waiting--;
    run_start(c, run);
}


/* All that run or wait, taken out of their context: telling them may make
 * their clients' next requests be handled, so the context isn't looked at any
 * more then. */

static interpreter_run *
context_take_all(context *c)
{
    interpreter_run  *run, *all;

    context_timers_stop(c);

    all = c->head;

    if (c->current != NULL) {
        all = c->current;
        all->next = c->head;
    }

    for (run = all; run != NULL; run = run->next) {
        run->in = NULL;
    }

    c->current = NULL;
    c->head = NULL;
    c->tail = &c->head;
    c->waiting = 0;

    return all;
}


/* Why they won't run any more; what the first one is told may differ. */

static void
context_fail_all(interpreter_run *all, const char *name, const char *first,
    const char *others)
{
    const char       *message;
    interpreter_run  *run;

    message = first;

    while ((run = all) != NULL) {
        all = run->next;
        if (run->r != NULL) {
            frames_failure(run, run->timed_out ? "TimeoutError" : name,
                           message);
        }
        run_free(run);
        message = others;
    }
}


/* Contexts. */

static void
context_free(context *c)
{
    context_timer_close(&c->timer);
    context_timer_close(&c->begin);
    c->next->prev = c->prev;
    c->prev->next = c->next;
    context_count--;
    json_decref(c->env);
    free(c->cwd);
    free(c);
}


static void
context_drop_executor(context *c)
{
    executor  *x;

    x = c->x;
    c->x = NULL;

    if (x != NULL) {
        pool_left(c->lang);
        executor_end(x);
    }
}


/* made() may have the client's next requests handled: not in the list then. */

static void
context_not_made(context *c, error *err)
{
    context_drop_executor(c);
    c->made(c, err);
    context_free(c);
}


static void
context_opened(context *c, const char *problem)
{
    error  *err;

    if (problem[0] == '\0') {
        c->open = 1;
        json_decref(c->env);
        c->env = NULL;
        c->made(c, NULL);
        return;
    }

    err = NULL;

    if (problem[0] == '!') {
        error_set(&err, 501, "javascript_not_available", "%s", problem + 1);
    } else {
        error_set_field(&err, 400, "validation_failed", "cwd", 0,
                        "cwd '%.200s': %s", c->cwd, problem);
    }

    context_not_made(c, err);
}


static void
context_set_up(context *c)
{
    json_t  *request;

    request = json_pack("{s:s, s:s}", "cwd", c->cwd, "language",
                        language_name(c->lang));
    if (c->env != NULL) {
        json_object_set(request, "env", c->env);
    }

    executor_open(c->x, request);
}


/* Another one, for one that was of no use: there are not many of those, and
 * then one is started. */

static void
context_take(context *c)
{
    error  *err;

    err = NULL;
    c->x = pool_take(c->lang, c->env, context_event, c, &err);

    if (c->x == NULL) {
        context_not_made(c, err);

    } else if (c->x->ready) {
        context_set_up(c);
    }
}


static void
context_lost(context *c, const executor *x, const char *why)
{
    char        message[1024];
    error      *err;
    http_conn  *cork;

    c->x = NULL;
    pool_left(c->lang);

    if (x->renewing) {
        log_warn("an idle interpreter ended: %s", why);
        context_take(c);
        return;
    }

    if (!c->open) {
        err = NULL;
        error_set(&err, 500, "internal_error",
                  "The %s interpreter can't be used: %.400s",
                  language_name(c->lang), why);
        context_not_made(c, err);
        return;
    }

    snprintf(message, sizeof(message), "%s%.700s. Its state is lost; delete "
             "and recreate the context.",
             c->current != NULL && c->current->timed_out
             ? "Execution timeout. " : "", why);

    cork = c->cork;
    c->cork = NULL;
    context_fail_all(context_take_all(c), "ExecutorTerminated", message,
                     CONTEXT_DEAD);
    http_uncork(cork);
}


static void
context_event(executor *x, executor_what what, const char *p, size_t n)
{
    context  *c;

    c = x->data;

    switch (what) {
    case EXECUTOR_READY:
        pool_is_ready(x);
        context_set_up(c);
        break;

    case EXECUTOR_OPENED:
        context_opened(c, p);
        break;

    case EXECUTOR_STDOUT:
    case EXECUTOR_STDERR:
        run_output(c->current, what == EXECUTOR_STDERR, p, n);
        break;

    case EXECUTOR_RESULT:
        run_result(c->current, p, n);
        break;

    case EXECUTOR_ERROR:
        run_error(c->current, p, n);
        break;

    case EXECUTOR_DONE:
        run_done(c);
        break;

    case EXECUTOR_REST:
        context_uncork(c);
        break;

    case EXECUTOR_DEAD:
        context_lost(c, x, p);
        break;
    }
}


context *
context_create(language lang, const char *cwd, const json_t *env,
    uint64_t timeout_ms, void (*made)(context *c, error *err), void *data,
    error **err)
{
    context  *c;

    if (context_count >= INTERPRETER_CONTEXTS_MAX) {
        error_set(err, 503, "resource_busy",
                  "There are %d contexts already; delete some",
                  INTERPRETER_CONTEXTS_MAX);
        return NULL;
    }

    c = calloc(1, sizeof(context));
    if (c == NULL) {
        abort();
    }

    c->x = pool_take(lang, env, context_event, c, err);
    if (c->x == NULL) {
        free(c);
        return NULL;
    }

    context_uuid(c->id);
    c->lang = lang;
    c->cwd = strdup(cwd);
    c->env = env == NULL ? NULL : json_deep_copy(env);
    c->timeout_ms = timeout_ms;
    c->made = made;
    c->data = data;
    c->tail = &c->head;

    c->prev = context_list.prev;
    c->next = &context_list;
    c->prev->next = c;
    context_list.prev = c;
    context_count++;

    if (c->x->ready) {
        context_set_up(c);
    }

    return c;
}


context *
context_find(const char *id)
{
    context  *c;

    for (c = context_list.next; c != &context_list; c = c->next) {
        if (c->open && strcmp(c->id, id) == 0) {
            return c;
        }
    }

    return NULL;
}


void
context_each(void (*cb)(context *c, void *data), void *data)
{
    context  *c;

    for (c = context_list.next; c != &context_list; c = c->next) {
        if (c->open) {
            cb(c, data);
        }
    }
}


void
contexts_copied(void)
{
    context  *c;

    for (c = context_list.next; c != &context_list; c = c->next) {
        if (c->x != NULL && !c->x->renewing) {
            executor_send(c->x, json_pack("{s:s, s:{}, s:b, s:b}", "op",
                                          "renew", "env", "reseed", 1, "used",
                                          c->open));
        }
    }
}


void
context_delete(context *c)
{
    interpreter_run  *all;

    context_drop_executor(c);
    all = context_take_all(c);
    context_free(c);
    context_fail_all(all, "ContextDeleted", "The context was deleted",
                     "The context was deleted");
}


int
context_run(context *c, http_request *r, const char *code, size_t len,
    const json_t *env_vars, uint64_t timeout_ms, error **err)
{
    interpreter_run  *run;

    if (c->x == NULL || c->x->exited) {
        return error_set(err, 500, "internal_error", "%s", CONTEXT_DEAD);
    }

    if (c->waiting >= INTERPRETER_QUEUE_MAX) {
        return error_set(err, 503, "resource_busy",
                         "%d executions wait in this context already",
                         INTERPRETER_QUEUE_MAX);
    }

    run = calloc(1, sizeof(interpreter_run));
    if (run == NULL) {
        abort();
    }

    run->in = c;
    run->r = r;
    run->timeout_ms = timeout_ms;
    run->request = json_pack("{s:s%}", "code", code, len);
    if (run->request == NULL) {
        abort();
    }
    if (json_is_object(env_vars)) {
        json_object_set_new(run->request, "env", json_deep_copy(env_vars));
    }

    if (collect_wanted(r)) {
        collect_begin(run, code, len);
    }

    r->data = run;
    http_on_close(r, run_client_left);
    http_on_drain(r, run_drained);

    *c->tail = run;
    c->tail = &run->next;
    c->waiting++;
    context_next(c);

    if (c->current != run) {
        frames_begin(run);
    }

    return 0;
}
