/* The workers' connections; see server.h.  Writing is in server_out.c, the
 * life of requests in request.c. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "sandboxd/conn.h"

#define TICK_MS        250
#define READ_SIZE    65536
#define BACKLOG        512

#define REFUSED_LOG_MS 1000


static void
list_unlink(conn **list, conn *c)
{
    conn  **p;

    for (p = list; *p != NULL; p = &(*p)->next) {
        if (*p == c) {
            *p = c->next;
            c->next = NULL;
            return;
        }
    }
}


void
conn_unref(conn *c)
{
    if (--c->refs == 0) {
        free(c->in);
        free(c);
    }
}


static void
on_conn_closed(uv_handle_t *handle)
{
    conn    *c;
    zone    *z;
    server  *s;

    c = handle->data;
    s = c->s;

    z = c->zone;
    c->zone = NULL;

    if (z != NULL) {
        zone_leave(&s->zones, z);
    }

    conn_unref(c);
}


void
conn_close(conn *c, const char *why)
{
    server  *s;

    if (c->closing) {
        return;
    }

    s = c->s;
    c->closing = true;

    if (c->live) {
        list_unlink(&s->workers, c);
        s->worker_count--;
        s->unsettled = uv_now(s->loop);
        log_info("worker %ld: connection closed: %s", c->pid, why);

    } else {
        list_unlink(&s->strangers, c);
        s->stranger_count--;
        log_debug("connection closed before its hello: %s", why);
    }

    requests_orphan(c);
    uv_close((uv_handle_t *) &c->pipe, on_conn_closed);
}


static void
hello_send_challenge(conn *c)
{
    json_t  *frame;

    frame = json_pack("{s:s, s:i, s:s}", "op", "challenge", "version",
                      FRAME_VERSION, "nonce", c->nonce);
    conn_send(c, frame);
    json_decref(frame);
}


/* Once a second at most: who tries often must not fill the disk with it. */
static void
hello_refused(server *s, const op *hello)
{
    uint64_t  now;

    s->refused++;
    now = uv_now(s->loop);

    if (s->refused_at != 0 && now - s->refused_at < REFUSED_LOG_MS) {
        return;
    }

    log_warn("a program without the secret, or of another version, tried to "
             "connect (it says pid %ld; %llu tries so far)", hello->pid,
             (unsigned long long) s->refused);
    s->refused_at = now;
}


/* One wrong letter and the peer learns nothing, not even why. */
static void
conn_hello(conn *c, const op *hello)
{
    char     expected[FRAME_PROOF_LEN + 1], proof[FRAME_PROOF_LEN + 1];
    json_t  *frame;
    server  *s;

    s = c->s;

    if (hello->version != FRAME_VERSION
        || frame_proof(expected, s->secret, s->secret_len, "worker",
                       c->nonce, hello->nonce, hello->zone) < 0
        || !frame_proof_equal(expected, hello->proof)
        || frame_proof(proof, s->secret, s->secret_len, "sandboxd",
                       hello->nonce, c->nonce, NULL) < 0)
    {
        hello_refused(s, hello);
        conn_close(c, "wrong proof");
        return;
    }

    if (s->worker_count >= SERVER_WORKERS_MAX) {
        log_error("more than %d workers", SERVER_WORKERS_MAX);
        conn_close(c, "too many workers");
        return;
    }

    list_unlink(&s->strangers, c);
    s->stranger_count--;
    c->next = s->workers;
    s->workers = c;
    s->worker_count++;

    c->live = true;
    c->asked = c->polled = s->poll_ref;
    c->pid = hello->pid;
    c->since = s->r->published;
    c->zone = zones_join(&s->zones, hello->zone);

    log_info("worker %ld: connected, zone %.8s at %llu of %llu", c->pid,
             hello->zone, (unsigned long long) hello->seq,
             (unsigned long long) s->r->published);

    frame = json_pack("{s:I, s:b, s:{s:I, s:s, s:s}}", "id", hello->id,
                      "ok", 1, "result", "seq",
                      (json_int_t) s->r->published, "incarnation",
                      s->r->incarnation, "proof", proof);
    conn_send(c, frame);
    json_decref(frame);
}


static void
conn_frame(conn *c, const char *text, size_t len)
{
    op         parsed;
    error     *err;
    json_t    *frame;
    op_result  result;

    frame = op_read(text, len);
    if (frame == NULL) {
        conn_close(c, "a frame that is no JSON object");
        return;
    }

    err = NULL;
    result = op_parse(&parsed, frame, &err);

    if (result == OP_BROKEN
        || (parsed.kind == OP_HELLO && result == OP_OK) == c->live)
    {
        conn_close(c, err ? err->message : "not the protocol");
        error_free(err);

    } else if (!c->live) {
        conn_hello(c, &parsed);

    } else if (parsed.kind == OP_ACK && result == OP_OK) {
        zone_ack(c->zone, parsed.seq, parsed.all ? 0 : c->since);

    } else if (parsed.kind == OP_IDLE && result == OP_OK) {
        conn_polled(c, parsed.seq, parsed.slots);

    } else {
        request_begin(c, &parsed, frame, err);
    }

    json_decref(frame);
}


/* Takes the whole frames out of what was read, as long as the peer takes the
 * answers: what it asks for in one go could be a thousand pages. */
static void
conn_input(conn *c)
{
    long    len;
    size_t  at;

    at = 0;

    while (!c->closing && c->out_bytes <= SERVER_OUT_PAUSE
           && c->in_len - at >= FRAME_HEADER)
    {
        len = frame_get_header((unsigned char *) c->in + at);

        if (len < 0 || (!c->live && len > SERVER_HELLO_BYTES)) {
            conn_close(c, "a frame of a wrong length");
            return;
        }

        if (c->in_len - at - FRAME_HEADER < (size_t) len) {
            break;
        }

        conn_frame(c, c->in + at + FRAME_HEADER, (size_t) len);
        at += FRAME_HEADER + (size_t) len;
    }

    c->in_len -= at;
    memmove(c->in, c->in + at, c->in_len);

    /* The room of a large frame is not kept. */
    if (c->in_len == 0 && c->in_size > READ_SIZE) {
        free(c->in);
        c->in = NULL;
        c->in_size = 0;
    }
}


void
conn_resume(conn *c)
{
    conn_input(c);

    if (c->out_bytes <= SERVER_OUT_PAUSE) {
        conn_read(c, true);
    }
}


static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    conn    *c;
    long     len;
    size_t   size;

    c = handle->data;
    size = READ_SIZE;

    if (c->in_len >= FRAME_HEADER) {
        len = frame_get_header((unsigned char *) c->in);
        if (len > 0 && (size_t) len + FRAME_HEADER > size) {
            size = (size_t) len + FRAME_HEADER;
        }
    }

    if (c->in_size < size) {
        c->in = realloc(c->in, size);
        if (c->in == NULL) {
            abort();
        }

        c->in_size = size;
    }

    *buf = uv_buf_init(c->in + c->in_len,
                       (unsigned int) (c->in_size - c->in_len));
}


static void
on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    conn  *c;

    c = stream->data;

    if (n < 0) {
        conn_close(c, n == UV_EOF ? "closed by the peer"
                                  : uv_strerror((int) n));
        return;
    }

    c->in_len += (size_t) n;
    conn_input(c);
}


void
conn_read(conn *c, bool on)
{
    if (c->closing || c->reading == on) {
        return;
    }

    c->reading = on;

    if (!on) {
        uv_read_stop((uv_stream_t *) &c->pipe);

    } else if (uv_read_start((uv_stream_t *) &c->pipe, on_alloc, on_read)
               != 0)
    {
        conn_close(c, "can't be read");
    }
}


/* Who fills the places before the hello pushes out the oldest, so that a
 * worker, which proves itself at once, always gets one. */
static void
strangers_limit(server *s)
{
    conn  *c;

    if (s->stranger_count <= SERVER_STRANGERS_MAX) {
        return;
    }

    for (c = s->strangers; c->next != NULL; c = c->next) {
        /* void */
    }

    conn_close(c, "too many connections before their hello");
}


static void
on_connection(uv_stream_t *stream, int status)
{
    conn    *c;
    server  *s;

    s = stream->data;

    if (status < 0) {
        log_error("accept: %s", uv_strerror(status));
        return;
    }

    c = calloc(1, sizeof(conn));
    if (c == NULL) {
        abort();
    }

    c->s = s;
    c->refs = 1;
    c->since_hello = uv_now(s->loop);
    c->progress = c->since_hello;
    uv_pipe_init(s->loop, &c->pipe, 0);
    c->pipe.data = c;

    c->next = s->strangers;
    s->strangers = c;
    s->stranger_count++;

    if (uv_accept(stream, (uv_stream_t *) &c->pipe) != 0
        || frame_nonce(c->nonce) < 0)
    {
        conn_close(c, "not accepted");
        return;
    }

    strangers_limit(s);
    hello_send_challenge(c);
    conn_read(c, true);
}


/* A worker that reads nothing holds back nobody else. */
static void
conn_tick(conn *c, uint64_t now)
{
    if (c->out_bytes == 0) {
        c->progress = now;

    } else if (now - c->progress > SERVER_STALL_MS) {
        conn_close(c, "it reads nothing");
        return;
    }

    requests_expire(c, now);
}


static void
on_tick(uv_timer_t *timer)
{
    conn      *c, *next;
    server    *s;
    uint64_t   now;

    s = timer->data;
    now = uv_now(s->loop);

    for (c = s->strangers; c != NULL; c = next) {
        next = c->next;

        if (now - c->since_hello > SERVER_HELLO_MS) {
            conn_close(c, "no hello in time");
        }
    }

    for (c = s->workers; c != NULL; c = next) {
        next = c->next;
        conn_tick(c, now);
    }

    zones_tick(&s->zones, now);
}


static void
server_drop_zone(void *data, zone *z)
{
    conn    *c, *next;
    server  *s;

    s = data;
    log_warn("zone %.8s has not acknowledged in %d ms: its workers are "
             "dropped", z->id, ZONE_ACK_MS);

    for (c = s->workers; c != NULL; c = next) {
        next = c->next;

        if (c->zone == z) {
            conn_close(c, "its zone does not acknowledge");
        }
    }
}


void
server_publish(void *data, uint64_t seq, bool ack, json_t *record)
{
    out     *o;
    conn    *c, *next;
    json_t  *event;
    server  *s;

    s = data;

    if (s->workers == NULL) {
        return;
    }

    event = json_pack("{s:s, s:b, s:O}", "event", "change", "ack", ack,
                      "record", record);
    o = out_create(event);
    json_decref(event);

    if (o == NULL) {
        log_error("change %llu is too large to be told",
                  (unsigned long long) seq);
        return;
    }

    for (c = s->workers; c != NULL; c = next) {
        next = c->next;
        conn_send_out(c, o);
    }

    out_unref(o);
}


server *
server_create(uv_loop_t *loop, int fd, registry *r, const char *secret,
    server_handler handler, void *data, error **err)
{
    int      rc;
    server  *s;

    s = calloc(1, sizeof(server));
    if (s == NULL) {
        abort();
    }

    s->loop = loop;
    s->r = r;
    s->handler = handler;
    s->handler_data = data;
    s->secret_len = strlen(secret);
    memcpy(s->secret, secret, s->secret_len + 1);
    s->zones.drop = server_drop_zone;
    s->zones.data = s;

    uv_pipe_init(loop, &s->pipe, 0);
    s->pipe.data = s;
    uv_timer_init(loop, &s->tick);
    s->tick.data = s;
    uv_timer_init(loop, &s->poll_timer);
    s->poll_timer.data = s;
    s->unsettled = uv_now(loop);

    rc = uv_pipe_open(&s->pipe, fd);
    if (rc == 0) {
        rc = uv_listen((uv_stream_t *) &s->pipe, BACKLOG, on_connection);
    }

    if (rc != 0) {
        error_set(err, 500, "internal", "listen: %s", uv_strerror(rc));
        uv_close((uv_handle_t *) &s->tick, NULL);
        uv_close((uv_handle_t *) &s->poll_timer, NULL);
        uv_close((uv_handle_t *) &s->pipe, NULL);
        return NULL;
    }

    uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);

    return s;
}


void
server_close(server *s)
{
    s->r->publish = NULL;

    while (s->strangers != NULL) {
        conn_close(s->strangers, "sandboxd ends");
    }

    while (s->workers != NULL) {
        conn_close(s->workers, "sandboxd ends");
    }

    uv_close((uv_handle_t *) &s->tick, NULL);
    uv_close((uv_handle_t *) &s->poll_timer, NULL);
    uv_close((uv_handle_t *) &s->pipe, NULL);
}


void
server_free(server *s)
{
    server_polls_free(s);
    zones_free(&s->zones);
    free(s);
}
