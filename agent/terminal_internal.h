/* What the files of a terminal share; everybody else sees terminal.h. */

#ifndef AGENT_TERMINAL_INTERNAL_H
#define AGENT_TERMINAL_INTERNAL_H

#include <sys/types.h>

#include "agent/http.h"
#include "agent/io.h"
#include "agent/run.h"
#include "agent/shim.h"
#include "agent/terminal.h"
#include "agent/terminal_ring.h"
#include "agent/ws_conn.h"

#define TERMINAL_MAX         128
#define TERMINAL_VIEWERS     32             /* of one terminal */
#define TERMINAL_START_MS    10000
#define TERMINAL_MESSAGE     (1024 * 1024)  /* one message of input */
#define TERMINAL_IN_HIGH     (256 * 1024)   /* who types more, has to wait, */
#define TERMINAL_IN_LOW      (64 * 1024)
#define TERMINAL_IN_MAX      (2 * 1024 * 1024)
#define TERMINAL_IN_MS       60000          /* and this long if nothing goes */
#define TERMINAL_OUT_HIGH    (64 * 1024)    /* per viewer, beside the ring */
#define TERMINAL_LAST_MAX    (64 * 1024)    /* read after the shell's end */

/* A viewer that keeps the program from writing has to take TERMINAL_PACE bytes
 * in this time: alone, or with others who wait because of it. */
#define TERMINAL_PACE        (64 * 1024)
#define TERMINAL_ALONE_MS    30000
#define TERMINAL_OTHERS_MS   5000

typedef struct terminal terminal;
typedef struct terminal_viewer terminal_viewer;
typedef struct terminal_waiter terminal_waiter;

/* A handshake that waits for the terminal to be there. */
struct terminal_waiter {
    terminal_waiter  *next, *prev;
    terminal         *of;
    http_request     *r;
};

struct terminal_viewer {
    terminal_viewer  *next, *prev;
    terminal         *of;
    ws_conn          *ws;
    uint64_t          at;           /* has seen the output up to here */
    uint64_t          pace_at;      /* where it was when it began to hold */
    uint64_t          pace_since;   /* the others back; 0: it doesn't */
    int               typing_held;  /* has to wait until its input is taken */
};

typedef enum {
    TERMINAL_ENV,                   /* asks the session */
    TERMINAL_STARTING,
    TERMINAL_LIVE,
    TERMINAL_ENDING,                /* the shell ended, output is left */
    TERMINAL_OVER                   /* only processes it left behind */
} terminal_state;

struct terminal {
    terminal         *next, *prev;
    terminal_state    state;
    char             *session;
    char             *shell;        /* as asked for; NULL: bash */
    unsigned          cols, rows;
    uint64_t          deadline;     /* of the start */
    int               late;

    run              *of;           /* asks for the environment */
    run_watch         watch;

    shim             *sh;
    int               dying;        /* a kill was sent */
    int               status;       /* wait status; -1: unknown */

    io               *master;
    int               hung;         /* nobody has the other side open */
    size_t            last;         /* bytes read after the shell's end */
    terminal_ring     out;
    buffer            in;
    uint64_t          in_moved;     /* when the program last took some */

    terminal_waiter   waiters;      /* rings */
    terminal_viewer   viewers;
    unsigned          nviewers;
};

/* terminal.c */

/* The one to look at for a session; NULL: none that lives. */
terminal *terminal_find(const char *sid);

/* NULL: too many, error set. */
terminal *terminal_new(const char *sid, const char *program, unsigned cols,
    unsigned rows, error **err);

/* Starts the shell. */
void terminal_start(terminal *t, const char *cwd, const char *program,
    char *const *env);

/* It could not be started: tells those who wait, takes the error. */
void terminal_fail(terminal *t, error *err);

void terminal_write(terminal *t);

/* What a viewer took may let the program go on; the last one may go. */
void terminal_settle(terminal *t);

/* terminal_env.c */

/* Ends in terminal_start() or terminal_fail(), maybe at once. */
void terminal_ask(terminal *t);
void terminal_ask_late(terminal *t);

/* terminal_view.c */

void terminal_wait(terminal *t, http_request *r);
void terminal_view(terminal *t, http_request *r);
void terminal_view_all(terminal *t);        /* those who wait */
void terminal_refuse_all(terminal *t, const error *err);
void terminal_show(terminal *t);            /* new output, or the end */
void terminal_viewers_check(terminal *t, uint64_t now);
void terminal_viewers_resume(terminal *t);

/* How many bytes may be read before a viewer would miss some. */
size_t terminal_room(const terminal *t);

/* terminal_api.c: in the form of who asked; takes the error. */
void terminal_answer_error(http_request *r, error *err);

#endif
