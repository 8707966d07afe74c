/*
 * The work of a request that blocks, on the thread pool.  A job outlives its
 * request: when the client leaves, what is running goes on to its end (a
 * rename isn't left half done) and the job is freed afterwards.
 *
 * One job belongs to one request and runs one step at a time:
 *
 *     file_job_start(job, run, done)   run() on a thread, then done() on the
 *                                      loop, unless the client has left
 *     file_job_end(job)                frees it; before or after the answer
 */

#ifndef AGENT_FILE_JOB_H
#define AGENT_FILE_JOB_H

#include <stdbool.h>
#include <uv.h>

#include "agent/http.h"

typedef struct file_job  file_job;
typedef void (*file_job_step)(file_job *job);

/* The first member of what a handler allocates for its job. */
struct file_job {
    uv_work_t       work;
    http_request   *r;              /* NULL: the client has left */
    file_job_step   run;
    file_job_step   done;
    file_job_step   dispose;        /* frees the whole thing */
    bool            running;
};

/* Binds the job to the request: r->data and r's close callback are its own. */
void file_job_init(file_job *job, http_request *r, file_job_step dispose);

void file_job_start(file_job *job, file_job_step run, file_job_step done);

/* The request is answered or gone: disposes of the job, now or when the step
 * that is running has ended. */
void file_job_end(file_job *job);

/* Closes a file on a thread: a file server is told of it, and the blocks of
 * one that has no name any more are freed. */
void file_job_close(int fd);

#endif
