/*
 * What a run's client gets: server-sent events as plain `data:` lines, output
 * in whole characters, and exactly one last frame.  A client that wants none
 * gets the same in one piece; see interpreter_collect.c.
 */

#include <string.h>

#include "agent/http.h"
#include "agent/interpreter.h"
#include "common/json_text.h"
#include "common/utf8.h"


void
frames_begin(interpreter_run *run)
{
    if (!run->begun && run->answer == NULL) {
        run->begun = 1;
        sse_begin(run->r);
    }
}


static int
frames_text(interpreter_run *run, const char *type, const char *p, size_t n)
{
    int      rc;
    char    *room;
    size_t   used;
    buffer   b;

    if (run->answer != NULL) {
        collect_text(run, type, p, n);
        return 0;
    }

    frames_begin(run);
    memset(&b, 0, sizeof(b));
    buffer_printf(&b, "data: {\"type\":\"%s\",\"text\":\"", type);
    room = buffer_room(&b, (n + 1) * JSON_TEXT_GROWTH);
    buffer_added(&b, json_text_escape(room, (n + 1) * JSON_TEXT_GROWTH, p, n,
                                      &used, true));
    buffer_puts(&b, "\"}\n\n");
    rc = http_write(run->r, buffer_bytes(&b), b.len);
    buffer_free(&b);

    return rc;
}


int
frames_output(interpreter_run *run, int err, const char *p, size_t n)
{
    int          rc;
    size_t       take, whole, had;
    char        *carry;
    const char  *type;

    rc = 0;
    type = err ? "stderr" : "stdout";
    carry = run->carry[err];

    /* The rest of the character that was cut off comes first. */
    had = run->carried[err];
    if (had != 0) {
        take = sizeof(run->carry[err]) - had;
        if (take > n) {
            take = n;
        }
        memcpy(carry + had, p, take);
        whole = utf8_complete(carry, had + take);

        if (whole <= had) {
            /* Nothing of the new bytes is needed to complete it, or all of
             * them are and it still isn't whole. */
            if (had + take < 4) {
                run->carried[err] = had + take;
                return 0;
            }
            whole = had + take;
        }

        rc = frames_text(run, type, carry, whole);
        run->carried[err] = 0;
        p += whole - had;
        n -= whole - had;
    }

    whole = utf8_complete(p, n);
    if (whole != 0) {
        rc |= frames_text(run, type, p, whole);
    }

    memcpy(carry, p + whole, n - whole);
    run->carried[err] = n - whole;

    return rc;
}


/* What can't become a character any more. */

static void
frames_output_end(interpreter_run *run)
{
    int  i;

    for (i = 0; i < 2; i++) {
        if (run->carried[i] != 0) {
            frames_text(run, i ? "stderr" : "stdout", run->carry[i],
                        run->carried[i]);
            run->carried[i] = 0;
        }
    }
}


/* The members of an object behind its type. */

static int
frames_object(interpreter_run *run, const char *type, const char *p, size_t n)
{
    int     rc;
    size_t  i;
    buffer  b;

    frames_begin(run);
    memset(&b, 0, sizeof(b));
    buffer_room(&b, n + 64);
    buffer_printf(&b, "data: {\"type\":\"%s\"", type);

    for (i = 1; i < n && p[i] == ' '; i++) { /* skip */ }

    if (p[i] != '}') {
        buffer_puts(&b, ",");
    }

    buffer_append(&b, p + i, n - i);
    buffer_puts(&b, "\n\n");
    rc = http_write(run->r, buffer_bytes(&b), b.len);
    buffer_free(&b);

    return rc;
}


int
frames_result(interpreter_run *run, const char *p, size_t n)
{
    if (run->answer != NULL) {
        collect_result(run, p, n);
        return 0;
    }

    return frames_object(run, "result", p, n);
}


static void
frames_end(interpreter_run *run)
{
    http_request  *r;

    r = run->r;
    run->r = NULL;
    r->data = NULL;
    http_on_close(r, NULL);

    if (run->answer != NULL) {
        collect_send(run, r);
    } else {
        http_end(r);
    }
}


void
frames_complete(interpreter_run *run, uint32_t count)
{
    buffer  b;

    frames_begin(run);
    frames_output_end(run);

    if (run->answer != NULL) {
        json_object_set_new(run->answer, "executionCount",
                            json_integer(count));
        frames_end(run);
        return;
    }

    memset(&b, 0, sizeof(b));
    buffer_printf(&b, "data: {\"type\":\"execution_complete\","
                  "\"execution_count\":%u}\n\n", count);
    http_write(run->r, buffer_bytes(&b), b.len);
    buffer_free(&b);
    frames_end(run);
}


void
frames_error(interpreter_run *run, const char *members, size_t n)
{
    frames_output_end(run);

    if (run->answer != NULL) {
        collect_error(run, members, n);
    } else {
        frames_object(run, "error", members, n);
    }

    frames_end(run);
}


void
frames_failure(interpreter_run *run, const char *name, const char *message)
{
    char    *text;
    json_t  *o, *said, *old, *traceback;

    /* Where a cell was when it was stopped is worth knowing. */
    old = run->error == NULL ? NULL
        : json_loadb(run->error, run->error_len, JSON_ALLOW_NUL, NULL);
    traceback = json_object_get(old, "traceback");
    said = http_text(message);

    o = json_pack("{s:s, s:O, s:O, s:s, s:O, s:O}", "ename", name,
                  "evalue", said, "traceback", traceback,
                  "name", name, "message", said, "value", said);
    if (o == NULL) {
        o = json_pack("{s:s, s:O, s:[], s:s, s:O, s:O}", "ename", name,
                      "evalue", said, "traceback", "name", name,
                      "message", said, "value", said);
    }

    text = json_dumps(o, JSON_COMPACT);
    frames_error(run, text, strlen(text));

    free(text);
    json_decref(o);
    json_decref(said);
    json_decref(old);
}
