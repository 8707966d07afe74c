/*
 * The route that writes a file: its content comes in the body, as text or as
 * base64.
 */

#include <errno.h>

#include "agent/agent.h"
#include "agent/file_error.h"
#include "agent/file_op.h"
#include "agent/file_routes.h"
#include "common/base64.h"

#define FILE_WRITE_LIMIT  (64 * 1024 * 1024)

/* What all writes together may hold in memory; raw uploads need none. */
#define FILE_WRITE_HELD   (256 * 1024 * 1024)

/* Longer bodies are parsed on the thread pool too. */
#define FILE_PARSE_NOW    (64 * 1024)

static int64_t  file_write_held;

static void file_write_checked(file_op *op);


static void
file_write_run(file_job *job)
{
    file_op      *op;
    ssize_t       n;
    file_writer  *w;

    op = (file_op *) job;
    w = &op->writer;

    if (op->flag) {
        n = base64_decode(op->content, op->content, op->len);
        if (n == -1) {
            op->errnum = EILSEQ;
            return;
        }

        op->len = (size_t) n;
    }

    if (file_writer_open(w, op->full[0], NULL) != 0
        || file_writer_write(w, op->content, op->len) != 0
        || file_writer_commit(w) != 0)
    {
        op->errnum = errno;
    }
}


static void
file_write_settle(file_job *job)
{
    file_op  *op;

    op = (file_op *) job;
    file_writer_settle(&op->writer);
}


static void
file_write_dispose(file_job *job)
{
    file_op  *op;

    op = (file_op *) job;

    if (op->writer.dir != -1) {
        file_job_start(job, file_write_settle, NULL);   /* and back to here */
        return;
    }

    file_write_held -= op->held;
    file_op_dispose(job);
}


static void
file_write_done(file_job *job)
{
    error    *err;
    file_op  *op;

    op = (file_op *) job;

    if (op->errnum == 0) {
        file_op_told(op, "");
        return;
    }

    if (op->errnum == EILSEQ && op->flag) {
        file_request_invalid(job->r, "content", "INVALID_BASE64",
                             "must contain only A-Z, a-z, 0-9, +, /, = and be "
                             "complete", "Invalid base64 content for '%.300s'",
                             op->given[0]);
        file_job_end(job);
        return;
    }

    err = NULL;
    file_error_set(&err, op->errnum, "Failed to write file '%s'",
                   op->given[0]);
    file_op_fail(op, err);
}


static void
file_write_parse(file_job *job)
{
    file_op  *op;

    op = (file_op *) job;
    json_flat_parse(&op->object, op->body.data + op->body.start,
                    op->body.len, &op->err);
}


static void
file_write_parsed(file_job *job)
{
    file_op  *op;

    op = (file_op *) job;

    if (op->err != NULL) {
        file_request_bad_json(job->r, op->err);
        op->err = NULL;
        file_job_end(job);
        return;
    }

    file_write_checked(op);
}


static void
file_write_checked(file_op *op)
{
    http_request     *r;
    file_encoding     encoding;
    const json_flat  *m;

    r = op->job.r;

    if (file_request_path(r, &op->object, "path", &op->given[0],
                          &op->full[0]) != 0
        || file_request_encoding(r, &op->object, &encoding) != 0)
    {
        file_job_end(&op->job);
        return;
    }

    m = json_flat_get(&op->object, "content");

    if (m->type != JSON_FLAT_STRING) {
        file_request_invalid(r, "content", "INVALID_TYPE",
                             "Content must be a string",
                             "Invalid content for '%.300s'", op->given[0]);
        file_job_end(&op->job);
        return;
    }

    op->content = m->text;
    op->len = m->len;
    op->flag = encoding == FILE_ENCODING_BASE64;

    file_job_start(&op->job, file_write_run, file_write_done);
}


/* The body is collected here rather than by the server, so that what all of
 * them hold together is bounded, and the refusal says by how much. */

static int
file_write_reserve(file_op *op, int64_t size)
{
    error  *err;

    if (size > FILE_WRITE_LIMIT) {
        file_request_too_large(op->job.r, NULL, op->operation,
                               FILE_WRITE_LIMIT, size);
        return -1;
    }

    if (size <= op->held) {
        return 0;
    }

    if (file_write_held + size - op->held > FILE_WRITE_HELD) {
        err = NULL;
        error_set(&err, 409, "RESOURCE_BUSY", "More than %d bytes are being "
                  "written at once", FILE_WRITE_HELD);
        err->retry_after = 1;
        api_error_context(op->job.r, err, NULL);
        return -1;
    }

    file_write_held += size - op->held;
    op->held = size;

    return 0;
}


static void
file_write_data(http_request *r, const char *p, size_t n)
{
    file_op  *op;

    op = r->data;

    if (file_write_reserve(op, (int64_t) (op->body.len + n)) != 0) {
        file_job_end(&op->job);
        return;
    }

    buffer_append(&op->body, p, n);
}


static void
file_write_end(http_request *r, int ok)
{
    char     *body;
    file_op  *op;

    op = r->data;

    if (!ok) {
        file_job_end(&op->job);
        return;
    }

    if (op->body.len > FILE_PARSE_NOW) {
        file_job_start(&op->job, file_write_parse, file_write_parsed);
        return;
    }

    body = buffer_room(&op->body, 1) - op->body.len;

    if (file_request_parse(r, &op->object, body, op->body.len) != 0) {
        file_job_end(&op->job);
        return;
    }

    file_write_checked(op);
}


static void
file_write(http_request *r)
{
    file_op  *op;

    op = file_op_new(r, "file.write", "Write");
    op->writer.dir = -1;
    op->job.dispose = file_write_dispose;

    if (file_write_reserve(op, r->content_length) != 0) {
        file_job_end(&op->job);
        return;
    }

    if (r->content_length > 0) {
        buffer_room(&op->body, (size_t) r->content_length);
    }

    http_read_stream(r, file_write_data, file_write_end);
}


void
file_write_routes(router *t)
{
    router_add(t, METHOD_POST, "/api/write", file_write);
}
