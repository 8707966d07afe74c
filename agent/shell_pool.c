/* Ready shells; see shell_pool.h. */

#include <stdint.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/env.h"
#include "agent/shell_pool.h"
#include "agent/shim.h"
#include "common/log.h"

#define POOL_MAX      8
#define POOL_FILL_MS  2         /* not while a request is waiting, */
#define POOL_RENEW_MS 500       /* nor at once in a machine that is another one
                                   now, which has been woken for something */
#define POOL_LOOK_MS  20
#define POOL_WAIT_MS  5000      /* nor while the first one of a shell that
                                   nobody was ready for is: both take longer
                                   then */
#define POOL_IDLE_MS  10000     /* without use: one less */

static shell       *pool[POOL_MAX];
static unsigned     pool_count, pool_wanted;
static uint64_t     pool_env;           /* what they were started with */
static uint64_t     pool_used;          /* loop time of the last use */
static shell       *pool_late;          /* has just been started for somebody */
static int          pool_running;
static uv_timer_t   pool_timer;

static void pool_tick(uv_timer_t *timer);


/* Which environment a shell has been started with (FNV-1a). */

static uint64_t
pool_env_hash(void)
{
    size_t       i;
    uint64_t     hash;
    const char  *p;

    hash = 14695981039346656037u;

    for (i = 0; agent.env[i] != NULL; i++) {
        for (p = agent.env[i]; ; p++) {
            hash = (hash ^ (unsigned char) *p) * 1099511628211u;
            if (*p == '\0') {
                break;
            }
        }
    }

    return hash;
}


/* Variables that mean something else to a bash that runs than to one that
 * starts. */

static int
pool_env_fits(const json_t *env)
{
    size_t              i;
    json_t             *v;
    const char         *name;
    static const char  *const  special[] = {
        "IFS", "PWD", "OLDPWD", "SHLVL", "SHELLOPTS", "POSIXLY_CORRECT",
        "POSIX_PEDANTIC", "PROMPT_COMMAND", "GLOBIGNORE", "HISTFILE",
        "HISTSIZE", "HISTFILESIZE", "HISTCONTROL", "HISTIGNORE",
        "HISTTIMEFORMAT", "IGNOREEOF", "LINENO", "RANDOM", "SECONDS",
        "OPTIND", "OPTERR", "PPID", "UID", "EUID", "PS1", "PS2", "PS4",
        "TMOUT", "ENV", "MAIL", "MAILCHECK", "MAILPATH", "COLUMNS", "LINES",
        "TERM", "FUNCNAME", "GROUPS", "DIRSTACK", "SRANDOM", "EPOCHSECONDS",
        "EPOCHREALTIME", "HOSTNAME", "HOSTTYPE", "MACHTYPE", "OSTYPE",
        "EMACS", "INSIDE_EMACS", "_"
    };

    json_object_foreach((json_t *) env, name, v) {
        if (json_is_null(v) || strncmp(name, "BASH", 4) == 0
            || strncmp(name, "COMP", 4) == 0)
        {
            return 0;
        }

        for (i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
            if (strcmp(name, special[i]) == 0) {
                return 0;
            }
        }
    }

    return 1;
}


static void
pool_gone(void *data)
{
}


static void
pool_drop(void)
{
    shell_destroy(pool[--pool_count], NULL, pool_gone, NULL);
}


static void
pool_drop_all(void)
{
    while (pool_count != 0) {
        pool_drop();
    }
}


static void
pool_schedule(uint64_t ms)
{
    if (!pool_running) {
        uv_timer_init(agent.loop, &pool_timer);
        pool_running = 1;
    }

    uv_timer_start(&pool_timer, pool_tick, ms, 0);
}


static int
pool_add(void)
{
    char    **env;
    error    *err;
    shell    *sh;
    const char  *cwd;

    err = NULL;
    cwd = run_default_cwd();
    env = env_copy(agent.env);
    env_set(&env, "PWD", cwd);
    sh = shell_start(NULL, NULL, "", cwd, env, &err);
    env_free(env);

    if (sh == NULL) {
        error_free(err);
        return -1;
    }

    pool[pool_count++] = sh;

    return 0;
}


/* One at a time: fills, or lets go of what nobody has asked for. */

static void
pool_tick(uv_timer_t *timer)
{
    uint64_t  idle;

    if (agent.stopping) {
        return;
    }

    idle = uv_now(agent.loop) - pool_used;

    if (idle >= POOL_IDLE_MS && pool_wanted != 0) {
        pool_wanted--;
        pool_used = uv_now(agent.loop);
        idle = 0;
    }

    if (pool_late != NULL && shell_busy(pool_late) && idle < POOL_WAIT_MS) {
        pool_schedule(POOL_LOOK_MS);
        return;
    }

    pool_late = NULL;

    if (pool_count > pool_wanted) {
        pool_drop();

    } else if (pool_count < pool_wanted && pool_add() != 0) {
        pool_wanted = pool_count;
    }

    if (pool_count != pool_wanted) {
        pool_schedule(POOL_FILL_MS);

    } else if (pool_wanted != 0) {
        pool_schedule(POOL_IDLE_MS - idle);
    }
}


shell *
shell_pool_get(session *s, const shell_owner *owner, const char *name,
    const char *from, const char *cwd, const json_t *env, error **err)
{
    char      **all;
    shell      *sh;
    uint64_t    hash;

    hash = pool_env_hash();

    if (hash != pool_env) {
        pool_drop_all();
        pool_env = hash;
    }

    pool_used = uv_now(agent.loop);

    if (pool_env_fits(env)) {

        /* Nobody was ready: keep more of them from now on. */
        if (pool_count == 0 && pool_wanted < POOL_MAX) {
            pool_wanted++;
        }

        pool_schedule(shim_spare_ms(POOL_FILL_MS));

        if (pool_count != 0) {
            sh = pool[--pool_count];
            shell_adopt(sh, s, owner, name, cwd, env);
            return sh;
        }
    }

    all = env_copy(agent.env);
    env_merge(&all, env, 1, "env", NULL);
    env_set(&all, "PWD", from);
    sh = shell_start(s, owner, name, from, all, err);
    env_free(all);
    pool_late = sh;

    if (sh != NULL && from != cwd) {
        shell_adopt(sh, s, owner, name, cwd, NULL);
    }

    return sh;
}


void
shell_pool_start(void)
{
    pool_env = pool_env_hash();
    pool_wanted = 1;
    pool_used = uv_now(agent.loop);

    /* Or not before it is asked for. */
    (void) pool_add();
    pool_schedule(POOL_IDLE_MS);
}


void
shell_pool_renew(void)
{
    pool_drop_all();

    if (pool_wanted != 0) {
        pool_schedule(POOL_RENEW_MS);
    }
}


void
shell_pool_lost(shell *sh)
{
    unsigned  i;

    if (pool_late == sh) {
        pool_late = NULL;
    }

    for (i = 0; i < pool_count; i++) {
        if (pool[i] == sh) {
            pool[i] = pool[--pool_count];
            log_debug("a waiting shell died");
            return;
        }
    }
}
