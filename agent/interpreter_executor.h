/*
 * One interpreter process under a shim: its descriptors, its requests, its
 * events, how it is interrupted and how it ends.  It runs one cell at a time.
 *
 * An executor belongs to whom its callback is: the pool, then one context.
 * After EXECUTOR_DEAD it is gone, and so it is after executor_end().
 */

#ifndef AGENT_INTERPRETER_EXECUTOR_H
#define AGENT_INTERPRETER_EXECUTOR_H

#include <jansson.h>
#include <stdint.h>
#include <uv.h>

#include "agent/interpreter_event.h"
#include "agent/io.h"
#include "agent/shim.h"
#include "common/buffer.h"

typedef struct executor executor;

typedef enum {
    EXECUTOR_READY,         /* it takes requests */
    EXECUTOR_OPENED,        /* p: why not, or "" */
    EXECUTOR_STDOUT,        /* p, n: bytes */
    EXECUTOR_STDERR,
    EXECUTOR_RESULT,        /* p, n: members of a result as a JSON object */
    EXECUTOR_ERROR,         /* those of an error */
    EXECUTOR_DONE,          /* after all output of the run */
    EXECUTOR_REST,          /* nothing more is there now */
    EXECUTOR_DEAD           /* p: why, in a sentence */
} executor_what;

typedef void (*executor_cb)(executor *x, executor_what what, const char *p,
    size_t n);

struct executor {
    executor     *next, *prev;      /* its owner's */
    executor_cb   cb;
    void         *data;
    int           node;
    int           ready;            /* READY was told */
    int           renewing;         /* it isn't any more, until it says so */
    int           copied;           /* others have begun as the same */
    int           tried;            /* what each copy does was done once */
    json_t       *renewal;          /* to be taken before it is given away */
    uint64_t      begun;            /* by the loop's clock */
    uint64_t      wait_ms;          /* for READY, and for OPENED */

    shim         *sh;
    pid_t         pid;
    io           *requests, *events, *out, *err;
    int           stop_fd;          /* who a loop is stopped by, -1: none */
    int           kids_fd, orphans_fd;
    int           company;          /* processes of earlier cells are there */
    int           unsure;           /* that wasn't looked at yet */
    int           marked;
    buffer        pending;          /* of requests, not yet written */
    buffer        in;               /* of events, not yet told */
    interpreter_event  ev;          /* the first of them, if ev_len isn't 0 */
    long          ev_len;
    size_t        drained;          /* output read while it waits */
    int           clean;            /* the pipes are empty since its arrival */
    char          early[512];       /* what it said before it was ready */
    size_t        early_len;

    uint32_t      run;              /* 0: none */
    int           opening;
    int           paused;
    int           pumping;
    int           gone;             /* freed when the pump is left */
    int           exited;
    int           wait_status;
    int           killed;           /* it didn't stop when interrupted */

    uv_timer_t   *timer;            /* of the start, of an interrupt */
    uv_timer_t   *again;            /* to go on pumping */
    int           signals;          /* on their way */
    int           tries;            /* of an interrupt; 0: there is none */
    int           done;             /* DONE waits for the signals */
    int           syncing;          /* and until they have been seen */
};

/*
 * Starts program (an absolute path) with env in cwd.  NULL: no process can be
 * had.  READY or DEAD comes later, within wait_ms; so does OPENED or DEAD after
 * executor_open().
 */
executor *executor_start(int node, const char *program, const char *cwd,
    char *const *env, uint64_t wait_ms, executor_cb cb, void *data);

/* One request at a time: OPENED answers the first, DONE the second.  The
 * request gets the members op and id; it is stolen. */
void executor_open(executor *x, json_t *request);
void executor_run(executor *x, uint32_t run, json_t *request);

/* Before it is opened, in a machine that has become another one: READY is told
 * once more when it has taken what is different; or DEAD, within ms. */
void executor_renew(executor *x, json_t *request, uint64_t ms);

/* Ends the cell that runs: SIGINT, again and again, and after 5 s the whole
 * process. */
void executor_interrupt(executor *x);

/* Nothing but DEAD is told from then on until it is resumed. */
void executor_pause(executor *x);
void executor_resume(executor *x);

/* Kills it and all that it started. */
void executor_end(executor *x);

/* For interpreter_start.c and interpreter_interrupt.c. */
void executor_problem(const executor *x,
    char problem[INTERPRETER_PROBLEM_MAX + 1]);
void executor_renewed(executor *x);
void executor_send(executor *x, json_t *request);
void executor_done(executor *x);
void executor_start_expired(uv_timer_t *timer);
void executor_renew_expired(uv_timer_t *timer);
void executor_timer_stop(uv_timer_t **timer);
void executor_readable(io *w, int events);
void executor_writable(io *w, int events);
void executor_shim_event(shim *s, const shim_msg *m);
void executor_timer_start(executor *x, uv_timer_t **timer, uint64_t ms,
    uv_timer_cb cb);
void executor_close_fd(int *fd);

/* why NULL: as it is known. */
void executor_die(executor *x, const char *why);

#endif
