/*
 * PUT of a raw file: the body goes to a temporary file in pieces, written on a
 * thread while the next one is received, and the file takes its place when the
 * body is complete.  When the client leaves before, the old file stays.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/bridge_file.h"
#include "agent/file_error.h"
#include "agent/file_job.h"
#include "agent/file_request.h"
#include "agent/file_writer.h"

/* A piece is written as soon as it is half full: what the server delivers at
 * once, and once more after a pause, fits into the other half. */
#define BRIDGE_PIECE  (256 * 1024)
#define BRIDGE_FULL   (BRIDGE_PIECE / 2)

typedef struct {
    file_job      job;
    char         *path;
    file_writer   writer;
    int           errnum;
    bool          paused;
    bool          ended;            /* the body is complete */
    bool          committed;
    char         *piece[2];
    size_t        len[2];
    unsigned      turn;             /* the piece that is being filled */
} bridge_put;

static void bridge_put_step(bridge_put *u);


static void
bridge_put_close(file_job *job)
{
    bridge_put  *u;

    u = (bridge_put *) job;

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
bridge_put_dispose(file_job *job)
{
    bridge_put  *u;

    u = (bridge_put *) job;

    if (u->writer.dir != -1) {
        file_job_start(job, bridge_put_close, NULL);
        return;
    }

    free(u->piece[0]);
    free(u->piece[1]);
    free(u->path);
    free(u);
}


/* On a thread. */

static void
bridge_put_open(file_job *job)
{
    bridge_put  *u;

    u = (bridge_put *) job;

    /* Its own directory lies outside, which would be the wrong complaint. */

    if (strcmp(u->path, agent.workspace) == 0) {
        u->errnum = EISDIR;
        return;
    }

    if (file_writer_open(&u->writer, u->path, agent.workspace) != 0) {
        u->errnum = errno;
    }
}


static void
bridge_put_write(file_job *job)
{
    unsigned     turn;
    bridge_put  *u;

    u = (bridge_put *) job;
    turn = !u->turn;

    if (file_writer_write(&u->writer, u->piece[turn], u->len[turn]) != 0) {
        u->errnum = errno;
    }

    u->len[turn] = 0;
}


static void
bridge_put_commit(file_job *job)
{
    bridge_put  *u;

    u = (bridge_put *) job;

    bridge_put_write(job);

    if (u->errnum == 0 && file_writer_commit(&u->writer) != 0) {
        u->errnum = errno;
    }
}


/* On the loop. */

static void
bridge_put_done(file_job *job)
{
    bridge_put  *u;

    u = (bridge_put *) job;

    if (u->errnum != 0) {
        bridge_file_error(job->r, u->errnum, u->path, "write",
                          "workspace_archive_write_error");
        file_job_end(job);
        return;
    }

    if (u->committed) {
        http_send_json(job->r, 200, json_pack("{s:b}", "ok", 1));
        file_job_end(job);
        return;
    }

    bridge_put_step(u);

    if (u->paused) {
        u->paused = false;
        http_resume(job->r);
    }
}


/* Gives what was received to a thread, if none is at work and it is enough. */

static void
bridge_put_step(bridge_put *u)
{
    if (u->job.running) {
        return;
    }

    if (!u->ended && u->len[u->turn] < BRIDGE_FULL) {
        return;
    }

    u->turn = !u->turn;
    u->committed = u->ended;

    file_job_start(&u->job, u->ended ? bridge_put_commit : bridge_put_write,
                   bridge_put_done);
}


static void
bridge_put_data(http_request *r, const char *p, size_t n)
{
    bridge_put  *u;

    u = r->data;

    if (u->piece[u->turn] == NULL) {
        u->piece[u->turn] = malloc(BRIDGE_PIECE);
    }

    if (u->piece[u->turn] == NULL
        || u->len[u->turn] + n > BRIDGE_PIECE)
    {
        bridge_file_error(r, ENOMEM, u->path, "write",
                          "workspace_archive_write_error");
        file_job_end(&u->job);
        return;
    }

    memcpy(u->piece[u->turn] + u->len[u->turn], p, n);
    u->len[u->turn] += n;

    bridge_put_step(u);

    if (u->len[u->turn] >= BRIDGE_FULL && !u->paused) {
        u->paused = true;
        http_pause(r);
    }
}


static void
bridge_put_end(http_request *r, int ok)
{
    bridge_put  *u;

    u = r->data;

    if (!ok) {
        file_job_end(&u->job);
        return;
    }

    u->ended = true;
    bridge_put_step(u);
}


static void
bridge_put_opened(file_job *job)
{
    bridge_put  *u;

    u = (bridge_put *) job;

    if (u->errnum != 0) {
        bridge_put_done(job);
        return;
    }

    http_read_stream(job->r, bridge_put_data, bridge_put_end);
}


void
bridge_upload(http_request *r)
{
    char        *path;
    bridge_put  *u;

    path = bridge_file_path(r);
    if (path == NULL) {
        return;
    }

    u = calloc(1, sizeof(bridge_put));
    if (u == NULL) {
        abort();
    }

    u->path = path;
    u->writer.dir = -1;
    u->writer.fd = -1;

    file_job_init(&u->job, r, bridge_put_dispose);
    file_job_start(&u->job, bridge_put_open, bridge_put_opened);
}
