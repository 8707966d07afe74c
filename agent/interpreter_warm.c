/*
 * Interpreters of a machine that is nobody's yet.
 *
 * One of each is kept ready.  In a machine that is to be copied, a template, a
 * Node.js has to show first that it can have random state of its own, as it has
 * to in each copy: not every one can, and its ways are in memory then.
 *
 * When the machine is somebody's, each that waits is told what is different
 * now, and is given away only after it has said that it is.  In a copy it is
 * told when somebody wants it: what that costs, a first command would wait for.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/env.h"
#include "agent/http.h"
#include "agent/interpreter_pool.h"
#include "agent/run.h"
#include "common/log.h"

#define WARM_MS        60000    /* until all are there */
#define WARM_RENEW_MS  10000    /* to take what is different */

/* What has to be available, in MiB: what is warm must not be in the way of
 * what a machine is for. */
#define WARM_PYTHON    64
#define WARM_NODE      192

static http_request  *warm_request;
static uv_timer_t     warm_timer;
static int            warm_timed;       /* the timer is there */


static uint64_t
warm_available(void)
{
    char      line[128];
    FILE     *f;
    uint64_t  kib;

    kib = 0;
    f = fopen("/proc/meminfo", "re");

    while (f != NULL && fgets(line, sizeof(line), f) != NULL
           && sscanf(line, "MemAvailable: %" SCNu64, &kib) != 1)
    {
        /* the next one */
    }

    if (f != NULL) {
        fclose(f);
    }

    return kib / 1024;
}


static int
warm_is_ready(const pool *p)
{
    return p->count != 0 && p->idle.prev->ready;
}


static void
warm_answer(void)
{
    http_request  *r;

    r = warm_request;
    warm_request = NULL;
    uv_timer_stop(&warm_timer);

    http_on_close(r, NULL);
    http_send_json(r, 200, json_pack("{s:b, s:{s:b, s:b}}", "success", 1,
                   "ready", "python", warm_is_ready(&pools[0]),
                   "javascript", warm_is_ready(&pools[1])));
}


/* What was itself copied shares with others what can't be made anew: it goes
 * when another one is ready. */

static void
warm_replace(pool *p)
{
    executor  *x, *prev;

    if (!p->kept || p->count < 2 || !p->idle.next->ready
        || p->idle.next->copied)
    {
        return;
    }

    for (x = p->idle.prev; x != &p->idle; x = prev) {
        prev = x->prev;

        if (x->copied) {
            pool_unlink(p, x);
            executor_end(x);
        }
    }

    p->wanted = p->min;
}


static void
warm_try(pool *p)
{
    executor  *x;

    x = p->idle.prev;

    if (p->node && warm_is_ready(p) && !x->tried) {
        x->tried = 1;
        executor_renew(x, json_pack("{s:{}, s:b}", "env", "reseed", 1),
                       WARM_RENEW_MS);
    }
}


void
warm_look(void)
{
    size_t  i;

    for (i = 0; i < POOL_COUNT; i++) {
        warm_replace(&pools[i]);
    }

    /* Who waits makes a copy. */
    if (warm_request == NULL) {
        return;
    }

    for (i = 0; i < POOL_COUNT; i++) {
        warm_try(&pools[i]);

        if (pools[i].count != 0 && !warm_is_ready(&pools[i])) {
            return;
        }
    }

    warm_answer();
}


static void
warm_expired(uv_timer_t *timer)
{
    warm_answer();
}


static void
warm_left(http_request *r)
{
    warm_request = NULL;
    uv_timer_stop(&warm_timer);
}


static void
warm_pool(pool *p, int copies)
{
    char  program[4096];

    pool_begin(p);

    if (!pool_program(p, agent.env, program, sizeof(program))
        || warm_available() < (p->node ? WARM_NODE : WARM_PYTHON))
    {
        return;
    }

    p->kept = 1;
    p->failed = 0;
    p->last_use = uv_now(agent.loop);
    pool_configure(p);

    if (!copies && p->count != 0 && p->idle.prev->copied) {
        p->wanted = p->count + 1;
    }

    pool_fill(p);
}


static void
warm_body(http_request *r, char *body, size_t len)
{
    int      copies, node;
    size_t   i;
    error   *err;
    json_t  *o;

    if (http_json_object(r, body, len, &o) != 0) {
        return;
    }

    copies = json_is_true(json_object_get(o, "copies"));
    node = !json_is_false(json_object_get(o, "javascript"));
    json_decref(o);

    if (warm_request != NULL) {
        err = NULL;
        error_set(&err, 409, "busy", "interpreters are being started already");
        api_error(r, err);
        return;
    }

    if (!warm_timed) {
        warm_timed = 1;
        uv_timer_init(agent.loop, &warm_timer);
    }

    for (i = 0; i < POOL_COUNT; i++) {
        if (node || !pools[i].node) {
            warm_pool(&pools[i], copies);
        }
    }

    warm_request = r;

    /* Only a copy has to be made when all is there. */
    if (!copies) {
        warm_answer();
        return;
    }

    http_on_close(r, warm_left);
    uv_timer_start(&warm_timer, warm_expired, WARM_MS, 0);
    warm_look();
}


void
warm_handler(http_request *r)
{
    http_read_body(r, 1024, warm_body);
}


/* With what it has to take already. */

static void
warm_later(executor *x, json_t *request)
{
    json_t  *env;

    if (x->renewal == NULL) {
        x->renewal = request;
        return;
    }

    env = json_object_get(x->renewal, "env");
    json_object_update(env, json_object_get(request, "env"));

    if (json_is_true(json_object_get(request, "reseed"))) {
        json_object_set_new(x->renewal, "reseed", json_true());
    }

    json_decref(request);
}


void
warm_give(executor *x)
{
    json_t  *request;

    request = x->renewal;
    x->renewal = NULL;

    if (request != NULL) {
        executor_renew(x, request, WARM_RENEW_MS);
    }
}


static void
warm_renew_pool(pool *p, const json_t *changed, int reseed)
{
    unsigned   n;
    json_t    *request;
    executor  *x, *prev;

    for (x = p->idle.prev; x != &p->idle; x = prev) {
        prev = x->prev;

        if (!reseed && changed != NULL && json_object_size(changed) == 0) {
            continue;
        }

        if (!x->ready || changed == NULL || pool_needs_own(changed)) {
            pool_unlink(p, x);
            executor_end(x);
            continue;
        }

        request = json_pack("{s:o, s:b}", "env", json_copy((json_t *) changed),
                            "reseed", reseed);
        x->copied |= reseed;

        if (x->renewal != NULL || reseed) {
            warm_later(x, request);
        } else {
            executor_renew(x, request, WARM_RENEW_MS);
        }
    }

    n = p->count;
    p->failed = 0;
    p->last_use = uv_now(agent.loop);

    /* Who has not asked for any waits for none to be started. */
    if (p->kept) {
        p->kept = 0;
        p->wanted = n;
    }

    pool_configure(p);
    pool_plan(p, 1);
}


void
interpreter_goes_on(char *const *former, int unique, int seeded)
{
    size_t   i;
    json_t  *changed;

    if (!unique) {
        contexts_copied();
    }

    changed = unique || seeded ? env_difference(former, agent.env) : NULL;

    for (i = 0; i < POOL_COUNT; i++) {
        if (pools[i].begun) {
            warm_renew_pool(&pools[i], changed, !unique);
        }
    }

    json_decref(changed);
}
