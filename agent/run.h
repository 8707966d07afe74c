/*
 * One command on its way: what was asked for, its output so far, how it ended.
 * Started in a session (session.h) or without one (run_start); followed by any
 * number of watchers.  Counted: every watcher and everyone who keeps a pointer
 * holds it; it goes on when nobody is left to look.
 */

#ifndef AGENT_RUN_H
#define AGENT_RUN_H

#include <jansson.h>
#include <stdint.h>
#include <uv.h>

#include "agent/feed.h"
#include "agent/reader.h"
#include "agent/shim.h"
#include "agent/spool.h"
#include "common/error.h"

#define RUN_GRACE_MS  5000          /* from SIGTERM to SIGKILL */
#define RUN_FD        SHELL_FD_OUT  /* what a program is given besides 0-2 */

typedef struct run run;
typedef struct session session;
typedef struct shell shell;
typedef struct run_watch run_watch;

typedef enum {
    RUN_BEGUN,          /* handed to the session's shell: it will start */
    RUN_STARTED,        /* its process is known */
    RUN_OUTPUT,
    RUN_ENDED           /* after all its output; told last, and once */
} run_event;

typedef void (*run_cb)(run_watch *w, run_event event);

struct run_watch {
    run_watch  *next, *prev;
    run        *of;
    run_cb      cb;
    void       *data;
};

typedef enum {
    RUN_NEW,
    RUN_RUNNING,
    RUN_OVER
} run_state;

struct run {
    unsigned      refs;
    run_state     state;

    /* What was asked for. */
    char         *command;
    char         *cwd;              /* NULL: the session's, or the default */
    json_t       *env;              /* NULL: none */
    char         *at_name;          /* the session it is for, or NULL */
    char         *input;            /* its standard input; NULL: empty */
    size_t        input_len;
    feed         *feed;             /* instead: more can come; or NULL */
    int           give_fd;          /* becomes RUN_FD, if there is no session;
                                     * 0: none */
    uint64_t      timeout_ms;       /* 0: none */
    int           foreground;       /* in the session's own shell */

    /* How it goes. */
    spool         out;
    spool         err;
    pid_t         pid;
    uint64_t      started;          /* uv_hrtime() */
    uint64_t      ended;

    /* How it ended: by an error, or with a wait status. */
    error        *failure;
    int           shell_exit;       /* of a session that died; -1: unknown */
    int           exit_code;        /* 128 + signal if it was one */
    int           timed_out;
    int           kill_asked;
    int           kill_signal;      /* how it is asked, */
    int           kill_grace;       /* milliseconds before SIGKILL */

    /* The runner's own. */
    run_watch     watchers;         /* ring */
    session      *in;               /* waits in its queue */
    shell        *at;               /* runs in it */
    shim         *sh;
    reader       *rout, *rerr;
    uv_timer_t   *timer;
    run          *queue_next;
    uint32_t      job;              /* of a background job in a session */
    int           exited;
    int           unstarted;        /* couldn't be; about to be told */
    int           dying;            /* a kill was sent, GONE is awaited */
};

run *run_new(const char *command, size_t len);
void run_set_input(run *r, const char *p, size_t len);      /* a copy of it */
void run_hold(run *r);
void run_release(run *r);

void run_watch_add(run *r, run_watch *w, run_cb cb, void *data);
void run_watch_drop(run_watch *w);

/* Starts `/bin/bash -c command` under a shim of its own.  What fails is told
 * by RUN_ENDED with failure set, always later than this call. */
void run_start(run *r);

/* Ends it and everything it started: SIGTERM or another signal, after grace_ms
 * SIGKILL.  The end comes as RUN_ENDED. */
void run_kill(run *r, int grace_ms);
void run_kill_with(run *r, int sig, int grace_ms);

/* Sends a signal to its process, or with tree to all that it has started as
 * well.  -1: it doesn't run yet, or is being ended. */
int run_signal(run *r, int sig, int tree);

/* For session.c. */
void run_tell(run *r, run_event event);
void run_set_started(run *r, pid_t pid);
void run_set_status(run *r, int wait_status);
void run_fail(run *r, error *err);          /* takes err, ends the run */
void run_finish(run *r);                    /* drains, tells RUN_ENDED */
void run_output(void *r);                   /* a reader's callback */
void run_timer_start(run *r, uint64_t ms, uv_timer_cb cb);
void run_timer_stop(run *r);

/* Where bash is; NULL if there is none. */
const char *run_bash(void);

/* A descriptor that the run's input can be read from: a memory file, or the
 * pipe of its feed; -1. */
int run_input_fd(run *r);

/* The directory a command starts in when none was asked for: the default one,
 * or the home directory, or /. */
const char *run_default_cwd(void);

int run_is_dir(const char *path);

double run_duration_ms(const run *r);

#endif
