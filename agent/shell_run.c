/* A command on its way through a shell; see shell_internal.h. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/proctree.h"
#include "agent/shell_internal.h"
#include "agent/shell_text.h"
#include "common/log.h"


/* Timers. */

static void
shell_timer_closed(uv_handle_t *handle)
{
    free(handle);
}


void
shell_timer_stop(shell *sh)
{
    if (sh->timer != NULL) {
        uv_close((uv_handle_t *) sh->timer, shell_timer_closed);
        sh->timer = NULL;
    }
}


void
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


void
shell_timer_pause(shell *sh)
{
    if (sh->timer != NULL) {
        uv_timer_stop(sh->timer);
    }
}


/* The shell itself is beyond help; its end comes as that of a process. */

void
shell_shoot(shell *sh)
{
    if (sh->pid > 0) {
        kill(sh->pid, SIGKILL);
    }
}


/* Writing to the shell. */

void
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


void
shell_write(shell *sh, buffer *b)
{
    if (sh->in != NULL && sh->in_pending.len < SHELL_WRITE_MAX) {
        buffer_append(&sh->in_pending, buffer_bytes(b), b->len);
        shell_in_ready(sh->in, 0);
    }

    buffer_free(b);
}


/* Tokens. */

void
shell_new_token(shell *sh)
{
    uint64_t         random;
    static unsigned  left;
    static uint64_t  store[64];

    memcpy(sh->past[sh->npast++ % SHELL_PAST], sh->token, sizeof(sh->token));

    if (left == 0) {
        if (getrandom(store, sizeof(store), 0) != sizeof(store)) {
            abort();
        }
        left = sizeof(store) / sizeof(store[0]);
    }

    random = store[--left];
    store[left] = 0;

    snprintf(sh->token, sizeof(sh->token), "%016llx",
             (unsigned long long) random);
}


int
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

int
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


/* The same when the answer is on its way rather than when the next client
 * waits.  What the last one left in the pipes before it went is nobody's. */

static void
shell_look_around(shell *sh)
{
    sh->alone = sh->out != NULL && shell_alone(sh);

    if (sh->alone) {
        reader_drain_both(sh->out, sh->err);
    }
}


/* Since then only the shell itself can have started something: for its prompt
 * or in a trap, and not with the pipes. */

static int
shell_still_alone(shell *sh)
{
    char  c;

    return sh->alone && pread(sh->kids_fd, &c, 1, 0) == 0;
}


int
shell_children_fd(pid_t pid)
{
    char  path[64];

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int) pid,
             (int) pid);

    return open(path, O_RDONLY | O_CLOEXEC);
}


/* A command is over: its output is complete, whoever waits is told, and the
 * next one may come. */

void
shell_release_held(shell *sh)
{
    if (sh->held) {
        sh->held = 0;
        shim_send(sh->sh, SHIM_DROP, 0, 0, NULL, 0);
    }
}


void
shell_take_output(shell *sh)
{
    if (sh->out != NULL && !sh->own_pipes) {
        reader_drain_both(sh->out, sh->err);
        reader_aim(sh->out, NULL, NULL, NULL);
        reader_aim(sh->err, NULL, NULL, NULL);
    }
}


void
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
        shell_look_around(sh);
        sh->owner->idle(sh->of);
    }
}


/* Beginning. */

void
shell_start_failed(shell *sh)
{
    run    *r;
    error  *err;

    r = sh->current;
    sh->current = NULL;
    sh->state = SHELL_IDLE;
    shell_timer_pause(sh);

    if (sh->held) {
        sh->held = 0;
        shim_send(sh->sh, SHIM_DROP, 0, 1, NULL, 0);
    }

    err = NULL;
    error_set(&err, 500, "stream_start_error",
              "The command could not be started in the session's shell");
    r->at = NULL;
    run_fail(r, err);

    if (sh->state == SHELL_IDLE && sh->of != NULL) {
        sh->owner->idle(sh->of);
    }
}


void
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

    /* The shell has read the last one. */
    if ((b.len < sh->text_len && ftruncate(sh->text_fd, (off_t) b.len) != 0)
        || pwrite(sh->text_fd, buffer_bytes(&b), b.len, 0)
           != (ssize_t) b.len)
    {
        log_error("a command's text can't be stored: %s", strerror(errno));
        shell_shoot(sh);
    }

    sh->text_len = b.len;

    buffer_consume(&b, b.len);

    sh->state = SHELL_RUNNING;
    sh->since = uv_now(agent.loop);
    sh->probed = 0;
    sh->looks = 0;
    shell_timer_set(sh, r->foreground ? SHELL_LOOK_MS : SHELL_START_MS,
                    shell_look);

    if (r->foreground) {
        shell_line(&b, sh->token);
    } else {
        shell_background_line(&b, &t);
    }

    shell_write(sh, &b);
    buffer_consume(&sh->prologue, sh->prologue.len);
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
    int  alone, known;

    sh->current = r;
    r->in = NULL;
    r->at = sh;
    shell_new_token(sh);
    sh->nenv = r->foreground ? shell_env_count(r->env) : 0;
    sh->own_pipes = 0;
    sh->ending = 0;
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

    sh->since = uv_now(agent.loop);

    /* Nothing but a lack of descriptors can hold a job up from here on, and
     * that is told to who follows it as its end. */
    if (!r->foreground && sh->njobs < SHIM_JOBS_MAX) {
        sh->state = SHELL_HOLDING;
        run_tell(r, RUN_BEGUN);
    }

    known = shell_still_alone(sh);
    alone = known || shell_alone(sh);
    sh->alone = 0;

    /* The shim may read this after the command has begun, unless it is asked
     * to hold something as well: then it must only forget. */
    if (!alone || sh->marked) {
        shim_send(sh->sh, SHIM_MARK, 0, alone, NULL, 0);
        sh->marked = !alone;
    }

    r->started = uv_hrtime();

    if (!r->foreground || !alone || r->input != NULL) {
        sh->state = SHELL_HOLDING;
        if (sh->njobs >= SHIM_JOBS_MAX || shell_hold(sh, r) != 0) {
            shell_start_failed(sh);
        }
        return;
    }

    if (!known) {
        reader_drain_both(sh->out, sh->err);
    }

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


void
shell_look(uv_timer_t *timer)
{
    run     *r;
    char     state;
    shell   *sh;
    buffer   b;

    sh = timer->data;

    if (sh->state != SHELL_RUNNING || sh->pid <= 0) {
        return;
    }

    if (!sh->current->foreground && sh->reported) {
        r = sh->current;

        /* After a time in which nobody ran it may be there. */
        shell_control_read(sh);

        if (sh->state == SHELL_RUNNING && sh->current == r) {
            shell_start_failed(sh);
        }
        return;
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

    } else if (state == 'S' && sh->in_pending.len == 0
               && shell_in_left(sh) == 0)
    {
        /* One that runs, or waits for a page, is on its way. */
        if (sh->looks++ != 0) {
            log_info("a shell lost its report; ended");
            shell_shoot(sh);
        }
    }

    shell_timer_set(sh, SHELL_LOOK_MS, shell_look);
}


/* Ending a foreground command. */

void
shell_round(uv_timer_t *timer)
{
    int       sig;
    shell    *sh;
    buffer    b;
    uint64_t  now, last, elapsed;

    sh = timer->data;

    if (sh->state != SHELL_ENDING && sh->state != SHELL_BARRIER) {
        return;
    }

    /* When nobody ran, neither did the shell: a machine that stood still must
     * not cost it its life. */
    now = uv_now(agent.loop);
    last = sh->round_at > sh->since ? sh->round_at : sh->since;
    if (now - last > SHELL_STALL_MS) {
        sh->since += now - last - SHELL_STALL_MS;
    }
    sh->round_at = now;

    elapsed = now - sh->since;

    if (elapsed > SHELL_GIVE_UP_MS) {
        log_info("a shell doesn't come back to its prompt; ended");
        shell_shoot(sh);
        return;
    }

    /* A shell that is still starting would die of a signal, or throw away the
     * lines that it is set up with. */

    if (!sh->up) {
        shell_timer_set(sh, SHELL_ROUND_MS, shell_round);
        return;
    }

    /* On a busy machine the shim can be late.  Signals don't pile up there,
     * and the last one has been sent before the last report is asked for: one
     * more would hit the next command. */

    if (sh->state == SHELL_ENDING && !sh->signalling) {
        sig = elapsed < SHELL_INT_MS ? SIGINT
              : elapsed < SHELL_TERM_MS ? SIGTERM : SIGKILL;
        sh->signalling = shim_send(sh->sh, SHIM_INTERRUPT, 0, sig, NULL, 0)
                         == 0;
    }

    /* A child that was just being born when the signal came may have missed it
     * while the shell gave up waiting for it, and then waits for it all the
     * same. */

    if (sh->state == SHELL_BARRIER && !sh->signalling
        && now - sh->prodded > SHELL_INT_MS)
    {
        sig = elapsed < 2 * SHELL_INT_MS ? SIGINT
              : elapsed < SHELL_TERM_MS ? SIGTERM : SIGKILL;
        sh->signalling = shim_interrupt_below(sh->sh, sig) == 0;
        sh->prodded = now;
    }

    if (sh->state == SHELL_ENDING || !sh->signalling) {
        memset(&b, 0, sizeof(b));
        buffer_puts(&b, "\n");
        shell_probe(&b, sh->token);
        shell_write(sh, &b);
    }

    shell_timer_set(sh, SHELL_ROUND_MS, shell_round);
}


void
shell_signalled(shell *sh)
{
    sh->signalling = 0;

    if (sh->state == SHELL_BARRIER && sh->timer != NULL) {
        shell_timer_set(sh, 0, shell_round);
    }
}


int
shell_signal(shell *sh, const run *r, int sig, int tree)
{
    if (r == sh->current || !shell_is_job(sh, r->pid)) {
        return -1;
    }

    shim_signal(sh->sh, r->pid, sig, tree);

    return 0;
}


void
shell_kill(shell *sh, run *r, int grace_ms)
{
    if (r != sh->current) {
        if (r->pid > 0 && shell_is_job(sh, r->pid)) {
            shim_end(sh->sh, r->pid, r->kill_signal, grace_ms);
        }
        return;
    }

    if (!r->foreground || sh->state == SHELL_ENDING
        || sh->state == SHELL_BARRIER)
    {
        return;                     /* seen when it has started */
    }

    if (sh->state == SHELL_HOLDING) {
        /* It hasn't begun, and mustn't before the shim knows what is older
         * than it and to be spared: it is ended when it has. */
        sh->ending = 1;
        return;
    }

    sh->state = SHELL_ENDING;
    sh->since = uv_now(agent.loop);
    shell_timer_set(sh, 0, shell_round);
}
