/* /api/process/... */

#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/env.h"
#include "agent/exec.h"
#include "agent/follow.h"
#include "agent/process_internal.h"
#include "agent/result.h"
#include "common/buffer.h"
#include "common/log.h"
#include "common/utf8.h"

/* Starting. */

static void
process_started(http_request *r, const char *id, run *of)
{
    char     ts[32];
    json_t  *o;

    if (of->failure != NULL && of->pid == 0) {
        exec_answer_failure(r, of, of->at_name);
        return;
    }

    http_timestamp(ts, sizeof(ts));
    o = json_pack("{s:b, s:s, s:i, s:s, s:s}", "success", 1, "processId", id,
                  "pid", (int) of->pid, "command", of->command, "timestamp",
                  ts);
    if (o == NULL) {
        http_abort(r);
    } else {
        http_send_json(r, 200, o);
    }
}


void
exec_start_process(http_request *r, const exec_params *p,
    const char *sid)
{
    run      *of;
    error    *err;
    process  *entry;

    err = NULL;

    if (p->command[strspn(p->command, " \t\r\n\v\f")] == '\0') {
        error_set(&err, 400, "invalid_command",
                  "Invalid command: empty command provided");
        api_error(r, err);
        return;
    }

    of = exec_run(p, 0);
    of->at_name = strdup(sid);
    entry = process_add(of, p->process_id, sid, &err);

    if (entry == NULL) {
        api_error(r, err);

    } else {
        process_wait_for(r, of, entry->id, RUN_STARTED, process_started);

        if (exec_start(of, sid, &err) != 0) {
            run_hold(of);
            run_fail(of, err);
        }
    }

    run_release(of);
}


static void
process_start_body(http_request *r, char *body, size_t len)
{
    json_t       *o;
    error        *err;
    exec_params   p;

    if (http_json_object(r, body, len, &o) != 0) {
        return;
    }

    err = NULL;

    if (params_exec(o, &p, &err) != 0
        || env_check(p.env, "env", &err) != 0)
    {
        api_error(r, err);

    } else if (p.session != NULL
               && p.session[strspn(p.session, " \t\r\n")] == '\0')
    {
        error_set_field(&err, 500, "command_execution_error", "sessionId", 0,
                        "sessionId must not be empty or whitespace");
        api_error(r, err);

    } else {
        exec_start_process(r, &p, p.session == NULL ? "default" : p.session);
    }

    json_decref(o);
}


static void
process_start_handler(http_request *r)
{
    http_read_body(r, HTTP_JSON_LIMIT, process_start_body);
}


/* Looking. */

static json_t *
process_json(const process *p, int with_end)
{
    json_t     *o;
    const run  *of;

    of = p->of;
    o = json_pack("{s:s}", "id", p->id);

    if (of->pid > 0) {
        json_object_set_new(o, "pid", json_integer(of->pid));
    }
    json_object_set_new(o, "command", json_string(of->command));
    json_object_set_new(o, "status", json_string(process_status(of)));
    json_object_set_new(o, "startTime", json_string(p->start_time));
    if (with_end && p->end_time[0] != '\0') {
        json_object_set_new(o, "endTime", json_string(p->end_time));
    }
    if (of->state == RUN_OVER && of->failure == NULL) {
        json_object_set_new(o, "exitCode",
                            json_integer(follow_exit_code(of)));
    }

    return o;
}


typedef struct {
    json_t      *list;
    const char  *status;
} process_listing;


static void
process_list_add(process *p, void *data)
{
    process_listing  *l;

    l = data;

    if (l->status == NULL
        || strcmp(l->status, process_status(p->of)) == 0)
    {
        json_array_append_new(l->list, process_json(p, 0));
    }
}


static void
process_list_handler(http_request *r)
{
    char             ts[32];
    process_listing  l;

    l.list = json_array();
    l.status = http_query(r, "status", NULL);
    if (l.status != NULL && l.status[0] == '\0') {
        l.status = NULL;
    }

    process_each(process_list_add, &l);

    http_timestamp(ts, sizeof(ts));
    http_send_json(r, 200, json_pack("{s:b, s:o, s:s}", "success", 1,
                   "processes", l.list, "timestamp", ts));
}


static void
process_get(http_request *r, const char *id, run *of)
{
    char      ts[32];
    process  *p;

    /* It may have been forgotten meanwhile. */
    p = process_named(r, id);
    if (p == NULL) {
        return;
    }

    http_timestamp(ts, sizeof(ts));
    http_send_json(r, 200, json_pack("{s:b, s:o, s:s}", "success", 1,
                   "process", process_json(p, 1), "timestamp", ts));
}


static void
process_get_handler(http_request *r)
{
    process  *p;

    p = process_wanted(r);
    if (p != NULL) {
        process_wait_young(r, p, process_get);
    }
}


/* Where a client wants to go on reading, from the query. */

typedef struct {
    uint64_t  off[2];
    int       asked;                /* an offset was named */
    int       tell;                 /* offsets are wanted in the answer */
} process_place;


static int
process_offset(http_request *r, const char *name, const spool *s,
    process_place *place, uint64_t *out)
{
    error       *err;
    size_t       len;
    const char  *text;

    text = http_query(r, name, &len);
    if (text == NULL) {
        return 0;
    }

    err = NULL;

    if (len == 0 || len > 18 || strspn(text, "0123456789") != len) {
        error_set_field(&err, 400, "validation_failed", name, 0,
                        "%s must be a number of bytes", name);
        api_error(r, err);
        return -1;
    }

    *out = strtoull(text, NULL, 10);
    place->asked = 1;

    if (*out > s->end) {
        error_set_field(&err, 400, "validation_failed", name,
                        (long long) s->end, "%s is behind the end, which is "
                        "at %llu", name, (unsigned long long) s->end);
        api_error(r, err);
        return -1;
    }

    return 0;
}


static int
process_place_read(http_request *r, run *of, process_place *place)
{
    const char  *text;

    memset(place, 0, sizeof(*place));

    if (process_offset(r, "stdoutOffset", &of->out, place, &place->off[0]) != 0
        || process_offset(r, "stderrOffset", &of->err, place, &place->off[1])
           != 0)
    {
        return -1;
    }

    text = http_query(r, "offsets", NULL);
    place->tell = text != NULL && text[0] != '\0' && strcmp(text, "0") != 0
                  && strcmp(text, "false") != 0;

    return 0;
}


/* Up to where whole characters can be sent: the rest of one that is cut comes
 * later, if it comes. */

static uint64_t
process_logs_end(const run *of, spool *s, uint64_t from)
{
    char      last[4];
    size_t    n;
    uint64_t  off;

    if (of->state == RUN_OVER || s->end == from) {
        return s->end;
    }

    off = s->end - from > sizeof(last) ? s->end - sizeof(last) : from;
    n = spool_read(s, &off, last, sizeof(last));

    return off - (n - utf8_complete(last, n));
}


static void
process_logs(http_request *r, const char *id, run *of)
{
    int             i;
    char            ts[32], *name;
    spool          *s;
    json_t         *v;
    buffer          head, tail;
    uint64_t        from[2], to[2], dropped[2];
    process_place   place;

    if (process_place_read(r, of, &place) != 0) {
        return;
    }

    for (i = 0; i < 2; i++) {
        s = i == 0 ? &of->out : &of->err;
        from[i] = place.off[i] < s->start ? s->start : place.off[i];
        dropped[i] = from[i] - place.off[i];
        to[i] = place.asked || place.tell ? process_logs_end(of, s, from[i])
                                          : s->end;
    }

    memset(&head, 0, sizeof(head));
    memset(&tail, 0, sizeof(tail));
    http_timestamp(ts, sizeof(ts));

    v = json_string(id);
    name = json_dumps(v, JSON_ENCODE_ANY);
    json_decref(v);

    buffer_printf(&head, "{\"success\":true,\"processId\":%s",
                  name != NULL ? name : "null");
    buffer_append(&head, "", 1);
    free(name);

    if (place.asked || place.tell) {
        buffer_printf(&tail, ",\"stdoutOffset\":%llu,\"stderrOffset\":%llu",
                      (unsigned long long) to[0], (unsigned long long) to[1]);
    }
    if (dropped[0] != 0 || dropped[1] != 0) {
        buffer_printf(&tail, ",\"dropped\":{\"stdout\":%llu,"
                      "\"stderr\":%llu}", (unsigned long long) dropped[0],
                      (unsigned long long) dropped[1]);
    }
    buffer_printf(&tail, ",\"timestamp\":\"%s\"}", ts);
    buffer_append(&tail, "", 1);

    result_send_range(r, of, buffer_bytes(&head), buffer_bytes(&tail), from,
                      to);
    buffer_free(&head);
    buffer_free(&tail);
}


static void
process_logs_handler(http_request *r)
{
    process  *p;

    p = process_wanted(r);
    if (p != NULL) {
        process_wait_young(r, p, process_logs);
    }
}


static void
process_stream_handler(http_request *r)
{
    process        *p;
    process_place   place;

    p = process_wanted(r);
    if (p != NULL && process_place_read(r, p->of, &place) == 0) {
        follow_from(r, p->of, p->id, place.off, place.tell);
    }
}


void
process_routes(router *t)
{
    router_add(t, METHOD_POST, "/api/process/start", process_start_handler);
    router_add(t, METHOD_GET, "/api/process/list", process_list_handler);
    process_kill_routes(t);
    router_add(t, METHOD_GET, "/api/process/{id}", process_get_handler);
    router_add(t, METHOD_GET, "/api/process/{id}/logs",
               process_logs_handler);
    router_add(t, METHOD_GET, "/api/process/{id}/stream",
               process_stream_handler);
    process_input_routes(t);
    process_await_routes(t);
}
