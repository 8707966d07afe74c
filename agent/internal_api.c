/*
 * What only sandboxd asks: the control API leads to none of these routes.
 *
 *   PUT /internal/env        {"seq", "env"}: what everything that starts from
 *                            now on gets, and the default session; the newest
 *                            seq holds
 *   GET /internal/processes  {"running"}: how many processes run
 *   PUT /internal/restore    a boot object: the machine goes on after a sleep
 *                            in which its memory was kept; its key, epoch,
 *                            environment, clock and entropy hold from now on,
 *                            and its name, if it is another one's: of a
 *                            memory that others have as well, but for
 *                            "unique": true
 *   POST /internal/warm      {"copies", "javascript"}: interpreters for whoever
 *                            gets this machine, or copies of it
 *   POST /internal/sync      what was written is on the disk
 *   POST /internal/stop      as SIGTERM does: the end, in order
 */

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/boot.h"
#include "agent/env.h"
#include "agent/file_job.h"
#include "agent/http.h"
#include "agent/init.h"
#include "agent/interpreter.h"
#include "agent/process.h"
#include "agent/session.h"
#include "agent/shell_pool.h"
#include "agent/shell_text.h"
#include "common/log.h"

#define INTERNAL_ENV_MAX   (256 * 1024)

static json_int_t  internal_seq;        /* of what was told last */


/* A session's shell is told what has changed; the next one will know. */

static void
internal_tell(session *s, buffer *b)
{
    run  *of;

    if (s != NULL && session_lives(s) && b->len != 0) {
        of = run_new(buffer_bytes(b), b->len);
        of->foreground = 1;
        session_submit(s, of);
        run_release(of);
    }

    buffer_free(b);
}


/* The default session lives on. */

static void
internal_export(json_t *old, json_t *new)
{
    json_t      *v;
    buffer       b;
    const char  *name;

    memset(&b, 0, sizeof(b));

    json_object_foreach(new, name, v) {
        if (!json_equal(json_object_get(old, name), v)) {
            buffer_printf(&b, "\\builtin export %s=", name);
            shell_quote(&b, json_string_value(v));
            buffer_puts(&b, "\n");
        }
    }

    json_object_foreach(old, name, v) {
        if (json_object_get(new, name) == NULL) {
            buffer_printf(&b, "\\builtin unset -v %s\n", name);
        }
    }

    internal_tell(session_find("default"), &b);
}


/* What a shell knows of itself is another machine's. */

static void
internal_rename(session *s, void *name)
{
    buffer    b;
    unsigned  seed;

    memset(&b, 0, sizeof(b));
    (void) !getrandom(&seed, sizeof(seed), 0);
    buffer_puts(&b, "HOSTNAME=");
    shell_quote(&b, name);
    buffer_printf(&b, " RANDOM=%u\n", seed >> 8);
    internal_tell(s, &b);
}


static void
internal_renamed(char *name)
{
    session_each(internal_rename, name);
    shell_pool_renew();
}


/* Returns 1 if it is another one than before. */

static int
internal_take_env(json_t *vars, error **err)
{
    int      changed;
    json_t  *all;
    char   **env;

    if (agent.own_env == NULL) {
        agent.own_env = env_copy(agent.env);
    }

    env = env_copy(agent.own_env);
    all = json_is_object(vars) ? json_incref(vars) : json_object();

    if (env_merge(&env, all, 0, "env", err) != 0) {
        env_free(env);
        json_decref(all);
        return -1;
    }

    env_free(agent.env);
    agent.env = env;

    changed = !json_equal(agent.told_env, all);
    internal_export(agent.told_env, all);
    json_decref(agent.told_env);
    agent.told_env = all;

    return changed;
}


static void
internal_env_body(http_request *r, char *body, size_t len)
{
    int          changed;
    error       *err;
    json_t      *o;
    json_int_t   seq;

    if (http_json_object(r, body, len, &o) != 0) {
        return;
    }

    err = NULL;
    seq = json_integer_value(json_object_get(o, "seq"));

    if (seq > internal_seq) {
        changed = internal_take_env(json_object_get(o, "env"), &err);
        if (changed == -1) {
            json_decref(o);
            api_error(r, err);
            return;
        }

        /* Those that wait are of use as long as it is the same. */
        if (changed) {
            interpreter_env_changed();
        }
        internal_seq = seq;
    }

    json_decref(o);
    http_send_json(r, 200, json_pack("{s:b}", "success", 1));
}


static void
internal_env_handler(http_request *r)
{
    http_read_body(r, INTERNAL_ENV_MAX, internal_env_body);
}


static void
internal_processes(http_request *r)
{
    http_send_json(r, 200, json_pack("{s:i}", "running",
                                     (int) process_running()));
}


/* Nothing is changed if anything of it is wrong. */

static int
internal_take_boot(json_t *o, error **err)
{
    int          changed, seeded;
    char       **former;
    vm_config    vm;
    const char  *key, *name;

    key = json_string_value(json_object_get(o, "key"));

    if (key == NULL || !first_line_key_valid(key, strlen(key))) {
        return error_set_field(err, 400, "invalid_boot", "key", KEY_LEN,
                               "key must be %d lower-case hex digits",
                               KEY_LEN);
    }

    name = json_string_value(json_object_get(o, "hostname"));

    /* Whoever hasn't heard the answer asks again; the time in it is old then. */
    if (name != NULL && strcmp(name, agent.hostname) == 0
        && strcmp(key, agent.key) == 0
        && json_integer_value(json_object_get(o, "epoch"))
           == (json_int_t) agent.epoch)
    {
        return 0;
    }

    if (vm_config_parse(&vm, o, err) != 0) {
        return -1;
    }

    former = env_copy(agent.env);
    changed = internal_take_env(json_object_get(o, "env"), err);

    if (changed == -1) {
        env_free(former);
        return -1;
    }

    /* A copy of another machine, or of one that was nobody's. */
    if (name != NULL && strlen(name) < sizeof(agent.hostname)
        && strcmp(name, agent.hostname) != 0)
    {
        strcpy(agent.hostname, name);
        seeded = init_again(&vm, name) == 0;
        /* Their chance is another machine's, too. */
        interpreter_goes_on(former,
            json_is_true(json_object_get(o, "unique")), seeded);
        internal_renamed(agent.hostname);

    } else {
        (void) init_again(&vm, NULL);

        if (changed) {
            interpreter_env_changed();
        }
    }

    env_free(former);

    memcpy(agent.key, key, sizeof(agent.key));
    agent.epoch = (unsigned) json_integer_value(json_object_get(o, "epoch"));
    internal_seq = 0;
    log_info("init: goes on, epoch %u", agent.epoch);

    return 0;
}


static void
internal_restore_body(http_request *r, char *body, size_t len)
{
    error   *err;
    json_t  *o;

    if (http_json_object(r, body, len, &o) != 0) {
        return;
    }

    err = NULL;

    if (internal_take_boot(o, &err) != 0) {
        json_decref(o);
        api_error(r, err);
        return;
    }

    json_decref(o);
    http_send_json(r, 200, json_pack("{s:b}", "success", 1));
}


static void
internal_restore(http_request *r)
{
    http_read_body(r, BOOT_MAX, internal_restore_body);
}


static void
internal_sync_run(file_job *job)
{
    sync();
}


static void
internal_sync_done(file_job *job)
{
    http_request  *r;

    r = job->r;
    file_job_end(job);
    http_send_json(r, 200, json_pack("{s:b}", "success", 1));
}


static void
internal_sync_free(file_job *job)
{
    free(job);
}


static void
internal_sync(http_request *r)
{
    file_job  *job;

    job = calloc(1, sizeof(file_job));
    if (job == NULL) {
        abort();
    }

    file_job_init(job, r, internal_sync_free);
    file_job_start(job, internal_sync_run, internal_sync_done);
}


static void
internal_stop(http_request *r)
{
    http_send_json(r, 200, json_pack("{s:b}", "success", 1));
    kill(getpid(), SIGTERM);
}


void
internal_routes(router *t)
{
    router_add(t, METHOD_PUT, "/internal/env", internal_env_handler);
    router_add(t, METHOD_GET, "/internal/processes", internal_processes);
    router_add(t, METHOD_PUT, "/internal/restore", internal_restore);
    router_add(t, METHOD_POST, "/internal/warm", warm_handler);
    router_add(t, METHOD_POST, "/internal/sync", internal_sync);
    router_add(t, METHOD_POST, "/internal/stop", internal_stop);
}
