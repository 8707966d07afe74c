/* Jobs of file routes; see file_op.h. */

#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/file_error.h"
#include "agent/file_op.h"
#include "common/json_text.h"


void
file_op_dispose(file_job *job)
{
    file_op  *op;

    op = (file_op *) job;

    buffer_free(&op->body);
    error_free(op->err);
    free(op->full[0]);
    free(op->full[1]);
    free(op);
}


file_op *
file_op_new(http_request *r, const char *operation, const char *verb)
{
    file_op  *op;

    op = calloc(1, sizeof(file_op));
    if (op == NULL) {
        abort();
    }

    op->operation = operation;
    op->verb = verb;
    http_take_body(r, &op->body);
    file_job_init(&op->job, r, file_op_dispose);

    return op;
}


file_op *
file_op_paths(http_request *r, const char *operation, const char *verb,
    char *body, size_t len, const char *first, const char *second)
{
    file_op  *op;

    op = file_op_new(r, operation, verb);

    if (file_request_parse(r, &op->object, body, len) != 0
        || file_request_path(r, &op->object, first, &op->given[0],
                             &op->full[0]) != 0
        || (second != NULL
            && file_request_path(r, &op->object, second, &op->given[1],
                                 &op->full[1]) != 0))
    {
        file_job_end(&op->job);
        return NULL;
    }

    return op;
}


void
file_op_run(file_op *op, file_job_step run, file_job_step done)
{
    if (op != NULL) {
        file_job_start(&op->job, run, done);
    }
}


void
file_op_fail(file_op *op, error *err)
{
    file_request_error(op->job.r, err, op->given[0], op->operation,
                       op->errnum ? file_error_text(op->errnum) : NULL);
    file_job_end(&op->job);
}


void
file_op_succeed(file_op *op, json_t *answer)
{
    file_request_success(op->job.r, answer);
    file_job_end(&op->job);
}


void
file_op_told(file_op *op, const char *more)
{
    char    *room, ts[32];
    size_t   n, used;
    buffer   b;

    memset(&b, 0, sizeof(b));
    n = strlen(op->given[0]);
    room = buffer_room(&b, n * JSON_TEXT_GROWTH + 128);
    memcpy(room, "{\"success\":true,\"path\":\"", 24);
    buffer_added(&b, 24);
    buffer_added(&b, json_text_escape(room + 24, n * JSON_TEXT_GROWTH,
                                      op->given[0], n, &used, true));
    http_timestamp(ts, sizeof(ts));
    buffer_printf(&b, "\"%s,\"timestamp\":\"%s\"}", more, ts);

    http_send(op->job.r, 200, "application/json", buffer_bytes(&b), b.len);
    buffer_free(&b);
    file_job_end(&op->job);
}
