/* How an interpreter process is started, and told that it goes on in another
 * machine; see interpreter_executor.h. */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/interpreter.h"


void
executor_start_expired(uv_timer_t *timer)
{
    executor_die(timer->data, "The interpreter did not start in time");
}


void
executor_renew_expired(uv_timer_t *timer)
{
    executor_die(timer->data, "The interpreter did not take in time what is "
                 "different now");
}


/* For Node.js it is a library with its script behind it, at which it stands;
 * the library is loaded when there is a use for it. */

static int
executor_script(int node)
{
    int          fd;
    size_t       i, n;
    const char  *part[2] = { interpreter_python, interpreter_python_rich };

    fd = memfd_create("executor", MFD_CLOEXEC);
    if (fd == -1) {
        return -1;
    }

    n = 0;

    if (node) {
        part[0] = interpreter_javascript;
        n = (size_t) (interpreter_seed_end - interpreter_seed);

        if (write(fd, interpreter_seed, n) != (ssize_t) n) {
            close(fd);
            return -1;
        }
    }

    for (i = 0; i < (node ? 1 : 2); i++) {
        if ((i > 0 && write(fd, "", 1) != 1)
            || write(fd, part[i], strlen(part[i]))
               != (ssize_t) strlen(part[i]))
        {
            close(fd);
            return -1;
        }
    }

    lseek(fd, (off_t) n, SEEK_SET);

    return fd;
}


/* A pipe of which we keep one end; the other one is put to *theirs. */

static io *
executor_pipe(executor *x, int we_write, int *theirs)
{
    int  fds[2];
    io  *w;

    if (pipe2(fds, O_CLOEXEC) != 0) {
        return NULL;
    }

    *theirs = fds[!we_write];
    w = io_open(agent.loop, fds[we_write], we_write ? executor_writable
                                                    : executor_readable, x);
    if (w != NULL && !we_write) {
        io_want(w, UV_READABLE);
    }

    return w;
}


static int
executor_spawn(executor *x, const char *program, const char *cwd,
    char *const *env)
{
    int    fds[8], stop[2], i, n, rc;
    char  *argv[5];

    for (i = 0; i < 8; i++) {
        fds[i] = -1;
    }

    i = 0;
    argv[i++] = (char *) program;

    if (x->node) {
        /* A callback that is stopped in its middle is no reason to abort. */
        argv[i++] = (char *) "--no-force-async-hooks-checks";
        argv[i++] = (char *) "-e";
        argv[i++] = (char *) "require('vm').runInThisContext(require('fs')"
            ".readFileSync(242,'utf8'),{filename:'<executor>'})(require)";
    } else {
        argv[i++] = (char *) "-c";
        argv[i++] = (char *) "s=__import__('os').pread(242,1<<20,0)"
            ".split(b'\\0');exec(compile(s[0],'<executor>','exec'),"
            "{'__name__':'executor','RICH':s[1]})";
    }

    argv[i] = NULL;

    n = 7;
    rc = -1;
    fds[0] = shim_spec(cwd, argv, env);
    fds[1] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    x->out = executor_pipe(x, 0, &fds[2]);
    x->err = executor_pipe(x, 0, &fds[3]);
    x->requests = executor_pipe(x, 1, &fds[4]);
    x->events = executor_pipe(x, 0, &fds[5]);
    fds[6] = executor_script(x->node);

    if (x->node && pipe2(stop, O_CLOEXEC | O_NONBLOCK) == 0) {
        fds[7] = stop[0];
        x->stop_fd = stop[1];
        n = 8;
    }

    if (fds[0] != -1 && fds[1] != -1 && fds[6] != -1 && x->out != NULL
        && x->err != NULL && x->requests != NULL && x->events != NULL
        && (!x->node || n == 8))
    {
        rc = shim_send(x->sh, SHIM_SPAWN, 0, 0, fds, n);
    }

    for (i = 0; i < 8; i++) {
        executor_close_fd(&fds[i]);
    }

    return rc;
}


executor *
executor_start(int node, const char *program, const char *cwd,
    char *const *env, uint64_t wait_ms, executor_cb cb, void *data)
{
    executor  *x;

    x = calloc(1, sizeof(executor));
    if (x == NULL) {
        abort();
    }

    x->node = node;
    x->wait_ms = wait_ms;
    x->begun = uv_now(agent.loop);
    x->stop_fd = -1;
    x->kids_fd = -1;
    x->orphans_fd = -1;
    x->cb = cb;
    x->data = data;
    x->sh = shim_take(executor_shim_event, x);

    if (x->sh == NULL || executor_spawn(x, program, cwd, env) != 0) {
        executor_end(x);
        return NULL;
    }

    executor_timer_start(x, &x->timer, wait_ms, executor_start_expired);

    return x;
}


void
executor_renew(executor *x, json_t *request, uint64_t ms)
{
    x->ready = 0;
    x->renewing = 1;
    executor_timer_start(x, &x->timer, ms, executor_renew_expired);
    json_object_set_new(request, "op", json_string("renew"));
    executor_send(x, request);
}


void
executor_renewed(executor *x)
{
    char  problem[INTERPRETER_PROBLEM_MAX + 1];

    if (x->ev.len != 0) {
        executor_problem(x, problem);
        executor_die(x, problem);
        return;
    }

    x->renewing = 0;
    x->ready = 1;
    executor_timer_stop(&x->timer);
    x->cb(x, EXECUTOR_READY, NULL, 0);
}
