/* Ending and signalling background commands. */

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/params.h"
#include "agent/process_internal.h"
#include "agent/signals.h"

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


static void
process_killed(http_request *r, const char *id, run *of)
{
    char  ts[32];

    http_timestamp(ts, sizeof(ts));
    http_send_json(r, 200, json_pack("{s:b, s:s, s:s}", "success", 1,
                   "processId", id, "timestamp", ts));
}


static void
process_signal_unknown(http_request *r)
{
    error  *err;

    err = NULL;
    error_set_field(&err, 400, "validation_failed", "signal", SIGNALS_MAX,
                    "signal must be the name of a signal or a number from 1 "
                    "to %d", SIGNALS_MAX);
    api_error(r, err);
}


static void
process_is_over(http_request *r, const process *p)
{
    error  *err;

    err = NULL;
    error_set(&err, 404, "command_not_found", "Command '%.200s' not found "
              "or already completed in session '%.100s'", p->id, p->session);
    api_error_context(r, err, json_pack("{s:s}", "command", p->id));
}


/* `signal` is what it is asked with; SIGKILL follows in any case. */

static void
process_kill_handler(http_request *r)
{
    int          sig;
    process     *p;
    const char  *name;

    p = process_wanted(r);
    if (p == NULL) {
        return;
    }

    sig = SIGTERM;
    name = http_query(r, "signal", NULL);

    if (name != NULL && name[0] != '\0') {
        sig = signals_parse(name);
        if (sig == 0) {
            process_signal_unknown(r);
            return;
        }
    }

    if (p->of->state == RUN_OVER) {
        process_is_over(r, p);
        return;
    }

    process_wait_for(r, p->of, p->id, RUN_ENDED, process_killed);
    run_kill_with(p->of, sig, sig == SIGKILL ? 0 : RUN_GRACE_MS);
}


/* Signalling. */

static int
process_signal_number(const json_t *v)
{
    double  n;

    if (json_is_string(v)) {
        return signals_parse(json_string_value(v));
    }

    n = json_number_value(v);

    return json_is_number(v) && n >= 1 && n <= SIGNALS_MAX
           && n == (double) (int) n ? (int) n : 0;
}


static void
process_signal_body(http_request *r, char *body, size_t len)
{
    int       sig, tree;
    char      ts[32], name[16];
    error    *err;
    json_t   *o;
    process  *p;

    if (http_json_object(r, body, len, &o) != 0) {
        return;
    }

    err = NULL;
    sig = process_signal_number(json_object_get(o, "signal"));
    tree = 1;
    params_bool(o, "tree", &tree, &err);
    json_decref(o);

    if (err != NULL) {
        api_error(r, err);
        return;
    }

    if (sig == 0) {
        process_signal_unknown(r);
        return;
    }

    p = process_wanted(r);
    if (p == NULL) {
        return;
    }

    if (p->of->state == RUN_OVER) {
        process_is_over(r, p);
        return;
    }

    if (run_signal(p->of, sig, tree) != 0) {
        error_set(&err, 409, "resource_busy",
                  "Process %.200s has not started yet, or is ending", p->id);
        api_error_context(r, err, json_pack("{s:s}", "processId", p->id));
        return;
    }

    signals_name(sig, name, sizeof(name));
    http_timestamp(ts, sizeof(ts));
    http_send_json(r, 200, json_pack("{s:b, s:s, s:s, s:s}", "success", 1,
                   "processId", p->id, "signal", name, "timestamp", ts));
}


static void
process_signal_handler(http_request *r)
{
    http_read_body(r, HTTP_JSON_LIMIT, process_signal_body);
}


/* All of them. */


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
process_kill_routes(router *t)
{
    router_add(t, METHOD_DELETE, "/api/process/kill-all",
               process_kill_all_handler);
    router_add(t, METHOD_DELETE, "/api/process/{id}", process_kill_handler);
    router_add(t, METHOD_POST, "/api/process/{id}/signal",
               process_signal_handler);
}
