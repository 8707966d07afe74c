/*
 * The file routes of the container API that change or look at a name, and
 * answer in one piece: delete, rename, move, mkdir, exists.  What touches the
 * file system runs on the thread pool.
 */

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/file_error.h"
#include "agent/file_move.h"
#include "agent/file_op.h"
#include "agent/file_open.h"
#include "agent/file_quick.h"
#include "agent/file_routes.h"

#define FILE_BODY_LIMIT   (256 * 1024)          /* where only paths are in it */


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

    router_add(t, METHOD_POST, "/api/delete", file_delete);
    router_add(t, METHOD_POST, "/api/rename", file_rename);
    router_add(t, METHOD_POST, "/api/move", file_move_route);
    router_add(t, METHOD_POST, "/api/mkdir", file_mkdir);
    router_add(t, METHOD_POST, "/api/exists", file_exists);

    file_write_routes(t);
    file_read_routes(t);
    file_list_routes(t);
    file_raw_routes(t);
}
