/*
 * Executors that are started before they are needed; see interpreter.h.
 *
 * A pool is empty until its interpreter is used.  Each time nobody is ready it
 * keeps one more; after some minutes without use it is ended down to its
 * configured minimum, which is nothing.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/env.h"
#include "agent/interpreter_pool.h"
#include "agent/run.h"
#include "common/log.h"

#define POOL_IDLE_MAX   4               /* that it keeps by itself */
#define POOL_LIMIT      64              /* of what can be configured */
#define POOL_IDLE_MS    300000
#define POOL_REFILL_MS  50
#define POOL_LATER_MS   10000
#define POOL_FAILED     3
#define POOL_START_MS   60000

pool  pools[POOL_COUNT] = {
    { .names = { "python3", "python" } },
    { .names = { "node", "nodejs" }, .node = 1 }
};

static unsigned  pool_used[LANGUAGE_COUNT];     /* by contexts */


static const char *const  language_names[LANGUAGE_COUNT] = {
    "python", "javascript", "typescript"
};


int
language_parse(const char *name)
{
    size_t  i;

    static const struct {
        const char  *name;
        language     lang;
    } aliases[] = {
        { "python", LANGUAGE_PYTHON }, { "python3", LANGUAGE_PYTHON },
        { "javascript", LANGUAGE_JAVASCRIPT }, { "js", LANGUAGE_JAVASCRIPT },
        { "node", LANGUAGE_JAVASCRIPT },
        { "typescript", LANGUAGE_TYPESCRIPT }, { "ts", LANGUAGE_TYPESCRIPT }
    };

    for (i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        if (strcmp(aliases[i].name, name) == 0) {
            return aliases[i].lang;
        }
    }

    return -1;
}


const char *
language_name(language lang)
{
    return language_names[lang];
}


uint64_t
interpreter_setting(const char *name, uint64_t fallback)
{
    char                *end;
    const char          *text;
    unsigned long long   n;

    text = env_get(agent.env, name);
    if (text == NULL) {
        text = getenv(name);
    }

    if (text == NULL || text[0] < '0' || text[0] > '9') {
        return fallback;
    }

    n = strtoull(text, &end, 10);

    return *end == '\0' ? n : fallback;
}


/* PYTHON_POOL_MAX_SIZE and the like; 0 is no limit. */

static unsigned
pool_setting(language lang, const char *what)
{
    char      name[64], *p;
    uint64_t  n;

    snprintf(name, sizeof(name), "%s_POOL_%s_SIZE", language_names[lang],
             what);
    for (p = name; *p != '\0'; p++) {
        if (*p >= 'a' && *p <= 'z') {
            *p -= 'a' - 'A';
        }
    }

    n = interpreter_setting(name, 0);

    return n > POOL_LIMIT && what[1] == 'I' ? POOL_LIMIT
           : n > INTERPRETER_CONTEXTS_MAX ? INTERPRETER_CONTEXTS_MAX
           : (unsigned) n;
}


uint64_t
pool_start_ms(void)
{
    uint64_t  ms;

    ms = interpreter_setting("INTERPRETER_SPAWN_TIMEOUT_MS", POOL_START_MS);

    return ms == 0 || ms > 3600000 ? POOL_START_MS : ms;
}


/* Where a program is, as the PATH of env has it. */

static int
pool_look_up(char *const *env, const char *name, char *out, size_t size)
{
    int          n;
    size_t       len;
    const char  *path, *end;
    struct stat  st;

    path = env_get(env, "PATH");

    while (path != NULL && *path != '\0') {
        end = strchrnul(path, ':');
        len = (size_t) (end - path);
        n = len == 0 ? 0 : snprintf(out, size, "%.*s/%s", (int) len, path,
                                    name);

        if (n > 0 && (size_t) n < size && out[0] == '/'
            && stat(out, &st) == 0 && S_ISREG(st.st_mode)
            && access(out, X_OK) == 0)
        {
            return 1;
        }

        path = *end == ':' ? end + 1 : end;
    }

    return 0;
}


int
pool_program(const pool *p, char *const *env, char *out, size_t size)
{
    size_t  i;

    for (i = 0; p->names[i] != NULL; i++) {
        if (pool_look_up(env, p->names[i], out, size)) {
            return 1;
        }
    }

    return 0;
}


/* The idle ones. */

void
pool_unlink(pool *p, executor *x)
{
    x->next->prev = x->prev;
    x->prev->next = x->next;
    p->count--;
}


static void
pool_took(pool *p, executor *x)
{
    if (x->begun != 0) {
        p->start_ms = uv_now(agent.loop) - x->begun;
        x->begun = 0;
    }
}


/* After as long as a start takes: where that is much, it is not in the way of
 * a first cell. */

void
pool_refill(pool *p)
{
    pool_plan(p, p->start_ms < POOL_REFILL_MS ? POOL_REFILL_MS
                 : p->start_ms > POOL_LATER_MS ? POOL_LATER_MS
                 : p->start_ms);
}


void
pool_is_ready(executor *x)
{
    pool  *p;

    p = &pools[x->node];
    pool_took(p, x);
    pool_refill(p);
}


static void
pool_event(executor *x, executor_what what, const char *text, size_t n)
{
    pool  *p;

    p = x->data;

    if (what == EXECUTOR_DEAD) {
        log_warn("an idle interpreter ended: %s", text);
        pool_unlink(p, x);
        p->failed++;

        if (x->renewing && x->tried && !x->copied) {
            /* In no copy would another one be of use, either. */
            p->failed = POOL_FAILED;

        } else if (x->renewing) {
            pool_plan(p, 1);
        }

    } else if (what == EXECUTOR_READY) {
        p->failed = 0;
        pool_took(p, x);
        pool_plan(p, 1);

    } else {
        return;
    }

    warm_look();
}


/* One at a time: the next is started when this one is ready. */

void
pool_fill(pool *p)
{
    char       program[4096];
    executor  *x;

    if (agent.stopping || p->count >= p->wanted || p->failed >= POOL_FAILED
        || (p->count != 0 && !p->idle.next->ready)
        || !pool_program(p, agent.env, program, sizeof(program)))
    {
        return;
    }

    x = executor_start(p->node, program, run_default_cwd(), agent.env,
                       pool_start_ms(), pool_event, p);
    if (x == NULL) {
        return;
    }

    x->next = p->idle.next;
    x->prev = &p->idle;
    x->next->prev = x;
    p->idle.next = x;
    p->count++;
}


static void
pool_tick(uv_timer_t *timer)
{
    pool_fill(timer->data);
}


static uint64_t
pool_idle_ms(void)
{
    uint64_t  ms;

    ms = interpreter_setting("INTERPRETER_POOL_IDLE_MS", POOL_IDLE_MS);

    return ms < 100 ? 100 : ms;
}


static void
pool_end_one(pool *p)
{
    executor  *x;

    x = p->idle.prev;
    pool_unlink(p, x);
    executor_end(x);
}


void
pool_end_idle(pool *p)
{
    while (p->count != 0) {
        pool_end_one(p);
    }
}


static void
pool_sweep(uv_timer_t *timer)
{
    pool      *p;
    uint64_t   now, idle;

    p = timer->data;
    now = uv_now(agent.loop);
    idle = pool_idle_ms();

    if (now - p->last_use < idle) {
        uv_timer_start(timer, pool_sweep, idle - (now - p->last_use), 0);
        return;
    }

    p->wanted = p->min;

    while (p->count > p->min) {
        pool_end_one(p);
    }
}


void
interpreter_env_changed(void)
{
    size_t  i;
    pool   *p;

    for (i = 0; i < POOL_COUNT; i++) {
        p = &pools[i];

        if (p->begun) {
            pool_configure(p);
            pool_end_idle(p);
            pool_plan(p, 1);
        }
    }
}


/* From the environment as it is now. */

void
pool_configure(pool *p)
{
    p->min = pool_setting(LANGUAGE_PYTHON, "MIN");

    if (p->node) {
        p->min = pool_setting(LANGUAGE_JAVASCRIPT, "MIN");
        if (pool_setting(LANGUAGE_TYPESCRIPT, "MIN") > p->min) {
            p->min = pool_setting(LANGUAGE_TYPESCRIPT, "MIN");
        }
    }

    if (p->kept && p->min == 0) {
        p->min = 1;
    }

    if (p->wanted < p->min) {
        p->wanted = p->min;
    }
}


void
pool_begin(pool *p)
{
    if (p->begun) {
        return;
    }

    p->begun = 1;
    p->idle.next = &p->idle;
    p->idle.prev = &p->idle;
    pool_configure(p);
    uv_timer_init(agent.loop, &p->fill);
    uv_timer_init(agent.loop, &p->sweep);
    p->fill.data = p;
    p->sweep.data = p;
}


void
pool_plan(pool *p, uint64_t ms)
{
    if (p->count < p->wanted && p->failed < POOL_FAILED) {
        uv_timer_start(&p->fill, pool_tick, ms, 0);
    }

    if (p->wanted > p->min && !uv_is_active((uv_handle_t *) &p->sweep)) {
        uv_timer_start(&p->sweep, pool_sweep, pool_idle_ms(), 0);
    }
}


void
pool_start(void)
{
    size_t  i;

    for (i = 0; i < POOL_COUNT; i++) {
        pool_begin(&pools[i]);
        pool_plan(&pools[i], 0);
    }
}


int
pool_needs_own(const json_t *env_vars)
{
    size_t       i;
    json_t      *v;
    const char  *name;

    static const char *const  prefixes[] = {
        "PATH=", "PYTHON", "NODE", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_",
        "TZ=", "HOME=", "VIRTUAL_ENV=", "UV_", "SSL_", "OPENSSL_"
    };

    json_object_foreach((json_t *) env_vars, name, v) {
        for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
            size_t  n = strcspn(prefixes[i], "=");

            if (strncmp(name, prefixes[i], n) == 0
                && (prefixes[i][n] == '\0' || name[n] == '\0'))
            {
                return 1;
            }
        }
    }

    return 0;
}


/* The one that has been there for longest. */

static executor *
pool_pick(pool *p)
{
    executor  *x;

    x = p->idle.prev;

    if (x == &p->idle) {
        return NULL;
    }

    pool_unlink(p, x);

    return x;
}


static void
pool_unavailable(const pool *p, error **err)
{
    if (p->node) {
        error_set(err, 501, "javascript_not_available",
                  "JavaScript interpreter not available: there is no node in "
                  "this sandbox's PATH. Use an image that has Node.js, or "
                  "install it");
    } else {
        error_set(err, 501, "python_not_available",
                  "Python interpreter not available: there is no python3 in "
                  "this sandbox's PATH. Use an image that has Python (a "
                  "-python variant), or install it");
    }
}


static executor *
pool_start_own(pool *p, const json_t *env_vars, executor_cb cb, void *data,
    error **err)
{
    char        program[4096], **env;
    error      *ignored;
    executor   *x;

    ignored = NULL;
    env = env_copy(agent.env);
    env_merge(&env, env_vars, 1, "env_vars", &ignored);
    error_free(ignored);

    x = NULL;

    if (!pool_program(p, env, program, sizeof(program))) {
        pool_unavailable(p, err);

    } else {
        x = executor_start(p->node, program, run_default_cwd(), env,
                           pool_start_ms(), cb, data);
        if (x == NULL) {
            error_set(err, 503, "interpreter_not_ready",
                      "No interpreter can be started: too many processes or "
                      "descriptors are in use");
        }
    }

    env_free(env);

    return x;
}


executor *
pool_take(language lang, const json_t *env_vars, executor_cb cb, void *data,
    error **err)
{
    pool       *p;
    unsigned    max;
    executor   *x;

    p = &pools[lang != LANGUAGE_PYTHON];
    pool_begin(p);

    max = pool_setting(lang, "MAX");
    if (max != 0 && pool_used[lang] >= max) {
        error_set(err, 500, "internal_error",
                  "Maximum %s executor limit reached (%u)",
                  language_names[lang], max);
        return NULL;
    }

    p->last_use = uv_now(agent.loop);
    p->failed = 0;
    x = NULL;

    if (!pool_needs_own(env_vars)) {
        x = pool_pick(p);

        if ((x == NULL || !x->ready) && p->wanted < POOL_IDLE_MAX) {
            p->wanted++;
        }
    }

    if (x != NULL) {
        x->cb = cb;
        x->data = data;
        warm_give(x);
    } else {
        x = pool_start_own(p, env_vars, cb, data, err);
    }

    if (x != NULL) {
        pool_used[lang]++;
    }

    /* While one starts for somebody, no other one does. */
    if (x != NULL && (x->ready || x->renewing)) {
        pool_refill(p);
    }

    return x;
}


void
pool_left(language lang)
{
    pool_used[lang]--;
}
