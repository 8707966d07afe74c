/*
 * Terminals; see terminal.h.  The program's output goes into a ring; each
 * viewer has its place in it, and nothing more is read from the program while
 * that would overwrite what a viewer still has to see.  Who holds the others
 * back for too long is let go (terminal_view.c).
 */

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/pty.h"
#include "agent/terminal_internal.h"
#include "common/log.h"

#define TERMINAL_PIECE  (16 * 1024)
#define TERMINAL_TURNS  4
#define TERMINAL_GRACE  300         /* from SIGHUP to SIGKILL */

static terminal  terminal_list = { .next = &terminal_list,
                                   .prev = &terminal_list };
static unsigned  terminal_count;
static char      terminal_scratch[TERMINAL_PIECE];


static void terminal_read(terminal *t);


terminal *
terminal_find(const char *sid)
{
    terminal  *t;

    for (t = terminal_list.next; t != &terminal_list; t = t->next) {
        if (t->state <= TERMINAL_LIVE && !t->dying
            && strcmp(t->session, sid) == 0)
        {
            return t;
        }
    }

    return NULL;
}


terminal *
terminal_new(const char *sid, const char *program, unsigned cols,
    unsigned rows, error **err)
{
    terminal  *t;

    if (terminal_count >= TERMINAL_MAX) {
        error_set(err, 503, "resource_busy",
                  "There are %d terminals already", TERMINAL_MAX);
        return NULL;
    }

    t = calloc(1, sizeof(terminal));
    if (t == NULL) {
        abort();
    }

    t->session = strdup(sid);
    t->shell = program == NULL ? NULL : strdup(program);
    t->cols = cols;
    t->rows = rows;
    t->status = -1;
    t->deadline = uv_now(agent.loop) + TERMINAL_START_MS;
    t->waiters.next = &t->waiters;
    t->waiters.prev = &t->waiters;
    t->viewers.next = &t->viewers;
    t->viewers.prev = &t->viewers;

    t->next = terminal_list.next;
    t->prev = &terminal_list;
    t->next->prev = t;
    terminal_list.next = t;
    terminal_count++;

    return t;
}


static void
terminal_free(terminal *t)
{
    t->next->prev = t->prev;
    t->prev->next = t->next;
    terminal_count--;

    io_close(t->master);
    terminal_ring_free(&t->out);
    buffer_free(&t->in);
    free(t->session);
    free(t->shell);
    free(t);
}


static void
terminal_watch(terminal *t)
{
    int  want;

    if (t->master == NULL) {
        return;
    }

    want = 0;
    if (!t->hung && terminal_room(t) != 0) {
        want |= UV_READABLE;
    }
    if (!t->hung && t->in.len != 0) {
        want |= UV_WRITABLE;
    }

    /* Without anything to wait for it isn't watched at all: the end of the
     * other side would be told again and again. */
    io_want(t->master, want);
}


/* All output of the shell was read. */

static void
terminal_drained(terminal *t)
{
    io_close(t->master);
    t->master = NULL;
    buffer_free(&t->in);
    t->state = TERMINAL_OVER;
    terminal_viewers_resume(t);
    terminal_show(t);
}


void
terminal_settle(terminal *t)
{
    int  trim;

    if (t->state == TERMINAL_ENDING && t->nviewers == 0) {
        terminal_drained(t);
    }

    if (t->state == TERMINAL_OVER && t->nviewers == 0) {
        trim = t->out.size != 0;
        terminal_ring_free(&t->out);
        if (t->sh == NULL) {
            terminal_free(t);
        }

        /* Rings and queues are large, and terminals are seldom. */
        if (trim) {
            malloc_trim(0);
        }
        return;
    }

    terminal_watch(t);
}


static void
terminal_read(terminal *t)
{
    int      turns;
    size_t   room;
    ssize_t  n;

    for (turns = 0; turns < TERMINAL_TURNS && t->master != NULL; turns++) {
        room = terminal_room(t);
        if (room == 0) {
            break;
        }

        n = read(t->master->fd, terminal_scratch,
                 room < TERMINAL_PIECE ? room : TERMINAL_PIECE);

        if (n < 0 && errno == EINTR) {
            continue;
        }

        if (n <= 0) {
            if (t->state == TERMINAL_ENDING) {
                terminal_drained(t);

            } else if (n == 0 || errno != EAGAIN) {
                t->hung = 1;        /* looked at again by the sweep */
            }
            break;
        }

        terminal_ring_append(&t->out, terminal_scratch, (size_t) n);

        /* What the shell left behind may write for ever. */
        if (t->state == TERMINAL_ENDING) {
            t->last += (size_t) n;
            if (t->last >= TERMINAL_LAST_MAX) {
                terminal_drained(t);
            }
        }
    }

    if (t->state <= TERMINAL_ENDING) {
        terminal_show(t);
    }
}


void
terminal_write(terminal *t)
{
    ssize_t  n;

    while (t->master != NULL && t->in.len != 0) {
        n = write(t->master->fd, buffer_bytes(&t->in),
                  t->in.len < TERMINAL_PIECE ? t->in.len : TERMINAL_PIECE);

        if (n < 0 && errno == EINTR) {
            continue;
        }

        if (n <= 0) {
            if (n < 0 && errno != EAGAIN) {
                buffer_free(&t->in);        /* nobody there to read it */
            }
            break;
        }

        t->in_moved = uv_now(agent.loop);
        buffer_consume(&t->in, (size_t) n);
    }

    if (t->in.len <= TERMINAL_IN_LOW) {
        terminal_viewers_resume(t);
    }

    terminal_watch(t);
}


static void
terminal_ready(io *w, int events)
{
    terminal  *t;

    t = w->data;

    if (events & UV_WRITABLE) {
        terminal_write(t);
    }

    if (events & (UV_READABLE | UV_DISCONNECT)) {
        terminal_read(t);
    }

    terminal_settle(t);
}


/* The shell's life. */

static void
terminal_left(terminal *t)
{
    shim  *sh;

    sh = t->sh;
    t->sh = NULL;
    shim_leave(sh, 1);
}


static void
terminal_exited(terminal *t, const shim_msg *m)
{
    if (t->state == TERMINAL_LIVE) {
        t->state = TERMINAL_ENDING;
        t->status = m->value;
        t->hung = 0;
        terminal_read(t);
    }

    if (!m->extra && !t->dying) {
        terminal_left(t);
    }

    terminal_settle(t);
}


static void
terminal_lost(terminal *t)
{
    error  *err;

    t->sh = NULL;

    if (t->state == TERMINAL_STARTING) {
        err = NULL;
        error_set(&err, 500, "process_error",
                  "The terminal was lost: its supervisor was killed");
        terminal_fail(t, err);
        return;
    }

    if (t->state == TERMINAL_LIVE) {
        t->state = TERMINAL_ENDING;
        t->hung = 0;
        terminal_read(t);
    }

    terminal_settle(t);
}


static void
terminal_spawned(terminal *t)
{
    t->state = TERMINAL_LIVE;
    io_want(t->master, UV_READABLE);
    terminal_view_all(t);
    terminal_settle(t);
}


static void
terminal_spawn_failed(terminal *t, const shim_msg *m)
{
    error  *err;

    err = NULL;
    error_set(&err, 500, "process_error", m->extra
              ? "The terminal's directory can't be entered: %s"
              : "The terminal's shell can't be started: %s",
              strerror(m->value));
    terminal_left(t);
    terminal_fail(t, err);
}


static void
terminal_event(shim *s, const shim_msg *m)
{
    terminal  *t;

    t = s->data;

    if (m == NULL) {
        terminal_lost(t);
        return;
    }

    switch (m->op) {
    case SHIM_SPAWNED:
        terminal_spawned(t);
        break;

    case SHIM_FAILED:
        terminal_spawn_failed(t, m);
        break;

    case SHIM_EXIT:
        terminal_exited(t, m);
        break;

    case SHIM_EMPTY:
        if (!t->dying) {
            terminal_left(t);
            terminal_settle(t);
        }
        break;

    case SHIM_GONE:
        if (t->state >= TERMINAL_ENDING) {
            terminal_left(t);
            terminal_settle(t);
        }
        break;

    default:
        break;
    }
}


static int
terminal_spawn(terminal *t, const char *cwd, const char *program,
    char *const *env)
{
    int    rc, slave, fds[4];
    char  *argv[2];

    argv[0] = (char *) program;
    argv[1] = NULL;

    t->master = NULL;
    rc = pty_open(t->cols, t->rows, &slave);
    if (rc == -1) {
        return -1;
    }

    t->master = io_open(agent.loop, rc, terminal_ready, t);
    t->sh = t->master == NULL ? NULL : shim_take(terminal_event, t);
    fds[0] = t->sh == NULL ? -1 : shim_spec(cwd, argv, env);
    fds[1] = slave;
    fds[2] = slave;
    fds[3] = slave;
    rc = -1;

    if (fds[0] != -1) {
        rc = shim_send(t->sh, SHIM_SPAWN, 0, 2, fds, 4);
        close(fds[0]);
    }

    close(slave);

    if (rc != 0) {
        if (t->sh != NULL) {
            shim_quit(t->sh);
            t->sh = NULL;
        }
        errno = EAGAIN;
    }

    return rc;
}


void
terminal_start(terminal *t, const char *cwd, const char *program,
    char *const *env)
{
    error  *err;

    t->state = TERMINAL_STARTING;
    t->deadline = uv_now(agent.loop) + TERMINAL_START_MS;

    if (terminal_spawn(t, cwd, program, env) != 0) {
        err = NULL;
        error_set(&err, 500, "process_error",
                  "A terminal can't be opened: %s", strerror(errno));
        terminal_fail(t, err);
        return;
    }

    log_debug("terminal of session %s", t->session);
}


void
terminal_fail(terminal *t, error *err)
{
    t->state = TERMINAL_OVER;
    terminal_refuse_all(t, err);
    error_free(err);
    terminal_settle(t);
}


/* Its supervisor hangs: stopped by somebody, or in a directory of a file
 * system that doesn't answer. */

static void
terminal_start_late(terminal *t)
{
    error  *err;

    err = NULL;
    error_set(&err, 503, "resource_busy", "The terminal's shell was not "
              "started within %d s", TERMINAL_START_MS / 1000);
    err->retry_after = 1;
    shim_quit(t->sh);
    t->sh = NULL;
    terminal_fail(t, err);
}


void
terminal_end(const char *sid)
{
    terminal  *t;

    /* What a shell left behind goes with its session, too. */
    for (t = terminal_list.next; t != &terminal_list; t = t->next) {
        if (strcmp(t->session, sid) == 0 && t->sh != NULL && !t->dying) {
            t->dying = 1;
            shim_send(t->sh, SHIM_KILL, 0, TERMINAL_GRACE, NULL, 0);
        }
    }
}


void
terminal_sweep(uint64_t now)
{
    terminal  *t, *next;

    for (t = terminal_list.next; t != &terminal_list; t = next) {
        next = t->next;

        if (t->state == TERMINAL_ENV) {
            if (now >= t->deadline && !t->late) {
                t->late = 1;
                terminal_ask_late(t);
            }
            continue;
        }

        if (t->state == TERMINAL_STARTING && now >= t->deadline) {
            terminal_start_late(t);
            continue;
        }

        if (t->hung && t->state == TERMINAL_LIVE) {
            /* Somebody may have opened the other side again. */
            t->hung = 0;
            terminal_read(t);
        }

        if (t->nviewers != 0) {
            terminal_viewers_check(t, now);
        }

        terminal_settle(t);
    }
}
