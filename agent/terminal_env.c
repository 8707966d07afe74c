/*
 * What a terminal starts with: the exported environment and the directory of
 * its session's shell, asked for by a command that has its turn there like any
 * other, and the shell that is to run.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/env.h"
#include "agent/session.h"
#include "agent/terminal_internal.h"

#define TERMINAL_ENV_MAX   (1024 * 1024)
#define TERMINAL_ENV_VARS  8192

/* In a subshell, so that nothing of it stays; without env(1), or with one that
 * doesn't know -0, bash tells what it can. */
#define TERMINAL_ENV_COMMAND                                                  \
    "(\\builtin set +eux; \\builtin command -p env -0 && \\builtin exit\n"    \
    "IFS=$' \\n'; for REPLY in $(\\builtin compgen -e); do "                  \
    "\\builtin printf '%s=%s\\0' \"$REPLY\" \"${!REPLY}\"; done)"

/* The terminal has its own. */
static const char *const  terminal_env_not[] = {
    "_", "SHLVL", "COLUMNS", "LINES", "TERMCAP", "SANDBOX_JOB"
};


/* NAME=value, each with a NUL, as an environment; NULL if it is none. */

static char **
terminal_env_parse(char *p, size_t n)
{
    char    **env, *end, *next;
    size_t    count, i;

    env = calloc(TERMINAL_ENV_VARS + 1, sizeof(char *));
    if (env == NULL) {
        abort();
    }

    end = p + n;

    for (count = 0; p < end && count < TERMINAL_ENV_VARS; p = next + 1) {
        next = memchr(p, '\0', (size_t) (end - p));
        if (next == NULL) {
            break;
        }
        if (strchr(p, '=') != NULL && p[0] != '=') {
            env[count++] = strdup(p);
        }
    }

    if (count == 0) {
        env_free(env);
        return NULL;
    }

    for (i = 0; i < sizeof(terminal_env_not) / sizeof(char *); i++) {
        env_set(&env, terminal_env_not[i], NULL);
    }

    return env;
}


static char **
terminal_env_read(run *of)
{
    char      *text, **env;
    size_t     n, len;
    uint64_t   off;

    text = malloc(TERMINAL_ENV_MAX);
    if (text == NULL) {
        abort();
    }

    off = 0;
    for (len = 0; len < TERMINAL_ENV_MAX; len += n) {
        n = spool_read(&of->out, &off, text + len, TERMINAL_ENV_MAX - len);
        if (n == 0) {
            break;
        }
    }

    env = len == TERMINAL_ENV_MAX ? NULL : terminal_env_parse(text, len);
    free(text);

    return env;
}


static int
terminal_is_program(const char *path)
{
    struct stat  st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode)
           && access(path, X_OK) == 0;
}


/* Where a shell that was asked for is; malloc()ed, NULL if nowhere. */

static char *
terminal_shell_path(const char *name, char *const *env)
{
    char         path[4096];
    size_t       n;
    const char  *p;

    if (name[0] == '/') {
        return terminal_is_program(name) ? strdup(name) : NULL;
    }

    p = env_get(env, "PATH");
    if (p == NULL) {
        p = env_get(agent.env, "PATH");
    }

    while (p != NULL && *p != '\0') {
        n = strcspn(p, ":");

        if (p[0] == '/' && n + strlen(name) + 2 <= sizeof(path)) {
            snprintf(path, sizeof(path), "%.*s/%s", (int) n, p, name);
            if (terminal_is_program(path)) {
                return strdup(path);
            }
        }

        p += n;
        p += *p == ':';
    }

    return NULL;
}


static void
terminal_answered(terminal *t, char **env, const char *cwd)
{
    char   *path;
    error  *err;

    if (!run_is_dir(cwd)) {
        cwd = run_default_cwd();
    }

    if (t->shell != NULL) {
        path = terminal_shell_path(t->shell, env);
    } else {
        path = strdup(run_bash() == NULL ? "/bin/sh" : run_bash());
    }

    if (path == NULL) {
        err = NULL;
        error_set_field(&err, 400, "validation_failed", "shell", 0,
                        "shell '%.200s' is not an executable file here",
                        t->shell);
        terminal_fail(t, err);
        return;
    }

    env_set(&env, "TERM", "xterm-256color");
    env_set(&env, "PWD", cwd);
    terminal_start(t, cwd, path, env);
    env_free(env);
    free(path);
}


static void
terminal_asked(run_watch *w, run_event event)
{
    run       *of;
    char     **env;
    error     *err;
    session   *s;
    terminal  *t;

    if (event != RUN_ENDED) {
        return;
    }

    t = w->data;
    of = t->of;
    t->of = NULL;
    run_hold(of);
    run_watch_drop(w);

    err = NULL;
    env = NULL;
    s = session_find(t->session);

    if (t->late) {
        error_set(&err, 503, "resource_busy", "The session is busy: its "
                  "environment was not to be had within %d s",
                  TERMINAL_START_MS / 1000);
        err->retry_after = 1;

    } else if (of->failure != NULL) {
        error_set(&err, of->failure->status, of->failure->code, "%s",
                  of->failure->message);

    } else if (s == NULL || (env = terminal_env_read(of)) == NULL) {
        error_set(&err, 500, "process_error",
                  "The session's environment can't be read");
    }

    run_release(of);

    if (err != NULL) {
        terminal_fail(t, err);
    } else {
        terminal_answered(t, env, session_pwd(s));
    }
}


void
terminal_ask(terminal *t)
{
    run      *of;
    error    *err;
    session  *s;

    err = NULL;
    s = session_get(t->session, NULL, &err);
    if (s == NULL) {
        terminal_fail(t, err);
        return;
    }

    of = run_new(TERMINAL_ENV_COMMAND, strlen(TERMINAL_ENV_COMMAND));
    of->foreground = 1;
    t->of = of;
    run_watch_add(of, &t->watch, terminal_asked, t);

    session_submit(s, of);
    run_release(of);
}


void
terminal_ask_late(terminal *t)
{
    run_kill(t->of, 0);
}
