/* Requests that wait for a process; see process_internal.h. */

#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/process_internal.h"

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
    process_answer answer;
    run_event      wanted;
    uv_timer_t    *timer;       /* NULL: however long it takes */
} process_wait;


process *
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


process *
process_wanted(http_request *r)
{
    return process_named(r, r->param);
}


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
    process_answer   answer;

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
process_wait_add(http_request *r, run *of, const char *id, run_event wanted,
    process_answer answer)
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


void
process_wait_for(http_request *r, run *of, const char *id, run_event wanted,
    process_answer answer)
{
    process_wait_add(r, of, id, wanted, answer);
}


void
process_wait_young(http_request *r, const process *p, process_answer answer)
{
    uint64_t       age;
    process_wait  *w;

    age = (uv_hrtime() - p->of->started) / 1000000;

    if (p->of->state != RUN_RUNNING || age >= PROCESS_YOUNG_MS) {
        answer(r, p->id, p->of);
        return;
    }

    w = process_wait_add(r, p->of, p->id, RUN_ENDED, answer);

    w->timer = malloc(sizeof(uv_timer_t));
    if (w->timer == NULL) {
        abort();
    }

    uv_timer_init(agent.loop, w->timer);
    w->timer->data = w;
    uv_timer_start(w->timer, process_wait_expired, PROCESS_YOUNG_MS - age, 0);
}
