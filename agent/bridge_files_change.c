/*
 * PUT, POST and DELETE of /bridge/files/{path...}: directories are made, and
 * what lies there is moved and removed.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/bridge_files_internal.h"
#include "agent/file_move.h"
#include "agent/file_open.h"
#include "agent/params.h"

#define FILES_BODY_LIMIT  (64 * 1024)
#define FILES_REAL_ROOM   (PATH_ROOM + PATH_NAME_ROOM + 1)


/* PUT */

static void
files_put_run(file_job *job)
{
    int          dir;
    char         name[PATH_NAME_ROOM];
    files_op    *op;
    struct stat  st;

    op = (files_op *) job;
    op->created = stat(op->path, &st) != 0;

    if (op->recursive) {
        dir = file_open_dir(op->path, agent.workspace, true);
        op->errnum = dir == -1 ? errno : 0;

    } else {
        dir = files_parent(op->path, name);

        if (dir == -1) {
            op->errnum = errno;

        } else if (mkdirat(dir, name, 0777) != 0) {
            op->errnum = errno;

            if (errno == EEXIST
                && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0
                && S_ISDIR(st.st_mode))
            {
                op->errnum = 0;
            }
        }
    }

    if (op->errnum == ENOTDIR && !op->created) {
        op->errnum = EEXIST;
    }

    if (dir != -1) {
        close(dir);
    }
}


static void
files_put_done(file_job *job)
{
    files_op  *op;

    op = (files_op *) job;

    if (op->errnum != 0) {
        files_fail(op);

    } else {
        files_succeed(op, json_pack("{s:s, s:b}", "type", "directory",
                                    "created", op->created));
    }
}


/* The members of a body, which may be absent; NULL: an error was sent. */

static json_t *
files_body(http_request *r, const char *body, size_t len)
{
    json_t  *o;

    if (len == 0) {
        return json_object();
    }

    return http_json_object(r, body, len, &o) == 0 ? o : NULL;
}


static void
files_put_body(http_request *r, char *body, size_t len)
{
    json_t      *o;
    error       *err;
    files_op    *op;
    const char  *type;

    o = files_body(r, body, len);
    if (o == NULL) {
        return;
    }

    err = NULL;
    type = "directory";
    op = files_op_new(r);

    if (op == NULL) {
        json_decref(o);
        return;
    }

    if (params_string(o, "type", &type, NULL, &err) == 0
        && params_bool(o, "recursive", &op->recursive, &err) == 0
        && strcmp(type, "directory") != 0)
    {
        error_set_field(&err, 400, "invalid_request", "type", 0,
                        "type must be \"directory\": the bytes of files are "
                        "written to file/{path}");
    }

    if (err != NULL) {
        api_error(r, err);
        file_job_end(&op->job);

    } else {
        file_job_start(&op->job, files_put_run, files_put_done);
    }

    json_decref(o);
}


void
files_put(http_request *r)
{
    http_read_body(r, FILES_BODY_LIMIT, files_put_body);
}


/* POST */

/* Where a path really lies, without what its last component leads to. */

static int
files_real(const char *path, char real[FILES_REAL_ROOM])
{
    int   dir, rc;
    char  name[PATH_NAME_ROOM];

    dir = files_parent(path, name);
    if (dir == -1) {
        return -1;
    }

    rc = file_real_path(dir, real, PATH_ROOM);
    close(dir);

    if (rc == 0 && strcmp(name, ".") != 0) {
        strcat(real, "/");
        strcat(real, name);
    }

    return rc;
}


static void
files_move_run(file_job *job)
{
    int          dir, missing;
    char         from[FILES_REAL_ROOM], to[FILES_REAL_ROOM];
    files_op    *op;
    struct stat  st;

    op = (files_op *) job;

    if (files_real(op->path, from) != 0) {
        op->errnum = errno;
        return;
    }

    /* A directory takes in what is moved there, also through a link. */

    if (stat(op->to, &st) == 0 && S_ISDIR(st.st_mode)) {
        dir = file_open_dir(op->to, agent.workspace, false);

        if (dir == -1) {
            op->errnum = errno;
            return;
        }

        close(dir);
    }

    if (files_real(op->to, to) != 0 || file_move(from, to, &missing) != 0) {
        op->errnum = errno;
    }
}


static void
files_move_done(file_job *job)
{
    files_op  *op;

    op = (files_op *) job;

    if (op->errnum != 0) {
        files_fail(op);

    } else {
        files_succeed(op, json_pack("{s:o}", "newPath", http_text(op->to)));
    }
}


static char *
files_move_to(const json_t *o, error **err)
{
    char        *to;
    size_t       room;
    const char  *given;

    given = NULL;

    if (params_string(o, "moveTo", &given, NULL, err) != 0) {
        return NULL;
    }

    if (given == NULL || path_problem(given, strlen(given)) != NULL) {
        error_set_field(err, 400, "invalid_request", "moveTo", PATH_CHARS_MAX,
                        "moveTo is required: a path of at most %d characters",
                        PATH_CHARS_MAX);
        return NULL;
    }

    room = strlen(agent.workspace) + strlen(given) + 2;
    to = malloc(room);

    if (to == NULL || path_join(to, room, agent.workspace, given) != 0
        || path_normalize(to, room, to) != 0)
    {
        abort();
    }

    if (!path_within(to, agent.workspace)) {
        error_set_field(err, 403, "invalid_request", "moveTo", 0,
                        "moveTo must resolve to a location within %s",
                        agent.workspace);
        free(to);
        return NULL;
    }

    return to;
}


static void
files_post_body(http_request *r, char *body, size_t len)
{
    json_t    *o;
    error     *err;
    files_op  *op;

    o = files_body(r, body, len);
    if (o == NULL) {
        return;
    }

    err = NULL;
    op = files_op_new(r);

    if (op == NULL) {
        json_decref(o);
        return;
    }

    op->to = files_move_to(o, &err);

    if (err == NULL && strcmp(op->path, agent.workspace) == 0) {
        error_set(&err, 403, "invalid_request", "%s itself stays where it is",
                  agent.workspace);
    }

    if (err != NULL) {
        api_error(r, err);
        file_job_end(&op->job);

    } else {
        file_job_start(&op->job, files_move_run, files_move_done);
    }

    json_decref(o);
}


void
files_post(http_request *r)
{
    http_read_body(r, FILES_BODY_LIMIT, files_post_body);
}


/* DELETE */

static void
files_delete_run(file_job *job)
{
    int        dir, rc;
    char       name[PATH_NAME_ROOM];
    files_op  *op;

    op = (files_op *) job;
    dir = files_parent(op->path, name);

    if (dir == -1) {
        op->errnum = errno;
        return;
    }

    if (op->recursive) {
        rc = file_remove_tree(dir, name);

    } else {
        rc = unlinkat(dir, name, 0);

        if (rc != 0 && (errno == EISDIR || errno == EPERM)) {
            rc = unlinkat(dir, name, AT_REMOVEDIR);
        }
    }

    op->errnum = rc != 0 ? errno : 0;
    close(dir);
}


static void
files_delete_done(file_job *job)
{
    files_op  *op;

    op = (files_op *) job;

    if (op->errnum != 0) {
        files_fail(op);

    } else {
        files_succeed(op, json_object());
    }
}


void
files_delete(http_request *r)
{
    error     *err;
    files_op  *op;

    op = files_op_new(r);

    if (op == NULL) {
        return;
    }

    if (strcmp(op->path, agent.workspace) == 0) {
        err = NULL;
        error_set(&err, 403, "invalid_request", "%s itself can't be removed",
                  agent.workspace);
        bridge_error(r, err);
        file_job_end(&op->job);
        return;
    }

    file_job_start(&op->job, files_delete_run, files_delete_done);
}
