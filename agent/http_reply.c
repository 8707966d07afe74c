/* The answers of the HTTP server; see http.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/http_conn.h"
#include "agent/url.h"
#include "common/log.h"

#define HTTP_DIRECT      (16 * 1024)    /* from here on sent without a copy */
#define HTTP_SKIP_MAX    (1024 * 1024)

#define http_exchange_of(r)  ((http_exchange *) (r))


/* What was sent. */

const char *
http_header(http_request *r, const char *name)
{
    unsigned  at;

    at = 0;

    return http_header_next(r, name, &at);
}


const char *
http_header_next(http_request *r, const char *name, unsigned *at)
{
    size_t          len;
    const char     *head;
    http_field     *f;
    http_exchange  *x;

    x = http_exchange_of(r);
    len = strlen(name);
    head = buffer_bytes(&x->head);

    while (*at < x->nfields) {
        f = &x->fields[(*at)++];
        if (f->name_len == len
            && strncasecmp(head + f->name, name, len) == 0)
        {
            return head + f->value;
        }
    }

    return NULL;
}


const char *
http_query(http_request *r, const char *name, size_t *len)
{
    char           *copy;
    size_t          n;
    ssize_t         decoded;
    const char     *value;
    http_exchange  *x;

    x = http_exchange_of(r);

    if (!url_query(r->query, name, &value, &n)
        || x->nquery == sizeof(x->query_value) / sizeof(char *))
    {
        return NULL;
    }

    copy = malloc(n + 1);
    if (copy == NULL) {
        return NULL;
    }

    decoded = url_decode(copy, value, n, 1);
    if (decoded < 0) {
        free(copy);
        return NULL;
    }

    x->query_value[x->nquery++] = copy;
    if (len != NULL) {
        *len = (size_t) decoded;
    }

    return copy;
}


/* The body. */

static size_t  http_held;               /* by all whole bodies */


int
http_body_hold(http_exchange *x, size_t n)
{
    if (http_held + n > HTTP_HELD_MAX) {
        return -1;
    }

    http_held += n;
    x->held += n;

    return 0;
}


void
http_body_let_go(http_exchange *x)
{
    http_held -= x->held;
    x->held = 0;
}


static void
http_body_wanted(http_exchange *x)
{
    if (x->expect && !x->body_done && x->received == 0) {
        x->expect = 0;
        buffer_puts(&x->pub.conn->out, "HTTP/1.1 100 Continue\r\n\r\n");
    }

    http_conn_kick(x->pub.conn);
}


void
http_read_body(http_request *r, size_t limit, http_body_done done)
{
    http_exchange  *x;

    x = http_exchange_of(r);
    x->mode = HTTP_BODY_WHOLE;
    x->limit = limit;
    x->on_whole = done;

    if (r->content_length > (int64_t) limit || x->body.len > limit) {
        x->limit = 0;
        x->expect = 0;

    } else if (http_body_hold(x, x->body.len) != 0) {
        x->crowded = 1;
        x->limit = 0;
        x->expect = 0;
    }

    http_body_wanted(x);
}


void
http_take_body(http_request *r, buffer *body)
{
    http_exchange  *x;

    x = http_exchange_of(r);
    *body = x->body;
    memset(&x->body, 0, sizeof(x->body));
    http_body_let_go(x);
}


void
http_read_stream(http_request *r, http_body_data on_data,
    http_body_end on_end)
{
    http_exchange  *x;

    x = http_exchange_of(r);
    x->mode = HTTP_BODY_STREAM;
    x->on_data = on_data;
    x->on_end = on_end;

    http_body_wanted(x);
}


void
http_pause(http_request *r)
{
    http_exchange_of(r)->paused = 1;
}


void
http_resume(http_request *r)
{
    http_exchange_of(r)->paused = 0;
    r->conn->last_in = uv_now(agent.loop);
    http_conn_kick(r->conn);
}


/* The head of an answer. */

static const char *
http_reason(int status)
{
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 416: return "Range Not Satisfiable";
    case 426: return "Upgrade Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 507: return "Insufficient Storage";
    default:  return "Status";
    }
}


/* The part up to the second is kept: it is asked for with every answer. */

void
http_timestamp(char *out, size_t size)
{
    struct tm        tm;
    struct timespec  ts;
    static __thread char    text[24];  /* on threads too */
    static __thread time_t  made = -1;

    clock_gettime(CLOCK_REALTIME, &ts);

    if (ts.tv_sec != made) {
        gmtime_r(&ts.tv_sec, &tm);
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
        made = ts.tv_sec;
    }

    snprintf(out, size, "%s.%03ldZ", text, ts.tv_nsec / 1000000);
}


static const char *
http_date(void)
{
    time_t         now;
    struct tm      tm;
    static char    text[40];
    static time_t  made;

    now = time(NULL);

    if (now != made) {
        made = now;
        gmtime_r(&now, &tm);
        strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    }

    return text;
}


void
http_set_header(http_request *r, const char *name, const char *value)
{
    buffer_printf(&http_exchange_of(r)->extra, "%s: %s\r\n", name, value);
}


/* A body that isn't here yet and can't be skipped cheaply costs the
 * connection; the client is told so in the head. */

static int
http_must_close(const http_exchange *x)
{
    if (!x->keep_alive || agent.stopping) {
        return 1;
    }

    return !x->body_done
           && (x->expect || x->pub.content_length < 0
               || x->pub.content_length > HTTP_SKIP_MAX);
}


static int
http_bodiless(int status)
{
    return status == 204 || status == 304 || status < 200;
}


void
http_begin(http_request *r, int status, const char *ctype, int64_t length)
{
    buffer         *out;
    http_exchange  *x;

    x = http_exchange_of(r);
    out = &r->conn->out;

    x->begun = 1;
    x->left = length;
    x->chunked = length < 0 && !x->http10 && !http_bodiless(status);
    x->keep_alive = !http_must_close(x) && (length >= 0 || x->chunked);
    x->paused = 0;

    buffer_printf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status,
                  http_reason(status), http_date());

    if (!r->bridge) {
        buffer_puts(out,
            "Access-Control-Allow-Origin: *\r\n"
            "Access-Control-Allow-Methods: GET, POST, PUT, DELETE, OPTIONS\r\n"
            "Access-Control-Allow-Headers: Content-Type, Authorization, "
            "X-Session-Id, X-Sandbox-Id, X-Trace-Id\r\n");
    }

    if (ctype != NULL) {
        buffer_printf(out, "Content-Type: %s\r\n", ctype);
    }

    if (x->chunked) {
        buffer_puts(out, "Transfer-Encoding: chunked\r\n");

    } else if (length >= 0 && !http_bodiless(status)) {
        buffer_printf(out, "Content-Length: %lld\r\n", (long long) length);
    }

    if (!x->keep_alive) {
        buffer_puts(out, "Connection: close\r\n");

    } else if (x->http10) {
        buffer_puts(out, "Connection: keep-alive\r\n");
    }

    buffer_append(out, buffer_bytes(&x->extra), x->extra.len);
    buffer_puts(out, "\r\n");
}


/* Sends what waits and the new bytes with one call, and keeps the rest. */

static void
http_send_direct(http_conn *c, struct iovec *iov, int count)
{
    int            i;
    size_t         skip;
    ssize_t        n;
    struct msghdr  msg;

    memset(&msg, 0, sizeof(msg));
    msg.msg_iov = iov;
    msg.msg_iovlen = (size_t) count;

    n = c->broken ? 0 : sendmsg(c->w->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) {
        n = 0;
    } else {
        c->last_out = uv_now(agent.loop);
    }

    skip = (size_t) n;

    if (skip >= iov[0].iov_len) {
        skip -= iov[0].iov_len;
        buffer_consume(&c->out, c->out.len);

    } else {
        buffer_consume(&c->out, skip);
        skip = 0;
    }

    for (i = 1; i < count; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }

        buffer_append(&c->out, (char *) iov[i].iov_base + skip,
                      iov[i].iov_len - skip);
        skip = 0;
    }
}


static void
http_put(http_exchange *x, const void *p, size_t n)
{
    int            count;
    char           head[24];
    http_conn     *c;
    struct iovec   iov[4];

    c = x->pub.conn;
    count = snprintf(head, sizeof(head), "%zx\r\n", n);

    if (n < HTTP_DIRECT || c->out.len > HTTP_HIGH_WATER) {
        if (x->chunked) {
            buffer_append(&c->out, head, (size_t) count);
        }
        buffer_append(&c->out, p, n);
        if (x->chunked) {
            buffer_append(&c->out, "\r\n", 2);
        }
        return;
    }

    iov[0].iov_base = buffer_bytes(&c->out);
    iov[0].iov_len = c->out.len;
    iov[1].iov_base = head;
    iov[1].iov_len = x->chunked ? (size_t) count : 0;
    iov[2].iov_base = (void *) p;
    iov[2].iov_len = n;
    iov[3].iov_base = (void *) "\r\n";
    iov[3].iov_len = x->chunked ? 2 : 0;

    http_send_direct(c, iov, 4);
}


int
http_write(http_request *r, const void *p, size_t n)
{
    http_conn      *c;
    http_exchange  *x;

    x = http_exchange_of(r);
    c = r->conn;

    if (c->dead || x->ended) {
        return 0;
    }

    if (n != 0 && r->method != METHOD_HEAD && !c->broken) {
        if (x->left >= 0 && (int64_t) n > x->left) {
            n = (size_t) x->left;       /* never more than was announced */
        }
        http_put(x, p, n);
    }

    if (x->left >= 0) {
        x->left -= (int64_t) n;
    }

    if (!c->busy || c->out.len > HTTP_DIRECT) {
        http_conn_flush(c);
    }

    x->stalled = c->out.len > HTTP_HIGH_WATER;

    return (int) x->stalled;
}


void
http_flush(http_request *r)
{
    if (!r->conn->dead) {
        http_conn_flush(r->conn);
    }
}


void
http_when_ready(http_request *r, void (*on_ready)(http_request *r))
{
    http_exchange_of(r)->on_ready = on_ready;

    if (!r->conn->dead) {
        http_conn_flush(r->conn);
    }
}


int
http_socket(http_request *r)
{
    return r->conn->dead ? -1 : fcntl(r->conn->w->fd, F_DUPFD_CLOEXEC, 3);
}


void
http_sent(http_request *r, size_t n)
{
    http_exchange  *x;

    x = http_exchange_of(r);
    x->lent = 0;

    if (x->left >= 0) {
        x->left -= (int64_t) n;
    }

    r->conn->last_out = uv_now(agent.loop);
}


int
http_is_chunked(http_request *r)
{
    return http_exchange_of(r)->chunked;
}


void
http_end(http_request *r)
{
    http_exchange  *x;

    x = http_exchange_of(r);

    if (r->conn->dead || x->ended) {
        return;
    }

    if (x->left > 0 && r->method != METHOD_HEAD) {
        http_conn_abort(r->conn);       /* shorter than it was announced */
        return;
    }

    x->ended = 1;

    if (x->chunked && r->method != METHOD_HEAD) {
        buffer_append(&r->conn->out, "0\r\n\r\n", 5);
    }

    http_conn_kick(r->conn);
}


void
http_send(http_request *r, int status, const char *ctype, const void *p,
    size_t n)
{
    if (r->conn->dead) {
        return;
    }

    http_begin(r, status, ctype, (int64_t) n);

    if (n != 0) {
        http_write(r, p, n);
    }

    http_end(r);
}


void
http_send_json(http_request *r, int status, json_t *stolen)
{
    char  *text;

    if (r->warnings != NULL && status < 400) {
        json_object_set(stolen, "warnings", r->warnings);
    }

    text = json_dumps(stolen, JSON_COMPACT);
    json_decref(stolen);

    if (text == NULL) {
        http_abort(r);
        return;
    }

    http_send(r, status, "application/json", text, strlen(text));
    free(text);
}


void
http_send_empty(http_request *r, int status)
{
    http_send(r, status, NULL, NULL, 0);
}


void
http_abort(http_request *r)
{
    http_exchange_of(r)->ended = 1;
    http_conn_abort(r->conn);
}


void
http_upgrade(http_request *r, const char *head,
    void (*take)(void *data, io *w, buffer *in, buffer *out), void *data)
{
    http_conn  *c;

    c = r->conn;
    buffer_puts(&c->out, head);
    c->take = take;
    c->take_data = data;
    http_exchange_of(r)->ended = 1;

    http_conn_kick(c);
}


void
http_on_drain(http_request *r, void (*cb)(http_request *r))
{
    http_exchange_of(r)->on_drain = cb;
}


void
http_on_close(http_request *r, void (*cb)(http_request *r))
{
    http_exchange_of(r)->on_close = cb;
}


/* Server-sent events. */

void
sse_begin(http_request *r)
{
    http_set_header(r, "Cache-Control", "no-cache");
    http_set_header(r, "X-Accel-Buffering", "no");
    http_begin(r, 200, "text/event-stream", -1);
    http_exchange_of(r)->sse = 1;
    http_write(r, NULL, 0);
}


int
sse_event(http_request *r, const char *event, const void *data, size_t n)
{
    int     rc;
    buffer  b;

    memset(&b, 0, sizeof(b));
    buffer_room(&b, n + strlen(event) + 16);
    buffer_puts(&b, "event: ");
    buffer_puts(&b, event);
    buffer_append(&b, "\ndata: ", 7);
    buffer_append(&b, data, n);
    buffer_append(&b, "\n\n", 2);
    rc = http_write(r, b.data, b.len);
    buffer_free(&b);

    return rc;
}
