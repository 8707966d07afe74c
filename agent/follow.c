/* Following a run; see follow.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/follow.h"
#include "agent/process.h"
#include "common/base64.h"
#include "common/json_text.h"
#include "common/utf8.h"

#define FOLLOW_PIECE  (48 * 1024)       /* of output in one event */

typedef struct {
    run_watch       watch;
    http_request   *r;
    follow_kind     kind;
    char           *name;
    void          (*fail)(http_request *r, run *of);
    uint64_t        off[2];
    int             tell;           /* offsets in the events */
    int             begun;
    int             stalled;
} follow;

static char  follow_raw[FOLLOW_PIECE];


int
follow_exit_code(const run *of)
{
    return of->timed_out ? 124 : of->exit_code;
}


static void
follow_free(follow *f)
{
    run_watch_drop(&f->watch);
    free(f->name);
    free(f);
}


static void
follow_close(http_request *r)
{
    follow_free(r->data);
}


/* "key":"text as JSON" */

static void
follow_member(buffer *b, const char *key, const char *p, size_t n)
{
    size_t  used;
    char   *room;

    buffer_printf(b, ",\"%s\":\"", key);
    room = buffer_room(b, n * JSON_TEXT_GROWTH + JSON_TEXT_GROWTH);
    buffer_added(b, json_text_escape(room, n * JSON_TEXT_GROWTH
                                     + JSON_TEXT_GROWTH, p, n, &used, true));
    buffer_append(b, "\"", 1);
}


static void
follow_frame_begin(buffer *b, const char *type)
{
    memset(b, 0, sizeof(*b));
    buffer_printf(b, "data: {\"type\":\"%s\"", type);
}


static int
follow_frame_end(follow *f, buffer *b)
{
    int   rc;
    char  ts[32];

    http_timestamp(ts, sizeof(ts));
    buffer_printf(b, ",\"timestamp\":\"%s\"}\n\n", ts);
    rc = http_write(f->r, buffer_bytes(b), b->len);
    buffer_free(b);

    return rc;
}


static int
follow_output(follow *f, int err, const char *p, size_t n, uint64_t off)
{
    char        *text;
    int          rc;
    size_t       len;
    buffer       b;
    const char  *type;

    type = err ? "stderr" : "stdout";

    if (f->kind == FOLLOW_BRIDGE) {
        len = base64_encoded_len(n);
        text = malloc(len);
        if (text == NULL) {
            return 0;
        }
        base64_encode(text, p, n);
        rc = sse_event(f->r, type, text, len);
        free(text);
        return rc;
    }

    follow_frame_begin(&b, type);
    follow_member(&b, "data", p, n);
    if (f->kind == FOLLOW_PROCESS) {
        follow_member(&b, "processId", f->name, strlen(f->name));
    }
    if (f->tell) {
        buffer_printf(&b, ",\"offset\":%llu,\"next\":%llu",
                      (unsigned long long) off,
                      (unsigned long long) (off + n));
    }

    return follow_frame_end(f, &b);
}


/* The client asks for, or is so slow that it still needs, what isn't kept any
 * more.  The bridge has no event for that. */

static void
follow_dropped(follow *f, int err, uint64_t from, uint64_t to)
{
    buffer  b;

    if (f->kind == FOLLOW_BRIDGE) {
        return;
    }

    follow_frame_begin(&b, "dropped");
    buffer_printf(&b, ",\"stream\":\"%s\",\"bytes\":%llu,\"next\":%llu",
                  err ? "stderr" : "stdout",
                  (unsigned long long) (to - from), (unsigned long long) to);
    if (f->kind == FOLLOW_PROCESS) {
        follow_member(&b, "processId", f->name, strlen(f->name));
    }
    follow_frame_end(f, &b);
}


static void
follow_begin(follow *f)
{
    run     *of;
    buffer   b;

    of = f->watch.of;
    f->begun = 1;
    sse_begin(f->r);

    if (f->kind == FOLLOW_EXEC) {
        follow_frame_begin(&b, "start");
        follow_member(&b, "command", of->command, strlen(of->command));
        follow_frame_end(f, &b);

    } else if (f->kind == FOLLOW_PROCESS) {
        follow_frame_begin(&b, "process_info");
        follow_member(&b, "processId", f->name, strlen(f->name));
        follow_member(&b, "command", of->command, strlen(of->command));
        buffer_printf(&b, ",\"status\":\"%s\"", process_status(of));
        follow_frame_end(f, &b);
    }
}


static void
follow_end_bridge(follow *f, run *of)
{
    char     text[64];
    char    *body;
    json_t  *o;

    if (of->failure == NULL) {

        /* Elsewhere this is part of the output. */
        if (of->timed_out && of->foreground) {
            snprintf(text, sizeof(text), "Command timed out after %llums\n",
                     (unsigned long long) of->timeout_ms);
            follow_output(f, 1, text, strlen(text), 0);
        }

        snprintf(text, sizeof(text), "{\"exit_code\":%d}",
                 follow_exit_code(of));
        sse_event(f->r, "exit", text, strlen(text));
        return;
    }

    o = json_pack("{s:o, s:s}", "error", http_text(of->failure->message),
                  "code", "exec_error");
    body = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    if (body != NULL) {
        sse_event(f->r, "error", body, strlen(body));
        free(body);
    }
}


static void
follow_end(follow *f)
{
    run         *of;
    char         text[96];
    buffer       b;
    const char  *why;

    of = f->watch.of;

    if (f->kind == FOLLOW_BRIDGE) {
        follow_end_bridge(f, of);

    } else if (of->failure != NULL) {
        why = of->failure->message;
        follow_frame_begin(&b, "error");
        follow_member(&b, "error", why, strlen(why));
        follow_member(&b, "data", why, strlen(why));
        if (f->kind == FOLLOW_PROCESS) {
            follow_member(&b, "processId", f->name, strlen(f->name));
        }
        follow_frame_end(f, &b);

    } else if (f->kind == FOLLOW_PROCESS) {
        follow_frame_begin(&b, "exit");
        follow_member(&b, "processId", f->name, strlen(f->name));
        snprintf(text, sizeof(text), "Process %s with exit code %d",
                 process_status(of), follow_exit_code(of));
        buffer_printf(&b, ",\"exitCode\":%d", follow_exit_code(of));
        follow_member(&b, "data", text, strlen(text));
        follow_frame_end(f, &b);

    } else {
        follow_frame_begin(&b, "complete");
        buffer_printf(&b, ",\"exitCode\":%d", follow_exit_code(of));
        follow_frame_end(f, &b);
    }
}


/* One event of one stream.  Returns 1 if something was sent. */

static int
follow_step(follow *f, int err)
{
    run      *of;
    spool    *s;
    size_t    n, whole;
    uint64_t  off;

    of = f->watch.of;
    s = err ? &of->err : &of->out;
    off = f->off[err];

    if (off < s->start) {
        follow_dropped(f, err, off, s->start);
        f->off[err] = s->start;
        off = s->start;
    }

    n = spool_read(s, &off, follow_raw, sizeof(follow_raw));
    if (n == 0) {
        f->off[err] = off;
        return 0;
    }

    /* A cut character waits for its rest, if any can come. */
    whole = n;
    if (of->state != RUN_OVER || off < s->end) {
        whole = utf8_complete(follow_raw, n);
        if (whole == 0) {
            return 0;
        }
    }

    off -= n;
    f->off[err] = off + whole;
    f->stalled = follow_output(f, err, follow_raw, whole, off);

    return 1;
}


static void
follow_pump(follow *f)
{
    int            any;
    http_request  *r;

    if (f->stalled) {
        return;
    }

    do {
        any = follow_step(f, 0);
        if (!f->stalled) {
            any |= follow_step(f, 1);
        }
    } while (any && !f->stalled);

    if (f->stalled || f->watch.of->state != RUN_OVER) {
        return;
    }

    r = f->r;
    follow_end(f);
    follow_free(f);
    r->data = NULL;
    http_on_close(r, NULL);
    http_end(r);
}


static void
follow_drain(http_request *r)
{
    follow  *f;

    f = r->data;
    if (f != NULL) {
        f->stalled = 0;
        follow_pump(f);
    }
}


static void
follow_event(run_watch *w, run_event event)
{
    run           *of;
    follow        *f;
    http_request  *r;
    void         (*fail)(http_request *r, run *of);

    f = w->data;

    if (!f->begun && event == RUN_ENDED && w->of->failure != NULL
        && f->fail != NULL)
    {
        of = w->of;
        r = f->r;
        fail = f->fail;
        run_hold(of);
        follow_free(f);
        r->data = NULL;
        http_on_close(r, NULL);
        fail(r, of);
        run_release(of);
        return;
    }

    /* A process is told of once it has a status. */
    if (event == RUN_BEGUN && f->kind == FOLLOW_PROCESS) {
        return;
    }

    if (!f->begun) {
        follow_begin(f);
    }

    if (event == RUN_BEGUN) {
        http_flush(f->r);
    }

    follow_pump(f);
}


static void
follow_new(http_request *r, run *of, follow_kind kind, const char *name,
    void (*fail)(http_request *r, run *of), const uint64_t off[2], int tell)
{
    follow  *f;

    f = calloc(1, sizeof(follow));
    if (f == NULL) {
        abort();
    }

    f->r = r;
    f->kind = kind;
    f->name = strdup(name != NULL ? name : "");
    f->fail = fail;
    f->off[0] = off[0];
    f->off[1] = off[1];
    f->tell = tell;

    r->data = f;
    http_on_close(r, follow_close);
    http_on_drain(r, follow_drain);
    run_watch_add(of, &f->watch, follow_event, f);

    if (of->state != RUN_NEW) {
        follow_event(&f->watch, RUN_OUTPUT);
    }
}


void
follow_start(http_request *r, run *of, follow_kind kind, const char *name,
    void (*fail)(http_request *r, run *of))
{
    static const uint64_t  begin[2] = { 0, 0 };

    follow_new(r, of, kind, name, fail, begin, 0);
}


void
follow_from(http_request *r, run *of, const char *name,
    const uint64_t off[2], int tell)
{
    follow_new(r, of, FOLLOW_PROCESS, name, NULL, off, tell);
}
