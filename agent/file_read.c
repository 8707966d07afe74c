/*
 * The routes that read a file as JSON: /api/read and /api/read/stream.  Both
 * go through the file in pieces: a thread reads one, turns it into what is
 * sent and sends it, and only then comes the next, so that a file of any size
 * needs the memory of one piece.
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/file_error.h"
#include "agent/file_job.h"
#include "agent/file_open.h"
#include "agent/file_quick.h"
#include "agent/file_request.h"
#include "agent/file_routes.h"
#include "agent/mime.h"
#include "common/base64.h"
#include "common/json_text.h"

#define FILE_BODY_LIMIT    (256 * 1024)
#define FILE_READ_LIMIT    (32 * 1024 * 1024)

/* Both are divisible by three: the base64 of the pieces is that of the whole.
 * The clients know the second one's slices. */
#define FILE_READ_PIECE    (2 * 65535)
#define FILE_STREAM_PIECE  65535

#define FILE_READ_TURN     (4 * 1024 * 1024)   /* sent by a thread at once */
#define FILE_READ_MOMENT   2                   /* ms it waits for room */
#define FILE_CHUNK_HEAD    10                  /* eight digits, CR, LF */

#define FILE_CARRY         4        /* of a character that a piece cuts */

typedef struct {
    file_job        job;
    buffer          body;           /* what given points into */
    const char     *given;
    char           *full;
    bool            stream;
    bool            begun;          /* the head was sent */
    bool            last;           /* out holds the end */
    bool            text;           /* sent as text, else in base64 */
    file_encoding   encoding;       /* that was asked for */
    int             errnum;
    int             fd;
    int64_t         size;           /* announced; 0: up to the end */
    int64_t         done;
    const char     *mime;
    char           *in;
    size_t          held;           /* bytes in `in`, not encoded yet */
    buffer          out;            /* what the thread made last */
    int             socket;         /* what a thread sends on */
    bool            chunked;
    bool            broken;         /* the client can't be sent to */
    size_t          at;             /* of out, where the rest begins */
    size_t          sent;           /* by the last turn */
} file_read;

static void file_read_sendable(http_request *r);


static void
file_read_dispose(file_job *job)
{
    file_read  *t;

    t = (file_read *) job;

    file_job_close(t->fd);
    buffer_free(&t->body);
    if (t->socket != -1) {
        close(t->socket);
    }

    buffer_free(&t->out);
    free(t->full);
    free(t->in);
    free(t);
}


/* On a thread: one piece, from the file to what is sent. */

static int
file_read_fill(file_read *t)
{
    size_t   want;
    ssize_t  n;

    want = FILE_CARRY + (t->stream ? FILE_STREAM_PIECE : FILE_READ_PIECE);
    want = t->held + want - FILE_CARRY;

    while (t->held < want) {
        if (t->size > 0 && t->done == t->size) {
            t->last = true;
            return 0;
        }

        n = read(t->fd, t->in + t->held,
                 t->size > 0 && t->size - t->done < (int64_t) (want - t->held)
                 ? (size_t) (t->size - t->done) : want - t->held);

        if (n == -1) {
            if (errno == EINTR) {
                continue;
            }
            return -1;
        }

        if (n == 0) {
            t->last = true;
            return 0;
        }

        t->held += (size_t) n;
        t->done += n;

        /* A file that doesn't tell its size has a limit all the same. */

        if (t->size == 0 && t->done > FILE_READ_LIMIT) {
            errno = EFBIG;
            return -1;
        }
    }

    t->last = t->size > 0 && t->done == t->size;

    return 0;
}


static void
file_read_encode(file_read *t)
{
    char    *room;
    size_t   used;

    if (!t->text) {
        room = buffer_room(&t->out, base64_encoded_len(t->held));
        buffer_added(&t->out, base64_encode(room, t->in, t->held));
        t->held = 0;
        return;
    }

    room = buffer_room(&t->out, t->held * JSON_TEXT_GROWTH);
    buffer_added(&t->out, json_text_escape(room, t->held * JSON_TEXT_GROWTH,
                                           t->in, t->held, &used, t->last));

    t->held -= used;
    memmove(t->in, t->in + used, t->held);
}


static void
file_read_path(buffer *out, const char *path)
{
    char    *room;
    size_t   n, used;

    n = strlen(path);
    room = buffer_room(out, n * JSON_TEXT_GROWTH);
    buffer_added(out, json_text_escape(room, n * JSON_TEXT_GROWTH, path, n,
                                       &used, true));
}


static void
file_read_piece_json(file_read *t, bool first)
{
    char  ts[32];

    if (first) {
        buffer_puts(&t->out, "{\"success\":true,\"path\":\"");
        file_read_path(&t->out, t->given);
        buffer_puts(&t->out, "\",\"content\":\"");
    }

    file_read_encode(t);

    if (t->last) {
        http_timestamp(ts, sizeof(ts));
        buffer_printf(&t->out, "\",\"timestamp\":\"%s\",\"encoding\":\"%s\","
                      "\"isBinary\":%s,\"mimeType\":\"%s\",\"size\":%lld}",
                      ts, t->text ? "utf-8" : "base64",
                      t->text ? "false" : "true", t->mime,
                      (long long) t->done);
    }
}


static void
file_read_piece_event(file_read *t, bool first)
{
    size_t  before;

    if (first) {
        buffer_printf(&t->out, "data: {\"type\":\"metadata\",\"mimeType\":"
                      "\"%s\",\"size\":%lld,\"isBinary\":%s,\"encoding\":"
                      "\"%s\"}\n\n", t->mime,
                      (long long) (t->last ? t->done : t->size),
                      t->text ? "false" : "true",
                      t->text ? "utf-8" : "base64");
    }

    if (t->held > 0) {
        before = t->out.len;
        buffer_puts(&t->out, "data: {\"type\":\"chunk\",\"data\":\"");
        file_read_encode(t);
        buffer_puts(&t->out, "\"}\n\n");

        /* Nothing but the beginning of a character. */

        if (t->out.len - before == sizeof("data: {\"type\":\"chunk\","
                                          "\"data\":\"\"}\n\n") - 1)
        {
            t->out.len = before;
        }
    }

    if (t->last) {
        buffer_printf(&t->out, "data: {\"type\":\"complete\","
                      "\"bytesRead\":%lld}\n\n", (long long) t->done);
    }
}


static void
file_read_piece(file_read *t, bool first)
{
    if (t->stream) {
        file_read_piece_event(t, first);
    } else {
        file_read_piece_json(t, first);
    }
}


/* The next chunk of the answer; events are small, several at a time. */

static int
file_read_chunk(file_read *t)
{
    size_t  head;
    char    size[FILE_CHUNK_HEAD + 1];

    t->at = 0;
    t->out.len = 0;
    head = t->chunked ? FILE_CHUNK_HEAD : 0;
    buffer_room(&t->out, head);
    buffer_added(&t->out, head);

    do {
        if (file_read_fill(t) != 0) {
            t->out.len = 0;
            return -1;
        }

        file_read_piece(t, false);

    } while (!t->last && t->out.len < FILE_READ_PIECE);

    if (t->out.len == head) {
        t->out.len = 0;

    } else if (t->chunked) {
        snprintf(size, sizeof(size), "%08x\r\n",
                 (unsigned) (t->out.len - head));
        memcpy(buffer_bytes(&t->out), size, FILE_CHUNK_HEAD);
        buffer_append(&t->out, "\r\n", 2);
    }

    return 0;
}


/* Makes and sends what the client takes now.  One that reads as fast as it can
 * has room again in a moment: that is cheaper than a turn of the loop. */

static void
file_read_send(file_read *t)
{
    ssize_t        n;
    struct pollfd  p;

    t->sent = 0;

    while (t->sent < FILE_READ_TURN) {
        if (t->at == t->out.len) {
            if (t->last) {
                return;
            }
            if (file_read_chunk(t) != 0) {
                t->errnum = errno;
                return;
            }
            continue;
        }

        n = send(t->socket, buffer_bytes(&t->out) + t->at,
                 t->out.len - t->at, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n >= 0) {
            t->at += (size_t) n;
            t->sent += (size_t) n;

        } else if (errno == EAGAIN) {
            p.fd = t->socket;
            p.events = POLLOUT;
            if (poll(&p, 1, FILE_READ_MOMENT) <= 0) {
                return;
            }

        } else if (errno != EINTR) {
            t->broken = true;
            return;
        }
    }
}


/* Where it may wait: see file_job_close(). */

static void
file_read_close(file_read *t)
{
    if (t->fd != -1 && (t->last || t->broken || t->errnum != 0)) {
        close(t->fd);
        t->fd = -1;
    }
}


static void
file_read_turn(file_job *job)
{
    file_read  *t;

    t = (file_read *) job;
    file_read_send(t);
    file_read_close(t);
}


static void
file_read_first(file_read *t)
{
    t->mime = mime_by_name(t->given);
    if (t->mime == NULL) {
        t->mime = mime_sniff(t->in, t->held, t->last);
    }

    t->text = t->encoding == FILE_ENCODING_NONE
              ? mime_is_text(t->mime) : t->encoding == FILE_ENCODING_UTF8;

    file_read_piece(t, true);
}


static void
file_read_begin(file_read *t)
{
    struct stat  st;

    t->fd = file_open_read(t->full, NULL, &st);

    if (t->fd == -1) {
        t->errnum = errno;
        return;
    }

    t->size = st.st_size;

    if (!t->stream && t->size > FILE_READ_LIMIT) {
        t->errnum = EFBIG;
        return;
    }

    t->in = malloc(FILE_CARRY + (t->stream ? FILE_STREAM_PIECE
                                           : FILE_READ_PIECE));

    if (t->in == NULL || file_read_fill(t) != 0) {
        t->errnum = errno;
        return;
    }

    file_read_first(t);
}


static void
file_read_open(file_job *job)
{
    file_read  *t;

    t = (file_read *) job;
    file_read_begin(t);
    file_read_close(t);
}


/* On the loop, if it is sure that nothing is waited for. */

static bool
file_read_quick(file_read *t)
{
    ssize_t  n;

    n = file_quick_read(t->full, FILE_CARRY, &t->in);
    if (n == -1) {
        return false;
    }

    t->size = n;
    t->done = n;
    t->held = (size_t) n;
    t->last = true;
    file_read_first(t);

    return true;
}


/* On the loop. */

static void
file_read_message(file_read *t, error **err)
{
    switch (t->errnum) {
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
        error_set(err, 404, "FILE_NOT_FOUND", "File not found: %s", t->given);
        break;

    case FILE_E_NOT_REGULAR:
        error_set(err, 404, "FILE_NOT_FOUND",
                  "File not found: %.300s is not a regular file", t->given);
        break;

    default:
        file_error_set(err, t->errnum, "Failed to read file '%s'", t->given);
    }
}


static void
file_read_fail_stream(file_read *t)
{
    error   *err;
    buffer   out;

    err = NULL;
    memset(&out, 0, sizeof(out));
    file_read_message(t, &err);

    buffer_puts(&out, "data: {\"type\":\"error\",\"error\":\"");
    file_read_path(&out, err->message);
    buffer_puts(&out, "\"}\n\n");

    if (!t->begun) {
        sse_begin(t->job.r);
    }

    http_write(t->job.r, buffer_bytes(&out), out.len);
    http_end(t->job.r);

    buffer_free(&out);
    error_free(err);
}


static void
file_read_fail(file_read *t)
{
    error  *err;

    if (t->stream) {
        file_read_fail_stream(t);

    } else if (t->begun) {
        http_abort(t->job.r);

    } else if (t->errnum == EFBIG) {
        file_request_too_large(t->job.r, t->given, "file.read",
                               FILE_READ_LIMIT,
                               t->size ? t->size : t->done);

    } else {
        err = NULL;
        file_read_message(t, &err);
        file_request_error(t->job.r, err, t->given, "file.read",
                           t->errnum == ENOENT ? NULL
                           : file_error_text(t->errnum));
    }

    file_job_end(&t->job);
}


static void
file_read_end(file_read *t)
{
    http_end(t->job.r);
    file_job_end(&t->job);
}


static void
file_read_done(file_job *job)
{
    file_read     *t;
    http_request  *r;

    t = (file_read *) job;
    r = job->r;

    if (t->errnum != 0) {
        file_read_fail(t);
        return;
    }

    if (!t->stream && t->last) {
        http_send(r, 200, "application/json", buffer_bytes(&t->out),
                  t->out.len);
        file_job_end(job);
        return;
    }

    t->begun = true;

    if (t->stream) {
        sse_begin(r);
    } else {
        http_begin(r, 200, "application/json", -1);
    }

    http_write(r, buffer_bytes(&t->out), t->out.len);
    t->at = t->out.len;

    if (t->last) {
        file_read_end(t);
        return;
    }

    t->chunked = http_is_chunked(r);
    http_when_ready(r, file_read_sendable);
}


/* The rest is sent by a thread. */

static void
file_read_turned(file_job *job)
{
    file_read  *t;

    t = (file_read *) job;
    http_sent(job->r, t->sent);

    if (t->broken) {
        http_abort(job->r);
        file_job_end(job);

    } else if (t->errnum != 0) {
        file_read_fail(t);

    } else if (t->last && t->at == t->out.len) {
        file_read_end(t);

    } else {
        http_when_ready(job->r, file_read_sendable);
    }
}


static void
file_read_sendable(http_request *r)
{
    file_read  *t;

    t = r->data;

    if (t->socket == -1) {
        t->socket = http_socket(r);
    }

    if (t->socket == -1) {
        http_abort(r);
        file_job_end(&t->job);
        return;
    }

    file_job_start(&t->job, file_read_turn, file_read_turned);
}


static void
file_read_start(http_request *r, char *body, size_t len, bool stream)
{
    file_read         *t;
    json_flat_object   o;

    t = calloc(1, sizeof(file_read));
    if (t == NULL) {
        abort();
    }

    t->fd = -1;
    t->socket = -1;
    t->stream = stream;
    http_take_body(r, &t->body);
    file_job_init(&t->job, r, file_read_dispose);

    if (file_request_parse(r, &o, body, len) != 0
        || file_request_path(r, &o, "path", &t->given, &t->full) != 0
        || file_request_encoding(r, &o, &t->encoding) != 0)
    {
        file_job_end(&t->job);
        return;
    }

    if (file_read_quick(t)) {
        file_read_done(&t->job);
        return;
    }

    file_job_start(&t->job, file_read_open, file_read_done);
}


static void
file_read_body(http_request *r, char *body, size_t len)
{
    file_read_start(r, body, len, false);
}


static void
file_read_whole(http_request *r)
{
    http_read_body(r, FILE_BODY_LIMIT, file_read_body);
}


static void
file_read_stream_body(http_request *r, char *body, size_t len)
{
    file_read_start(r, body, len, true);
}


static void
file_read_stream(http_request *r)
{
    http_read_body(r, FILE_BODY_LIMIT, file_read_stream_body);
}


void
file_read_routes(router *t)
{
    router_add(t, METHOD_POST, "/api/read", file_read_whole);
    router_add(t, METHOD_POST, "/api/read/stream", file_read_stream);
}
