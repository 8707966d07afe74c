/*
 * PUT of a raw file: the body goes to a temporary file in pieces, written on a
 * thread while the next one is received, and the file takes its place when the
 * body is complete.  When the client leaves before, the old file stays.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/file_error.h"
#include "agent/file_job.h"
#include "agent/file_raw.h"
#include "agent/file_request.h"
#include "agent/file_writer.h"

/* A piece is written as soon as it is half full: what the server delivers at
 * once, and once more after a pause, fits into the other half. */
#define RAW_PIECE  (256 * 1024)
#define RAW_FULL   (RAW_PIECE / 2)

typedef struct {
    file_job      job;
    char         *path;
    const char   *root;             /* where it has to stay, or NULL */
    file_writer   writer;
    int           errnum;
    int64_t       written;
    bool          paused;
    bool          ended;            /* the body is complete */
    bool          committed;
    char         *piece[2];
    size_t        len[2];
    unsigned      turn;             /* the piece that is being filled */
} raw_put;

static void raw_put_step(raw_put *u);


static void
raw_put_close(file_job *job)
{
    raw_put  *u;

    u = (raw_put *) job;

    if (u->committed) {
        file_writer_settle(&u->writer);
    } else {
        file_writer_cancel(&u->writer);
    }
}


/* Giving back the blocks of a large file takes a while, and so does having
 * them written, so neither is done on the loop: the job runs once more and
 * comes back here. */

static void
raw_put_dispose(file_job *job)
{
    raw_put  *u;

    u = (raw_put *) job;

    if (u->writer.dir != -1) {
        file_job_start(job, raw_put_close, NULL);
        return;
    }

    free(u->piece[0]);
    free(u->piece[1]);
    free(u->path);
    free(u);
}


/* On a thread. */

static void
raw_put_open(file_job *job)
{
    raw_put  *u;

    u = (raw_put *) job;

    /* Its own directory lies outside, which would be the wrong complaint. */

    if (u->root != NULL && strcmp(u->path, u->root) == 0) {
        u->errnum = EISDIR;
        return;
    }

    if (file_writer_open(&u->writer, u->path, u->root) != 0) {
        u->errnum = errno;
    }
}


static void
raw_put_write(file_job *job)
{
    unsigned     turn;
    raw_put  *u;

    u = (raw_put *) job;
    turn = !u->turn;

    if (file_writer_write(&u->writer, u->piece[turn], u->len[turn]) != 0) {
        u->errnum = errno;
    }

    u->len[turn] = 0;
}


static void
raw_put_commit(file_job *job)
{
    raw_put  *u;

    u = (raw_put *) job;

    raw_put_write(job);

    if (u->errnum == 0 && file_writer_commit(&u->writer) != 0) {
        u->errnum = errno;
    }
}


/* On the loop. */

static void
raw_put_answer(raw_put *u)
{
    if (u->job.r->bridge) {
        http_send_json(u->job.r, 200, json_pack("{s:b}", "ok", 1));
        return;
    }

    file_request_success(u->job.r, json_pack("{s:b, s:o, s:I}", "success", 1,
                         "path", http_text(u->path), "bytesWritten",
                         (json_int_t) u->written));
}


static void
raw_put_done(file_job *job)
{
    raw_put  *u;

    u = (raw_put *) job;

    if (u->errnum != 0) {
        file_raw_error(job->r, u->errnum, u->path, "write",
                          "workspace_archive_write_error");
        file_job_end(job);
        return;
    }

    if (u->committed) {
        raw_put_answer(u);
        file_job_end(job);
        return;
    }

    raw_put_step(u);

    if (u->paused) {
        u->paused = false;
        http_resume(job->r);
    }
}


/* Gives what was received to a thread, if none is at work and it is enough. */

static void
raw_put_step(raw_put *u)
{
    if (u->job.running) {
        return;
    }

    if (!u->ended && u->len[u->turn] < RAW_FULL) {
        return;
    }

    u->turn = !u->turn;
    u->committed = u->ended;

    file_job_start(&u->job, u->ended ? raw_put_commit : raw_put_write,
                   raw_put_done);
}


static void
raw_put_data(http_request *r, const char *p, size_t n)
{
    raw_put  *u;

    u = r->data;

    if (u->piece[u->turn] == NULL) {
        u->piece[u->turn] = malloc(RAW_PIECE);
    }

    if (u->piece[u->turn] == NULL
        || u->len[u->turn] + n > RAW_PIECE)
    {
        file_raw_error(r, ENOMEM, u->path, "write",
                          "workspace_archive_write_error");
        file_job_end(&u->job);
        return;
    }

    memcpy(u->piece[u->turn] + u->len[u->turn], p, n);
    u->written += (int64_t) n;
    u->len[u->turn] += n;

    raw_put_step(u);

    if (u->len[u->turn] >= RAW_FULL && !u->paused) {
        u->paused = true;
        http_pause(r);
    }
}


static void
raw_put_end(http_request *r, int ok)
{
    raw_put  *u;

    u = r->data;

    if (!ok) {
        file_job_end(&u->job);
        return;
    }

    u->ended = true;
    raw_put_step(u);
}


static void
raw_put_opened(file_job *job)
{
    raw_put  *u;

    u = (raw_put *) job;

    if (u->errnum != 0) {
        raw_put_done(job);
        return;
    }

    http_read_stream(job->r, raw_put_data, raw_put_end);
}


void
file_raw_put(http_request *r)
{
    char        *path;
    raw_put     *u;
    const char  *root;

    path = file_raw_path(r, &root);
    if (path == NULL) {
        return;
    }

    u = calloc(1, sizeof(raw_put));
    if (u == NULL) {
        abort();
    }

    u->path = path;
    u->root = root;
    u->writer.dir = -1;
    u->writer.fd = -1;

    file_job_init(&u->job, r, raw_put_dispose);
    file_job_start(&u->job, raw_put_open, raw_put_opened);
}
