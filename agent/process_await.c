/*
 * /api/process/{id}/wait: answers when a process has ended, or when a line of
 * its output fits a pattern.  What it has written is looked through first, a
 * piece at a time, then what comes.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/follow.h"
#include "agent/params.h"
#include "agent/pattern.h"
#include "agent/process_internal.h"
#include "common/utf8.h"

#define AWAIT_MAX        256            /* requests at one time */
#define AWAIT_LINE_MAX   (16 * 1024)    /* a longer line comes in parts, */
#define AWAIT_OVERLAP    PATTERN_MAX    /* which share so much */
#define AWAIT_TURN       (256 * 1024)   /* bytes looked at before others run */
#define AWAIT_TURN_RE    (16 * 1024)
#define AWAIT_QUIET_MS   50             /* for the rest of a line to come, */
#define AWAIT_MOVING_MS  500            /* if it comes without a pause */

/* One of the two outputs. */
typedef struct {
    uint64_t  off;                  /* behind what is in the line */
    uint64_t  tested;               /* up to where it was seen and still */
    uint64_t  since;                /* loop time when it began to change */
    buffer    line;                 /* without its end yet */
    int       wanted;
    int       part;                 /* its beginning was cut off */
} await_stream;

typedef struct {
    run_watch      watch;
    http_request  *r;
    char          *id;
    char          *text;            /* NULL: the end is waited for */
    size_t         len;
    pattern       *re;              /* NULL: the text as it is */
    char          *condition;       /* for messages */
    uint64_t       timeout_ms;
    await_stream   in[2];
    uv_timer_t     end;
    uv_timer_t     again;           /* more to look at, or a quiet line */
    unsigned       open;            /* timers */
} await;

static unsigned  await_count;
static char      await_piece[AWAIT_LINE_MAX];


/* The end of a wait. */

static void
await_closed(uv_handle_t *handle)
{
    await  *a;

    a = handle->data;

    if (--a->open == 0) {
        free(a);
    }
}


static void
await_free(await *a)
{
    run_watch_drop(&a->watch);
    buffer_free(&a->in[0].line);
    buffer_free(&a->in[1].line);
    pattern_free(a->re);
    free(a->text);
    free(a->condition);
    free(a->id);
    await_count--;
    uv_close((uv_handle_t *) &a->end, await_closed);
    uv_close((uv_handle_t *) &a->again, await_closed);
}


static void
await_left(http_request *r)
{
    await_free(r->data);
}


static http_request *
await_leave(await *a)
{
    http_request  *r;

    r = a->r;
    r->data = NULL;
    http_on_close(r, NULL);

    return r;
}


static void
await_answer(await *a, json_t *o)
{
    char           ts[32];
    http_request  *r;

    r = await_leave(a);
    await_free(a);
    http_timestamp(ts, sizeof(ts));
    json_object_set_new(o, "timestamp", json_string(ts));
    http_send_json(r, 200, o);
}


static void
await_refuse(await *a, error *err, json_t *context)
{
    http_request  *r;

    r = await_leave(a);
    await_free(a);
    api_error_context(r, err, context);
}


static json_t *
await_context(const await *a)
{
    return json_pack("{s:s, s:s, s:s}", "processId", a->id, "command",
                     a->watch.of->command, "condition", a->condition);
}


static void
await_expired(uv_timer_t *timer)
{
    await   *a;
    error   *err;
    json_t  *context;

    a = timer->data;
    err = NULL;
    error_set(&err, 408, "process_ready_timeout", "Process did not become "
              "ready within %llums. Waiting for: %.300s",
              (unsigned long long) a->timeout_ms, a->condition);

    context = await_context(a);
    json_object_set_new(context, "timeout",
                        json_integer((json_int_t) a->timeout_ms));
    await_refuse(a, err, context);
}


static void
await_over(await *a)
{
    error      *err;
    json_t     *o;
    const run  *of;

    of = a->watch.of;
    err = NULL;

    if (of->failure != NULL) {
        error_set(&err, 500, a->text != NULL ? "process_exited_before_ready"
                  : "process_error", "%s", of->failure->message);
        await_refuse(a, err, await_context(a));
        return;
    }

    if (a->text == NULL) {
        o = json_pack("{s:b, s:s, s:i, s:s}", "success", 1, "processId",
                      a->id, "exitCode", follow_exit_code(of), "status",
                      process_status(of));
        await_answer(a, o);
        return;
    }

    error_set(&err, 500, "process_exited_before_ready", "Process exited with "
              "code %d before becoming ready. Waiting for: %.300s",
              follow_exit_code(of), a->condition);
    o = await_context(a);
    json_object_set_new(o, "exitCode", json_integer(follow_exit_code(of)));
    await_refuse(a, err, o);
}


/* Lines. */

static json_t *
await_text(const char *p, size_t n)
{
    char    *text;
    size_t   len;
    json_t  *v;

    text = malloc(3 * n + 4);
    if (text == NULL) {
        abort();
    }

    len = utf8_clean(text, 3 * n + 4, p, n);
    v = json_stringn(text, len);
    free(text);

    return v;
}


/* Looks at a line, or at what there is of it; 1 if that was the answer. */

static int
await_test(await *a, int i, const char *p, size_t n)
{
    size_t         g, from, next;
    json_t        *o, *match;
    await_stream  *s;
    pattern_span   spans[PATTERN_GROUPS + 1];

    if (a->re != NULL ? !pattern_search(a->re, p, n, spans)
                      : memmem(p, n, a->text, a->len) == NULL)
    {
        return 0;
    }

    s = &a->in[i];
    o = json_pack("{s:b, s:s, s:o}", "success", 1, "processId", a->id,
                  "line", await_text(p, n));

    if (a->re != NULL) {
        match = json_array();
        for (g = 0; g <= pattern_groups(a->re); g++) {
            from = spans[g].from < 0 ? 0 : (size_t) spans[g].from;
            json_array_append_new(match, spans[g].from < 0 ? json_null()
                : await_text(p + from, (size_t) spans[g].to - from));
        }
        json_object_set_new(o, "match", match);
    }

    next = s->off;
    json_object_set_new(o, "stream", json_string(i ? "stderr" : "stdout"));
    json_object_set_new(o, "offset",
                        json_integer((json_int_t) (next - s->line.len)));
    json_object_set_new(o, "next", json_integer((json_int_t) next));
    await_answer(a, o);

    return 1;
}


/* Takes a piece of output apart: every whole line is looked at. */

static int
await_lines(await *a, int i, const char *p, size_t n)
{
    size_t         len;
    const char    *nl;
    await_stream  *s;

    s = &a->in[i];

    while (n != 0) {
        nl = memchr(p, '\n', n);
        len = nl != NULL ? (size_t) (nl - p) : n;

        if (len > AWAIT_LINE_MAX - s->line.len) {
            len = AWAIT_LINE_MAX - s->line.len;
            nl = NULL;
        }

        buffer_append(&s->line, p, len);
        s->off += len;
        p += len;
        n -= len;

        if (nl == NULL && s->line.len < AWAIT_LINE_MAX) {
            return 0;
        }

        if (await_test(a, i, buffer_bytes(&s->line), s->line.len)) {
            return 1;
        }

        if (nl != NULL) {
            buffer_consume(&s->line, s->line.len);
            s->off++;
            p++;
            n--;
        } else {
            buffer_consume(&s->line, s->line.len - AWAIT_OVERLAP);
        }
    }

    return 0;
}


/* One piece of one output.  1: answered; 0: go on; -1: nothing is left. */

static int
await_step(await *a, int i)
{
    run           *of;
    size_t         n;
    spool         *s;
    uint64_t       off;
    await_stream  *in;

    of = a->watch.of;
    in = &a->in[i];
    s = i ? &of->err : &of->out;

    if (!in->wanted) {
        return -1;
    }

    if (in->off < s->start) {
        buffer_consume(&in->line, in->line.len);
        in->off = s->start;
    }

    off = in->off;
    n = spool_read(s, &off, await_piece, sizeof(await_piece));

    return n == 0 ? -1 : await_lines(a, i, await_piece, n);
}


/* What has no line feed yet may be a prompt.  It is looked at when nothing has
 * come for a moment, so that a line isn't taken for whole that is not.  1:
 * answered; -1: look again. */

static int
await_quiet(await *a)
{
    int            i, again;
    await_stream  *s;

    again = 0;

    for (i = 0; i < 2; i++) {
        s = &a->in[i];

        if (s->line.len == 0) {
            continue;
        }

        if (a->watch.of->state != RUN_OVER && s->tested != s->off) {
            s->tested = s->off;
            if (s->since == 0) {
                s->since = uv_now(agent.loop);
            }
            if (uv_now(agent.loop) - s->since < AWAIT_MOVING_MS) {
                again = -1;
                continue;
            }
        }

        s->since = 0;

        if (await_test(a, i, buffer_bytes(&s->line), s->line.len)) {
            return 1;
        }
    }

    return again;
}


static void await_look_later(uv_timer_t *timer);


static void
await_look(await *a)
{
    int     i, rc;
    size_t  turn, most;

    most = a->re != NULL ? AWAIT_TURN_RE : AWAIT_TURN;

    for (i = 0, turn = 0; i < 2; i++) {
        while ((rc = await_step(a, i)) == 0) {
            turn += sizeof(await_piece);
            if (turn >= most) {
                /* Not 0: libuv would run it before it looks at anything. */
                uv_timer_start(&a->again, await_look_later, 1, 0);
                return;
            }
        }
        if (rc == 1) {
            return;
        }
    }

    rc = await_quiet(a);
    if (rc == 1) {
        return;
    }

    if (a->watch.of->state == RUN_OVER) {
        await_over(a);

    } else if (rc == -1) {
        uv_timer_start(&a->again, await_look_later, AWAIT_QUIET_MS, 0);
    }
}


static void
await_look_later(uv_timer_t *timer)
{
    await_look(timer->data);
}


static void
await_event(run_watch *w, run_event event)
{
    await  *a;

    a = w->data;

    if (a->text == NULL) {
        if (event == RUN_ENDED) {
            await_over(a);
        }
        return;
    }

    /* From the loop: a turn is long enough for one event. */
    if (event == RUN_ENDED || !uv_is_active((uv_handle_t *) &a->again)
        || uv_timer_get_due_in(&a->again) > 0)
    {
        uv_timer_start(&a->again, await_look_later, 0, 0);
    }
}


/* The request. */

typedef struct {
    const char  *condition;
    const char  *text;
    size_t       len;
    const char  *flags;
    const char  *stream;
    int          regex;
    uint64_t     timeout_ms;
    uint64_t     off[2];
} await_params;


static int
await_params_read(const json_t *o, await_params *p, error **err)
{
    memset(p, 0, sizeof(*p));
    p->flags = "";

    if (params_string(o, "condition", &p->condition, NULL, err) != 0
        || params_string(o, "pattern", &p->text, &p->len, err) != 0
        || params_string(o, "flags", &p->flags, NULL, err) != 0
        || params_string(o, "stream", &p->stream, NULL, err) != 0
        || params_bool(o, "regex", &p->regex, err) != 0
        || params_ms(o, "timeoutMs", &p->timeout_ms, err) != 0
        || params_offset(o, "stdoutOffset", &p->off[0], err) != 0
        || params_offset(o, "stderrOffset", &p->off[1], err) != 0)
    {
        return -1;
    }

    if (p->condition == NULL) {
        p->condition = p->text != NULL ? "log" : "exit";
    }

    if (strcmp(p->condition, "exit") == 0) {
        p->text = NULL;

    } else if (strcmp(p->condition, "log") != 0) {
        return error_set_field(err, 400, "validation_failed", "condition", 0,
                               "condition must be exit or log");

    } else if (p->text == NULL || p->len == 0) {
        return error_set_field(err, 400, "validation_failed", "pattern", 0,
                               "pattern is required");

    } else if (p->len > PATTERN_MAX) {
        return error_set_field(err, 400, "validation_failed", "pattern",
                               PATTERN_MAX, "pattern has at most %d bytes",
                               PATTERN_MAX);
    }

    if (p->stream != NULL && strcmp(p->stream, "stdout") != 0
        && strcmp(p->stream, "stderr") != 0)
    {
        return error_set_field(err, 400, "validation_failed", "stream", 0,
                               "stream must be stdout or stderr");
    }

    return 0;
}


static char *
await_condition(const await_params *p)
{
    size_t  size;
    char   *text;

    size = p->len + strlen(p->flags) + 32;
    text = malloc(size);
    if (text == NULL) {
        abort();
    }

    if (p->text == NULL) {
        snprintf(text, size, "process exit");

    } else if (p->regex) {
        snprintf(text, size, "/%s/%s", p->text, p->flags);

    } else {
        snprintf(text, size, "\"%s\"", p->text);
    }

    return text;
}


static int
await_offset(const char *name, uint64_t off, const spool *s, error **err)
{
    if (off <= s->end) {
        return 0;
    }

    return error_set_field(err, 400, "validation_failed", name,
                           (long long) s->end, "%s is behind the end, which "
                           "is at %llu", name, (unsigned long long) s->end);
}


static await *
await_new(http_request *r, const await_params *p, const process *of,
    error **err)
{
    int       i;
    await    *a;
    pattern  *re;

    if (await_count >= AWAIT_MAX) {
        error_set(err, 503, "resource_busy",
                  "%d requests wait for processes already", AWAIT_MAX);
        return NULL;
    }

    if (await_offset("stdoutOffset", p->off[0], &of->of->out, err) != 0
        || await_offset("stderrOffset", p->off[1], &of->of->err, err) != 0)
    {
        return NULL;
    }

    re = NULL;

    if (p->text != NULL && p->regex) {
        re = pattern_compile(p->text, p->len, p->flags, err);
        if (re == NULL) {
            return NULL;
        }
    }

    a = calloc(1, sizeof(await));
    if (a == NULL) {
        abort();
    }

    a->r = r;
    a->id = strdup(of->id);
    a->re = re;
    a->condition = await_condition(p);
    a->timeout_ms = p->timeout_ms;

    if (p->text != NULL) {
        a->text = malloc(p->len + 1);
        if (a->text == NULL) {
            abort();
        }
        memcpy(a->text, p->text, p->len + 1);
        a->len = p->len;
    }

    for (i = 0; i < 2; i++) {
        a->in[i].off = p->off[i];
        a->in[i].wanted = p->stream == NULL
                          || strcmp(p->stream, i ? "stderr" : "stdout") == 0;
    }

    uv_timer_init(agent.loop, &a->end);
    uv_timer_init(agent.loop, &a->again);
    a->end.data = a;
    a->again.data = a;
    a->open = 2;
    await_count++;

    return a;
}


static void
await_begin(await *a, run *of)
{
    a->r->data = a;
    http_on_close(a->r, await_left);
    run_watch_add(of, &a->watch, await_event, a);

    if (a->timeout_ms != 0) {
        uv_timer_start(&a->end, await_expired, a->timeout_ms, 0);
    }

    if (a->text != NULL) {
        await_look(a);

    } else if (of->state == RUN_OVER) {
        await_over(a);
    }
}


static void
await_body(http_request *r, char *body, size_t len)
{
    await         *a;
    error         *err;
    json_t        *o;
    process       *p;
    await_params   params;

    if (http_json_object(r, body, len, &o) != 0) {
        return;
    }

    err = NULL;

    if (await_params_read(o, &params, &err) != 0) {
        api_error(r, err);

    } else if ((p = process_wanted(r)) != NULL) {
        a = await_new(r, &params, p, &err);
        if (a == NULL) {
            api_error(r, err);
        } else {
            await_begin(a, p->of);
        }
    }

    json_decref(o);
}


static void
await_handler(http_request *r)
{
    http_read_body(r, HTTP_JSON_LIMIT, await_body);
}


void
process_await_routes(router *t)
{
    router_add(t, METHOD_POST, "/api/process/{id}/wait", await_handler);
}
