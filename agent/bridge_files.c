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
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/file_error.h"
#include "agent/file_job.h"
#include "agent/file_list.h"
#include "agent/file_move.h"
#include "agent/file_open.h"
#include "agent/file_raw.h"
#include "agent/params.h"

#define FILES_BODY_LIMIT  (64 * 1024)
#define FILES_SLICE       (64 * 1024)
#define FILES_REAL_ROOM   (PATH_ROOM + PATH_NAME_ROOM + 1)

typedef struct {
    file_job      job;
    char         *path;
    char         *to;               /* of a move */
    int           recursive;
    int           hidden;
    bool          head;
    bool          begun;
    bool          created;
    int           more;             /* as file_list_more() answers */
    int           errnum;
    file_list    *list;
    buffer        out;
} files_op;

static void files_next_slice(files_op *op);


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


/* NULL: an error was sent. */

static files_op *
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


static void
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


static void
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


/* The directory in which a path lies, and its name there; "." for the
 * workspace itself. */

static int
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


/* GET */

static void
files_get_more(file_job *job)
{
    char       ts[32];
    files_op  *op;

    op = (files_op *) job;

    if (op->begun) {
        op->out.len = 0;
    }

    op->more = op->list == NULL ? 0
               : file_list_more(op->list, &op->out, FILES_SLICE);

    if (op->more == -1) {
        op->errnum = errno;

    } else if (op->more == 0) {

        if (op->list != NULL) {
            buffer_printf(&op->out, "],\"count\":%zu",
                          file_list_count(op->list));
        }

        http_timestamp(ts, sizeof(ts));
        buffer_printf(&op->out, ",\"timestamp\":\"%s\"}", ts);
    }
}


static void
files_text(buffer *out, const char *text)
{
    char    *dump;
    json_t  *json;

    json = http_text(text);
    dump = json_dumps(json, JSON_ENCODE_ANY);

    if (dump == NULL) {
        abort();
    }

    buffer_puts(out, dump);
    free(dump);
    json_decref(json);
}


static void
files_get_begin(file_job *job)
{
    int          fd, dir;
    char         name[PATH_NAME_ROOM];
    files_op    *op;
    struct stat  st;

    op = (files_op *) job;
    fd = -1;
    dir = files_parent(op->path, name);

    if (dir == -1 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        op->errnum = errno;
        goto done;
    }

    buffer_puts(&op->out, "{\"success\":true,\"path\":");
    files_text(&op->out, op->path);
    buffer_puts(&op->out, ",\"name\":");
    files_text(&op->out, strrchr(op->path, '/') + 1);
    buffer_puts(&op->out, ",");
    file_list_describe(&op->out, &st);

    if (S_ISDIR(st.st_mode) && !op->head) {
        fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW
                               | O_NONBLOCK | O_CLOEXEC);
        op->list = fd == -1 ? NULL
                   : file_list_open_fd(fd, op->path, op->recursive,
                                       op->hidden);
        if (op->list == NULL) {
            op->errnum = errno;
            goto done;
        }

        buffer_puts(&op->out, ",\"files\":[");
    }

    files_get_more(job);

done:

    if (dir != -1) {
        close(dir);
    }
}


static void
files_get_done(file_job *job)
{
    int        full;
    files_op  *op;

    op = (files_op *) job;

    if (op->errnum != 0) {
        if (op->begun) {
            http_abort(job->r);
            file_job_end(job);

        } else {
            files_fail(op);
        }

        return;
    }

    if (!op->begun) {
        op->begun = true;
        http_begin(job->r, 200, "application/json",
                   op->more == 0 ? (int64_t) op->out.len : -1);
    }

    full = http_write(job->r, buffer_bytes(&op->out), op->out.len);

    if (op->more == 0) {
        http_end(job->r);
        file_job_end(job);

    } else if (!full) {
        files_next_slice(op);
    }
}


static void
files_next_slice(files_op *op)
{
    file_job_start(&op->job, files_get_more, files_get_done);
}


static void
files_drained(http_request *r)
{
    files_next_slice(r->data);
}


static void
files_get(http_request *r)
{
    files_op  *op;

    op = files_op_new(r);

    if (op != NULL) {
        http_on_drain(r, files_drained);
        file_job_start(&op->job, files_get_begin, files_get_done);
    }
}


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


static void
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


static void
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


static void
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
