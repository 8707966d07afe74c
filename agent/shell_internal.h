/*
 * What the three files of a shell share: shell.c makes and ends it,
 * shell_run.c takes a command through it, shell_report.c reads what it says.
 * Everybody else sees agent/shell.h only.
 */

#ifndef AGENT_SHELL_INTERNAL_H
#define AGENT_SHELL_INTERNAL_H

#include "agent/shell.h"
#include "common/buffer.h"

#define SHELL_ROUND_MS     15       /* between two signals of one end */
#define SHELL_INT_MS       100      /* SIGINT this long, */
#define SHELL_TERM_MS      2100     /* then SIGTERM until here, */
#define SHELL_GIVE_UP_MS   5000     /* then SIGKILL, then the shell itself */
#define SHELL_STALL_MS     200      /* a longer gap isn't the shell's */
#define SHELL_LOOK_MS      1000     /* the watchdog's first look and pace */
#define SHELL_START_MS     5000     /* the same of a background job's start */
#define SHELL_JOB_MS       15000    /* from its report until the job appears */
#define SHELL_CONTROL_MAX  (32 * 1024 * 1024)
#define SHELL_WRITE_MAX    (1024 * 1024)
#define SHELL_PAST         8        /* tokens whose late reports are ignored */

typedef enum {
    SHELL_IDLE,
    SHELL_HOLDING,                  /* the shim takes descriptors */
    SHELL_RUNNING,
    SHELL_ENDING,                   /* signals until it reports */
    SHELL_BARRIER,                  /* and once more, after the last signal */
    SHELL_DEAD
} shell_state;

struct shell {
    session            *of;
    char               *name;       /* the session's */
    const shell_owner  *owner;
    shell_state         state;

    shim               *sh;
    pid_t               pid;
    io                 *in;         /* its standard input */
    buffer              in_pending;
    io                 *control;
    buffer              control_in;
    int                 text_fd;
    size_t              text_len;   /* what is in it */
    int                 kids_fd;    /* /proc/.../children of the shell, */
    int                 orphans_fd; /* and of the shim */
    reader             *out, *err;  /* the permanent pipes */

    run                *current;
    run                *jobs;       /* through queue_next */
    unsigned            njobs;
    unsigned            last_job;

    char                token[17];
    char                past[SHELL_PAST][17];
    unsigned            npast;
    unsigned            nenv;       /* values that E brings */
    buffer              prologue;
    char               *pwd, *oldpwd;
    int                 status;     /* of the command, while a barrier waits */

    uv_timer_t         *timer;
    uint64_t            since;      /* loop time when this state began */
    uint64_t            prodded;    /* loop time, while a barrier waits */
    uint64_t            round_at;   /* and of the last round of an end */
    int                 probed;
    unsigned            looks;

    unsigned            up:1;       /* it has taken its first lines */
    unsigned            held:1;
    unsigned            ending:1;   /* as soon as the command has begun */
    unsigned            own_pipes:1;
    unsigned            signalling:1;   /* the shim has not answered yet */
    unsigned            marked:1;
    unsigned            alone:1;    /* was, when the last command was over */
    unsigned            reported:1; /* of a background start */
    unsigned            job_known:1;
    unsigned            empty:1;    /* the shim has no children */
    unsigned            left:1;     /* dead to its session, jobs run on */

    void              (*done)(void *);
    void               *done_data;
};


/* shell_run.c */

void shell_timer_stop(shell *sh);
void shell_timer_set(shell *sh, uint64_t ms, uv_timer_cb cb);
void shell_timer_pause(shell *sh);

/* The shell itself is beyond help; its end comes as that of a process. */
void shell_shoot(shell *sh);

/* Writes to its standard input what the buffer holds, and frees that. */
void shell_write(shell *sh, buffer *b);
void shell_in_ready(io *w, int events);

/* Names the current command anew; is it the name of an earlier one? */
void shell_new_token(shell *sh);
int shell_token_known(const shell *sh, const char *token);

int shell_is_job(const shell *sh, pid_t pid);

/* Where the kernel lists the children of a process; -1. */
int shell_children_fd(pid_t pid);

/* The shim holds the current command's descriptors: it may begin. */
void shell_feed(shell *sh);

/* The parts of a command's end. */
void shell_release_held(shell *sh);
void shell_take_output(shell *sh);
void shell_finished(shell *sh);

/* Timers of a running command and of one that is being ended. */
void shell_look(uv_timer_t *timer);
void shell_round(uv_timer_t *timer);

/* The shim has sent the signals that it was asked to send. */
void shell_signalled(shell *sh);

/* A background job that could not be started. */
void shell_start_failed(shell *sh);


/* shell_report.c */

void shell_set_pwd(shell *sh, const char *pwd, const char *oldpwd);
void shell_control_read(shell *sh);
void shell_control_ready(io *w, int events);

#endif
