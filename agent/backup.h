/*
 * What the routes of backups share: a job that goes through blocking steps on
 * the thread pool and programs of the image, one at a time in the whole agent,
 * and ends in order also when its client leaves; and the rules for what may be
 * named in a request.
 *
 *     backup_job_read()     the request
 *     backup_job_queue()    begin() when no other job runs
 *     backup_job_thread()   step() on a thread, then next() on the loop
 *     backup_job_program()  a program, then next()
 *     backup_job_end()      the answer, and the next job's turn
 *
 * The first error is kept; steps look at job->err and job->r (NULL: the client
 * has left) to see whether they have only to clean up.
 */

#ifndef AGENT_BACKUP_H
#define AGENT_BACKUP_H

#include <jansson.h>
#include <uv.h>

#include "agent/http.h"
#include "agent/path.h"
#include "agent/program.h"

#define BACKUP_QUEUE_MAX   32
#define BACKUP_TIMEOUT_MS  (30 * 60 * 1000)
#define BACKUP_OUTPUT_MAX  (16 * 1024 * 1024)
#define BACKUP_BODY_MAX    (1024 * 1024)

typedef struct backup_job backup_job;
typedef void (*backup_step)(backup_job *job);

struct backup_job {
    http_request  *r;               /* NULL: the client has left */
    const char    *operation;       /* "backup.create" */
    const char    *code;            /* "backup_create_failed" */
    json_t        *body;
    const char    *dir;             /* of the body */
    const char    *archive;
    error         *err;
    json_t        *answer;          /* if there is no error */
    backup_step    dispose;         /* frees what the job is part of */
    backup_step    left;            /* the client has; NULL: job->p is ended */

    /* Its own. */
    uv_work_t      work;
    program       *p;
    backup_step    begin, run, next;
    backup_job    *after;           /* in the queue */
    int            waiting, turn;
};

/* Functions that return -1 have answered, and disposed of the job if there was
 * one. */

/* The body as JSON; the paths that are wanted, checked as text. */
int backup_job_read(backup_job *job, http_request *r, char *body, size_t len,
    int wants_dir);

/* 400 INVALID_BACKUP_CONFIG that names the member; returns -1. */
int backup_invalid(backup_job *job, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* 503 "<limit> <what>"; answers and disposes. */
void backup_job_busy(backup_job *job, const char *what, int limit);

int backup_job_queue(backup_job *job, backup_step begin);
void backup_job_start(backup_job *job, backup_step begin);  /* at once */
void backup_job_thread(backup_job *job, backup_step step, backup_step next);

/* next() is called with job->p set: its end and output may be looked at until
 * the next step begins.  A failure to start is job->err, job->p is NULL, and
 * next() is called at once. */
void backup_job_program(backup_job *job, const program_spec *spec,
    backup_step next);

void backup_job_end(backup_job *job);

/* Sets job->err if the program has failed: "<what>: <its words>"; 501 if
 * there is no such program. */
void backup_program_check(backup_job *job, const char *name,
    const char *what);

/* Sets job->err, if there is none yet; code NULL: the job's. */
void backup_fail(backup_job *job, int status, const char *code,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Opens dir as an O_PATH descriptor and says where it lies; with create it is
 * made.  It must be below one of the places that may be backed up, links
 * followed.  -1: job->err. */
int backup_open_dir(backup_job *job, int create, char real[PATH_ROOM]);

/* Opens the archive for reading; -1: job->err. */
int backup_open_archive(backup_job *job, struct stat *st);

unsigned backup_threads(unsigned wanted);

void backup_create(http_request *r, char *body, size_t len);
void backup_restore(http_request *r, char *body, size_t len);
void backup_upload(http_request *r, char *body, size_t len);

#endif
