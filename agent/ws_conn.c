/* WebSocket connections; see ws_conn.h. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "agent/agent.h"
#include "agent/conn.h"
#include "agent/http_conn.h"
#include "agent/ws_conn.h"
#include "common/log.h"

#define WS_READ_PIECE  (16 * 1024)
#define WS_READ_TURNS  8            /* before others have theirs */
#define WS_PONGS_MAX   (64 * 1024)  /* answers that wait for a lazy peer */

struct ws_conn {
    ws_conn           *next, *prev;
    io                *w;           /* NULL: not handed over yet, or closed */
    const ws_handler  *handler;     /* NULL: closing */
    void              *data;
    ws_decoder         decoder;
    buffer             in;          /* received while paused */
    buffer             out;
    uint64_t           last_in, last_out;
    uint64_t           asked;       /* when a ping was sent; 0: none is out */
    uint64_t           close_at;    /* when it began to close; 0: open */
    unsigned           holds;
    unsigned           paused:1;
    unsigned           full:1;      /* drain() is owed */
    unsigned           broken:1;    /* nothing can be sent any more */
    unsigned           shut:1;      /* all was sent, and the end told */
    unsigned           dead:1;
};

static ws_conn   ws_list = { .next = &ws_list, .prev = &ws_list };
static unsigned  ws_count;
static unsigned  ws_ping_ms;
static char      ws_scratch[WS_READ_PIECE];


static void ws_flush(ws_conn *c);
static void ws_ready(io *w, int events);


/* Handshakes. */

static int
ws_refuse(http_request *r, int status, const char *code, const char *message)
{
    error  *err;

    err = NULL;
    error_set(&err, status, code, "%s", message);
    http_error(r, err);

    return -1;
}


static int
ws_header_has(http_request *r, const char *name, const char *token)
{
    unsigned     at;
    const char  *v;

    at = 0;

    while ((v = http_header_next(r, name, &at)) != NULL) {
        if (ws_list_has(v, token)) {
            return 1;
        }
    }

    return 0;
}


int
ws_check(http_request *r)
{
    unsigned     at;
    const char  *v;

    if (r->method != METHOD_GET || ((http_exchange *) r)->http10
        || !ws_header_has(r, "upgrade", "websocket")
        || !ws_header_has(r, "connection", "upgrade"))
    {
        if (r->bridge) {
            return ws_refuse(r, 400, "invalid_request",
                             "WebSocket upgrade required");
        }

        http_send(r, 503, "text/plain;charset=utf-8",
                  "WebSocket upgrade failed", 24);
        return -1;
    }

    v = http_header(r, "sec-websocket-version");
    if (v == NULL || strcmp(v, "13") != 0) {
        http_set_header(r, "Sec-WebSocket-Version", "13");
        return ws_refuse(r, 426, r->bridge ? "invalid_request"
                         : "validation_failed",
                         "Sec-WebSocket-Version must be 13");
    }

    at = 0;
    v = http_header_next(r, "sec-websocket-key", &at);
    if (v == NULL || !ws_key_valid(v)
        || http_header_next(r, "sec-websocket-key", &at) != NULL)
    {
        return ws_refuse(r, 400, r->bridge ? "invalid_request"
                         : "validation_failed",
                         "Sec-WebSocket-Key must be 16 bytes in base64");
    }

    if (r->content_length != 0) {
        return ws_refuse(r, 400, r->bridge ? "invalid_request"
                         : "validation_failed",
                         "A WebSocket handshake has no body");
    }

    if (ws_count >= WS_CONN_MAX || agent.stopping) {
        http_set_header(r, "Retry-After", "1");
        return ws_refuse(r, 503, r->bridge ? "capacity_exceeded"
                         : "resource_busy", agent.stopping
                         ? "The sandbox is stopping"
                         : "There are too many WebSockets already");
    }

    return 0;
}


static void
ws_release(ws_conn *c)
{
    if (--c->holds != 0 || !c->dead) {
        return;
    }

    c->next->prev = c->prev;
    c->prev->next = c->next;
    ws_count--;
    ws_decoder_free(&c->decoder);
    buffer_free(&c->in);
    buffer_free(&c->out);
    free(c);
}


/* The connection is over, whoever ended it. */

static void
ws_die(ws_conn *c, unsigned code)
{
    const ws_handler  *handler;

    if (c->dead) {
        return;
    }

    c->holds++;
    c->dead = 1;
    io_close(c->w);
    c->w = NULL;

    handler = c->handler;
    c->handler = NULL;
    if (handler != NULL) {
        handler->closed(c, code);
    }

    ws_release(c);
}


static void
ws_watch(ws_conn *c)
{
    int  want;

    if (c->dead || c->w == NULL) {
        return;
    }

    want = UV_DISCONNECT;
    if ((c->out.len != 0 && !c->broken) || c->full
        || (c->in.len != 0 && !c->paused))
    {
        want |= UV_WRITABLE;
    }
    if (!c->paused || c->handler == NULL) {
        want |= UV_READABLE;
    }

    io_want(c->w, want);
}


/* HTTP lets go of the connection. */

static void
ws_take(void *data, io *w, buffer *in, buffer *out)
{
    ws_conn  *c;

    c = data;
    c->w = w;
    c->in = *in;

    /* What was sent to it in between goes behind the head. */
    buffer_append(out, buffer_bytes(&c->out), c->out.len);
    buffer_free(&c->out);
    c->out = *out;

    /* Frames that came with the handshake are looked at from the loop: the
     * handler must not be called from inside ws_accept(). */
    io_handover(w, ws_ready, c);
    ws_flush(c);
}


ws_conn *
ws_accept(http_request *r, const ws_handler *handler, void *data, size_t limit)
{
    char         sum[WS_ACCEPT_LEN + 1], head[256];
    ws_conn     *c;
    const char  *ping;

    if (ws_ping_ms == 0) {
        /* For tests that can't wait so long. */
        ping = getenv("SANDBOX_WS_PING_MS");
        ws_ping_ms = ping != NULL && atoi(ping) > 0 ? (unsigned) atoi(ping)
                                                    : WS_PING_MS;
    }

    c = calloc(1, sizeof(ws_conn));
    if (c == NULL) {
        abort();
    }

    ws_decoder_init(&c->decoder, limit);
    c->handler = handler;
    c->data = data;
    c->last_in = uv_now(agent.loop);
    c->last_out = c->last_in;

    c->next = ws_list.next;
    c->prev = &ws_list;
    c->next->prev = c;
    ws_list.next = c;
    ws_count++;

    ws_accept_text(http_header(r, "sec-websocket-key"), sum);
    snprintf(head, sizeof(head),
             "HTTP/1.1 101 Switching Protocols\r\n"
             "Upgrade: websocket\r\n"
             "Connection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\n\r\n", sum);

    c->holds++;
    http_upgrade(r, head, ws_take, c);
    c->holds--;

    return c;
}


void *
ws_data(const ws_conn *c)
{
    return c->data;
}


/* Sending. */

static void
ws_flush(ws_conn *c)
{
    ssize_t  n;

    n = c->w == NULL || c->broken ? 0 : io_send(c->w, &c->out);

    if (n < 0) {
        /* Told by the read that follows. */
        c->broken = 1;

    } else if (n > 0) {
        c->last_out = uv_now(agent.loop);
    }

    if (c->out.len == 0 && c->shut && c->w != NULL) {
        shutdown(c->w->fd, SHUT_WR);
    }

    ws_watch(c);
}


static void
ws_put(ws_conn *c, unsigned opcode, const void *p, size_t n)
{
    unsigned char  head[WS_HEAD_MAX];

    if (c->broken) {
        return;
    }

    buffer_append(&c->out, head, ws_head(head, opcode, n));
    buffer_append(&c->out, p, n);
}


void
ws_send(ws_conn *c, unsigned opcode, const void *p, size_t n)
{
    if (c->dead || c->handler == NULL) {
        return;
    }

    ws_put(c, opcode, p, n);
    ws_flush(c);

    if (c->out.len > WS_LOW_WATER) {
        c->full = 1;
    }
}


size_t
ws_waiting(const ws_conn *c)
{
    return c->out.len;
}


uint64_t
ws_last_taken(const ws_conn *c)
{
    return c->last_out;
}


/* The closing handshake from our side: our frame, then the peer's is awaited;
 * or, with the peer's there already, our answer and the end. */

static void
ws_begin_close(ws_conn *c, unsigned code, const char *reason, int last)
{
    size_t  n;
    char    payload[WS_CONTROL_MAX];

    n = 0;

    if (code != WS_NO_CODE) {
        payload[0] = (char) (code >> 8);
        payload[1] = (char) code;
        n = 2 + strnlen(reason, sizeof(payload) - 2);
        memcpy(payload + 2, reason, n - 2);
    }

    ws_put(c, WS_OP_CLOSE, payload, n);
    c->handler = NULL;
    c->paused = 0;
    c->close_at = uv_now(agent.loop);
    c->shut = last != 0;
    buffer_free(&c->in);
    ws_flush(c);
}


void
ws_close(ws_conn *c, unsigned code, const char *reason)
{
    if (c->dead || c->handler == NULL) {
        return;
    }

    log_debug("websocket: closing with %u %s", code, reason);
    ws_begin_close(c, code, reason, 0);
}


/* Receiving. */

static void
ws_event_told(ws_conn *c, ws_event event)
{
    const ws_handler  *handler;

    handler = c->handler;

    switch (event) {
    case WS_TEXT:
    case WS_BINARY:
        handler->message(c, event, c->decoder.payload, c->decoder.len);
        break;

    case WS_PING:
        if (c->out.len < WS_PONGS_MAX) {
            ws_put(c, WS_OP_PONG, c->decoder.payload, c->decoder.len);
            ws_flush(c);
        }
        break;

    case WS_CLOSE:
        ws_begin_close(c, c->decoder.code, "", 1);
        handler->closed(c, c->decoder.code);
        break;

    case WS_ERROR:
        log_debug("websocket: %s", c->decoder.problem);
        ws_begin_close(c, c->decoder.code, c->decoder.problem, 1);
        handler->closed(c, c->decoder.code);
        break;

    default:
        break;
    }
}


/* Of a peer that we have asked to close only its close is of interest. */

static void
ws_closing(ws_conn *c, const char *p, size_t n)
{
    size_t    used;
    ws_event  event;

    while (n != 0 && !c->shut) {
        event = ws_decode(&c->decoder, p, n, &used);
        p += used;
        n -= used;

        if (event == WS_CLOSE || event == WS_ERROR) {
            c->shut = 1;
            ws_flush(c);
        }
    }
}


static void
ws_feed(ws_conn *c, const char *p, size_t n)
{
    size_t    used;
    ws_event  event;

    while (n != 0 && !c->dead && c->handler != NULL && !c->paused) {
        event = ws_decode(&c->decoder, p, n, &used);
        p += used;
        n -= used;
        ws_event_told(c, event);
    }

    if (c->dead || n == 0) {
        return;
    }

    if (c->handler == NULL) {
        ws_closing(c, p, n);

    } else {
        buffer_append(&c->in, p, n);
    }
}


static void
ws_receive(ws_conn *c)
{
    int      turns;
    buffer   kept;
    ssize_t  n;

    if (c->in.len != 0 && !c->paused) {
        kept = c->in;
        memset(&c->in, 0, sizeof(c->in));
        ws_feed(c, buffer_bytes(&kept), kept.len);
        buffer_free(&kept);
    }

    for (turns = 0; turns < WS_READ_TURNS && !c->dead && !c->paused; turns++) {
        n = recv(c->w->fd, ws_scratch, sizeof(ws_scratch), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }

        if (n <= 0) {
            ws_die(c, WS_LOST);
            return;
        }

        c->last_in = uv_now(agent.loop);
        c->asked = 0;
        ws_feed(c, ws_scratch, (size_t) n);

        if (n < (ssize_t) sizeof(ws_scratch)) {
            return;
        }
    }
}


static void
ws_ready(io *w, int events)
{
    ws_conn  *c;

    c = w->data;
    c->holds++;

    if (events & UV_WRITABLE) {
        ws_flush(c);

        if (c->full && c->out.len <= WS_LOW_WATER) {
            c->full = 0;
            if (c->handler != NULL) {
                c->handler->drain(c);
            }
        }
    }

    if (!c->dead && c->paused && (events & UV_DISCONNECT)) {
        ws_die(c, WS_LOST);
    }

    if (!c->dead && !c->paused
        && (c->in.len != 0 || (events & (UV_READABLE | UV_DISCONNECT))))
    {
        ws_receive(c);
    }

    if (!c->dead) {
        ws_watch(c);
    }

    ws_release(c);
}


void
ws_pause(ws_conn *c)
{
    c->paused = 1;
    ws_watch(c);
}


void
ws_resume(ws_conn *c)
{
    if (!c->paused || c->dead) {
        return;
    }

    c->paused = 0;
    c->last_in = uv_now(agent.loop);
    c->asked = 0;
    ws_watch(c);
}


/* Deadlines and pings. */

static void
ws_sweep_one(ws_conn *c, uint64_t now)
{
    uint64_t  since;
    unsigned  dead_ms;

    dead_ms = ws_ping_ms < WS_DEAD_MS ? ws_ping_ms : WS_DEAD_MS;

    if (c->close_at != 0) {
        since = c->last_out > c->close_at ? c->last_out : c->close_at;
        if (now - since >= (c->out.len != 0 ? WS_LAST_MS : WS_CLOSE_MS)) {
            ws_die(c, WS_LOST);
        }

    } else if (c->asked != 0) {
        if (now - c->asked > dead_ms && !c->paused) {
            log_debug("websocket: the peer doesn't answer");
            ws_die(c, WS_LOST);
        }

    } else if (now - c->last_in >= ws_ping_ms && !c->paused) {
        c->asked = now;
        ws_put(c, WS_OP_PING, "", 0);
        ws_flush(c);
    }
}


void
ws_sweep(uint64_t now)
{
    ws_conn  *c, *next;

    /* Whoever is told of an end may close others, but frees none. */
    for (c = ws_list.next; c != &ws_list; c = next) {
        next = c->next;
        ws_sweep_one(c, now);
    }
}
