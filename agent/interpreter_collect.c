/*
 * A cell's answer in one piece, for clients that want no stream: what it has
 * written, its results and its error, as the SDK's runCode() returns them.
 * Bounded: what is more is left out, and the answer says so.
 */

#include <stdlib.h>
#include <string.h>

#include "agent/http.h"
#include "agent/interpreter.h"
#include "common/utf8.h"

#define COLLECT_MAX    (16 * 1024 * 1024)
#define COLLECT_PIECE  64               /* what a piece costs beside its text */


/* Whether the client names JSON, and not the events, as what it takes. */
int
collect_wanted(http_request *r)
{
    const char  *accept;

    accept = http_header(r, "accept");

    return r->bridge && accept != NULL
           && strcasestr(accept, "application/json") != NULL
           && strcasestr(accept, "text/event-stream") == NULL;
}


void
collect_begin(interpreter_run *run, const char *code, size_t len)
{
    run->answer = json_pack("{s:s%, s:{s:[], s:[]}, s:[]}", "code", code, len,
                            "logs", "stdout", "stderr", "results");
    if (run->answer == NULL) {
        abort();
    }
}


static int
collect_fits(interpreter_run *run, size_t n)
{
    if (n > COLLECT_MAX - run->collected) {
        json_object_set_new(run->answer, "truncated", json_true());
        return 0;
    }

    run->collected += n;
    return 1;
}


void
collect_text(interpreter_run *run, const char *type, const char *p, size_t n)
{
    char    *text;
    size_t   room, len;
    json_t  *logs;

    if (!collect_fits(run, n + COLLECT_PIECE)) {
        return;
    }

    room = n * 3 + 1;
    text = malloc(room);
    if (text == NULL) {
        abort();
    }

    len = utf8_clean(text, room, p, n);
    logs = json_object_get(run->answer, "logs");
    json_array_append_new(json_object_get(logs, type),
                          json_stringn(text, len));
    free(text);
}


void
collect_result(interpreter_run *run, const char *p, size_t n)
{
    json_t  *result;

    if (!collect_fits(run, n + COLLECT_PIECE)) {
        return;
    }

    result = json_loadb(p, n, JSON_ALLOW_NUL, NULL);
    json_object_del(result, "metadata");
    json_array_append_new(json_object_get(run->answer, "results"), result);
}


/* The error's members have two names each; here they have the SDK's. */
void
collect_error(interpreter_run *run, const char *p, size_t n)
{
    json_t  *members;

    members = json_loadb(p, n, JSON_ALLOW_NUL, NULL);
    if (!json_is_object(members)) {
        json_decref(members);
        members = json_object();
    }

    if (json_object_get(members, "name") == NULL) {
        json_object_set(members, "name", json_object_get(members, "ename"));
    }

    if (json_object_get(members, "message") == NULL) {
        json_object_set(members, "message", json_object_get(members, "evalue"));
    }

    json_object_set(members, "value", json_object_get(members, "message"));
    json_object_del(members, "ename");
    json_object_del(members, "evalue");
    json_object_set_new(run->answer, "error", members);
}


void
collect_send(interpreter_run *run, http_request *r)
{
    json_t  *answer;

    answer = run->answer;
    run->answer = NULL;
    http_send_json(r, 200, answer);
}
