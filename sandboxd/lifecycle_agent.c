/*
 * What only the agent of a running sandbox knows or has to be told: changes of
 * the environment, and whether processes run.
 */

#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "sandboxd/agent_call.h"
#include "sandboxd/lifecycle_part.h"


typedef struct {
    lifecycle          *lc;
    sandbox            *sb;     /* holds a reference */
    uint32_t            epoch;
    lifecycle_started   cb;
    void               *data;
} agent_errand;


static agent_errand *
errand_new(lifecycle *lc, sandbox *sb, lifecycle_started cb, void *data)
{
    agent_errand  *e;

    e = calloc(1, sizeof(agent_errand));
    if (e == NULL) {
        abort();
    }

    e->lc = lc;
    e->sb = sb;
    e->epoch = sb->now.epoch;
    e->cb = cb;
    e->data = data;
    item_ref(&sb->item);

    return e;
}


static void
errand_free(agent_errand *e)
{
    item_unref(&e->sb->item);
    free(e);
}


static void
errand_call(agent_errand *e, const char *method, const char *target,
    json_t *body, agent_called cb)
{
    char  path[108];

    snprintf(path, sizeof(path), "%s/s/%08x", e->lc->run_path, e->sb->slot);
    agent_call(e->lc->loop, path, e->sb->now.key, method, target, body, cb, e);
}


static void
on_env_told(void *data, int status, json_t *result)
{
    error         *err;
    agent_errand  *e;

    e = data;
    err = NULL;

    if (status != 200 && e->sb->now.epoch == e->epoch
        && (e->sb->run.state == RUN_UP || e->sb->run.state == RUN_SLEEPING))
    {
        log_warn("%s: its agent did not take its environment: %d", e->sb->id,
                 status);
        error_set(&err, 502, "sandbox_unreachable", "the running sandbox did "
                  "not take its new environment");
    }

    if (e->cb != NULL) {
        e->cb(e->data, e->sb, err);

    } else {
        error_free(err);
    }

    errand_free(e);
}


void
lifecycle_tell_env(lifecycle *lc, sandbox *sb, lifecycle_started cb,
    void *data)
{
    json_t        *body;
    agent_errand  *e;

    if (lc->run_path == NULL || spec_external(sb->spec)
        || (sb->run.state != RUN_UP && sb->run.state != RUN_SLEEPING))
    {
        /* The next start has it. */
        if (cb != NULL) {
            cb(data, sb, NULL);
        }
        return;
    }

    /* Connections overtake one another; the agent keeps the newest.  It may
     * have heard from an earlier sandboxd. */
    sb->run.env_seq = sb->run.env_seq < (uint64_t) wall_ms()
                      ? (uint64_t) wall_ms() : sb->run.env_seq + 1;

    e = errand_new(lc, sb, cb, data);
    body = json_pack("{s:I, s:O}", "seq", (json_int_t) sb->run.env_seq,
                     "env", json_object_get(sb->spec, "env"));
    errand_call(e, "PUT", "/internal/env", body, on_env_told);
    json_decref(body);
}


static void
on_processes(void *data, int status, json_t *result)
{
    sandbox       *sb;
    lifecycle     *lc;
    agent_errand  *e;

    e = data;
    sb = e->sb;
    lc = e->lc;
    sb->run.polled = false;

    if (sb->run.state == RUN_UP && sb->now.epoch == e->epoch && !sb->gone
        && !lc->closing)
    {
        if (status == 200
            && json_integer_value(json_object_get(result, "running")) == 0)
        {
            sleep_begin(lc, sb, false);

        } else {
            /* An agent that gives no answer may be busy with just those. */
            lifecycle_used(lc, sb);

            if (status == 0) {
                lifecycle_tried(lc, sb, e->epoch);
            }
        }
    }

    errand_free(e);
}


/* Idle by its traffic: its processes may be another matter, unless nobody can
 * tell. */
void
sleep_prepare(lifecycle *lc, sandbox *sb)
{
    if (!spec_processes(sb->spec) || lc->run_path == NULL || silent_is(sb)) {
        sleep_begin(lc, sb, false);
        return;
    }

    sb->run.polled = true;
    errand_call(errand_new(lc, sb, NULL, NULL), "GET", "/internal/processes",
                NULL, on_processes);
}
