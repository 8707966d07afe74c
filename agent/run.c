/* Commands; see run.h. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/env.h"
#include "agent/file_quick.h"
#include "agent/run.h"
#include "agent/session.h"
#include "agent/shell.h"
#include "common/log.h"

/* Longer texts don't fit into one argument (the kernel's 128 KiB). */
#define RUN_ARG_MAX  (128 * 1024 - 1)


run *
run_new(const char *command, size_t len)
{
    char    *p;
    run     *r;
    size_t   i;

    r = calloc(1, sizeof(run));
    p = malloc(len + 1);
    if (r == NULL || p == NULL) {
        abort();
    }

    r->command = p;

    /* No shell can carry a NUL. */
    for (i = 0; i < len; i++) {
        if (command[i] != '\0') {
            *p++ = command[i];
        }
    }
    *p = '\0';

    r->refs = 1;
    r->shell_exit = -1;
    r->watchers.next = &r->watchers;
    r->watchers.prev = &r->watchers;
    r->started = uv_hrtime();

    return r;
}


void
run_set_input(run *r, const char *p, size_t len)
{
    r->input = malloc(len + 1);
    if (r->input == NULL) {
        abort();
    }

    memcpy(r->input, p, len);
    r->input_len = len;
}


void
run_hold(run *r)
{
    r->refs++;
}


void
run_release(run *r)
{
    if (--r->refs != 0) {
        return;
    }

    run_timer_stop(r);
    reader_leave(r->rout);
    reader_leave(r->rerr);
    spool_free(&r->out);
    spool_free(&r->err);
    error_free(r->failure);
    json_decref(r->env);
    free(r->command);
    free(r->cwd);
    free(r->input);
    feed_free(r->feed);
    free(r->at_name);
    if (r->give_fd != 0) {
        close(r->give_fd);
    }
    free(r);
}


void
run_watch_add(run *r, run_watch *w, run_cb cb, void *data)
{
    run_hold(r);
    w->of = r;
    w->cb = cb;
    w->data = data;
    w->prev = r->watchers.prev;
    w->next = &r->watchers;
    w->prev->next = w;
    r->watchers.prev = w;
}


void
run_watch_drop(run_watch *w)
{
    run  *r;

    r = w->of;
    if (r == NULL) {
        return;
    }

    w->next->prev = w->prev;
    w->prev->next = w->next;
    w->of = NULL;
    run_release(r);
}


/* A watcher may drop itself, or another one, while it is told: a mark walks
 * through the ring. */

void
run_tell(run *r, run_event event)
{
    run_watch  mark, *w;

    run_hold(r);

    mark.cb = NULL;
    mark.of = NULL;
    mark.prev = &r->watchers;
    mark.next = r->watchers.next;
    mark.next->prev = &mark;
    r->watchers.next = &mark;

    while ((w = mark.next) != &r->watchers) {
        mark.next = w->next;
        mark.prev->next = w;
        w->prev = mark.prev;
        w->next->prev = &mark;
        w->next = &mark;
        mark.prev = w;

        if (w->cb != NULL) {
            w->cb(w, event);
        }
    }

    mark.prev->next = mark.next;
    mark.next->prev = mark.prev;

    run_release(r);
}


void
run_output(void *data)
{
    run_tell(data, RUN_OUTPUT);
}


/* Timers belong to the run, but close after it. */

static void
run_timer_closed(uv_handle_t *handle)
{
    free(handle);
}


void
run_timer_stop(run *r)
{
    if (r->timer != NULL) {
        uv_close((uv_handle_t *) r->timer, run_timer_closed);
        r->timer = NULL;
    }
}


void
run_timer_start(run *r, uint64_t ms, uv_timer_cb cb)
{
    run_timer_stop(r);

    r->timer = malloc(sizeof(uv_timer_t));
    if (r->timer == NULL) {
        abort();
    }

    uv_timer_init(agent.loop, r->timer);
    r->timer->data = r;
    uv_timer_start(r->timer, cb, ms, 0);
}


void
run_set_started(run *r, pid_t pid)
{
    r->pid = pid;
    r->state = RUN_RUNNING;
    run_tell(r, RUN_STARTED);
}


void
run_set_status(run *r, int wait_status)
{
    r->exited = 1;
    r->exit_code = WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status)
                                            : WEXITSTATUS(wait_status);
}


void
run_finish(run *r)
{
    if (r->state == RUN_OVER) {
        return;
    }

    run_timer_stop(r);
    if (r->feed != NULL) {
        feed_close(r->feed);
    }

    if (r->rout != NULL) {
        reader_drain(r->rout);
        reader_leave(r->rout);
        r->rout = NULL;
    }

    if (r->rerr != NULL) {
        reader_drain(r->rerr);
        reader_leave(r->rerr);
        r->rerr = NULL;
    }

    r->state = RUN_OVER;
    r->ended = uv_hrtime();
    run_tell(r, RUN_ENDED);
    run_release(r);                     /* the runner's hold */
}


void
run_fail(run *r, error *err)
{
    if (r->state == RUN_OVER) {
        error_free(err);
        return;
    }

    r->failure = err;
    run_finish(r);
}


double
run_duration_ms(const run *r)
{
    uint64_t  end;

    end = r->state == RUN_OVER ? r->ended : uv_hrtime();

    return (double) (end - r->started) / 1e6;
}


/* Surroundings. */

const char *
run_bash(void)
{
    size_t              i;
    static const char  *found;
    static const char  *const places[] = {
        "/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"
    };

    for (i = 0; found == NULL && i < sizeof(places) / sizeof(places[0]); i++) {
        if (access(places[i], X_OK) == 0) {
            found = places[i];
        }
    }

    return found;
}


/* Not asking a file server for what the kernel knows. */

int
run_is_dir(const char *path)
{
    int          there;
    struct stat  st;

    there = path == NULL ? 0 : file_quick_is_dir(path);

    return there != -1 ? there
           : stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}


const char *
run_default_cwd(void)
{
    const char  *home;

    if (run_is_dir(agent.cwd)) {
        return agent.cwd;
    }

    home = env_get(agent.env, "HOME");

    return run_is_dir(home) ? home : "/";
}


static int
run_memory_file(const char *name, const char *p, size_t n)
{
    int      fd;
    ssize_t  rc;

    fd = memfd_create(name, MFD_CLOEXEC);

    while (fd != -1 && n != 0) {
        rc = write(fd, p, n);
        if (rc <= 0) {
            close(fd);
            return -1;
        }
        p += rc;
        n -= (size_t) rc;
    }

    if (fd != -1) {
        lseek(fd, 0, SEEK_SET);
    }

    return fd;
}


int
run_input_fd(run *r)
{
    if (r->feed != NULL) {
        return feed_open(r->feed);
    }

    if (r->input == NULL) {
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    }

    return run_memory_file("stdin", r->input, r->input_len);
}


/* Without a session. */

static void
run_gone(run *r)
{
    shim  *s;

    s = r->sh;
    r->sh = NULL;
    if (s != NULL) {
        shim_leave(s, 1);
    }

    run_finish(r);
}


static void
run_failed_start(run *r, const shim_msg *m)
{
    error  *err;

    err = NULL;

    if (m->extra) {
        error_set(&err, 500, "command_execution_error",
                  "Failed to change directory to '%.300s': %s",
                  r->cwd != NULL ? r->cwd : run_default_cwd(),
                  strerror(m->value));
    } else {
        error_set(&err, 500, "command_execution_error",
                  "bash could not be started: %s", strerror(m->value));
    }

    shim_leave(r->sh, 1);
    r->sh = NULL;
    run_fail(r, err);
}


static void
run_lost(run *r)
{
    error  *err;

    r->sh = NULL;

    if (r->exited) {
        run_finish(r);
        return;
    }

    err = NULL;
    error_set(&err, 500, "command_execution_error",
              "The command was lost: its supervisor was killed");
    run_fail(r, err);
}


static void
run_shim_event(shim *s, const shim_msg *m)
{
    run  *r;

    r = s->data;

    if (m == NULL) {
        run_lost(r);
        return;
    }

    switch (m->op) {
    case SHIM_SPAWNED:
        run_set_started(r, m->pid);
        break;

    case SHIM_FAILED:
        run_failed_start(r, m);
        break;

    case SHIM_EXIT:
        run_set_status(r, m->value);

        /* A tree that is being killed ends as a whole. */
        if (!r->dying) {
            r->sh = NULL;
            shim_leave(s, !m->extra);
            run_finish(r);
        }
        break;

    case SHIM_GONE:
        if (r->exited) {
            run_gone(r);
        }
        break;

    default:
        break;
    }
}


static void
run_expired(uv_timer_t *timer)
{
    run   *r;
    char   text[64];
    int    n;

    r = timer->data;
    r->timed_out = 1;

    n = snprintf(text, sizeof(text), "Command timed out after %llums\n",
                 (unsigned long long) r->timeout_ms);
    spool_append(&r->err, text, (size_t) n);
    run_output(r);

    run_kill(r, RUN_GRACE_MS);
}


void
run_kill(run *r, int grace_ms)
{
    run_kill_with(r, SIGTERM, grace_ms);
}


int
run_signal(run *r, int sig, int tree)
{
    if (r->state != RUN_RUNNING || r->exited || r->pid <= 0) {
        return -1;
    }

    if (r->at != NULL) {
        return shell_signal(r->at, r, sig, tree);
    }

    if (r->sh == NULL) {
        return -1;
    }

    shim_signal(r->sh, 0, sig, tree);

    return 0;
}


void
run_kill_with(run *r, int sig, int grace_ms)
{
    if (r->state == RUN_OVER || r->unstarted) {
        return;
    }

    r->kill_asked = 1;
    r->kill_signal = sig;
    r->kill_grace = grace_ms;
    r->dying = 1;
    run_timer_stop(r);

    if (r->at != NULL) {
        shell_kill(r->at, r, grace_ms);

    } else if (r->in != NULL) {
        session_unqueue(r);

    } else if (r->sh != NULL) {
        shim_end(r->sh, 0, sig, grace_ms);
    }
}


static int
run_spawn(run *r)
{
    int     fds[5], i, text, rc;
    char   *argv[4], path[128], **env;
    error  *ignored;

    for (i = 0; i < 4; i++) {
        fds[i] = -1;
    }

    fds[4] = r->give_fd;

    text = -1;
    rc = -1;
    ignored = NULL;
    env = env_copy(agent.env);
    env_merge(&env, r->env, 0, "env", &ignored);
    error_free(ignored);

    argv[0] = (char *) run_bash();
    argv[1] = (char *) "-c";
    argv[2] = r->command;
    argv[3] = NULL;

    if (strlen(r->command) > RUN_ARG_MAX) {
        /* Too long for an argument: bash reads it from a memory file. */
        text = run_memory_file("command", r->command, strlen(r->command));
        snprintf(path, sizeof(path),
                 "eval \"$(</proc/self/fd/%d)\" %d<&- %d<&- %d<&- %d<&-",
                 SHELL_FD_TEXT, SHELL_FD_OUT, SHELL_FD_ERR, SHELL_FD_CONTROL,
                 SHELL_FD_TEXT);
        argv[2] = path;
    }

    fds[1] = run_input_fd(r);
    r->rout = reader_open(&fds[2], &r->out, run_output, r);
    r->rerr = reader_open(&fds[3], &r->err, run_output, r);
    fds[0] = shim_spec(r->cwd != NULL ? r->cwd : run_default_cwd(), argv, env);

    if (fds[0] != -1 && fds[1] != -1 && r->rout != NULL && r->rerr != NULL) {
        if (text != -1) {
            int  many[8] = { fds[0], fds[1], fds[2], fds[3], text, text,
                             text, text };

            rc = shim_send(r->sh, SHIM_SPAWN, 0, 0, many, 8);

        } else {
            rc = shim_send(r->sh, SHIM_SPAWN, 0, 0, fds,
                           r->give_fd != 0 ? 5 : 4);
        }
    }

    for (i = 0; i < 4; i++) {
        if (fds[i] != -1) {
            close(fds[i]);
        }
    }
    if (text != -1) {
        close(text);
    }
    env_free(env);

    return rc;
}


/* Failures are told from the loop, when the caller has its watchers set. */

static void
run_start_failed(uv_timer_t *timer)
{
    run    *r;
    error  *err;

    r = timer->data;
    err = NULL;
    error_set(&err, run_bash() == NULL ? 500 : 503,
              "command_execution_error", run_bash() == NULL
              ? "There is no bash in this sandbox"
              : "The command can't be started: too many processes or "
                "descriptors are in use");

    if (r->sh != NULL) {
        shim_quit(r->sh);
        r->sh = NULL;
    }

    run_fail(r, err);
}


void
run_start(run *r)
{
    run_hold(r);                        /* until run_finish() */
    r->started = uv_hrtime();

    r->sh = run_bash() == NULL ? NULL : shim_take(run_shim_event, r);

    if (r->sh == NULL || run_spawn(r) != 0) {
        r->unstarted = 1;
        run_timer_start(r, 0, run_start_failed);
        return;
    }

    if (r->timeout_ms != 0) {
        run_timer_start(r, r->timeout_ms, run_expired);
    }
}
