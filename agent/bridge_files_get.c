/*
 * GET and HEAD of /bridge/files/{path...}: a directory's list goes out in
 * slices, as the client takes them.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/bridge_files_internal.h"

#define FILES_SLICE       (64 * 1024)

static void files_next_slice(files_op *op);


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


void
files_get(http_request *r)
{
    files_op  *op;

    op = files_op_new(r);

    if (op != NULL) {
        http_on_drain(r, files_drained);
        file_job_start(&op->job, files_get_begin, files_get_done);
    }
}
