/*
 * Raw files below the workspace: GET, HEAD and PUT of /bridge/file/{path...}.
 * Here: which file that is, and downloads.  A thread reads the next piece
 * while the loop sends the last one, so that a slow disk holds up nobody else
 * and a fast one is not waited for.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/bridge_file.h"
#include "agent/file_error.h"
#include "agent/file_job.h"
#include "agent/file_open.h"
#include "agent/file_range.h"
#include "agent/file_request.h"
#include "agent/file_routes.h"

#define BRIDGE_PIECE  (256 * 1024)

typedef struct {
    file_job   job;
    char      *path;
    int        fd;
    int        errnum;
    int64_t    size;
    int64_t    off;                 /* of the next piece */
    int64_t    left;                /* to be read */
    bool       stalled;             /* the client has enough for now */
    bool       ready;               /* a piece waits for the client */
    char      *piece[2];
    size_t     len[2];
    unsigned   turn;                /* the piece that is read */
} bridge_download;

static void bridge_download_pump(bridge_download *d);


static int
bridge_session_valid(const char *id)
{
    size_t  i;

    for (i = 0; id[i] != '\0'; i++) {
        if (!((id[i] >= 'a' && id[i] <= 'z') || (id[i] >= 'A' && id[i] <= 'Z')
              || (id[i] >= '0' && id[i] <= '9') || id[i] == '.'
              || id[i] == '_' || id[i] == '-'))
        {
            return 0;
        }
    }

    return i >= 1 && i <= 128 && strstr(id, "..") == NULL;
}


char *
bridge_file_path(http_request *r)
{
    char        *path;
    error       *err;
    size_t       room;
    const char  *session, *why;

    err = NULL;
    session = http_header(r, "session-id");

    if (session != NULL && !bridge_session_valid(session)) {
        error_set(&err, 400, "invalid_request", "Invalid session ID format");
        bridge_error(r, err);
        return NULL;
    }

    if (r->param == NULL || r->param[0] == '\0') {
        error_set(&err, 400, "invalid_request",
                  "file path must not be empty");
        bridge_error(r, err);
        return NULL;
    }

    why = path_problem(r->param, strlen(r->param));

    if (why != NULL) {
        error_set(&err, 400, "invalid_request", "%s", why);
        bridge_error(r, err);
        return NULL;
    }

    room = strlen(r->param) + 2;
    path = malloc(room);

    if (path == NULL || path_normalize(path, room, r->param) != 0) {
        abort();
    }

    if (!path_within(path, agent.workspace)) {
        free(path);
        bridge_file_error(r, FILE_E_OUTSIDE, r->param, "", "");
        return NULL;
    }

    return path;
}


void
bridge_file_error(http_request *r, int errnum, const char *path,
    const char *action, const char *code)
{
    error  *err;

    err = NULL;

    if (errnum == FILE_E_OUTSIDE) {
        error_set(&err, 403, "invalid_request",
                  "path must resolve to a location within %s",
                  agent.workspace);

    } else if (errnum == ENOENT && strcmp(action, "read") == 0) {
        error_set(&err, 404, "workspace_read_not_found", "File not found: %s",
                  path);

    } else {
        error_set(&err, 502, code, "%s failed: %s: %.300s", action,
                  file_error_text(errnum), path);
    }

    bridge_error(r, err);
}


static void
bridge_download_dispose(file_job *job)
{
    bridge_download  *d;

    d = (bridge_download *) job;

    if (d->fd != -1) {
        close(d->fd);
    }

    free(d->piece[0]);
    free(d->piece[1]);
    free(d->path);
    free(d);
}


/* On a thread. */

static void
bridge_download_read(file_job *job)
{
    char             *p;
    size_t            want, n;
    ssize_t           got;
    bridge_download  *d;

    d = (bridge_download *) job;
    want = d->left < BRIDGE_PIECE ? (size_t) d->left : BRIDGE_PIECE;

    if (d->piece[d->turn] == NULL) {
        d->piece[d->turn] = malloc(want);
        if (d->piece[d->turn] == NULL) {
            d->errnum = ENOMEM;
            return;
        }
    }

    p = d->piece[d->turn];

    for (n = 0; n < want; n += (size_t) got) {
        got = pread(d->fd, p + n, want - n, d->off + (off_t) n);

        if (got == -1 && errno == EINTR) {
            got = 0;
            continue;
        }

        if (got <= 0) {
            d->errnum = got == 0 ? EIO : errno;     /* it became shorter */
            return;
        }
    }

    d->len[d->turn] = n;
    d->off += (off_t) n;
    d->left -= (int64_t) n;
}


static void
bridge_download_open(file_job *job)
{
    struct stat       st;
    bridge_download  *d;

    d = (bridge_download *) job;
    d->fd = file_open_read(d->path, agent.workspace, &st);

    if (d->fd == -1) {
        d->errnum = errno == ENOTDIR ? ENOENT : errno;
        return;
    }

    d->size = st.st_size;
    (void) posix_fadvise(d->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
}


/* On the loop. */

static void
bridge_download_ready(file_job *job)
{
    bridge_download  *d;

    d = (bridge_download *) job;

    if (d->errnum != 0) {
        http_abort(job->r);
        file_job_end(job);
        return;
    }

    d->ready = true;

    if (!d->stalled) {
        bridge_download_pump(d);
    }
}


static void
bridge_download_drained(http_request *r)
{
    bridge_download  *d;

    d = r->data;
    d->stalled = false;

    if (d->ready) {
        bridge_download_pump(d);
    }
}


/* Sends the piece that was read, while the next one is. */

static void
bridge_download_pump(bridge_download *d)
{
    unsigned       turn;
    http_request  *r;

    r = d->job.r;
    turn = d->turn;
    d->ready = false;

    if (d->left > 0) {
        d->turn = !turn;
        file_job_start(&d->job, bridge_download_read, bridge_download_ready);
        d->stalled = http_write(r, d->piece[turn], d->len[turn]);
        return;
    }

    http_write(r, d->piece[turn], d->len[turn]);
    http_end(r);
    file_job_end(&d->job);
}


static void
bridge_download_begin(file_job *job)
{
    char              text[64];
    http_request     *r;
    file_range_kind   kind;
    bridge_download  *d;

    d = (bridge_download *) job;
    r = job->r;

    if (d->errnum != 0) {
        bridge_file_error(r, d->errnum, d->path, "read",
                          "exec_transport_error");
        file_job_end(job);
        return;
    }

    /* A range that is only good for another version needs what we don't send,
     * a validator: the whole file is the right answer. */

    kind = file_range_parse(http_header(r, "if-range") ? NULL
                            : http_header(r, "range"), d->size, &d->off,
                            &d->left);

    http_set_header(r, "Accept-Ranges", "bytes");

    if (kind == FILE_RANGE_NEVER) {
        snprintf(text, sizeof(text), "bytes */%lld", (long long) d->size);
        http_set_header(r, "Content-Range", text);
        http_send(r, 416, NULL, NULL, 0);
        file_job_end(job);
        return;
    }

    if (kind == FILE_RANGE_PART) {
        snprintf(text, sizeof(text), "bytes %lld-%lld/%lld",
                 (long long) d->off, (long long) (d->off + d->left - 1),
                 (long long) d->size);
        http_set_header(r, "Content-Range", text);
    }

    http_begin(r, kind == FILE_RANGE_PART ? 206 : 200,
               "application/octet-stream", d->left);

    if (r->method == METHOD_HEAD || d->left == 0) {
        http_end(r);
        file_job_end(job);
        return;
    }

    http_on_drain(r, bridge_download_drained);
    file_job_start(job, bridge_download_read, bridge_download_ready);
}


static void
bridge_file_get(http_request *r)
{
    char             *path;
    bridge_download  *d;

    path = bridge_file_path(r);
    if (path == NULL) {
        return;
    }

    d = calloc(1, sizeof(bridge_download));
    if (d == NULL) {
        abort();
    }

    d->path = path;
    d->fd = -1;

    file_job_init(&d->job, r, bridge_download_dispose);
    file_job_start(&d->job, bridge_download_open, bridge_download_begin);
}


void
bridge_file_routes(router *t)
{
    router_add(t, METHOD_GET, "/bridge/file/{path...}", bridge_file_get);
    router_add(t, METHOD_PUT, "/bridge/file/{path...}", bridge_upload);
}
