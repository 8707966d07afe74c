/* /api/process/... */

#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/env.h"
#include "agent/exec.h"
#include "agent/follow.h"
#include "agent/result.h"
#include "common/buffer.h"
#include "common/log.h"

/*
 * What was started just now and may be over in a moment is waited for, up to
 * this age: clients start `echo` and ask for its logs at once.
 */
#define PROCESS_YOUNG_MS  250

/* One request that waits for a process: for its start, its end, or its age. */
typedef struct {
    run_watch      watch;
    http_request  *r;
    char          *id;
    void         (*answer)(http_request *r, const char *id, run *of);
    run_event      wanted;
    uv_timer_t    *timer;       /* NULL: however long it takes */
} process_wait;

/* One kill of many. */
typedef struct process_kill_all  process_kill_all;

typedef struct {
    run_watch          watch;
    process_kill_all  *all;
} process_kill_one;

struct process_kill_all {
    http_request  *r;           /* NULL: the client left */
    unsigned       waiting;
    unsigned       count;
};


/* Waiting. */

static void
process_timer_closed(uv_handle_t *handle)
{
    free(handle);
}


static void
process_wait_free(process_wait *w)
{
    if (w->timer != NULL) {
        uv_close((uv_handle_t *) w->timer, process_timer_closed);
    }

    run_watch_drop(&w->watch);
    free(w->id);
    free(w);
}


static void
process_wait_close(http_request *r)
{
    process_wait_free(r->data);
}


static void
process_wait_over(process_wait *w)
{
    run            *of;
    char           *id;
    http_request   *r;
    void          (*answer)(http_request *r, const char *id, run *of);

    of = w->watch.of;
    r = w->r;
    id = w->id;
    answer = w->answer;
    w->id = NULL;

    run_hold(of);
    process_wait_free(w);
    r->data = NULL;
    http_on_close(r, NULL);
    answer(r, id, of);
    free(id);
    run_release(of);
}


static void
process_wait_event(run_watch *rw, run_event event)
{
    process_wait  *w;

    w = rw->data;

    if (event == RUN_ENDED || event == w->wanted) {
        process_wait_over(w);
    }
}


static void
process_wait_expired(uv_timer_t *timer)
{
    process_wait_over(timer->data);
}


static process_wait *
process_wait_for(http_request *r, run *of, const char *id, run_event wanted,
    void (*answer)(http_request *r, const char *id, run *of))
{
    process_wait  *w;

    w = calloc(1, sizeof(process_wait));
    if (w == NULL) {
        abort();
    }

    w->r = r;
    w->id = strdup(id);
    w->answer = answer;
    w->wanted = wanted;
    r->data = w;
    http_on_close(r, process_wait_close);
    run_watch_add(of, &w->watch, process_wait_event, w);

    return w;
}


/* Answers now, or when a young process is over or not young any more. */

static void
process_wait_young(http_request *r, const process *p,
    void (*answer)(http_request *r, const char *id, run *of))
{
    uint64_t       age;
    process_wait  *w;

    age = (uv_hrtime() - p->of->started) / 1000000;

    if (p->of->state != RUN_RUNNING || age >= PROCESS_YOUNG_MS) {
        answer(r, p->id, p->of);
        return;
    }

    w = process_wait_for(r, p->of, p->id, RUN_ENDED, answer);

    w->timer = malloc(sizeof(uv_timer_t));
    if (w->timer == NULL) {
        abort();
    }

    uv_timer_init(agent.loop, w->timer);
    w->timer->data = w;
    uv_timer_start(w->timer, process_wait_expired, PROCESS_YOUNG_MS - age, 0);
}


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


static process *
process_named(http_request *r, const char *id)
{
    error    *err;
    process  *p;

    p = process_find(id);

    if (p == NULL) {
        err = NULL;
        error_set(&err, 404, "process_not_found", "Process %.200s not found",
                  id);
        api_error_context(r, err, json_pack("{s:o}", "processId",
                                            http_text(id)));
    }

    return p;
}


static process *
process_wanted(http_request *r)
{
    return process_named(r, r->param);
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


static void
process_logs(http_request *r, const char *id, run *of)
{
    char     ts[32], *name;
    json_t  *v;
    buffer   head, tail;

    memset(&head, 0, sizeof(head));
    memset(&tail, 0, sizeof(tail));
    http_timestamp(ts, sizeof(ts));

    v = json_string(id);
    name = json_dumps(v, JSON_ENCODE_ANY);
    json_decref(v);

    buffer_printf(&head, "{\"success\":true,\"processId\":%s",
                  name != NULL ? name : "null");
    buffer_append(&head, "", 1);
    buffer_printf(&tail, ",\"timestamp\":\"%s\"}", ts);
    buffer_append(&tail, "", 1);
    free(name);

    result_send(r, of, 200, buffer_bytes(&head), buffer_bytes(&tail), 0, 0);
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
    process  *p;

    p = process_wanted(r);
    if (p != NULL) {
        follow_start(r, p->of, FOLLOW_PROCESS, p->id, NULL);
    }
}


/* Killing. */

static void
process_killed(http_request *r, const char *id, run *of)
{
    char  ts[32];

    http_timestamp(ts, sizeof(ts));
    http_send_json(r, 200, json_pack("{s:b, s:s, s:s}", "success", 1,
                   "processId", id, "timestamp", ts));
}


static void
process_kill_handler(http_request *r)
{
    error    *err;
    process  *p;

    p = process_wanted(r);
    if (p == NULL) {
        return;
    }

    if (p->of->state == RUN_OVER) {
        err = NULL;
        error_set(&err, 404, "command_not_found", "Command '%.200s' not found "
                  "or already completed in session '%.100s'", p->id,
                  p->session);
        api_error_context(r, err, json_pack("{s:s}", "command", p->id));
        return;
    }

    process_wait_for(r, p->of, p->id, RUN_ENDED, process_killed);
    run_kill(p->of, RUN_GRACE_MS);
}


static void
process_all_answer(process_kill_all *all)
{
    char           ts[32];
    unsigned       count;
    http_request  *r;

    if (--all->waiting != 0) {
        return;
    }

    r = all->r;
    count = all->count;
    free(all);

    if (r == NULL) {
        return;
    }

    r->data = NULL;
    http_on_close(r, NULL);
    http_timestamp(ts, sizeof(ts));
    http_send_json(r, 200, json_pack("{s:b, s:i, s:s}", "success", 1,
                   "cleanedCount", (int) count, "timestamp", ts));
}


static void
process_all_event(run_watch *w, run_event event)
{
    process_kill_all  *all;
    process_kill_one  *one;

    if (event == RUN_ENDED) {
        one = w->data;
        all = one->all;
        run_watch_drop(w);
        free(one);
        process_all_answer(all);
    }
}


static void
process_all_add(process *p, void *data)
{
    process_kill_all  *all;
    process_kill_one  *one;

    if (p->of->state == RUN_OVER) {
        return;
    }

    all = data;
    one = calloc(1, sizeof(process_kill_one));
    if (one == NULL) {
        abort();
    }

    one->all = all;
    all->waiting++;
    all->count++;
    run_watch_add(p->of, &one->watch, process_all_event, one);
}


static void
process_all_kill(process *p, void *data)
{
    run_kill(p->of, RUN_GRACE_MS);
}


static void
process_all_close(http_request *r)
{
    process_kill_all  *all;

    all = r->data;
    all->r = NULL;
}


static void
process_kill_all_handler(http_request *r)
{
    process_kill_all  *all;

    all = calloc(1, sizeof(process_kill_all));
    if (all == NULL) {
        abort();
    }

    all->r = r;
    all->waiting = 1;               /* this function's own */
    r->data = all;
    http_on_close(r, process_all_close);

    process_each(process_all_add, all);
    process_each(process_all_kill, all);
    process_all_answer(all);
}


void
process_routes(router *t)
{
    router_add(t, METHOD_POST, "/api/process/start", process_start_handler);
    router_add(t, METHOD_GET, "/api/process/list", process_list_handler);
    router_add(t, METHOD_DELETE, "/api/process/kill-all",
               process_kill_all_handler);
    router_add(t, METHOD_GET, "/api/process/{id}", process_get_handler);
    router_add(t, METHOD_DELETE, "/api/process/{id}", process_kill_handler);
    router_add(t, METHOD_GET, "/api/process/{id}/logs",
               process_logs_handler);
    router_add(t, METHOD_GET, "/api/process/{id}/stream",
               process_stream_handler);
}
