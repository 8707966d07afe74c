/*
 * HTTP/1.1 on one connection: feeds llhttp, finds the handler, delivers the
 * body, and takes requests that were sent ahead one after another.
 *
 * All progress of a connection happens in http_conn_run(), which is never
 * entered twice: what handlers call only notes what is wanted, and the loop in
 * there acts on it, so that nothing is freed under a caller's feet.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/conn.h"
#include "agent/http_conn.h"
#include "common/log.h"

#define HTTP_READ_PIECE    (64 * 1024)
#define HTTP_AHEAD_MAX     (64 * 1024)      /* unparsed bytes that may wait */
#define HTTP_DISCARD_MAX   (1024 * 1024)    /* of a body nobody wants */
#define HTTP_WHOLE         20               /* of the time for a head */
#define HTTP_BODY          4                /* the same, without a byte */
#define HTTP_SEND_MS       600000           /* without a byte taken */
#define HTTP_IDLE_MS       900000
#define HTTP_LINGER_MS     2000
#define HTTP_BEAT_MS       15000

unsigned                  http_conn_count;
static http_conn          http_list = { .next = &http_list,
                                        .prev = &http_list };
static char               http_scratch[HTTP_READ_PIECE];


static void
http_exchange_free(http_exchange *x)
{
    unsigned  i;

    for (i = 0; i < x->nquery; i++) {
        free(x->query_value[i]);
    }

    http_body_let_go(x);
    json_decref(x->pub.warnings);
    buffer_free(&x->head);
    buffer_free(&x->body);
    buffer_free(&x->extra);
    free(x->strings);
    free(x);
}


/* Lets go of a hold; the last one frees a dead connection. */

static void
http_conn_release(http_conn *c)
{
    if (--c->holds != 0 || !c->dead) {
        return;
    }

    c->next->prev = c->prev;
    c->prev->next = c->next;
    http_conn_count--;

    if (c->x != NULL) {
        http_exchange_free(c->x);
    }

    buffer_free(&c->in);
    buffer_free(&c->out);
    free(c);
}


/* The connection is over, whoever ended it. */

void
http_conn_abort(http_conn *c)
{
    http_exchange  *x;

    if (c->dead) {
        return;
    }

    c->holds++;
    c->dead = 1;
    io_close(c->w);
    c->w = NULL;

    x = c->x;

    if (x != NULL && x->dispatched && !x->ended) {
        x->ended = 1;

        if (x->mode == HTTP_BODY_STREAM && !x->end_told) {
            x->end_told = 1;
            x->on_end(&x->pub, 0);

        } else if (x->on_close != NULL) {
            x->on_close(&x->pub);
        }
    }

    http_conn_release(c);
}


/* Hands on what of the body was kept, and its end.  Returns 1 if something
 * was done, so that the caller looks again. */

static int
http_conn_body(http_conn *c)
{
    error          *err;
    buffer          piece;
    http_exchange  *x;

    x = c->x;

    if (!x->dispatched || x->ended) {
        return 0;
    }

    if (x->mode == HTTP_BODY_WHOLE) {
        if (x->limit == 0) {
            x->mode = HTTP_BODY_DISCARD;
            buffer_free(&x->body);
            http_body_let_go(x);
            err = NULL;

            if (x->crowded) {
                error_set(&err, 503, "resource_busy",
                          "Other requests' bodies fill the memory that there "
                          "is for them (%d MiB)", HTTP_HELD_MAX >> 20);
                http_error(&x->pub, err);
                return 1;
            }

            error_set(&err, 413, x->pub.bridge ? "payload_too_large"
                                               : "file_too_large",
                      "The request body is too large");
            http_error(&x->pub, err);
            return 1;
        }

        if (x->body_done && !x->end_told) {
            x->end_told = 1;
            buffer_room(&x->body, 1)[0] = '\0';
            x->on_whole(&x->pub, buffer_bytes(&x->body), x->body.len);
            return 1;
        }

        return 0;
    }

    if (x->mode != HTTP_BODY_STREAM || x->paused) {
        return 0;
    }

    if (x->body.len != 0) {
        piece = x->body;
        memset(&x->body, 0, sizeof(x->body));
        http_deliver(x, buffer_bytes(&piece), piece.len);
        buffer_free(&piece);
        return 1;
    }

    if (x->body_done && !x->end_told) {
        x->end_told = 1;
        x->on_end(&x->pub, 1);
        return 1;
    }

    return 0;
}


/* May bytes go to the parser now? */

static int
http_conn_wants(http_conn *c)
{
    http_exchange  *x;

    x = c->x;

    if (c->dead || c->closing) {
        return 0;
    }

    if (x == NULL || !x->dispatched) {
        return 1;
    }

    if (x->body_done) {
        return 0;                       /* the next request has to wait */
    }

    return x->ended || x->mode == HTTP_BODY_WHOLE
           || x->mode == HTTP_BODY_DISCARD
           || (x->mode == HTTP_BODY_STREAM && !x->paused)
           || x->pub.content_length == 0;
}


/* Feeds at most n bytes; returns how many were taken. */

static size_t
http_conn_parse(http_conn *c, const char *p, size_t n)
{
    size_t          used;
    llhttp_errno_t  rc;

    rc = llhttp_execute(&c->parser, p, n);
    used = n;

    if (rc == HPE_PAUSED || rc == HPE_PAUSED_UPGRADE) {
        used = (size_t) (llhttp_get_error_pos(&c->parser) - p);
        if (rc == HPE_PAUSED) {
            llhttp_resume(&c->parser);
        } else {
            llhttp_resume_after_upgrade(&c->parser);
        }

    } else if (rc != HPE_OK) {
        log_debug("request refused: %s", llhttp_errno_name(rc));

        if (c->x != NULL && c->x->dispatched) {
            http_conn_abort(c);

        } else if (c->too_large) {
            http_reply_bad(c, 431, "The request head is too large");

        } else {
            http_reply_bad(c, 400, "The request is no valid HTTP");
        }
    }

    return used;
}


/* An answer has ended: makes way for the next request, or closes. */

static void
http_conn_finish(http_conn *c)
{
    http_exchange  *x;

    x = c->x;

    if (!x->body_done) {
        if (!x->keep_alive || x->received > HTTP_DISCARD_MAX) {
            c->closing = 1;
        }

        return;
    }

    if (!x->keep_alive) {
        c->closing = 1;
    }

    http_exchange_free(x);
    c->x = NULL;
}


static void
http_conn_watch(http_conn *c)
{
    int  want;

    want = (c->out.len != 0 || (c->x != NULL && c->x->on_ready != NULL))
           && !c->broken ? UV_WRITABLE : 0;

    if (c->broken || c->linger_until != 0
        || (c->in.len < HTTP_AHEAD_MAX
            && (http_conn_wants(c) || c->x == NULL || c->x->body_done
                || c->in.len == 0)))
    {
        want |= UV_READABLE;
    }

    /* A paused upload still has to notice that its client went away. */
    io_want(c->w, want | UV_DISCONNECT);
}


/* The socket takes bytes, and there are none of ours. */

static void
http_conn_writable(http_conn *c)
{
    void  (*on_ready)(http_request *r);

    if (!c->dead && !c->broken && c->out.len == 0 && c->x != NULL
        && c->x->on_ready != NULL && !c->x->ended)
    {
        on_ready = c->x->on_ready;
        c->x->on_ready = NULL;
        c->x->lent = 1;
        on_ready(&c->x->pub);
    }
}


/* Tells a producer that was stopped to go on. */

static void
http_conn_drained(http_conn *c)
{
    http_exchange  *x;

    x = c->x;

    if (x != NULL && x->stalled && !x->ended && !c->broken
        && c->out.len < HTTP_LOW_WATER)
    {
        x->stalled = 0;
        if (x->on_drain != NULL) {
            x->on_drain(&x->pub);
        }
    }
}


/* The connection goes to who speaks the other protocol. */

static void
http_conn_hand_over(http_conn *c)
{
    io      *w;
    buffer   in, out;

    w = c->w;
    in = c->in;
    out = c->out;

    memset(&c->in, 0, sizeof(c->in));
    memset(&c->out, 0, sizeof(c->out));
    c->w = NULL;
    c->dead = 1;

    c->take(c->take_data, w, &in, &out);
}


static void
http_conn_run(http_conn *c, const char *p, size_t n)
{
    size_t  used;

    if (c->busy || c->dead) {
        return;
    }

    c->busy = 1;
    c->holds++;

    while (!c->dead && !c->closing && c->take == NULL) {
        if (c->x != NULL && c->x->ended) {
            http_conn_finish(c);
            if (c->x == NULL) {
                continue;
            }
            if (c->closing) {
                break;
            }
        }

        if (c->x != NULL && c->x->head_done && !c->x->dispatched) {
            http_dispatch(c);
            continue;
        }

        if (c->x != NULL && http_conn_body(c)) {
            continue;
        }

        if (!http_conn_wants(c)) {
            break;
        }

        if (c->in.len != 0) {
            used = http_conn_parse(c, buffer_bytes(&c->in), c->in.len);
            buffer_consume(&c->in, used);
            continue;
        }

        if (n == 0) {
            break;
        }

        used = http_conn_parse(c, p, n);
        p += used;
        n -= used;
    }

    if (!c->dead) {
        if (n != 0 && !c->closing) {
            buffer_append(&c->in, p, n);
        }

        if (c->take != NULL) {
            http_conn_hand_over(c);
        } else {
            http_conn_flush(c);
        }
    }

    c->busy = 0;

    if (!c->dead) {
        if (c->in.len == 0 && c->in.data != NULL) {
            buffer_free(&c->in);
        }

        http_conn_drained(c);
    }

    if (!c->dead) {
        http_conn_watch(c);
    }

    http_conn_release(c);
}


void
http_conn_kick(http_conn *c)
{
    http_conn_run(c, NULL, 0);
}


http_conn *
http_cork(http_request *r)
{
    http_conn  *c;

    c = r->conn;

    if (c->busy || c->dead) {
        return NULL;
    }

    c->busy = 1;
    c->holds++;

    return c;
}


void
http_uncork(http_conn *c)
{
    if (c == NULL) {
        return;
    }

    c->busy = 0;
    http_conn_kick(c);
    http_conn_release(c);
}


/* Everything was sent and the connection shall end: the peer gets the end of
 * the stream and a moment in which what it still sends is thrown away, so that
 * it reads the answer instead of a reset. */

static void
http_conn_linger(http_conn *c)
{
    if (c->linger_until == 0) {
        shutdown(c->w->fd, SHUT_WR);
        c->linger_until = uv_now(agent.loop) + HTTP_LINGER_MS;
    }
}


void
http_conn_flush(http_conn *c)
{
    ssize_t  n;

    if (c->dead) {
        return;
    }

    n = c->broken ? 0 : io_send(c->w, &c->out);

    if (n < 0) {
        c->broken = 1;

    } else if (n > 0) {
        c->last_out = uv_now(agent.loop);
    }

    if (c->out.len == 0 && c->closing && !c->broken) {
        http_conn_linger(c);
    }

    if (!c->busy) {
        http_conn_watch(c);
    }
}


static void
http_conn_receive(http_conn *c)
{
    int      turns;
    ssize_t  n;

    for (turns = 0; turns < 4 && !c->dead; turns++) {
        n = recv(c->w->fd, http_scratch, sizeof(http_scratch), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }

        if (n <= 0) {
            http_conn_abort(c);
            return;
        }

        c->last_in = uv_now(agent.loop);

        if (c->linger_until != 0) {
            c->lingered += (size_t) n;
            if (c->lingered > HTTP_DISCARD_MAX) {
                http_conn_abort(c);
            }
            continue;
        }

        http_conn_run(c, http_scratch, (size_t) n);

        if (n < (ssize_t) sizeof(http_scratch)
            || c->in.len >= HTTP_AHEAD_MAX)
        {
            return;
        }
    }
}


static void
http_conn_ready(io *w, int events)
{
    http_conn  *c;

    c = w->data;
    c->holds++;

    if (c->broken) {
        http_conn_abort(c);
        goto done;
    }

    if (events & UV_WRITABLE) {
        http_conn_flush(c);
        http_conn_writable(c);
        http_conn_run(c, NULL, 0);
    }

    if (!c->dead && (events & (UV_READABLE | UV_DISCONNECT))) {
        http_conn_receive(c);
    }

done:

    http_conn_release(c);
}


void
http_conn_start(io *w, const char *p, size_t n)
{
    http_conn  *c;

    c = calloc(1, sizeof(http_conn));
    if (c == NULL) {
        io_close(w);
        return;
    }

    http_parser_init(c);

    c->next = http_list.next;
    c->prev = &http_list;
    c->next->prev = c;
    http_list.next = c;
    http_conn_count++;

    c->w = w;
    c->last_in = uv_now(agent.loop);
    c->last_out = c->last_in;
    io_handover(w, http_conn_ready, c);

    /* Leaves together with the first answer if a request is there already. */
    buffer_append(&c->out, "OK\n", 3);
    http_conn_run(c, p, n);
}


/* Deadlines, and a sign of life on streams that have nothing to say. */

static void
http_conn_check(http_conn *c, uint64_t now)
{
    uint64_t        idle;
    http_exchange  *x;

    x = c->x;
    idle = now - (c->last_in > c->last_out ? c->last_in : c->last_out);

    if (c->linger_until != 0) {
        if (now >= c->linger_until) {
            http_conn_abort(c);
        }

    } else if (c->out.len != 0 || (x != NULL && x->on_ready != NULL)) {
        if (now - c->last_out > HTTP_SEND_MS) {
            http_conn_abort(c);
        }

    } else if (x == NULL) {
        if (idle > (c->in.len != 0 ? agent.request_ms : HTTP_IDLE_MS)) {
            http_conn_abort(c);
        }

    } else if (!x->dispatched) {
        /* From its first byte on: one byte from time to time is no progress.*/
        if (now - c->since > agent.request_ms) {
            http_reply_bad(c, 408, "The request head was not sent in time");
        }

    } else if (!x->body_done && !x->paused && !x->begun
               && x->mode != HTTP_BODY_UNREAD)
    {
        if (x->mode == HTTP_BODY_WHOLE && !x->ended
            && (now - c->last_in > agent.request_ms * HTTP_BODY
                || now - c->since > agent.request_ms * HTTP_WHOLE))
        {
            x->mode = HTTP_BODY_DISCARD;
            http_reply_bad(c, 408, "The request body was not sent in time");

        } else if (now - c->last_in > agent.request_ms * HTTP_BODY) {
            http_conn_abort(c);
        }

    } else if (x->sse && !x->ended && !x->lent
               && now - c->last_out >= HTTP_BEAT_MS)
    {
        http_write(&x->pub, ": ping\n\n", 8);
    }
}


void
http_conn_sweep(uint64_t now)
{
    http_conn  *c, *next;

    /* Nothing that a check calls frees another connection than its own. */
    for (c = http_list.next; c != &http_list; c = next) {
        next = c->next;
        http_conn_check(c, now);
    }
}
