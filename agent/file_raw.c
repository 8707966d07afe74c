/*
 * Raw files: GET, HEAD and PUT of /bridge/file/{path...} below the workspace,
 * and of /api/file?path=... anywhere.  Here: which file that is, and
 * downloads.  A thread has the kernel send the file, as much at a time as the
 * client takes.  Where that can't be done, a thread reads the next piece while
 * the loop sends the last one.  Either way a slow disk holds up nobody else.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/file_error.h"
#include "agent/file_job.h"
#include "agent/file_open.h"
#include "agent/file_range.h"
#include "agent/file_raw.h"
#include "agent/file_request.h"
#include "agent/file_routes.h"
#include "agent/file_tag.h"
#include "agent/mime.h"

#define RAW_PIECE  (256 * 1024)
#define RAW_MOMENT 1                    /* ms */
#define RAW_TURN   (4 * 1024 * 1024)    /* what a thread sends in one go */

typedef struct {
    file_job     job;
    char        *path;
    const char  *root;              /* where it has to stay, or NULL */
    const char  *type;
    file_tag     tag;
    int          fd;
    int          errnum;
    int64_t      size;
    int64_t      off;               /* of the next piece */
    int64_t      left;              /* to be read */
    bool         unsized;           /* it is read to its end: /proc */
    bool         stalled;           /* the client has enough for now */
    bool         ready;             /* a piece waits for the client */
    char        *piece[2];
    size_t       len[2];
    unsigned     turn;              /* the piece that is read */
    int          socket;            /* the client's; -1 */
    size_t       sent;              /* by the last turn */
} raw_get;

static void raw_get_pump(raw_get *d);


static int
raw_session_valid(const char *id)
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


static char *
raw_bridge_path(http_request *r)
{
    char        *path;
    error       *err;
    size_t       room;
    const char  *session, *why;

    err = NULL;
    session = http_header(r, "session-id");

    if (session != NULL && !raw_session_valid(session)) {
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
        file_raw_error(r, FILE_E_OUTSIDE, r->param, "", "");
        return NULL;
    }

    return path;
}


char *
file_raw_path(http_request *r, const char **root)
{
    *root = r->bridge ? agent.workspace : NULL;

    return r->bridge ? raw_bridge_path(r) : file_request_query_path(r);
}


static void
raw_api_error(http_request *r, int errnum, const char *path,
    const char *action)
{
    error  *err;

    err = NULL;

    if (errnum == ENOENT && strcmp(action, "read") == 0) {
        error_set(&err, 404, "FILE_NOT_FOUND", "File not found: %.300s", path);

    } else {
        file_error_set(&err, errnum, "%.300s", path);
    }

    file_request_error(r, err, path, strcmp(action, "read") == 0
                       ? "file.read" : "file.write", NULL);
}


void
file_raw_error(http_request *r, int errnum, const char *path,
    const char *action, const char *code)
{
    error  *err;

    if (!r->bridge) {
        raw_api_error(r, errnum, path, action);
        return;
    }

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
raw_get_dispose(file_job *job)
{
    raw_get  *d;

    d = (raw_get *) job;

    file_job_close(d->fd);

    if (d->socket != -1) {
        close(d->socket);
    }

    free(d->piece[0]);
    free(d->piece[1]);
    free(d->path);
    free(d);
}


/* On a thread. */

static void
raw_get_read(file_job *job)
{
    char     *p;
    size_t    want, n;
    ssize_t   got;
    raw_get  *d;

    d = (raw_get *) job;
    want = d->unsized || d->left > RAW_PIECE ? RAW_PIECE : (size_t) d->left;

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

        if (got == 0 && d->unsized) {
            d->left = (int64_t) n;
            break;
        }

        if (got <= 0) {
            d->errnum = got == 0 ? EIO : errno;     /* it became shorter */
            return;
        }
    }

    d->len[d->turn] = n;
    d->off += (off_t) n;

    if (!d->unsized || n < want) {
        d->left -= (int64_t) n;
    }
}


/* On a thread, without copying: as much as the client takes now. */

static void
raw_get_send(file_job *job)
{
    size_t         want;
    ssize_t        n;
    raw_get       *d;
    struct pollfd  p;

    d = (raw_get *) job;
    d->sent = 0;

    while (d->left > 0 && d->sent < RAW_TURN) {
        want = d->left < RAW_TURN ? (size_t) d->left : RAW_TURN;
        n = sendfile(d->socket, d->fd, &d->off, want);

        if (n > 0) {
            d->sent += (size_t) n;
            d->left -= n;

        } else if (n == 0) {
            d->errnum = EIO;                        /* it became shorter */
            return;

        } else if (errno == EAGAIN) {

            /* One that reads as fast as it can has room again in a moment:
             * that is cheaper than a turn of the loop. */

            p.fd = d->socket;
            p.events = POLLOUT;
            if (poll(&p, 1, RAW_MOMENT) <= 0) {
                return;
            }

        } else if (errno != EINTR) {
            d->errnum = errno;
            return;
        }
    }
}


/* The bridge's files are bytes; else the name says what they are, or how they
 * begin. */

static const char *
raw_get_type(const raw_get *d)
{
    char         head[MIME_SNIFF];
    ssize_t      n;
    const char  *type;

    if (d->root != NULL) {
        return "application/octet-stream";
    }

    type = mime_by_name(d->path);

    if (type == NULL) {
        n = pread(d->fd, head, sizeof(head), 0);
        type = n < 0 ? "application/octet-stream"
                     : mime_sniff(head, (size_t) n, n == d->size);
    }

    return type;
}


static void
raw_get_open(file_job *job)
{
    raw_get      *d;
    struct stat   st;

    d = (raw_get *) job;
    d->fd = file_open_read(d->path, d->root, &st);

    if (d->fd == -1) {
        d->errnum = errno == ENOTDIR ? ENOENT : errno;
        return;
    }

    d->size = st.st_size;
    file_tag_of(&d->tag, &st);
    d->type = raw_get_type(d);

    if (d->size == 0) {
        d->unsized = true;
        d->left = INT64_MAX;
        raw_get_read(job);
        d->unsized = d->len[d->turn] > 0;
        return;
    }

    (void) posix_fadvise(d->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
}


/* On the loop. */

static void
raw_get_ready(file_job *job)
{
    raw_get  *d;

    d = (raw_get *) job;

    if (d->errnum != 0) {
        http_abort(job->r);
        file_job_end(job);
        return;
    }

    d->ready = true;

    if (!d->stalled) {
        raw_get_pump(d);
    }
}


static void
raw_get_drained(http_request *r)
{
    raw_get  *d;

    d = r->data;
    d->stalled = false;

    if (d->ready) {
        raw_get_pump(d);
    }
}


/* Sends the piece that was read, while the next one is. */

static void
raw_get_pump(raw_get *d)
{
    unsigned       turn;
    http_request  *r;

    r = d->job.r;
    turn = d->turn;
    d->ready = false;

    if (d->left > 0) {
        d->turn = !turn;
        file_job_start(&d->job, raw_get_read, raw_get_ready);
        d->stalled = http_write(r, d->piece[turn], d->len[turn]);
        return;
    }

    http_write(r, d->piece[turn], d->len[turn]);
    http_end(r);
    file_job_end(&d->job);
}


static void raw_get_sendable(http_request *r);


static void
raw_get_was_sent(file_job *job)
{
    raw_get  *d;

    d = (raw_get *) job;
    http_sent(job->r, d->sent);

    /* Not every file system can do it. */
    if (d->errnum == EINVAL || d->errnum == ENOSYS) {
        d->errnum = 0;
        http_on_drain(job->r, raw_get_drained);
        file_job_start(job, raw_get_read, raw_get_ready);
        return;
    }

    if (d->errnum != 0) {
        http_abort(job->r);
        file_job_end(job);
        return;
    }

    if (d->left == 0) {
        http_end(job->r);
        file_job_end(job);
        return;
    }

    http_when_ready(job->r, raw_get_sendable);
}


static void
raw_get_sendable(http_request *r)
{
    raw_get  *d;

    d = r->data;
    file_job_start(&d->job, raw_get_send, raw_get_was_sent);
}


/* What has content but no size has no version and no parts either. */

static void
raw_get_begin_unsized(raw_get *d)
{
    http_request  *r;

    r = d->job.r;
    http_begin(r, 200, d->type, -1);

    if (r->method == METHOD_HEAD) {
        http_end(r);
        file_job_end(&d->job);
        return;
    }

    http_on_drain(r, raw_get_drained);
    raw_get_pump(d);
}


static void
raw_get_begin(file_job *job)
{
    char              text[64];
    raw_get          *d;
    http_request     *r;
    file_range_kind   kind;

    d = (raw_get *) job;
    r = job->r;

    if (d->errnum != 0) {
        file_raw_error(r, d->errnum, d->path, "read",
                          "exec_transport_error");
        file_job_end(job);
        return;
    }

    http_set_header(r, "X-Content-Type-Options", "nosniff");

    if (d->unsized) {
        raw_get_begin_unsized(d);
        return;
    }

    http_set_header(r, "ETag", d->tag.tag);

    if (d->tag.date[0] != '\0') {
        http_set_header(r, "Last-Modified", d->tag.date);
    }

    if (file_tag_known(&d->tag, http_header(r, "if-none-match"),
                       http_header(r, "if-modified-since")))
    {
        http_send_empty(r, 304);
        file_job_end(job);
        return;
    }

    /* A range that is only good for another version: the whole file is. */

    kind = file_range_parse(file_tag_same(&d->tag, http_header(r, "if-range"))
                            ? http_header(r, "range") : NULL, d->size,
                            &d->off, &d->left);

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

    http_begin(r, kind == FILE_RANGE_PART ? 206 : 200, d->type, d->left);

    if (r->method == METHOD_HEAD || d->left == 0) {
        http_end(r);
        file_job_end(job);
        return;
    }

    d->socket = http_socket(r);

    if (d->socket != -1) {
        http_when_ready(r, raw_get_sendable);
        return;
    }

    http_on_drain(r, raw_get_drained);
    file_job_start(job, raw_get_read, raw_get_ready);
}


static void
file_raw_get(http_request *r)
{
    char        *path;
    raw_get     *d;
    const char  *root;

    path = file_raw_path(r, &root);
    if (path == NULL) {
        return;
    }

    d = calloc(1, sizeof(raw_get));
    if (d == NULL) {
        abort();
    }

    d->path = path;
    d->root = root;
    d->fd = -1;
    d->socket = -1;

    file_job_init(&d->job, r, raw_get_dispose);
    file_job_start(&d->job, raw_get_open, raw_get_begin);
}


void
file_raw_routes(router *t)
{
    router_add(t, METHOD_GET, "/bridge/file/{path...}", file_raw_get);
    router_add(t, METHOD_PUT, "/bridge/file/{path...}", file_raw_put);
    router_add(t, METHOD_GET, "/api/file", file_raw_get);
    router_add(t, METHOD_PUT, "/api/file", file_raw_put);
}
