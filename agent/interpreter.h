/*
 * The code interpreter: contexts, each with a process of its own for its whole
 * life (an executor), which runs one cell after another; and pools of
 * executors that are started ahead of their use.
 */

#ifndef AGENT_INTERPRETER_H
#define AGENT_INTERPRETER_H

#include <jansson.h>
#include <stdint.h>

#include "agent/interpreter_executor.h"
#include "common/error.h"

#define INTERPRETER_CONTEXTS_MAX  256
#define INTERPRETER_QUEUE_MAX     256   /* cells that wait in one context */
#define INTERPRETER_CODE_MAX      (8 * 1024 * 1024)

struct http_request;

typedef enum {
    LANGUAGE_PYTHON,
    LANGUAGE_JAVASCRIPT,
    LANGUAGE_TYPESCRIPT,
    LANGUAGE_COUNT
} language;

/* -1: there is none of that name or alias. */
int language_parse(const char *name);
const char *language_name(language lang);


/* Pools (interpreter_pool.c). */

/* Starts what the configuration wants at once.  Without one nothing runs
 * before a language is first used. */
void pool_start(void);

/*
 * An executor for a context, ready or starting; it is the caller's.  env_vars
 * (may be NULL) is what the context adds: what an interpreter only reads when
 * it starts gets one of its own.  NULL: error set.
 */
executor *pool_take(language lang, const json_t *env_vars, executor_cb cb,
    void *data, error **err);

/* It is ready, for the first time or after it has become another one's. */
void pool_is_ready(executor *x);

/* The executor of a context is gone. */
void pool_left(language lang);



/* Machines that are nobody's yet (interpreter_warm.c). */

/* POST /internal/warm {"copies", "javascript"}: interpreters are started for
 * whoever gets this machine, or a copy of it, a Node.js unless javascript is
 * false; the answer comes at once, or when a copy can be made. */
void warm_handler(struct http_request *r);

/*
 * This machine is another one from now on: what waits takes the new
 * environment, or ends.  unique: its memory goes on only here; else others may
 * have the same, and seeded says that the kernel's random state is none that
 * they have, of which the interpreters get their own.
 */
void interpreter_goes_on(char *const *former, int unique, int seeded);


/* A number from the agent's environment; fallback where it is none. */
uint64_t interpreter_setting(const char *name, uint64_t fallback);


/* Contexts and runs (interpreter_context.c). */

typedef struct context context;
typedef struct interpreter_run interpreter_run;
typedef struct http_request http_request;

struct interpreter_run {
    interpreter_run  *next;
    context          *in;           /* NULL: it is being ended */
    http_request     *r;            /* NULL: the client left */
    int               begun;        /* its answer has a head */
    json_t           *request;      /* for the executor */
    uint64_t          timeout_ms;   /* 0: none */
    int               timed_out;
    int               stopping;     /* was interrupted */
    size_t            dropped;      /* output after that */
    char              carry[2][8];  /* a character that is cut off */
    size_t            carried[2];
    char             *error;        /* the members of the error event */
    size_t            error_len;
    json_t           *answer;       /* it is to be in one piece; else NULL */
    size_t            collected;    /* bytes in it */
};

struct context {
    context          *next, *prev;
    char              id[37];
    language          lang;
    char             *cwd;
    uint64_t          timeout_ms;
    executor         *x;            /* NULL: it is dead */
    json_t           *env;          /* until it is set up */
    void            (*made)(context *c, error *err);
    void             *data;         /* of made() */
    int               open;         /* it is set up */
    uint32_t          count;        /* cells that have run */
    uint32_t          run_id;
    interpreter_run  *current;
    interpreter_run  *head, **tail;
    unsigned          waiting;
    uv_timer_t       *timer;
    uv_timer_t       *begin;        /* of an answer */
    struct http_conn *cork;         /* frames that go out together */
};

/*
 * Makes a context; made() is called later, with an error (to be freed) if
 * there is none after all: the context is gone when it returns then.  cwd and
 * env are borrowed.  NULL: error set, and made() isn't called.
 */
context *context_create(language lang, const char *cwd, const json_t *env,
    uint64_t timeout_ms, void (*made)(context *c, error *err), void *data,
    error **err);

context *context_find(const char *id);
void context_each(void (*cb)(context *c, void *data), void *data);

/* Interpreters that wait for a context have begun with another environment
 * than the agent's now: they end, and others take their places. */
void interpreter_env_changed(void);

/* Others have what runs in them, too: what can be made anew without anybody's
 * notice, is, after the cell that runs. */
void contexts_copied(void);

/* Ends everything in it at once. */
void context_delete(context *c);

/* Queues a cell and answers r with its stream, or returns -1 with an error.
 * env_vars is borrowed. */
int context_run(context *c, http_request *r, const char *code, size_t len,
    const json_t *env_vars, uint64_t timeout_ms, error **err);


/* Frames (interpreter_frames.c).  Each returns 1 when the client is slow. */

void frames_begin(interpreter_run *run);

int frames_output(interpreter_run *run, int err, const char *p, size_t n);
int frames_result(interpreter_run *run, const char *p, size_t n);

/* The last frame, and the end of the answer. */
void frames_complete(interpreter_run *run, uint32_t count);
void frames_error(interpreter_run *run, const char *members, size_t n);
void frames_failure(interpreter_run *run, const char *name,
    const char *message);


/* An answer in one piece (interpreter_collect.c), instead of frames. */

int collect_wanted(http_request *r);
void collect_begin(interpreter_run *run, const char *code, size_t len);
void collect_text(interpreter_run *run, const char *type, const char *p,
    size_t n);
void collect_result(interpreter_run *run, const char *p, size_t n);
void collect_error(interpreter_run *run, const char *p, size_t n);
void collect_send(interpreter_run *run, http_request *r);


extern const char  interpreter_python[], interpreter_python_rich[],
                   interpreter_javascript[], interpreter_seed[],
                   interpreter_seed_end[];

#endif
