/*
 * What the file routes that answer in one piece have in common: a job for one
 * or two paths, and how it is answered.
 */

#ifndef AGENT_FILE_OP_H
#define AGENT_FILE_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/file_job.h"
#include "agent/file_request.h"
#include "agent/file_writer.h"
#include "common/buffer.h"
#include "common/error.h"
#include "common/json_flat.h"

typedef struct {
    file_job           job;
    const char        *operation;       /* "file.move" */
    const char        *verb;            /* "Move", for messages */
    buffer             body;            /* what given and content point into */
    json_flat_object   object;
    error             *err;             /* of the parser */
    const char        *given[2];
    char              *full[2];
    char              *content;
    size_t             len;
    file_writer        writer;
    int64_t            held;            /* its part of file_write_held */
    bool               flag;            /* base64; recursive; the answer */
    int                errnum;          /* 0: it went well */
    int                missing;         /* the source of a move */
} file_op;

/* Takes the body.  It is disposed of by file_op_dispose(), or by a function of
 * the caller's that ends with this one. */
file_op *file_op_new(http_request *r, const char *operation, const char *verb);
void file_op_dispose(file_job *job);

/* A job for a request with one or two paths; NULL if an error was sent. */
file_op *file_op_paths(http_request *r, const char *operation,
    const char *verb, char *body, size_t len, const char *first,
    const char *second);

/* Nothing is done where there is no job. */
void file_op_run(file_op *op, file_job_step run, file_job_step done);

/* An answer, and the job's end. */
void file_op_fail(file_op *op, error *err);
void file_op_succeed(file_op *op, json_t *answer);

/* The same for the frequent ones, whose answer is a path and more. */
void file_op_told(file_op *op, const char *more);

#endif
