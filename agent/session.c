/* Named sessions; see session.h. */

#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/file_quick.h"
#include "agent/session.h"
#include "agent/shell.h"
#include "agent/shell_pool.h"
#include "agent/terminal.h"
#include "common/log.h"

struct session {
    session    *next, *prev;
    char       *id;
    char       *cwd;
    json_t     *env;
    uint64_t    timeout_ms;
    shell      *sh;             /* NULL: none yet, or dead */
    run        *head, **tail;   /* waiting */
    unsigned    waiting;
    int         owed;           /* its shell died while nobody looked, */
    int         owed_code;      /* with this: the next call is told */
};

static session   session_list = { .next = &session_list,
                                  .prev = &session_list };
static unsigned  session_count;


static void session_idle(session *s);
static void session_dead(session *s, int exit_code);

static const shell_owner  session_owner = { session_idle, session_dead };


session *
session_find(const char *id)
{
    session  *s;

    for (s = session_list.next; s != &session_list; s = s->next) {
        if (strcmp(s->id, id) == 0) {
            return s;
        }
    }

    return NULL;
}


const char *
session_id(const session *s)
{
    return s->id;
}


const char *
session_pwd(const session *s)
{
    return s->sh != NULL ? shell_pwd(s->sh) : s->cwd;
}


int
session_lives(const session *s)
{
    return s->sh != NULL;
}


void
session_each(void (*cb)(session *s, void *data), void *data)
{
    session  *s;

    /* Newest first in the list, oldest first to the caller. */
    for (s = session_list.prev; s != &session_list; s = s->prev) {
        cb(s, data);
    }
}


static void
session_free(session *s)
{
    terminal_end(s->id);

    s->next->prev = s->prev;
    s->prev->next = s->next;
    session_count--;
    json_decref(s->env);
    free(s->id);
    free(s->cwd);
    free(s);
}


static int
session_start_shell(session *s, error **err)
{
    int          there;
    const char  *from;

    there = file_quick_is_dir(s->cwd);
    from = there == 1 ? s->cwd : run_default_cwd();

    /* If nobody can say it at once, the shell is to find out. */
    s->sh = shell_pool_get(s, &session_owner, s->id, from,
                           there == -1 ? s->cwd : from, s->env, err);

    return s->sh == NULL ? -1 : 0;
}


session *
session_create(const char *id, const char *cwd, const json_t *env,
    uint64_t timeout_ms, error **err)
{
    session  *s;

    s = session_find(id);

    if (s != NULL && s->sh != NULL) {
        error_set(err, 409, "session_already_exists",
                  "Session '%.200s' already exists", id);
        return NULL;
    }

    if (s != NULL) {
        session_free(s);                /* dead: silently replaced */
    }

    if (session_count >= SESSION_MAX) {
        error_set_field(err, 503, "resource_busy", "id", SESSION_MAX,
                        "There are %d sessions already", SESSION_MAX);
        return NULL;
    }

    if (strlen(id) > SESSION_ID_MAX) {
        error_set_field(err, 400, "validation_failed", "sessionId",
                        SESSION_ID_MAX, "A session id has at most %d bytes",
                        SESSION_ID_MAX);
        return NULL;
    }

    s = calloc(1, sizeof(session));
    if (s == NULL) {
        abort();
    }

    s->id = strdup(id);
    s->cwd = strdup(cwd != NULL ? cwd : agent.cwd);
    s->env = env == NULL ? NULL : json_deep_copy(env);
    s->timeout_ms = timeout_ms;
    s->tail = &s->head;

    s->next = session_list.next;
    s->prev = &session_list;
    s->next->prev = s;
    session_list.next = s;
    session_count++;

    if (session_start_shell(s, err) != 0) {
        session_free(s);
        return NULL;
    }

    log_debug("session %s", id);

    return s;
}


session *
session_get(const char *id, const char *cwd, error **err)
{
    session  *s;

    s = session_find(id);

    return s != NULL ? s : session_create(id, cwd, NULL, 0, err);
}


/* Work. */

static run *
session_pop(session *s)
{
    run  *r;

    r = s->head;
    if (r != NULL) {
        s->head = r->queue_next;
        if (s->head == NULL) {
            s->tail = &s->head;
        }
        r->queue_next = NULL;
        r->in = NULL;
        s->waiting--;
    }

    return r;
}


static void
session_expired(uv_timer_t *timer)
{
    int    n;
    run   *r;
    char   text[64];

    r = timer->data;
    r->timed_out = 1;

    if (!r->foreground) {
        n = snprintf(text, sizeof(text), "Command timed out after %llums\n",
                     (unsigned long long) r->timeout_ms);
        spool_append(&r->err, text, (size_t) n);
        run_output(r);
    }

    run_kill(r, RUN_GRACE_MS);
}


/* Whoever is told of a run's end may do anything to the session, so each of
 * these steps is the last one. */

static void
session_fail_all(session *s, error *err)
{
    run    *r, *waiting;
    error  *each;

    waiting = s->head;
    s->head = NULL;
    s->tail = &s->head;
    s->waiting = 0;

    while ((r = waiting) != NULL) {
        waiting = r->queue_next;
        r->queue_next = NULL;
        r->in = NULL;
        each = NULL;
        error_set(&each, err->status, err->code, "%s", err->message);
        run_fail(r, each);
    }

    error_free(err);
}


static void
session_next(session *s)
{
    run       *r;
    error     *err;
    uint64_t   timeout_ms;

    if (s->head == NULL || (s->sh != NULL && shell_busy(s->sh))) {
        return;
    }

    if (s->sh == NULL) {
        err = NULL;
        if (session_start_shell(s, &err) != 0) {
            session_fail_all(s, err);
            return;
        }
    }

    r = session_pop(s);
    timeout_ms = r->timeout_ms != 0 ? r->timeout_ms : s->timeout_ms;
    if (timeout_ms == 0 && r->foreground) {
        timeout_ms = agent.command_timeout_ms;
    }

    run_hold(r);
    shell_begin(s->sh, r);

    if (r->state != RUN_OVER && timeout_ms != 0) {
        r->timeout_ms = timeout_ms;
        run_timer_start(r, timeout_ms, session_expired);
    }

    run_release(r);
}


static void
session_idle(session *s)
{
    session_next(s);
}


static void
session_dead(session *s, int exit_code)
{
    s->sh = NULL;

    if (exit_code != -2) {
        s->owed = 1;
        s->owed_code = exit_code;
    }

    session_next(s);
}


static error *
session_terminated(const session *s)
{
    error  *err;

    err = NULL;
    error_set(&err, 410, "session_terminated", s->owed_code < 0
              ? "Session '%.200s' shell exited (exit code: unknown)"
              : "Session '%.200s' shell exited (exit code: %d)", s->id,
              s->owed_code);

    return err;
}


void
session_submit(session *s, run *r)
{
    error  *err;

    run_hold(r);                        /* until run_finish() */

    if (s->owed) {
        s->owed = 0;
        r->shell_exit = s->owed_code;
        run_fail(r, session_terminated(s));
        return;
    }

    if (s->waiting >= SESSION_QUEUE_MAX) {
        err = NULL;
        error_set_field(&err, 503, "resource_busy", "sessionId",
                        SESSION_QUEUE_MAX,
                        "%d commands wait in this session already",
                        SESSION_QUEUE_MAX);
        run_fail(r, err);
        return;
    }

    r->in = s;
    r->queue_next = NULL;
    *s->tail = r;
    s->tail = &r->queue_next;
    s->waiting++;

    session_next(s);
}


void
session_unqueue(run *r)
{
    run      **link;
    error     *err;
    session   *s;

    s = r->in;

    for (link = &s->head; *link != NULL && *link != r;
         link = &(*link)->queue_next)
    {
        /* look on */
    }

    if (*link == NULL) {
        return;
    }

    *link = r->queue_next;
    if (s->tail == &r->queue_next) {
        s->tail = link;
    }
    s->waiting--;
    r->in = NULL;
    r->queue_next = NULL;

    err = NULL;
    error_set(&err, 409, "operation_interrupted",
              "The command was ended before it began");
    run_fail(r, err);
}


static error *
session_destroyed(const session *s)
{
    error  *err;

    err = NULL;
    error_set(&err, 410, "session_destroyed",
              "Session '%.200s' was destroyed during command execution",
              s->id);

    return err;
}


void
session_delete(session *s, void (*done)(void *), void *data)
{
    run    *r, *waiting;
    shell  *sh;

    sh = s->sh;
    s->sh = NULL;
    waiting = s->head;

    for (r = waiting; r != NULL; r = r->queue_next) {
        r->in = NULL;
    }

    s->head = NULL;

    /* Out of the list first: whoever is told may make it anew. */
    s->next->prev = s->prev;
    s->prev->next = s->next;
    s->next = s;
    s->prev = s;

    if (sh != NULL) {
        shell_destroy(sh, session_destroyed(s), done, data);
    }

    while ((r = waiting) != NULL) {
        waiting = r->queue_next;
        r->queue_next = NULL;
        run_fail(r, session_destroyed(s));
    }

    session_free(s);

    if (sh == NULL) {
        done(data);
    }
}
