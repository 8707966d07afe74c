/*
 * /bridge/files/{path...}: what lies below the workspace as resources.
 *
 *     GET     what it is, and what is in it if it is a directory
 *     HEAD    whether it is there
 *     PUT     makes it a directory
 *     POST    moves it: {"moveTo": "/workspace/..."}
 *     DELETE  removes it
 *
 * A symbolic link on the way is followed if it stays below the workspace; one
 * at the end is what the request is about, never what it leads to.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/bridge_files_internal.h"
#include "agent/file_error.h"
#include "agent/file_open.h"
#include "agent/file_raw.h"


static void
files_dispose(file_job *job)
{
    files_op  *op;

    op = (files_op *) job;

    if (op->list != NULL) {
        file_list_close(op->list);
    }

    buffer_free(&op->out);
    free(op->path);
    free(op->to);
    free(op);
}


static int
files_flag(http_request *r, const char *name)
{
    const char  *text;

    text = http_query(r, name, NULL);

    return text != NULL && strcmp(text, "0") != 0
           && strcmp(text, "false") != 0;
}


files_op *
files_op_new(http_request *r)
{
    char        *path;
    files_op    *op;
    const char  *root;

    path = file_raw_path(r, &root);
    if (path == NULL) {
        return NULL;
    }

    op = calloc(1, sizeof(files_op));
    if (op == NULL) {
        abort();
    }

    op->path = path;
    op->recursive = files_flag(r, "recursive");
    op->hidden = files_flag(r, "hidden");
    op->head = r->method == METHOD_HEAD;
    file_job_init(&op->job, r, files_dispose);

    return op;
}


void
files_fail(files_op *op)
{
    error  *err;

    err = NULL;

    if (op->errnum == FILE_E_OUTSIDE) {
        error_set(&err, 403, "invalid_request",
                  "path must resolve to a location within %s",
                  agent.workspace);

    } else if (op->errnum == ENOTEMPTY) {
        error_set(&err, 409, "directory_not_empty",
                  "Directory is not empty: %.300s", op->path);

    } else {
        file_error_set(&err, op->errnum, "%.300s", op->path);
    }

    bridge_error(op->job.r, err);
    file_job_end(&op->job);
}


void
files_succeed(files_op *op, json_t *stolen)
{
    char  ts[32];

    http_timestamp(ts, sizeof(ts));
    json_object_set_new(stolen, "success", json_true());
    json_object_set_new(stolen, "path", http_text(op->path));
    json_object_set_new(stolen, "timestamp", json_string(ts));

    http_send_json(op->job.r, 200, stolen);
    file_job_end(&op->job);
}


int
files_parent(const char *path, char name[PATH_NAME_ROOM])
{
    char  parent[PATH_ROOM];

    if (strcmp(path, agent.workspace) == 0) {
        strcpy(name, ".");
        return file_open_dir(path, agent.workspace, false);
    }

    if (path_split(path, parent, sizeof(parent), name) != 0) {
        return -1;
    }

    return file_open_dir(parent, agent.workspace, false);
}


void
bridge_files_routes(router *t)
{
    router_add(t, METHOD_GET, "/bridge/files/{path...}", files_get);
    router_add(t, METHOD_PUT, "/bridge/files/{path...}", files_put);
    router_members(t, "type recursive");
    router_add(t, METHOD_POST, "/bridge/files/{path...}", files_post);
    router_members(t, "moveTo");
    router_add(t, METHOD_DELETE, "/bridge/files/{path...}", files_delete);
}
