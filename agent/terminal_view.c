/*
 * Those who look at a terminal: handshakes that wait until it is there, then
 * WebSockets, each with its place in the output.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "agent/agent.h"
#include "agent/pty.h"
#include "agent/terminal_internal.h"
#include "common/log.h"

#define TERMINAL_CONTROL_MAX  4096

static void terminal_message(ws_conn *c, ws_event kind, const char *p,
    size_t n);
static void terminal_drain(ws_conn *c);
static void terminal_closed(ws_conn *c, unsigned code);

static const ws_handler  terminal_handler = {
    terminal_message, terminal_drain, terminal_closed
};


/* Those who wait. */

static void
terminal_waiter_free(terminal_waiter *w)
{
    w->next->prev = w->prev;
    w->prev->next = w->next;
    free(w);
}


static void
terminal_waiter_close(http_request *r)
{
    terminal_waiter_free(r->data);
}


void
terminal_wait(terminal *t, http_request *r)
{
    terminal_waiter  *w;

    w = calloc(1, sizeof(terminal_waiter));
    if (w == NULL) {
        abort();
    }

    w->of = t;
    w->r = r;
    w->prev = t->waiters.prev;
    w->next = &t->waiters;
    w->prev->next = w;
    t->waiters.prev = w;

    r->data = w;
    http_on_close(r, terminal_waiter_close);
}


static http_request *
terminal_waiter_take(terminal *t)
{
    http_request     *r;
    terminal_waiter  *w;

    w = t->waiters.next;
    if (w == &t->waiters) {
        return NULL;
    }

    r = w->r;
    r->data = NULL;
    http_on_close(r, NULL);
    terminal_waiter_free(w);

    return r;
}


void
terminal_view_all(terminal *t)
{
    http_request  *r;

    while ((r = terminal_waiter_take(t)) != NULL) {
        terminal_view(t, r);
    }
}


void
terminal_refuse_all(terminal *t, const error *err)
{
    error         *each;
    http_request  *r;

    while ((r = terminal_waiter_take(t)) != NULL) {
        each = malloc(sizeof(error));
        if (each == NULL) {
            abort();
        }
        *each = *err;
        terminal_answer_error(r, each);
    }
}


/* Viewers. */

static void
terminal_viewer_free(terminal_viewer *v)
{
    v->next->prev = v->prev;
    v->prev->next = v->next;
    v->of->nviewers--;
    free(v);
}


static void
terminal_tell(terminal_viewer *v, const char *text)
{
    ws_send(v->ws, WS_OP_TEXT, text, strlen(text));
}


/* One that doesn't read what it was told is not told more. */

static void
terminal_tell_error(terminal_viewer *v, const char *message)
{
    char  text[256];

    if (ws_waiting(v->ws) >= TERMINAL_OUT_HIGH) {
        return;
    }

    snprintf(text, sizeof(text), "{\"type\":\"error\",\"message\":\"%s\"}",
             message);
    terminal_tell(v, text);
}


static void
terminal_drop(terminal_viewer *v, unsigned code, const char *reason)
{
    ws_close(v->ws, code, reason);
    terminal_viewer_free(v);
}


/* Kept output, in one message: it begins with a whole character. */

static void
terminal_replay(terminal_viewer *v)
{
    size_t          n, skip;
    buffer          b;
    uint64_t        at;
    const char     *p;
    terminal_ring  *out;

    out = &v->of->out;
    memset(&b, 0, sizeof(b));
    v->at = out->end;

    for (at = out->start; ; at += n) {
        p = terminal_ring_at(out, &at, &n);
        if (n == 0) {
            break;
        }
        buffer_append(&b, p, n);
    }

    if (b.len == 0) {
        return;
    }

    p = buffer_bytes(&b);
    skip = 0;
    while (out->start != 0 && skip < 3 && skip < b.len
           && ((unsigned char) p[skip] & 0xc0) == 0x80)
    {
        skip++;
    }

    ws_send(v->ws, WS_OP_BINARY, p + skip, b.len - skip);
    buffer_free(&b);
}


void
terminal_view(terminal *t, http_request *r)
{
    error            *err;
    terminal_viewer  *v;

    if (t->nviewers >= TERMINAL_VIEWERS) {
        err = NULL;
        error_set(&err, 503, "resource_busy",
                  "%d connections look at this terminal already",
                  TERMINAL_VIEWERS);
        terminal_answer_error(r, err);
        return;
    }

    v = calloc(1, sizeof(terminal_viewer));
    if (v == NULL) {
        abort();
    }

    v->of = t;
    v->prev = t->viewers.prev;
    v->next = &t->viewers;
    v->prev->next = v;
    t->viewers.prev = v;
    t->nviewers++;

    v->ws = ws_accept(r, &terminal_handler, v, TERMINAL_MESSAGE);
    terminal_replay(v);
    terminal_tell(v, "{\"type\":\"ready\"}");
}


size_t
terminal_room(const terminal *t)
{
    size_t            behind, most;
    terminal_viewer  *v;

    most = 0;

    for (v = t->viewers.next; v != &t->viewers; v = v->next) {
        behind = (size_t) (t->out.end - v->at);
        if (behind > most) {
            most = behind;
        }
    }

    return most >= TERMINAL_RING_MAX ? 0 : TERMINAL_RING_MAX - most;
}


static void
terminal_tell_exit(terminal_viewer *v)
{
    int          status;
    char         text[96];
    const char  *name;

    status = v->of->status;

    if (status == -1) {
        terminal_tell_error(v, "The terminal was lost: its supervisor was "
                            "killed");
        terminal_drop(v, WS_INTERNAL, "lost");
        return;
    }

    if (WIFSIGNALED(status)) {
        name = sigabbrev_np(WTERMSIG(status));
        snprintf(text, sizeof(text),
                 "{\"type\":\"exit\",\"code\":%d,\"signal\":\"SIG%s\"}",
                 128 + WTERMSIG(status), name == NULL ? "?" : name);
    } else {
        snprintf(text, sizeof(text), "{\"type\":\"exit\",\"code\":%d}",
                 WEXITSTATUS(status));
    }

    terminal_tell(v, text);
    terminal_drop(v, WS_NORMAL, "exit");
}


/* Sends what the viewer has not seen, as far as it takes it.  It may be gone
 * afterwards. */

static void
terminal_show_to(terminal_viewer *v)
{
    size_t       n;
    terminal    *t;
    const char  *p;

    t = v->of;

    while (ws_waiting(v->ws) < TERMINAL_OUT_HIGH) {
        p = terminal_ring_at(&t->out, &v->at, &n);
        if (n == 0) {
            break;
        }
        v->at += n;
        ws_send(v->ws, WS_OP_BINARY, p, n);
    }

    if (t->state == TERMINAL_OVER && v->at == t->out.end) {
        terminal_tell_exit(v);
    }
}


void
terminal_show(terminal *t)
{
    terminal_viewer  *v, *next;

    for (v = t->viewers.next; v != &t->viewers; v = next) {
        next = v->next;
        terminal_show_to(v);
    }
}


static void
terminal_drain(ws_conn *c)
{
    terminal         *t;
    terminal_viewer  *v;

    v = ws_data(c);
    t = v->of;
    terminal_show_to(v);
    terminal_settle(t);
}


static void
terminal_closed(ws_conn *c, unsigned code)
{
    terminal         *t;
    terminal_viewer  *v;

    v = ws_data(c);
    t = v->of;
    log_debug("a viewer of session %s left: %u", t->session, code);
    terminal_viewer_free(v);
    terminal_settle(t);
}


/* What they send. */

static void
terminal_resize(terminal_viewer *v, const json_t *o)
{
    json_t    *cols, *rows;
    char       text[96];

    cols = json_object_get(o, "cols");
    rows = json_object_get(o, "rows");

    if (!json_is_integer(cols) || !json_is_integer(rows)) {
        terminal_tell_error(v, "Invalid dimensions: cols and rows must be "
                            "whole numbers");
        return;
    }

    if (json_integer_value(cols) <= 0 || json_integer_value(rows) <= 0) {
        terminal_tell_error(v, "Invalid dimensions: cols and rows must be "
                            "positive");
        return;
    }

    if (json_integer_value(cols) > PTY_SIDE_MAX
        || json_integer_value(rows) > PTY_SIDE_MAX)
    {
        snprintf(text, sizeof(text), "Invalid dimensions: cols and rows must "
                 "be at most %d", PTY_SIDE_MAX);
        terminal_tell_error(v, text);
        return;
    }

    if (v->of->master != NULL) {
        pty_resize(v->of->master->fd, (unsigned) json_integer_value(cols),
                   (unsigned) json_integer_value(rows));
    }
}


static void
terminal_control(terminal_viewer *v, const char *p, size_t n)
{
    json_t      *o;
    const char  *type;

    o = n > TERMINAL_CONTROL_MAX ? NULL
        : json_loadb(p, n, JSON_REJECT_DUPLICATES, NULL);

    if (!json_is_object(o)) {
        terminal_tell_error(v, "Invalid control message");
        json_decref(o);
        return;
    }

    /* What is not known here is for others. */
    type = json_string_value(json_object_get(o, "type"));
    if (type != NULL && strcmp(type, "resize") == 0) {
        terminal_resize(v, o);
    }

    json_decref(o);
}


static void
terminal_message(ws_conn *c, ws_event kind, const char *p, size_t n)
{
    terminal         *t;
    terminal_viewer  *v;

    v = ws_data(c);
    t = v->of;

    if (kind == WS_TEXT) {
        terminal_control(v, p, n);
        return;
    }

    if (t->state != TERMINAL_LIVE || n == 0) {
        return;
    }

    if (t->in.len + n > TERMINAL_IN_MAX) {
        terminal_tell_error(v, "The program doesn't read: more than 2 MiB of "
                            "input wait already");
        terminal_drop(v, WS_TRY_LATER, "input is not taken");
        terminal_settle(t);
        return;
    }

    if (t->in.len == 0) {
        t->in_moved = uv_now(agent.loop);
    }

    buffer_append(&t->in, p, n);
    terminal_write(t);

    if (t->in.len > TERMINAL_IN_HIGH) {
        v->typing_held = 1;
        ws_pause(c);
    }
}


void
terminal_viewers_resume(terminal *t)
{
    terminal_viewer  *v;

    for (v = t->viewers.next; v != &t->viewers; v = v->next) {
        if (v->typing_held) {
            v->typing_held = 0;
            ws_resume(v->ws);
        }
    }
}


/* Is it too slow for the program to wait for it any longer? */

static int
terminal_too_slow(terminal_viewer *v, uint64_t now)
{
    size_t    behind;
    terminal  *t;

    t = v->of;
    behind = (size_t) (t->out.end - v->at);

    if (behind == 0 || (behind < TERMINAL_RING_MAX - TERMINAL_PACE
                        && t->state == TERMINAL_LIVE))
    {
        v->pace_since = 0;
        return 0;
    }

    if (v->pace_since == 0 || v->at - v->pace_at >= TERMINAL_PACE) {
        v->pace_since = now;
        v->pace_at = v->at;
        return 0;
    }

    return now - v->pace_since > (t->nviewers > 1 ? TERMINAL_OTHERS_MS
                                                  : TERMINAL_ALONE_MS);
}


void
terminal_viewers_check(terminal *t, uint64_t now)
{
    terminal_viewer  *v, *next;

    for (v = t->viewers.next; v != &t->viewers; v = next) {
        next = v->next;

        if (terminal_too_slow(v, now)) {
            log_debug("a viewer of session %s doesn't keep up", t->session);
            terminal_drop(v, WS_TRY_LATER, "too slow");

        } else if (v->typing_held && now - t->in_moved > TERMINAL_IN_MS) {
            terminal_tell_error(v, "The program doesn't read its input");
            terminal_drop(v, WS_TRY_LATER, "input is not taken");
        }
    }
}
