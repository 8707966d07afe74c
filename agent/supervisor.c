/* The image's command; see supervisor.h. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/env.h"
#include "agent/shim.h"
#include "agent/supervisor.h"
#include "common/log.h"

#define SUPERVISOR_LINE     1024
#define SUPERVISOR_REST_MS  1000    /* for what the command leaves behind */

/* One of the two pipes that it writes to, cut into lines for the log. */
typedef struct {
    io           *w;
    const char   *name;
    size_t        len;
    char          line[SUPERVISOR_LINE];
} supervisor_pipe;

static shim             *supervisor_shim;
static supervisor_end    supervisor_ended;
static uv_timer_t        supervisor_timer;
static supervisor_pipe   supervisor_pipes[2] = {
    { .name = "stdout" }, { .name = "stderr" }
};


static void
supervisor_log(supervisor_pipe *p)
{
    log_debug("command %s: %.*s", p->name, (int) p->len, p->line);
    p->len = 0;
}


static void
supervisor_lines(supervisor_pipe *p, const char *text, size_t n)
{
    for (; n != 0; n--, text++) {
        if (*text == '\n') {
            supervisor_log(p);
            continue;
        }

        p->line[p->len++] = *text;
        if (p->len == sizeof(p->line)) {
            supervisor_log(p);
        }
    }
}


/* Its output is read in any case: it must not block. */

static void
supervisor_ready(io *w, int events)
{
    char              scratch[16 * 1024];
    ssize_t           n;
    supervisor_pipe  *p;

    p = w->data;
    n = read(w->fd, scratch, sizeof(scratch));

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n > 0) {
        if (log_enabled(LOG_DEBUG)) {
            supervisor_lines(p, scratch, (size_t) n);
        }
        return;
    }

    if (p->len != 0) {
        supervisor_log(p);
    }
    io_close(w);
    p->w = NULL;
}


static int
supervisor_open(supervisor_pipe *p)
{
    int  fds[2];

    if (pipe2(fds, O_CLOEXEC) != 0) {
        return -1;
    }

    p->w = io_open(agent.loop, fds[0], supervisor_ready, p);
    if (p->w == NULL) {
        close(fds[1]);
        return -1;
    }
    io_want(p->w, UV_READABLE);

    return fds[1];
}


static void
supervisor_over(int code)
{
    supervisor_end  end;

    end = supervisor_ended;
    supervisor_ended = NULL;

    if (code != 0 && end != NULL && !agent.stopping) {
        end(code);
    }
}


static void
supervisor_status(shim *s, const shim_msg *m)
{
    int  code;

    if (WIFSIGNALED(m->value)) {
        code = 128 + WTERMSIG(m->value);
        log_info("the command was ended by signal %d", WTERMSIG(m->value));

    } else {
        code = WEXITSTATUS(m->value);
        log_info("the command exited with %d", code);
    }

    if (agent.stopping) {
        /* What it has left goes as well. */
        shim_send(s, SHIM_KILL, 0, SUPERVISOR_REST_MS, NULL, 0);
        return;
    }

    supervisor_shim = NULL;
    shim_leave(s, !m->extra);
    supervisor_over(code);
}


static void
supervisor_event(shim *s, const shim_msg *m)
{
    if (m == NULL) {
        supervisor_shim = NULL;
        log_error("the command was lost: its supervisor was killed");
        supervisor_over(128 + SIGKILL);
        return;
    }

    switch (m->op) {
    case SHIM_SPAWNED:
        log_info("the command is process %d", (int) m->pid);
        break;

    case SHIM_FAILED:
        log_error("the command can't be started: %s%s",
                  m->extra ? "its directory: " : "", strerror(m->value));
        supervisor_shim = NULL;
        shim_leave(s, 1);
        supervisor_over(1);
        break;

    case SHIM_EXIT:
        supervisor_status(s, m);
        break;

    case SHIM_GONE:
        supervisor_shim = NULL;
        shim_quit(s);
        break;

    default:
        break;
    }
}


/* As execvp() does, but in the command's own PATH.  NULL: errno says why. */

static char *
supervisor_find(const char *name, char *const *env, const char *cwd)
{
    size_t       len;
    const char  *path, *p, *end;
    struct stat  st;
    static char  found[PATH_MAX];

    if (strchr(name, '/') != NULL) {
        return (char *) name;
    }

    path = env_get(env, "PATH");
    errno = ENOENT;

    for (p = path != NULL ? path : "/usr/bin:/bin"; ; p = end + 1) {
        end = p + strcspn(p, ":");
        len = (size_t) (end - p);

        if (len == 0) {
            p = cwd;
            len = strlen(cwd);
        }

        if (len + strlen(name) + 2 <= sizeof(found)) {
            snprintf(found, sizeof(found), "%.*s/%s", (int) len, p, name);
            if (stat(found, &st) == 0 && S_ISREG(st.st_mode)
                && access(found, X_OK) == 0)
            {
                return found;
            }
        }

        if (*end == '\0') {
            errno = ENOENT;
            return NULL;
        }
    }
}


static int
supervisor_spawn(char *const *argv, char *const *env, const char *cwd,
    int raw)
{
    int      i, rc, fds[4];
    char   **args, **vars;
    size_t   n;

    for (n = 0; argv[n] != NULL; n++) { /* count */ }
    args = calloc(n + 1, sizeof(char *));
    if (args == NULL) {
        return -1;
    }

    memcpy(args, argv, n * sizeof(char *));
    args[0] = supervisor_find(argv[0], env, cwd);
    if (args[0] == NULL) {
        free(args);
        return -1;
    }

    vars = env_copy(env);
    env_set(&vars, "SANDBOX_STARTED", "true");
    fds[0] = shim_spec(cwd, args, vars);
    env_free(vars);
    free(args);

    fds[1] = raw ? 0 : open("/dev/null", O_RDONLY | O_CLOEXEC);
    fds[2] = raw ? 1 : supervisor_open(&supervisor_pipes[0]);
    fds[3] = raw ? 2 : supervisor_open(&supervisor_pipes[1]);

    rc = -1;

    if (fds[0] != -1 && fds[1] != -1 && fds[2] != -1 && fds[3] != -1) {
        supervisor_shim = shim_take(supervisor_event, NULL);
        if (supervisor_shim != NULL) {
            rc = shim_send(supervisor_shim, SHIM_SPAWN, 0, 0, fds, 4);
        }
    }

    for (i = 0; i < 4; i++) {
        if (fds[i] > 2) {
            close(fds[i]);
        }
    }

    return rc;
}


static void
supervisor_give_up(uv_timer_t *timer)
{
    supervisor_over(1);
}


void
supervisor_start(char *const *argv, char *const *env, const char *cwd,
    int raw, supervisor_end end)
{
    supervisor_ended = end;
    uv_timer_init(agent.loop, &supervisor_timer);

    if (supervisor_spawn(argv, env, cwd, raw) != 0) {
        log_error("%.200s can't be started: %s", argv[0], strerror(errno));
        uv_timer_start(&supervisor_timer, supervisor_give_up, 0, 0);
    }
}


void
supervisor_signal(int sig)
{
    if (supervisor_shim != NULL) {
        shim_send(supervisor_shim, SHIM_SIGNAL, 0, sig, NULL, 0);
    }
}


static void
supervisor_expired(uv_timer_t *timer)
{
    if (supervisor_shim != NULL) {
        log_warn("the command didn't end in time");
        shim_send(supervisor_shim, SHIM_KILL, 0, 0, NULL, 0);
    }
}


shim *
supervisor_stop(int sig, uint64_t grace_ms)
{
    if (supervisor_shim == NULL) {
        return NULL;
    }

    supervisor_signal(sig);
    uv_timer_start(&supervisor_timer, supervisor_expired, grace_ms, 0);

    return supervisor_shim;
}
