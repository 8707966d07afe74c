/*
 * The file routes of the container API that answer in one piece: write,
 * delete, rename, move, mkdir, exists.  What touches the file system runs on
 * the thread pool.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/file_error.h"
#include "agent/file_job.h"
#include "agent/file_move.h"
#include "agent/file_open.h"
#include "agent/file_quick.h"
#include "agent/file_request.h"
#include "agent/file_routes.h"
#include "agent/file_writer.h"
#include "common/base64.h"
#include "common/json_text.h"

#define FILE_BODY_LIMIT   (256 * 1024)          /* where only paths are in it */
#define FILE_WRITE_LIMIT  (64 * 1024 * 1024)

/* What all writes together may hold in memory; raw uploads need none. */
#define FILE_WRITE_HELD   (256 * 1024 * 1024)

/* Longer bodies are parsed on the thread pool too. */
#define FILE_PARSE_NOW    (64 * 1024)

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

static int64_t  file_write_held;

static void file_write_checked(file_op *op);
static void file_write_settle(file_job *job);


static void
file_op_dispose(file_job *job)
{
    file_op  *op;

    op = (file_op *) job;

    if (op->writer.dir != -1) {
        file_job_start(job, file_write_settle, NULL);   /* and back to here */
        return;
    }

    file_write_held -= op->held;
    buffer_free(&op->body);
    error_free(op->err);
    free(op->full[0]);
    free(op->full[1]);
    free(op);
}


static file_op *
file_op_new(http_request *r, const char *operation, const char *verb)
{
    file_op  *op;

    op = calloc(1, sizeof(file_op));
    if (op == NULL) {
        abort();
    }

    op->operation = operation;
    op->verb = verb;
    op->writer.dir = -1;
    http_take_body(r, &op->body);
    file_job_init(&op->job, r, file_op_dispose);

    return op;
}


/* A job for a request with one or two paths; NULL if an error was sent. */

static file_op *
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


static void
file_op_run(file_op *op, file_job_step run, file_job_step done)
{
    if (op != NULL) {
        file_job_start(&op->job, run, done);
    }
}


static void
file_op_fail(file_op *op, error *err)
{
    file_request_error(op->job.r, err, op->given[0], op->operation,
                       op->errnum ? file_error_text(op->errnum) : NULL);
    file_job_end(&op->job);
}


static void
file_op_succeed(file_op *op, json_t *answer)
{
    file_request_success(op->job.r, answer);
    file_job_end(&op->job);
}


/* The same for the frequent ones, whose answer is a path and more. */

static void
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


/* write */

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

    if (file_write_reserve(op, r->content_length) != 0) {
        file_job_end(&op->job);
        return;
    }

    if (r->content_length > 0) {
        buffer_room(&op->body, (size_t) r->content_length);
    }

    http_read_stream(r, file_write_data, file_write_end);
}


/* delete */

static void
file_delete_run(file_job *job)
{
    file_op      *op;
    struct stat   st;

    op = (file_op *) job;

    if (unlink(op->full[0]) == 0) {
        return;
    }

    op->errnum = errno;

    /* POSIX says EPERM for a directory, Linux EISDIR, "/" is EBUSY. */

    if (lstat(op->full[0], &st) == 0 && S_ISDIR(st.st_mode)) {
        op->errnum = EISDIR;
    }
}


static void
file_delete_done(file_job *job)
{
    error    *err;
    file_op  *op;

    op = (file_op *) job;
    err = NULL;

    switch (op->errnum) {
    case 0:
        file_op_succeed(op, json_pack("{s:b, s:s}", "success", 1,
                                      "path", op->given[0]));
        return;

    case ENOENT:
    case ENOTDIR:
        error_set(&err, 404, "FILE_NOT_FOUND", "File not found: %s",
                  op->given[0]);
        break;

    case EISDIR:
        error_set(&err, 400, "IS_DIRECTORY", "Cannot delete directory with "
                  "deleteFile() at '%.300s'. Use exec('rm -rf <path>') "
                  "instead.", op->given[0]);
        break;

    default:
        file_error_set(&err, op->errnum, "Failed to delete file '%s'",
                       op->given[0]);
    }

    file_op_fail(op, err);
}


static void
file_delete_body(http_request *r, char *body, size_t len)
{
    file_op_run(file_op_paths(r, "file.delete", "Delete", body, len, "path",
                              NULL),
                file_delete_run, file_delete_done);
}


static void
file_delete(http_request *r)
{
    http_read_body(r, FILE_BODY_LIMIT, file_delete_body);
}


/* rename and move, which are the same but for their names */

static void
file_move_run(file_job *job)
{
    file_op  *op;

    op = (file_op *) job;

    if (file_move(op->full[0], op->full[1], &op->missing) != 0) {
        op->errnum = errno;
    }
}


/* What only says that the two paths don't fit has the code that mv's own
 * failure has; clients tell the others apart. */

static bool
file_move_ordinary(int errnum)
{
    return errnum == ENOENT || errnum == ENOTDIR || errnum == EISDIR
           || errnum == EEXIST || errnum == ENOTEMPTY || errnum == EINVAL
           || errnum == EBUSY;
}


static void
file_move_done(file_job *job)
{
    char      why[320];
    error    *err;
    file_op  *op;
    json_t   *context;

    op = (file_op *) job;
    err = NULL;

    if (op->errnum == 0) {
        file_op_succeed(op, json_pack("{s:b, s:s, s:s}", "success", 1,
                                      "path", op->given[0],
                                      "newPath", op->given[1]));
        return;
    }

    if (op->missing) {
        error_set(&err, 404, "FILE_NOT_FOUND", "Source file not found: %s",
                  op->given[0]);
        op->errnum = 0;
        file_op_fail(op, err);
        return;
    }

    if (file_move_ordinary(op->errnum)) {
        error_set(&err, 500, "FILESYSTEM_ERROR",
                  "%s operation failed with exit code 1", op->verb);
    } else {
        file_error_set(&err, op->errnum, "%s operation failed", op->verb);
    }

    snprintf(why, sizeof(why), "cannot move: %s",
             file_error_text(op->errnum));

    context = json_pack("{s:s, s:s, s:s, s:s, s:i, s:s}",
                        "path", op->given[0], "operation", op->operation,
                        "sourcePath", op->given[0],
                        "destinationPath", op->given[1],
                        "exitCode", 1, "stderr", why);

    api_error_context(job->r, err, context);
    file_job_end(job);
}


static void
file_rename_body(http_request *r, char *body, size_t len)
{
    file_op_run(file_op_paths(r, "file.rename", "Rename", body, len,
                              "oldPath", "newPath"),
                file_move_run, file_move_done);
}


static void
file_rename(http_request *r)
{
    http_read_body(r, FILE_BODY_LIMIT, file_rename_body);
}


static void
file_move_body(http_request *r, char *body, size_t len)
{
    file_op_run(file_op_paths(r, "file.move", "Move", body, len,
                              "sourcePath", "destinationPath"),
                file_move_run, file_move_done);
}


static void
file_move_route(http_request *r)
{
    http_read_body(r, FILE_BODY_LIMIT, file_move_body);
}


/* mkdir */

static void
file_mkdir_run(file_job *job)
{
    int       fd;
    file_op  *op;

    op = (file_op *) job;

    if (!op->flag) {
        if (mkdir(op->full[0], 0777) != 0) {
            op->errnum = errno;
        }
        return;
    }

    fd = file_open_dir(op->full[0], NULL, true);

    if (fd == -1) {
        op->errnum = errno;
    } else {
        close(fd);
    }
}


static void
file_mkdir_done(file_job *job)
{
    char      why[320];
    error    *err;
    file_op  *op;

    op = (file_op *) job;
    err = NULL;

    switch (op->errnum) {
    case 0:
        file_op_succeed(op, json_pack("{s:b, s:s, s:b}", "success", 1,
                                      "path", op->given[0],
                                      "recursive", (int) op->flag));
        return;

    case EEXIST:
    case ENOENT:
    case ENOTDIR:
        error_set(&err, 500, "FILESYSTEM_ERROR",
                  "mkdir operation failed with exit code 1");
        break;

    default:
        file_error_set(&err, op->errnum, "mkdir operation failed");
    }

    snprintf(why, sizeof(why), "cannot create directory: %s",
             file_error_text(op->errnum));

    api_error_context(job->r, err,
                      json_pack("{s:s, s:s, s:{s:b}, s:i, s:s}",
                                "path", op->given[0],
                                "operation", op->operation,
                                "options", "recursive", (int) op->flag,
                                "exitCode", 1, "stderr", why));
    file_job_end(job);
}


static void
file_mkdir_body(http_request *r, char *body, size_t len)
{
    file_op  *op;

    op = file_op_paths(r, "directory.create", "mkdir", body, len, "path",
                       NULL);

    if (op != NULL
        && file_request_bool(r, &op->object, "recursive", &op->flag) != 0)
    {
        file_job_end(&op->job);
        return;
    }

    file_op_run(op, file_mkdir_run, file_mkdir_done);
}


static void
file_mkdir(http_request *r)
{
    http_read_body(r, FILE_BODY_LIMIT, file_mkdir_body);
}


/* exists */

static void
file_exists_run(file_job *job)
{
    file_op      *op;
    struct stat   st;

    op = (file_op *) job;
    op->flag = stat(op->full[0], &st) == 0;
}


static void
file_exists_done(file_job *job)
{
    file_op  *op;

    op = (file_op *) job;

    file_op_told(op, op->flag ? ",\"exists\":true" : ",\"exists\":false");
}


static void
file_exists_body(http_request *r, char *body, size_t len)
{
    int       there;
    file_op  *op;

    op = file_op_paths(r, "file.exists", "Exists", body, len, "path", NULL);
    if (op == NULL) {
        return;
    }

    there = file_quick_exists(op->full[0]);

    if (there != -1) {
        op->flag = there;
        file_exists_done(&op->job);
        return;
    }

    file_op_run(op, file_exists_run, file_exists_done);
}


static void
file_exists(http_request *r)
{
    http_read_body(r, FILE_BODY_LIMIT, file_exists_body);
}


void
file_routes(router *t)
{
    file_quick_init();

    router_add(t, METHOD_POST, "/api/write", file_write);
    router_add(t, METHOD_POST, "/api/delete", file_delete);
    router_add(t, METHOD_POST, "/api/rename", file_rename);
    router_add(t, METHOD_POST, "/api/move", file_move_route);
    router_add(t, METHOD_POST, "/api/mkdir", file_mkdir);
    router_add(t, METHOD_POST, "/api/exists", file_exists);

    file_read_routes(t);
    file_list_routes(t);
    file_raw_routes(t);
}
