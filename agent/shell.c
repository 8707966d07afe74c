/*
 * One bash under a shim; see shell.h.
 *
 * The shell is fed whole lines through its standard input.  A command's text
 * is put to a memory file that the shell sources; its output goes to pipes;
 * its end comes through a control pipe as `R <token> <status> <pwd> <oldpwd>`,
 * with a random token that the command's own output can't know.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/env.h"
#include "agent/proctree.h"
#include "agent/shell.h"
#include "agent/shell_text.h"
#include "common/log.h"

#define SHELL_ROUND_MS     15       /* between two signals of one end */
#define SHELL_INT_MS       100      /* SIGINT this long, */
#define SHELL_TERM_MS      2100     /* then SIGTERM until here, */
#define SHELL_GIVE_UP_MS   5000     /* then SIGKILL, then the shell itself */
#define SHELL_LOOK_MS      1000     /* the watchdog's first look and pace */
#define SHELL_JOB_MS       5000     /* for a background job to appear */
#define SHELL_CONTROL_MAX  (32 * 1024 * 1024)
#define SHELL_WRITE_MAX    (1024 * 1024)
#define SHELL_PAST         8        /* tokens whose late reports are ignored */

typedef enum {
    SHELL_IDLE,
    SHELL_HOLDING,                  /* the shim takes descriptors */
    SHELL_RUNNING,
    SHELL_ENDING,                   /* signals until it reports */
    SHELL_BARRIER,                  /* and once more, after the last signal */
    SHELL_DEAD
} shell_state;

struct shell {
    session            *of;
    char               *name;       /* the session's */
    const shell_owner  *owner;
    shell_state         state;

    shim               *sh;
    pid_t               pid;
    io                 *in;         /* its standard input */
    buffer              in_pending;
    io                 *control;
    buffer              control_in;
    int                 text_fd;
    int                 kids_fd;    /* /proc/.../children of the shell, */
    int                 orphans_fd; /* and of the shim */
    reader             *out, *err;  /* the permanent pipes */

    run                *current;
    run                *jobs;       /* through queue_next */
    unsigned            njobs;
    unsigned            last_job;

    char                token[17];
    char                past[SHELL_PAST][17];
    unsigned            npast;
    unsigned            nenv;       /* values that E brings */
    buffer              prologue;
    char               *pwd, *oldpwd;
    int                 status;     /* of the command, while a barrier waits */

    uv_timer_t         *timer;
    uint64_t            since;      /* loop time when this state began */
    int                 probed;
    unsigned            looks;

    unsigned            held:1;
    unsigned            own_pipes:1;
    unsigned            marked:1;
    unsigned            reported:1; /* of a background start */
    unsigned            job_known:1;
    unsigned            empty:1;    /* the shim has no children */
    unsigned            left:1;     /* dead to its session, jobs run on */

    void              (*done)(void *);
    void               *done_data;
};


static void shell_look(uv_timer_t *timer);
static void shell_round(uv_timer_t *timer);


/* Timers. */

static void
shell_timer_closed(uv_handle_t *handle)
{
    free(handle);
}


static void
shell_timer_stop(shell *sh)
{
    if (sh->timer != NULL) {
        uv_close((uv_handle_t *) sh->timer, shell_timer_closed);
        sh->timer = NULL;
    }
}


static void
shell_timer_set(shell *sh, uint64_t ms, uv_timer_cb cb)
{
    if (sh->timer == NULL) {
        sh->timer = malloc(sizeof(uv_timer_t));
        if (sh->timer == NULL) {
            abort();
        }
        uv_timer_init(agent.loop, sh->timer);
        sh->timer->data = sh;
    }

    uv_timer_start(sh->timer, cb, ms, 0);
}


static void
shell_timer_pause(shell *sh)
{
    if (sh->timer != NULL) {
        uv_timer_stop(sh->timer);
    }
}


/* The shell itself is beyond help; its end comes as that of a process. */

static void
shell_shoot(shell *sh)
{
    if (sh->pid > 0) {
        kill(sh->pid, SIGKILL);
    }
}


/* Writing to the shell. */

static void
shell_in_ready(io *w, int events)
{
    shell    *sh;
    ssize_t   n;

    sh = w->data;

    while (sh->in_pending.len != 0) {
        n = write(w->fd, buffer_bytes(&sh->in_pending), sh->in_pending.len);

        if (n < 0) {
            if (errno == EAGAIN || errno == EINTR) {
                io_want(w, UV_WRITABLE);
                return;
            }
            buffer_free(&sh->in_pending);   /* its end is told elsewhere */
            break;
        }

        buffer_consume(&sh->in_pending, (size_t) n);
    }

    io_want(w, 0);
}


static void
shell_write(shell *sh, buffer *b)
{
    if (sh->in != NULL && sh->in_pending.len < SHELL_WRITE_MAX) {
        buffer_append(&sh->in_pending, buffer_bytes(b), b->len);
        shell_in_ready(sh->in, 0);
    }

    buffer_free(b);
}


/* Tokens. */

static void
shell_new_token(shell *sh)
{
    uint64_t  random;

    memcpy(sh->past[sh->npast++ % SHELL_PAST], sh->token, sizeof(sh->token));

    if (getrandom(&random, sizeof(random), 0) != sizeof(random)) {
        abort();
    }

    snprintf(sh->token, sizeof(sh->token), "%016llx",
             (unsigned long long) random);
}


static int
shell_token_known(const shell *sh, const char *token)
{
    size_t  i;

    for (i = 0; i < SHELL_PAST; i++) {
        if (sh->past[i][0] != '\0' && strcmp(sh->past[i], token) == 0) {
            return 1;
        }
    }

    return 0;
}


/* Is anybody left from earlier commands who could write to the permanent
 * pipes?  Nobody is, if the shell has no children and the shim none but the
 * shell and jobs, which have pipes of their own. */

static int
shell_is_job(const shell *sh, pid_t pid)
{
    const run  *r;

    for (r = sh->jobs; r != NULL; r = r->queue_next) {
        if (r->pid == pid) {
            return 1;
        }
    }

    return 0;
}


static int
shell_alone(shell *sh)
{
    char      text[4096], *p, *end;
    long      pid;
    ssize_t   n;

    if (sh->kids_fd == -1 || sh->orphans_fd == -1
        || pread(sh->kids_fd, text, sizeof(text), 0) != 0)
    {
        return 0;
    }

    n = pread(sh->orphans_fd, text, sizeof(text) - 1, 0);
    if (n <= 0 || n == (ssize_t) sizeof(text) - 1) {
        return 0;
    }
    text[n] = '\0';

    for (p = text; ; p = end) {
        pid = strtol(p, &end, 10);
        if (end == p) {
            return 1;
        }
        if (pid != sh->pid && !shell_is_job(sh, (pid_t) pid)) {
            return 0;
        }
    }
}


static int
shell_children_fd(pid_t pid)
{
    char  path[64];

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int) pid,
             (int) pid);

    return open(path, O_RDONLY | O_CLOEXEC);
}


/* A command is over: its output is complete, whoever waits is told, and the
 * next one may come. */

static void
shell_release_held(shell *sh)
{
    if (sh->held) {
        sh->held = 0;
        shim_send(sh->sh, SHIM_DROP, 0, 0, NULL, 0);
    }
}


static void
shell_take_output(shell *sh)
{
    if (sh->out != NULL && !sh->own_pipes) {
        reader_drain(sh->out);
        reader_drain(sh->err);
        reader_aim(sh->out, NULL, NULL, NULL);
        reader_aim(sh->err, NULL, NULL, NULL);
    }
}


static void
shell_finished(shell *sh)
{
    run  *r;

    r = sh->current;
    sh->current = NULL;
    sh->state = SHELL_IDLE;
    shell_timer_pause(sh);

    shell_take_output(sh);
    shell_release_held(sh);

    r->at = NULL;
    run_finish(r);

    if (sh->state == SHELL_IDLE && sh->of != NULL) {
        sh->owner->idle(sh->of);
    }
}


/* What the next command's text has to put back first. */

static void
shell_restore_cwd(shell *sh)
{
    buffer_puts(&sh->prologue, "\\builtin cd -- ");
    shell_quote(&sh->prologue, sh->pwd);
    buffer_puts(&sh->prologue, " >/dev/null 2>&1 || \\builtin true\n");

    if (sh->oldpwd[0] == '\0') {
        buffer_puts(&sh->prologue, "\\builtin unset -v OLDPWD\n");

    } else {
        buffer_puts(&sh->prologue, "OLDPWD=");
        shell_quote(&sh->prologue, sh->oldpwd);
        buffer_puts(&sh->prologue, "\n");
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

        buffer_printf(&sh->prologue, "\\builtin unset -v %s\n", name);

        /* In the shell's own words: "declare -x K='value'", or "K='value'" if
         * it has no attributes. */
        if (strncmp(values[i], "declare ", 8) == 0) {
            buffer_puts(&sh->prologue, "\\builtin ");
        }
        buffer_puts(&sh->prologue, values[i]);
        buffer_puts(&sh->prologue, "\n");
        i++;
    }
}


static void
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
        shim_send(sh->sh, SHIM_KILL, r->pid, RUN_GRACE_MS, NULL, 0);
    }

    if (sh->state == SHELL_IDLE && sh->of != NULL) {
        sh->owner->idle(sh->of);
    }
}


static void
shell_start_failed(shell *sh)
{
    run    *r;
    error  *err;

    r = sh->current;
    sh->current = NULL;
    sh->state = SHELL_IDLE;
    shell_timer_pause(sh);
    shell_release_held(sh);

    err = NULL;
    error_set(&err, 500, "stream_start_error",
              "The shell could not start the command in the background");
    r->at = NULL;
    run_fail(r, err);

    if (sh->state == SHELL_IDLE && sh->of != NULL) {
        sh->owner->idle(sh->of);
    }
}


static void
shell_barrier(shell *sh)
{
    buffer  b;

    memset(&b, 0, sizeof(b));
    buffer_puts(&b, "\n");
    shell_probe(&b, sh->token);
    shell_write(sh, &b);
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
        } else {
            shell_settle_background(sh);
        }
        return;
    }

    if (sh->state == SHELL_ENDING) {
        /* A SIGINT that is still on its way would eat the next command's
         * lines: one more report, asked for until it comes. */
        sh->state = SHELL_BARRIER;
        sh->since = uv_now(agent.loop);
        sh->status = status;
        shell_new_token(sh);
        shell_barrier(sh);
        shell_timer_set(sh, SHELL_ROUND_MS, shell_round);
        return;
    }

    if (sh->state == SHELL_BARRIER) {
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
        }

    } else if (p[0] == 'R') {
        shell_report(sh, field);

    } else if (p[0] == 'J' && sh->current != NULL
               && !sh->current->foreground && !sh->job_known)
    {
        sh->current->pid = atoi(field[2]);
        sh->job_known = 1;
        shell_settle_background(sh);

    } else if (p[0] == 'E' && sh->current != NULL) {
        shell_restore_env(sh, field + 2);
        sh->nenv = 0;

    } else {
        len = -1;
    }

    free(field);

    return len;
}


static void
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


static void
shell_control_ready(io *w, int events)
{
    shell_control_read(w->data);
}


/* Beginning. */

static void
shell_feed(shell *sh)
{
    run         *r;
    buffer       b;
    shell_text   t;

    r = sh->current;
    buffer_append(&sh->prologue, "", 1);

    memset(&t, 0, sizeof(t));
    t.token = sh->token;
    t.command = r->command;
    t.cwd = r->cwd;
    t.env = r->env;
    t.prologue = buffer_bytes(&sh->prologue);
    t.shim = sh->sh->pid;
    t.held_out = sh->held;
    t.held_in = sh->held;
    t.job = r->job;

    memset(&b, 0, sizeof(b));
    if (r->foreground) {
        shell_foreground(&b, &t);
    } else {
        shell_background(&b, &t);
    }

    if (ftruncate(sh->text_fd, 0) != 0
        || pwrite(sh->text_fd, buffer_bytes(&b), b.len, 0)
           != (ssize_t) b.len)
    {
        log_error("a command's text can't be stored: %s", strerror(errno));
        shell_shoot(sh);
    }

    buffer_consume(&b, b.len);
    buffer_consume(&sh->prologue, sh->prologue.len);

    sh->state = SHELL_RUNNING;
    sh->since = uv_now(agent.loop);
    sh->probed = 0;
    sh->looks = 0;
    shell_timer_set(sh, r->foreground ? SHELL_LOOK_MS : SHELL_JOB_MS,
                    shell_look);

    shell_line(&b, sh->token);
    shell_write(sh, &b);
}


static int
shell_hold(shell *sh, run *r)
{
    int  fds[5], go[2], n, i, rc;

    for (i = 0; i < 5; i++) {
        fds[i] = -1;
    }

    r->rout = reader_open(&fds[0], &r->out, run_output, r);
    r->rerr = reader_open(&fds[1], &r->err, run_output, r);
    fds[2] = run_input_fd(r);
    n = 3;

    if (!r->foreground && pipe2(go, O_CLOEXEC) == 0) {
        fds[3] = go[0];
        fds[4] = go[1];
        n = 5;
    }

    rc = -1;

    if (r->rout != NULL && r->rerr != NULL && fds[2] != -1
        && n == (r->foreground ? 3 : 5))
    {
        rc = shim_send(sh->sh, SHIM_HOLD, 0, 0, fds, n);
        sh->held = rc == 0;
        sh->own_pipes = 1;
    }

    for (i = 0; i < 5; i++) {
        if (fds[i] != -1) {
            close(fds[i]);
        }
    }

    return rc;
}


static unsigned
shell_env_count(const json_t *env)
{
    json_t      *v;
    unsigned     n;
    const char  *name;

    n = 0;

    json_object_foreach((json_t *) env, name, v) {
        n += json_is_string(v);
    }

    return n;
}


void
shell_begin(shell *sh, run *r)
{
    int  alone;

    sh->current = r;
    r->in = NULL;
    r->at = sh;
    shell_new_token(sh);
    sh->nenv = r->foreground ? shell_env_count(r->env) : 0;
    sh->own_pipes = 0;
    sh->reported = 0;
    sh->job_known = 0;
    sh->status = 0;

    if (!r->foreground) {
        r->job = ++sh->last_job;
    }

    if (r->foreground && shell_is_blank(r->command) && r->cwd == NULL) {
        r->started = uv_hrtime();
        run_set_started(r, sh->pid);
        shell_finished(sh);
        return;
    }

    alone = shell_alone(sh);

    /* The shim may read this after the command has begun, unless it is asked
     * to hold something as well: then it must only forget. */
    if (!alone || sh->marked) {
        shim_send(sh->sh, SHIM_MARK, 0, alone, NULL, 0);
        sh->marked = !alone;
    }

    r->started = uv_hrtime();

    if (!r->foreground || !alone || r->input != NULL) {
        sh->state = SHELL_HOLDING;
        sh->since = uv_now(agent.loop);
        if (sh->njobs >= SHIM_JOBS_MAX || shell_hold(sh, r) != 0) {
            shell_start_failed(sh);
        }
        return;
    }

    reader_drain(sh->out);
    reader_drain(sh->err);
    reader_aim(sh->out, &r->out, run_output, r);
    reader_aim(sh->err, &r->err, run_output, r);

    shell_feed(sh);
    run_set_started(r, sh->pid);
}


int
shell_busy(const shell *sh)
{
    return sh->current != NULL;
}


/* The watchdog.  A line that is written while a command runs stays in the
 * pipe; if the shell takes it and the report doesn't come, it never will. */

static int
shell_in_left(shell *sh)
{
    int  n;

    return ioctl(sh->in->fd, FIONREAD, &n) == 0 ? n : -1;
}


static void
shell_look(uv_timer_t *timer)
{
    char     state;
    shell   *sh;
    buffer   b;

    sh = timer->data;

    if (sh->state != SHELL_RUNNING || sh->pid <= 0) {
        return;
    }

    if (!sh->current->foreground) {
        if (sh->reported) {
            shell_start_failed(sh);
            return;
        }
    }

    state = proctree_state(sh->pid, NULL);

    if (state == 'T' || state == 't') {
        /* `suspend`: once it is helped up, then it is given up. */
        kill(sh->pid, sh->looks++ == 0 ? SIGCONT : SIGKILL);

    } else if (!sh->probed) {
        memset(&b, 0, sizeof(b));
        shell_probe(&b, sh->token);
        shell_write(sh, &b);
        sh->probed = 1;

    } else if (sh->in_pending.len == 0 && shell_in_left(sh) == 0) {
        if (sh->looks++ != 0) {
            log_info("a shell lost its report; ended");
            shell_shoot(sh);
        }
    }

    shell_timer_set(sh, SHELL_LOOK_MS, shell_look);
}


/* Ending a foreground command. */

static void
shell_round(uv_timer_t *timer)
{
    int       sig;
    shell    *sh;
    buffer    b;
    uint64_t  elapsed;

    sh = timer->data;

    if (sh->state != SHELL_ENDING && sh->state != SHELL_BARRIER) {
        return;
    }

    elapsed = uv_now(agent.loop) - sh->since;

    if (elapsed > SHELL_GIVE_UP_MS) {
        log_info("a shell doesn't come back to its prompt; ended");
        shell_shoot(sh);
        return;
    }

    if (sh->state == SHELL_ENDING) {
        sig = elapsed < SHELL_INT_MS ? SIGINT
              : elapsed < SHELL_TERM_MS ? SIGTERM : SIGKILL;
        shim_send(sh->sh, SHIM_INTERRUPT, 0, sig, NULL, 0);
    }

    memset(&b, 0, sizeof(b));
    buffer_puts(&b, "\n");
    shell_probe(&b, sh->token);
    shell_write(sh, &b);

    shell_timer_set(sh, SHELL_ROUND_MS, shell_round);
}


void
shell_kill(shell *sh, run *r, int grace_ms)
{
    if (r != sh->current) {
        if (r->pid > 0 && shell_is_job(sh, r->pid)) {
            shim_send(sh->sh, SHIM_KILL, r->pid, grace_ms, NULL, 0);
        }
        return;
    }

    if (!r->foreground || sh->state == SHELL_ENDING
        || sh->state == SHELL_BARRIER)
    {
        return;                     /* seen when it has started */
    }

    if (sh->state == SHELL_HOLDING) {
        /* It hasn't begun: as if it had been interrupted at once. */
        shell_feed(sh);
    }

    sh->state = SHELL_ENDING;
    sh->since = uv_now(agent.loop);
    shell_timer_set(sh, 0, shell_round);
}


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
        }
        break;

    case SHIM_EMPTY:
        sh->empty = 1;
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
    shell_write(sh, &b);

    return sh;
}
