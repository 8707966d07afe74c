/*
 * /api/list-files: a directory, or everything below it, sent slice by slice
 * while it is read, so that a tree of any size needs the memory of one slice.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/file_error.h"
#include "agent/file_job.h"
#include "agent/file_list.h"
#include "agent/file_request.h"
#include "agent/file_routes.h"
#include "agent/path.h"
#include "common/json_text.h"

#define FILE_BODY_LIMIT  (256 * 1024)
#define FILE_LIST_SLICE  (64 * 1024)

typedef struct {
    file_job      job;
    buffer        body;             /* what given points into */
    const char   *given;
    char         *full;
    bool          recursive;
    bool          hidden;
    bool          begun;
    int           more;             /* as file_list_more() answers */
    int           errnum;
    file_list    *list;
    buffer        out;
} file_list_op;

static void file_list_next_slice(file_list_op *t);


static void
file_list_dispose(file_job *job)
{
    file_list_op  *t;

    t = (file_list_op *) job;

    if (t->list != NULL) {
        file_list_close(t->list);
    }

    buffer_free(&t->body);
    buffer_free(&t->out);
    free(t->full);
    free(t);
}


/* On a thread. */

static void
file_list_run(file_job *job)
{
    char           ts[32];
    file_list_op  *t;

    t = (file_list_op *) job;

    if (t->begun) {
        t->out.len = 0;
    }

    t->more = file_list_more(t->list, &t->out, FILE_LIST_SLICE);

    if (t->more == -1) {
        t->errnum = errno;

    } else if (t->more == 0) {
        http_timestamp(ts, sizeof(ts));
        buffer_printf(&t->out, "],\"count\":%zu,\"timestamp\":\"%s\"}",
                      file_list_count(t->list), ts);
    }
}


static void
file_list_start(file_job *job)
{
    char          *room;
    size_t         n, used;
    file_list_op  *t;

    t = (file_list_op *) job;
    t->list = file_list_open(t->full, t->recursive, t->hidden);

    if (t->list == NULL) {
        t->errnum = errno;
        return;
    }

    n = strlen(t->given);
    buffer_puts(&t->out, "{\"success\":true,\"path\":\"");
    room = buffer_room(&t->out, n * JSON_TEXT_GROWTH);
    buffer_added(&t->out, json_text_escape(room, n * JSON_TEXT_GROWTH,
                                           t->given, n, &used, true));
    buffer_puts(&t->out, "\",\"files\":[");

    file_list_run(job);
}


/* On the loop. */

static void
file_list_fail(file_list_op *t)
{
    error  *err;

    if (t->begun) {
        http_abort(t->job.r);
        file_job_end(&t->job);
        return;
    }

    err = NULL;

    if (t->errnum == ENOENT) {
        error_set(&err, 404, "FILE_NOT_FOUND", "Directory not found: %s",
                  t->given);

    } else if (t->errnum == ENOTDIR) {
        error_set(&err, 400, "NOT_DIRECTORY", "Path is not a directory: %s",
                  t->given);

    } else {
        file_error_set(&err, t->errnum, "Failed to list directory '%s'",
                       t->given);
    }

    file_request_error(t->job.r, err, t->given, "directory.list",
                       t->errnum == ENOENT || t->errnum == ENOTDIR ? NULL
                       : file_error_text(t->errnum));
    file_job_end(&t->job);
}


static void
file_list_drained(http_request *r)
{
    file_list_next_slice(r->data);
}


static void
file_list_done(file_job *job)
{
    int            full;
    file_list_op  *t;

    t = (file_list_op *) job;

    if (t->errnum != 0) {
        file_list_fail(t);
        return;
    }

    if (!t->begun && t->more == 0) {
        http_send(job->r, 200, "application/json", buffer_bytes(&t->out),
                  t->out.len);
        file_job_end(job);
        return;
    }

    if (!t->begun) {
        t->begun = true;
        http_on_drain(job->r, file_list_drained);
        http_begin(job->r, 200, "application/json", -1);
    }

    full = http_write(job->r, buffer_bytes(&t->out), t->out.len);

    if (t->more == 0) {
        http_end(job->r);
        file_job_end(job);
        return;
    }

    if (!full) {
        file_list_next_slice(t);
    }
}


static void
file_list_next_slice(file_list_op *t)
{
    file_job_start(&t->job, file_list_run, file_list_done);
}


/* The options are an object of their own, or absent. */

static int
file_list_options(http_request *r, const json_flat_object *o,
    file_list_op *t)
{
    error             *err;
    const json_flat   *m;
    json_flat_object   options;

    m = json_flat_get(o, "options");

    if (m->type == JSON_FLAT_ABSENT || m->type == JSON_FLAT_NULL) {
        return 0;
    }

    if (m->type != JSON_FLAT_OBJECT) {
        return file_request_invalid(r, "options", "INVALID_TYPE",
                                    "must be an object", "Invalid options");
    }

    err = NULL;

    if (json_flat_parse(&options, m->text, m->len, &err) != 0) {
        file_request_bad_json(r, err);
        return -1;
    }

    if (file_request_bool(r, &options, "recursive", &t->recursive) != 0) {
        return -1;
    }

    return file_request_bool(r, &options, "includeHidden", &t->hidden);
}


static void
file_list_body(http_request *r, char *body, size_t len)
{
    file_list_op      *t;
    json_flat_object   o;

    t = calloc(1, sizeof(file_list_op));
    if (t == NULL) {
        abort();
    }

    http_take_body(r, &t->body);
    file_job_init(&t->job, r, file_list_dispose);

    if (file_request_parse(r, &o, body, len) != 0
        || file_request_path(r, &o, "path", &t->given, &t->full) != 0
        || file_list_options(r, &o, t) != 0)
    {
        file_job_end(&t->job);
        return;
    }

    /* What is told as absolutePath is one, so for a relative path the front
     * is put in order, while an absolute one stays as it was given. */

    if (t->given[0] != '/') {
        (void) !path_normalize(t->full, strlen(t->full) + 1, t->full);
    }

    file_job_start(&t->job, file_list_start, file_list_done);
}


static void
file_list_files(http_request *r)
{
    http_read_body(r, FILE_BODY_LIMIT, file_list_body);
}


void
file_list_routes(router *t)
{
    router_add(t, METHOD_POST, "/api/list-files", file_list_files);
}
