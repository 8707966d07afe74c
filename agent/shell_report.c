/* What a shell reports on its control pipe; see shell_internal.h. */

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/shell_internal.h"
#include "agent/shell_text.h"
#include "agent/shim_proto.h"
#include "common/log.h"


/* What the next command's text has to put back first. */

static void
shell_restore_cwd(shell *sh)
{
    buffer_puts(&sh->prologue, "\\builtin cd -- ");
    shell_quote(&sh->prologue, sh->pwd);
    buffer_puts(&sh->prologue, " >/dev/null 2>&1 || \\builtin true; ");

    if (sh->oldpwd[0] == '\0') {
        buffer_puts(&sh->prologue, "\\builtin unset -v OLDPWD; ");

    } else {
        buffer_puts(&sh->prologue, "\\builtin declare OLDPWD=");
        shell_quote(&sh->prologue, sh->oldpwd);
        buffer_puts(&sh->prologue, "; ");
    }
}


static void
shell_restore_env(shell *sh, char **values)
{
    json_t      *v;
    unsigned     i;
    const char  *name;

    i = 0;

    json_object_foreach(sh->current->env, name, v) {
        if (!json_is_string(v) || i == sh->nenv) {
            continue;
        }

        buffer_printf(&sh->prologue, "\\builtin unset -v %s; ", name);

        /* In the shell's own words: "declare -x K='value'", or "K='value'" if
         * it has no attributes.  A plain assignment that fails would have
         * bash give up the command behind it. */
        if (values[i][0] != '\0') {
            buffer_puts(&sh->prologue, strncmp(values[i], "declare ", 8) == 0
                        ? "\\builtin " : "\\builtin declare ");
            buffer_puts(&sh->prologue, values[i]);
            buffer_puts(&sh->prologue, "; ");
        }
        i++;
    }
}


void
shell_set_pwd(shell *sh, const char *pwd, const char *oldpwd)
{
    free(sh->pwd);
    free(sh->oldpwd);
    sh->pwd = strdup(pwd);
    sh->oldpwd = strdup(oldpwd);

    if (sh->pwd == NULL || sh->oldpwd == NULL) {
        abort();
    }
}


/* With too low a limit of descriptors the shell still reports, but can't give
 * a command its output, and doesn't run it. */

static int
shell_is_starved(shell *sh)
{
    struct rlimit  lim;

    return prlimit(sh->pid, RLIMIT_NOFILE, NULL, &lim) == 0
           && lim.rlim_cur <= SHELL_FD_TEXT;
}


/* Reports. */

static void
shell_settle_background(shell *sh)
{
    run  *r;

    if (!sh->reported || !sh->job_known) {
        return;
    }

    r = sh->current;
    sh->current = NULL;
    sh->state = SHELL_IDLE;
    shell_timer_pause(sh);

    r->queue_next = sh->jobs;
    sh->jobs = r;
    sh->njobs++;

    /* The end of its go pipe lets the job begin; the shim has been told to
     * watch it before. */
    shim_send(sh->sh, SHIM_WATCH, r->pid, (int) r->job, NULL, 0);
    shell_release_held(sh);

    run_set_started(r, r->pid);

    if (r->kill_asked) {
        shim_end(sh->sh, r->pid, r->kill_signal, r->kill_grace);
    }

    if (sh->state == SHELL_IDLE && sh->of != NULL) {
        sh->owner->idle(sh->of);
    }
}


static void
shell_report(shell *sh, char **field)
{
    int   status;
    run  *r;

    if (strcmp(field[1], sh->token) != 0 || sh->current == NULL) {
        return;
    }

    r = sh->current;
    status = atoi(field[2]);

    if (!r->foreground) {
        sh->reported = 1;
        shell_set_pwd(sh, field[3], field[4]);

        if (status != 0 && !sh->job_known) {
            shell_start_failed(sh);
            return;
        }

        if (!sh->job_known) {
            shell_timer_set(sh, SHELL_JOB_MS, shell_look);
        }

        shell_settle_background(sh);
        return;
    }

    if (status == 1 && sh->state == SHELL_RUNNING && shell_is_starved(sh)) {
        log_info("a shell has too few descriptors; ended");
        shell_shoot(sh);
        return;
    }

    if (sh->state == SHELL_ENDING) {
        /* A SIGINT that is still on its way would eat the next command's
         * lines: one more report, asked for until it comes. */
        sh->state = SHELL_BARRIER;
        sh->since = uv_now(agent.loop);
        sh->prodded = sh->since;
        sh->status = status;
        shell_new_token(sh);
        shell_timer_set(sh, 0, shell_round);
        return;
    }

    if (sh->state == SHELL_BARRIER) {
        if (sh->signalling) {
            return;                 /* asked for again when it is through */
        }
        status = sh->status;
    }

    if (r->cwd != NULL) {
        shell_restore_cwd(sh);
    } else {
        shell_set_pwd(sh, field[3], field[4]);
    }

    r->exit_code = status;
    shell_finished(sh);
}


/* A job that was given up, and has come to life after all: whoever wanted it
 * was told that it didn't start. */

static void
shell_job_late(shell *sh, pid_t pid)
{
    if (pid > 1) {
        log_info("a job has begun too late; ended");
        shim_end(sh->sh, pid, SIGKILL, 0);
    }
}


/* One record of the control pipe; returns its length, 0 if it isn't complete,
 * -1 if it is nothing that we asked for. */

static ssize_t
shell_record(shell *sh, char *p, size_t n)
{
    char     **field, *q, *nul;
    size_t     i, want;
    ssize_t    len;

    switch (p[0]) {
    case 'R':  want = 5;               break;
    case 'J':  want = 3;               break;
    case 'E':  want = 2 + sh->nenv;    break;
    default:   return -1;
    }

    if (n >= 2 && p[1] != '\0') {
        return -1;
    }

    field = malloc(want * sizeof(char *));
    if (field == NULL) {
        return -1;
    }

    for (i = 0, q = p; i < want; i++, q = nul + 1) {
        nul = q < p + n ? memchr(q, '\0', (size_t) (p + n - q)) : NULL;
        if (nul == NULL) {
            free(field);
            return n > SHELL_CONTROL_MAX ? -1 : 0;
        }
        field[i] = q;
    }

    len = q - p;

    if (strcmp(field[1], sh->token) != 0) {
        if (!shell_token_known(sh, field[1])) {
            len = -1;
        } else if (p[0] == 'R') {
            sh->up = 1;
        } else if (p[0] == 'J') {
            shell_job_late(sh, atoi(field[2]));
        }

    } else if (p[0] == 'R') {
        sh->up = 1;
        shell_report(sh, field);

    } else if (p[0] == 'J' && sh->current != NULL
               && !sh->current->foreground && !sh->job_known)
    {
        sh->current->pid = atoi(field[2]);
        sh->job_known = 1;
        shell_settle_background(sh);

    } else if (p[0] == 'J' && sh->current == NULL) {
        shell_job_late(sh, atoi(field[2]));

    } else if (p[0] == 'E' && sh->current != NULL) {
        shell_restore_env(sh, field + 2);
        sh->nenv = 0;

    } else {
        len = -1;
    }

    free(field);

    return len;
}


void
shell_control_read(shell *sh)
{
    ssize_t  n, len;

    for ( ;; ) {
        n = read(sh->control->fd, buffer_room(&sh->control_in, 4096), 4096);

        if (n <= 0) {
            return;
        }
        buffer_added(&sh->control_in, (size_t) n);

        while (sh->control_in.len != 0 && sh->state != SHELL_DEAD) {
            len = shell_record(sh, buffer_bytes(&sh->control_in),
                               sh->control_in.len);

            if (len < 0) {
                log_info("a shell reports what it can't know; ended");
                buffer_consume(&sh->control_in, sh->control_in.len);
                shell_shoot(sh);
                return;
            }

            if (len == 0) {
                break;
            }

            buffer_consume(&sh->control_in, (size_t) len);
        }

        if (sh->state == SHELL_DEAD || n < 4096) {
            return;
        }
    }
}


void
shell_control_ready(io *w, int events)
{
    shell_control_read(w->data);
}
