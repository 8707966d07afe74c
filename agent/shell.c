/*
 * One bash under a shim; see shell.h.
 *
 * The shell is fed whole lines through its standard input.  A command's text
 * is put to a memory file that the shell sources; its output goes to pipes;
 * its end comes through a control pipe as `R <token> <status> <pwd> <oldpwd>`,
 * with a random token that the command's own output can't know.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/env.h"
#include "agent/shell_internal.h"
#include "agent/shell_pool.h"
#include "agent/shell_text.h"
#include "common/log.h"


/* Ends. */

static run *
shell_job_take(shell *sh, pid_t pid)
{
    run  *r, **link;

    for (link = &sh->jobs; *link != NULL; link = &(*link)->queue_next) {
        if ((*link)->pid == pid) {
            r = *link;
            *link = r->queue_next;
            r->queue_next = NULL;
            sh->njobs--;
            return r;
        }
    }

    return NULL;
}


static run *
shell_job_find(const shell *sh, pid_t pid)
{
    run  *r;

    for (r = sh->jobs; r != NULL && r->pid != pid; r = r->queue_next) {
        /* look on */
    }

    return r;
}


static void
shell_job_over(shell *sh, run *r)
{
    shell_job_take(sh, r->pid);
    r->at = NULL;
    r->sh = NULL;
    run_finish(r);
}


static void
shell_close_fd(int *fd)
{
    if (*fd != -1) {
        close(*fd);
        *fd = -1;
    }
}


static void
shell_close_pipes(shell *sh)
{
    shell_timer_stop(sh);
    io_close(sh->in);
    sh->in = NULL;
    io_close(sh->control);
    sh->control = NULL;
    reader_leave(sh->out);
    reader_leave(sh->err);
    sh->out = NULL;
    sh->err = NULL;
    shell_close_fd(&sh->text_fd);
    shell_close_fd(&sh->kids_fd);
    shell_close_fd(&sh->orphans_fd);
    buffer_free(&sh->in_pending);
    buffer_free(&sh->control_in);
    buffer_free(&sh->prologue);
}


static void
shell_free(shell *sh)
{
    void  (*done)(void *);
    void   *data;

    shell_pool_lost(sh);
    done = sh->done;
    data = sh->done_data;

    shell_close_pipes(sh);
    free(sh->pwd);
    free(sh->oldpwd);
    free(sh->name);
    free(sh);

    if (done != NULL) {
        done(data);
    }
}


/* A shell that its session has no more use for goes with its last job; what
 * else it left behind in the background stays with the shim. */

static void
shell_maybe_free(shell *sh)
{
    if (sh->left && sh->jobs == NULL && sh->done == NULL) {
        if (sh->sh != NULL) {
            shim_leave(sh->sh, sh->empty);
        }
        shell_free(sh);
    }
}


static void
shell_died(shell *sh, int exit_code)
{
    run      *r;
    error    *err;
    session  *s;

    if (sh->state == SHELL_DEAD) {
        return;
    }

    shell_pool_lost(sh);

    if (sh->control != NULL) {
        shell_control_read(sh);     /* a report that came before the end */
    }

    sh->pid = 0;
    sh->state = SHELL_DEAD;
    sh->left = 1;

    r = sh->current;
    sh->current = NULL;
    s = sh->of;
    sh->of = NULL;

    if (r != NULL) {
        shell_take_output(sh);
    }

    shell_close_pipes(sh);

    if (s != NULL) {
        sh->owner->dead(s, r != NULL ? -2 : exit_code);
    }

    if (r != NULL) {
        r->shell_exit = exit_code;
        r->at = NULL;
        err = NULL;
        error_set(&err, 410, "session_terminated", exit_code < 0
                  ? "Session '%.200s' shell exited (exit code: unknown)"
                  : "Session '%.200s' shell exited (exit code: %d)",
                  sh->name, exit_code);
        run_fail(r, err);
    }
}


static void
shell_lost(shell *sh)
{
    run    *r;
    error  *err;

    sh->sh = NULL;
    shell_died(sh, -1);

    while ((r = sh->jobs) != NULL) {
        sh->jobs = r->queue_next;
        r->queue_next = NULL;
        r->at = NULL;
        err = NULL;
        error_set(&err, 500, "process_error",
                  "The command was lost: its supervisor was killed");
        run_fail(r, err);
    }

    shell_free(sh);
}


static void
shell_shim_event(shim *s, const shim_msg *m)
{
    run    *r;
    shell  *sh;

    sh = s->data;

    if (m == NULL) {
        shell_lost(sh);
        return;
    }

    switch (m->op) {
    case SHIM_SPAWNED:
        sh->pid = m->pid;
        sh->kids_fd = shell_children_fd(m->pid);
        sh->orphans_fd = shell_children_fd(s->pid);
        break;

    case SHIM_FAILED:
        log_error("bash can't be started: %s", strerror(m->value));
        shell_died(sh, 127);
        break;

    case SHIM_IS_HELD:
        if (sh->state == SHELL_HOLDING) {
            r = sh->current;
            shell_feed(sh);
            if (r->foreground) {
                run_set_started(r, sh->pid);
            }
            if (sh->ending && sh->current == r
                && sh->state == SHELL_RUNNING)
            {
                shell_kill(sh, r, 0);
            }
        }
        break;

    case SHIM_EMPTY:
        sh->empty = 1;
        break;

    case SHIM_INTERRUPTED:
        shell_signalled(sh);
        break;

    case SHIM_EXIT:
        sh->empty = !m->extra;

        if (m->pid == sh->pid) {
            shell_died(sh, WIFSIGNALED(m->value)
                           ? 128 + WTERMSIG(m->value)
                           : WEXITSTATUS(m->value));
            break;
        }

        r = shell_job_find(sh, m->pid);
        if (r != NULL) {
            run_set_status(r, m->value);
            if (!r->dying) {
                shell_job_over(sh, r);
            }
        }
        break;

    case SHIM_GONE:
        r = shell_job_find(sh, m->pid);
        if (r != NULL && r->exited) {
            shell_job_over(sh, r);
        }

        if (m->pid == 0 && (sh->done != NULL || agent.stopping)) {
            if (sh->pid != 0) {
                shell_died(sh, -1);
            }
            while (sh->jobs != NULL) {
                shell_job_over(sh, sh->jobs);
            }
            shim_quit(sh->sh);
            shell_free(sh);
            return;
        }
        break;

    default:
        break;
    }

    shell_maybe_free(sh);
}


void
shell_destroy(shell *sh, error *err, void (*done)(void *), void *data)
{
    run  *r;

    sh->of = NULL;
    sh->left = 1;
    sh->done = done;
    sh->done_data = data;

    r = sh->current;
    sh->current = NULL;

    if (r != NULL) {
        shell_take_output(sh);
        r->at = NULL;
        run_fail(r, err);
        err = NULL;
    }
    error_free(err);

    for (r = sh->jobs; r != NULL; r = r->queue_next) {
        r->kill_asked = 1;
        r->dying = 1;
    }

    shell_timer_pause(sh);
    if (sh->state != SHELL_DEAD) {
        sh->state = SHELL_IDLE;
    }

    shim_send(sh->sh, SHIM_KILL, 0, 0, NULL, 0);
}


void
shell_adopt(shell *sh, session *s, const shell_owner *owner, const char *name,
    const char *cwd, const json_t *env)
{
    buffer  b;

    free(sh->name);
    sh->name = strdup(name);
    if (sh->name == NULL) {
        abort();
    }

    sh->of = s;
    sh->owner = owner;
    memset(&b, 0, sizeof(b));
    shell_welcome(&b, strcmp(cwd, sh->pwd) == 0 ? NULL : cwd, env);

    /* Nobody is to wait for a shell that is still starting. */
    if (b.len != 0) {
        shell_write(sh, &b);
        shell_set_pwd(sh, cwd, "");
    }

    buffer_free(&b);
}


const char *
shell_pwd(const shell *sh)
{
    return sh->pwd;
}


/* Starting. */

static shell *
shell_new(session *s, const shell_owner *owner, const char *name,
    const char *cwd)
{
    shell  *sh;

    sh = calloc(1, sizeof(shell));
    if (sh == NULL) {
        abort();
    }

    sh->of = s;
    sh->name = strdup(name);
    sh->owner = owner;
    sh->text_fd = -1;
    sh->kids_fd = -1;
    sh->orphans_fd = -1;
    shell_set_pwd(sh, cwd, "");

    return sh;
}


static int
shell_spawn(shell *sh, const char *cwd, char *const *env, int *fds)
{
    int    in[2], control[2], null;
    char  *argv[6];

    argv[0] = (char *) run_bash();
    argv[1] = (char *) "--norc";
    argv[2] = (char *) "--noprofile";
    argv[3] = (char *) "--noediting";
    argv[4] = (char *) "-i";
    argv[5] = NULL;

    if (pipe2(in, O_CLOEXEC) != 0) {
        return -1;
    }
    fds[1] = in[0];
    sh->in = io_open(agent.loop, in[1], shell_in_ready, sh);

    if (pipe2(control, O_CLOEXEC) != 0) {
        return -1;
    }
    fds[6] = control[1];
    sh->control = io_open(agent.loop, control[0], shell_control_ready, sh);

    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    fds[2] = null;
    fds[3] = null == -1 ? -1 : fcntl(null, F_DUPFD_CLOEXEC, 3);

    sh->out = reader_open(&fds[4], NULL, NULL, NULL);
    sh->err = reader_open(&fds[5], NULL, NULL, NULL);

    sh->text_fd = memfd_create("command", MFD_CLOEXEC);
    fds[7] = sh->text_fd == -1 ? -1
             : fcntl(sh->text_fd, F_DUPFD_CLOEXEC, 3);

    fds[0] = shim_spec(cwd, argv, env);

    if (sh->in == NULL || sh->control == NULL || sh->out == NULL
        || sh->err == NULL || fds[0] == -1 || fds[3] == -1 || fds[7] == -1)
    {
        return -1;
    }

    io_want(sh->control, UV_READABLE);

    return shim_send(sh->sh, SHIM_SPAWN, 0, 1, fds, 8);
}


shell *
shell_start(session *s, const shell_owner *owner, const char *name,
    const char *cwd, char *const *env, error **err)
{
    int      fds[8], i, rc;
    shell   *sh;
    buffer   b;

    if (run_bash() == NULL) {
        error_set(err, 500, "internal_error",
                  "There is no bash in this sandbox");
        return NULL;
    }

    sh = shell_new(s, owner, name, cwd);
    sh->sh = shim_take(shell_shim_event, sh);

    for (i = 0; i < 8; i++) {
        fds[i] = -1;
    }

    rc = sh->sh == NULL ? -1 : shell_spawn(sh, cwd, env, fds);

    for (i = 0; i < 8; i++) {
        if (fds[i] != -1) {
            close(fds[i]);
        }
    }

    if (rc != 0) {
        if (sh->sh != NULL) {
            shim_quit(sh->sh);
        }
        shell_free(sh);
        error_set(err, 503, "internal_error", "A shell can't be started: too "
                  "many processes or descriptors are in use");
        return NULL;
    }

    memset(&b, 0, sizeof(b));
    shell_init(&b);
    shell_new_token(sh);
    shell_probe(&b, sh->token);
    shell_write(sh, &b);

    return sh;
}
