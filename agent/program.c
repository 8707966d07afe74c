/* Helper programs; see program.h. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/exec.h"
#include "agent/program.h"

#define PROGRAM_FLOOD_MS  1000      /* from SIGTERM to SIGKILL */


static void
program_free(program *p)
{
    run_watch_drop(&p->watch);
    run_release(p->of);
    free(p);
}


static void
program_event(run_watch *w, run_event event)
{
    run      *of;
    program  *p;

    p = w->data;
    of = p->of;

    if (event == RUN_OUTPUT && !p->flooded
        && (of->out.end > p->limit || of->err.end > p->limit))
    {
        p->flooded = 1;
        run_kill(of, PROGRAM_FLOOD_MS);
        return;
    }

    if (event != RUN_ENDED) {
        return;
    }

    p->over = 1;

    if (!p->starting) {
        p->done(p);
        program_free(p);
    }
}


program *
program_start(const program_spec *spec, program_done done, void *data,
    error **err)
{
    int       rc;
    run      *of;
    program  *p;

    p = calloc(1, sizeof(program));
    if (p == NULL) {
        abort();
    }

    of = run_new(spec->text, strlen(spec->text));
    of->cwd = spec->cwd == NULL ? NULL : strdup(spec->cwd);
    of->env = spec->env;
    of->give_fd = spec->fd;
    of->timeout_ms = spec->timeout_ms;

    if (spec->input != NULL) {
        run_set_input(of, spec->input, spec->input_len);
    }

    p->of = of;
    p->done = done;
    p->data = data;
    p->limit = spec->limit;
    p->starting = 1;
    run_watch_add(of, &p->watch, program_event, p);

    rc = exec_start(of, spec->session == NULL ? SESSION_NONE : spec->session,
                    err);
    p->starting = 0;

    if (rc == 0 && p->over) {
        /* It never began: the end was told at once. */
        error_set(err, of->failure ? of->failure->status : 500,
                  of->failure ? of->failure->code : "internal_error", "%s",
                  of->failure ? of->failure->message : "It did not start");
        rc = -1;
    }

    if (rc != 0) {
        program_free(p);
        return NULL;
    }

    return p;
}


void
program_cancel(program *p)
{
    p->cancelled = 1;
    run_kill(p->of, RUN_GRACE_MS);
}


void
program_output(program *p, spool *from, buffer *to)
{
    char      piece[4096];
    size_t    n, had;
    uint64_t  off;

    off = 0;
    had = to->len;

    while (to->len - had < p->limit
           && (n = spool_read(from, &off, piece, sizeof(piece))) != 0)
    {
        buffer_append(to, piece, n);
    }

    while (to->len > had && buffer_bytes(to)[to->len - 1] == '\n') {
        to->len--;
    }

    *buffer_room(to, 1) = '\0';
}


void
program_complaint(program *p, buffer *to)
{
    if (p->of->failure != NULL) {
        buffer_puts(to, p->of->failure->message);

    } else if (p->flooded) {
        buffer_printf(to, "it wrote more than %zu bytes", p->limit);

    } else if (p->of->timed_out) {
        buffer_printf(to, "it took more than %llu seconds",
                      (unsigned long long) (p->of->timeout_ms + 999) / 1000);

    } else {
        program_output(p, &p->of->err, to);

        if (to->len == 0) {
            buffer_printf(to, "exit code %d", p->of->exit_code);
        }
    }

    *buffer_room(to, 1) = '\0';
}
