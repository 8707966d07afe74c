/*
 * The worker's one connection to sandboxd: hello and frames (docs/protocol.md,
 * section 1), and a new connection when it breaks.  It outlives every client,
 * and ends with the worker: one that exits still serves the connections that
 * it has accepted, and has to hear of what is taken back meanwhile.  Nothing
 * here holds an exiting worker; the calls in _call.c do.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_daemon.h"
#include "ngx_http_sandbox_zone.h"


#define NGX_HTTP_SANDBOX_IN            8192
#define NGX_HTTP_SANDBOX_OUT_MAX       (8 * 1024 * 1024)

#define NGX_HTTP_SANDBOX_HELLO_TIMEOUT 5000
#define NGX_HTTP_SANDBOX_BACKOFF_MIN   50
#define NGX_HTTP_SANDBOX_BACKOFF_MAX   1000
#define NGX_HTTP_SANDBOX_GRACE         5000    /* without a connection */


static void ngx_http_sandbox_daemon_connect(ngx_http_sandbox_daemon_t *d);
static void ngx_http_sandbox_daemon_reconnect(ngx_event_t *ev);
static void ngx_http_sandbox_daemon_lost(ngx_http_sandbox_daemon_t *d,
    const char *why);
static void ngx_http_sandbox_daemon_close(ngx_http_sandbox_daemon_t *d);
static void ngx_http_sandbox_daemon_read(ngx_event_t *rev);
static void ngx_http_sandbox_daemon_write(ngx_event_t *wev);
static ngx_int_t ngx_http_sandbox_daemon_frames(ngx_http_sandbox_daemon_t *d);
static ngx_int_t ngx_http_sandbox_daemon_frame(ngx_http_sandbox_daemon_t *d,
    json_t *frame);
static ngx_int_t ngx_http_sandbox_daemon_challenge(
    ngx_http_sandbox_daemon_t *d, json_t *frame);
static ngx_int_t ngx_http_sandbox_daemon_welcome(ngx_http_sandbox_daemon_t *d,
    json_t *frame);
static ngx_int_t ngx_http_sandbox_daemon_flush(ngx_http_sandbox_daemon_t *d);
static ngx_int_t ngx_http_sandbox_bytes_room(ngx_http_sandbox_bytes_t *b,
    size_t size, size_t max);


ngx_http_sandbox_daemon_t  *ngx_http_sandbox_daemon;


ngx_uint_t
ngx_http_sandbox_daemon_connected(void)
{
    return ngx_http_sandbox_daemon
           && ngx_http_sandbox_daemon->state == sandbox_daemon_ready;
}


/* The connection */


ngx_int_t
ngx_http_sandbox_daemon_init(ngx_cycle_t *cycle)
{
    ngx_http_sandbox_daemon_t     *d;
    ngx_http_sandbox_main_conf_t  *smcf;

    smcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_sandbox_module);

    if (smcf == NULL || smcf->daemon_sockaddr == NULL) {
        return NGX_OK;
    }

    d = ngx_pcalloc(cycle->pool, sizeof(ngx_http_sandbox_daemon_t));
    if (d == NULL) {
        return NGX_ERROR;
    }

    d->conf = smcf;
    d->backoff = NGX_HTTP_SANDBOX_BACKOFF_MIN;

    ngx_queue_init(&d->calls);

    d->reconnect.handler = ngx_http_sandbox_daemon_reconnect;
    d->reconnect.data = d;
    d->reconnect.log = cycle->log;
    d->reconnect.cancelable = 1;

    ngx_http_sandbox_daemon = d;
    ngx_http_sandbox_sync_init(smcf->zone);
    ngx_http_sandbox_activity_init(smcf->zone);

    ngx_http_sandbox_daemon_connect(d);

    return NGX_OK;
}


void
ngx_http_sandbox_daemon_exit(ngx_cycle_t *cycle)
{
    ngx_http_sandbox_daemon_t  *d;

    d = ngx_http_sandbox_daemon;

    if (d && d->connection) {
        ngx_http_sandbox_daemon_close(d);
        ngx_http_sandbox_sync_lost();
    }
}


static void
ngx_http_sandbox_daemon_connect(ngx_http_sandbox_daemon_t *d)
{
    ngx_int_t          rc;
    ngx_log_t          quiet;
    ngx_connection_t  *c;

    ngx_memzero(&d->peer, sizeof(ngx_peer_connection_t));

    d->peer.sockaddr = d->conf->daemon_sockaddr;
    d->peer.socklen = d->conf->daemon_socklen;
    d->peer.name = &d->conf->daemon_name;
    d->peer.get = ngx_event_get_peer;

    /* sandboxd may well be starting: we say what there is to say, once */

    quiet = *ngx_cycle->log;
    quiet.log_level = NGX_LOG_EMERG;
    d->peer.log = &quiet;

    rc = ngx_event_connect_peer(&d->peer);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        d->connection = NULL;
        ngx_http_sandbox_daemon_lost(d, "can't connect");
        return;
    }

    c = d->peer.connection;

    c->data = d;
    c->read->handler = ngx_http_sandbox_daemon_read;
    c->write->handler = ngx_http_sandbox_daemon_write;
    c->log = c->read->log = c->write->log = ngx_cycle->log;

    d->connection = c;
    d->state = sandbox_daemon_challenge;
    d->in.last = 0;
    d->out.pos = d->out.last = 0;

    c->read->cancelable = 1;
    ngx_add_timer(c->read, NGX_HTTP_SANDBOX_HELLO_TIMEOUT);
}


static void
ngx_http_sandbox_daemon_close(ngx_http_sandbox_daemon_t *d)
{
    ngx_close_connection(d->connection);

    d->connection = NULL;
    d->state = sandbox_daemon_idle;
}


/* Ends a connection, or the attempt to get one. */

static void
ngx_http_sandbox_daemon_lost(ngx_http_sandbox_daemon_t *d, const char *why)
{
    ngx_msec_t                since;
    ngx_uint_t                was;
    ngx_queue_t              *q, *next, failed;
    ngx_http_sandbox_call_t  *call;

    was = d->state;

    if (!d->complained && !ngx_exiting) {
        d->complained = 1;

        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "sandbox: no connection to sandboxd at %V: %s; "
                      "trying again", &d->conf->daemon_name, why);
    }

    if (d->connection) {
        ngx_http_sandbox_daemon_close(d);
    }

    d->state = sandbox_daemon_idle;

    if (was == sandbox_daemon_ready) {
        d->lost = ngx_current_msec;
        ngx_http_sandbox_sync_lost();
    }

    ngx_queue_init(&failed);

    for (q = ngx_queue_head(&d->calls); q != ngx_queue_sentinel(&d->calls);
         q = next)
    {
        next = ngx_queue_next(q);
        call = ngx_queue_data(q, ngx_http_sandbox_call_t, queue);

        since = (ngx_msec_int_t) (call->start - d->lost) > 0 ? call->start
                                                            : d->lost;

        if ((call->sent && !call->repeat)
            || ngx_current_msec - since > NGX_HTTP_SANDBOX_GRACE)
        {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&failed, q);
            continue;
        }

        call->sent = 0;
    }

    /* before the handlers, which may call again */

    ngx_http_sandbox_daemon_later(d);

    while (!ngx_queue_empty(&failed)) {
        call = ngx_queue_data(ngx_queue_head(&failed),
                              ngx_http_sandbox_call_t, queue);

        ngx_http_sandbox_call_fail(call, "unavailable",
                                   call->sent
                                   ? "the connection to sandboxd was lost "
                                     "while it worked on this"
                                   : "sandboxd can't be reached");
    }
}


void
ngx_http_sandbox_daemon_later(ngx_http_sandbox_daemon_t *d)
{
    if (d->reconnect.timer_set) {
        return;
    }

    ngx_add_timer(&d->reconnect,
                  d->backoff + (ngx_msec_t) ngx_random() % d->backoff);

    d->backoff = ngx_min(d->backoff * 2, NGX_HTTP_SANDBOX_BACKOFF_MAX);
}


static void
ngx_http_sandbox_daemon_reconnect(ngx_event_t *ev)
{
    ngx_http_sandbox_daemon_t *d = ev->data;

    if (d->state == sandbox_daemon_idle) {
        ngx_http_sandbox_daemon_connect(d);
    }
}


static void
ngx_http_sandbox_daemon_read(ngx_event_t *rev)
{
    size_t                      want;
    ssize_t                     n;
    ngx_connection_t           *c;
    ngx_http_sandbox_daemon_t  *d;

    c = rev->data;
    d = c->data;

    /*
     * An exiting worker still says what it has in flight, until
     * worker_shutdown_timeout has ended all there was (c->error).
     */

    if (c->close && d->ncalls == 0
        && (c->error || ngx_http_sandbox_activity_count() == 0))
    {
        ngx_http_sandbox_daemon_close(d);
        return;
    }

    if (rev->timedout) {
        ngx_http_sandbox_daemon_lost(d, "no hello");
        return;
    }

    if (rev->error) {
        ngx_http_sandbox_daemon_lost(d, "can't write");
        return;
    }

    for ( ;; ) {
        want = NGX_HTTP_SANDBOX_IN;

        if (d->in.last >= FRAME_HEADER) {
            want = ngx_max(want, (size_t) frame_get_header(d->in.start)
                                 + FRAME_HEADER - d->in.last);
        }

        if (ngx_http_sandbox_bytes_room(&d->in, want,
                                        FRAME_MAX + FRAME_HEADER
                                        + NGX_HTTP_SANDBOX_IN)
            != NGX_OK)
        {
            ngx_http_sandbox_daemon_lost(d, "no memory");
            return;
        }

        n = c->recv(c, d->in.start + d->in.last, d->in.size - d->in.last);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            ngx_http_sandbox_daemon_lost(d, d->state == sandbox_daemon_hello
                                            ? "it didn't take our hello"
                                            : "it closed the connection");
            return;
        }

        d->in.last += n;

        if (ngx_http_sandbox_daemon_frames(d) != NGX_OK) {

            if (d->connection == c) {
                ngx_http_sandbox_daemon_lost(d, "it sent an invalid frame");
            }

            return;
        }
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_sandbox_daemon_lost(d, "no event");
    }
}


/* NGX_ERROR also if a handler has ended the connection. */

static ngx_int_t
ngx_http_sandbox_daemon_frames(ngx_http_sandbox_daemon_t *d)
{
    long               len;
    size_t             pos;
    json_t            *frame;
    ngx_int_t          rc;
    json_error_t       error;
    ngx_connection_t  *c;

    c = d->connection;
    rc = NGX_OK;

    for (pos = 0; d->in.last - pos >= FRAME_HEADER; pos += len) {

        len = frame_get_header(d->in.start + pos);
        if (len < 0) {
            return NGX_ERROR;
        }

        len += FRAME_HEADER;

        if (d->in.last - pos < (size_t) len) {
            break;
        }

        frame = json_loadb((char *) d->in.start + pos + FRAME_HEADER,
                           len - FRAME_HEADER, JSON_REJECT_DUPLICATES, &error);

        if (!json_is_object(frame)) {
            json_decref(frame);
            return NGX_ERROR;
        }

        rc = ngx_http_sandbox_daemon_frame(d, frame);

        json_decref(frame);

        if (d->connection != c || rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (pos) {
        ngx_memmove(d->in.start, d->in.start + pos, d->in.last - pos);
        d->in.last -= pos;
    }

    if (d->in.last == 0 && d->in.size > 16 * NGX_HTTP_SANDBOX_IN) {
        ngx_free(d->in.start);
        ngx_memzero(&d->in, sizeof(ngx_http_sandbox_bytes_t));
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sandbox_daemon_frame(ngx_http_sandbox_daemon_t *d, json_t *frame)
{
    switch (d->state) {

    case sandbox_daemon_challenge:
        return ngx_http_sandbox_daemon_challenge(d, frame);

    case sandbox_daemon_hello:
        return ngx_http_sandbox_daemon_welcome(d, frame);

    case sandbox_daemon_ready:

        if (json_object_get(frame, "event")) {
            ngx_http_sandbox_sync_event(frame);

        } else {
            ngx_http_sandbox_call_answer(d, frame);
        }

        return NGX_OK;

    default:
        return NGX_ERROR;
    }
}


static ngx_int_t
ngx_http_sandbox_daemon_challenge(ngx_http_sandbox_daemon_t *d, json_t *frame)
{
    char                           *text, proof[FRAME_PROOF_LEN + 1];
    char                            zone[NGX_HTTP_SANDBOX_ZONE_ID_LEN + 1];
    json_t                         *hello;
    size_t                          known;
    ngx_int_t                       rc;
    const char                     *op, *nonce;
    ngx_http_sandbox_zone_status_t  status;

    op = json_string_value(json_object_get(frame, "op"));
    nonce = json_string_value(json_object_get(frame, "nonce"));

    if (op == NULL || ngx_strcmp(op, "challenge") != 0 || nonce == NULL
        || ngx_strlen(nonce) != FRAME_NONCE_LEN
        || json_integer_value(json_object_get(frame, "version"))
           != FRAME_VERSION)
    {
        return NGX_ERROR;
    }

    ngx_http_sandbox_zone_status(d->conf->zone, &status);

    ngx_memcpy(d->peer_nonce, nonce, FRAME_NONCE_LEN + 1);
    ngx_memcpy(zone, status.id, NGX_HTTP_SANDBOX_ZONE_ID_LEN);
    zone[NGX_HTTP_SANDBOX_ZONE_ID_LEN] = '\0';

    if (frame_nonce(d->own_nonce) != 0
        || frame_proof(proof, d->conf->daemon_secret.data,
                       d->conf->daemon_secret.len, "worker", d->peer_nonce,
                       d->own_nonce, zone)
           != 0)
    {
        return NGX_ERROR;
    }

    known = status.incarnation[0] ? NGX_HTTP_SANDBOX_ZONE_ID_LEN : 0;

    hello = json_pack("{s:i,s:s,s:i,s:s,s:I,s:s,s:I,s:s%,s:s}",
                      "id", 1, "op", "hello", "version", FRAME_VERSION,
                      "nonce", d->own_nonce, "pid", (json_int_t) ngx_pid,
                      "zone", zone, "seq", (json_int_t) status.seq,
                      "incarnation", (char *) status.incarnation, known,
                      "proof", proof);

    text = hello ? json_dumps(hello, JSON_COMPACT) : NULL;
    json_decref(hello);

    if (text == NULL) {
        return NGX_ERROR;
    }

    d->state = sandbox_daemon_hello;

    rc = ngx_http_sandbox_daemon_send(d, text, ngx_strlen(text));
    free(text);

    return rc;
}


static ngx_int_t
ngx_http_sandbox_daemon_welcome(ngx_http_sandbox_daemon_t *d, json_t *frame)
{
    char                      proof[FRAME_PROOF_LEN + 1];
    json_t                   *result, *seq;
    const char               *theirs, *incarnation;
    ngx_queue_t              *q, *next;
    ngx_connection_t         *c;
    ngx_http_sandbox_call_t  *call;

    result = json_object_get(frame, "result");
    theirs = json_string_value(json_object_get(result, "proof"));
    incarnation = json_string_value(json_object_get(result, "incarnation"));
    seq = json_object_get(result, "seq");

    if (json_integer_value(json_object_get(frame, "id")) != 1
        || !json_is_true(json_object_get(frame, "ok"))
        || theirs == NULL || !json_is_integer(seq)
        || json_integer_value(seq) < 0 || incarnation == NULL
        || ngx_strlen(incarnation) != NGX_HTTP_SANDBOX_ZONE_ID_LEN)
    {
        return NGX_ERROR;
    }

    if (frame_proof(proof, d->conf->daemon_secret.data,
                    d->conf->daemon_secret.len, "sandboxd", d->own_nonce,
                    d->peer_nonce, NULL)
        != 0
        || !frame_proof_equal(proof, theirs))
    {
        if (!d->impostor) {
            d->impostor = 1;

            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                          "sandbox: what answers at %V doesn't know the "
                          "secret", &d->conf->daemon_name);
        }

        return NGX_ERROR;
    }

    c = d->connection;

    ngx_del_timer(c->read);

    d->state = sandbox_daemon_ready;
    d->backoff = NGX_HTTP_SANDBOX_BACKOFF_MIN;
    d->complained = 0;
    d->impostor = 0;

    ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                  "sandbox: connected to sandboxd, sequence %L",
                  (int64_t) json_integer_value(seq));

    ngx_http_sandbox_sync_hello((uint64_t) json_integer_value(seq),
                                (u_char *) incarnation);

    for (q = ngx_queue_head(&d->calls); q != ngx_queue_sentinel(&d->calls);
         q = next)
    {
        next = ngx_queue_next(q);
        call = ngx_queue_data(q, ngx_http_sandbox_call_t, queue);

        if (!call->sent) {
            ngx_http_sandbox_call_send(d, call);
        }
    }

    return NGX_OK;
}


/* Bytes */


static ngx_int_t
ngx_http_sandbox_bytes_room(ngx_http_sandbox_bytes_t *b, size_t size,
    size_t max)
{
    u_char  *p;
    size_t   need;

    if (b->size - b->last >= size) {
        return NGX_OK;
    }

    need = b->last + size;

    if (need > max) {
        return NGX_ERROR;
    }

    need = ngx_min(ngx_max(need, b->size * 2), max);

    p = ngx_alloc(need, ngx_cycle->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (b->last) {
        ngx_memcpy(p, b->start, b->last);
    }

    if (b->start) {
        ngx_free(b->start);
    }

    b->start = p;
    b->size = need;

    return NGX_OK;
}


ngx_int_t
ngx_http_sandbox_daemon_send(ngx_http_sandbox_daemon_t *d, const char *text,
    size_t len)
{
    ngx_http_sandbox_bytes_t  *out;

    out = &d->out;

    if (out->pos) {
        ngx_memmove(out->start, out->start + out->pos, out->last - out->pos);
        out->last -= out->pos;
        out->pos = 0;
    }

    if (ngx_http_sandbox_bytes_room(out, FRAME_HEADER + len,
                                    NGX_HTTP_SANDBOX_OUT_MAX)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    frame_put_header(out->start + out->last, len);
    ngx_memcpy(out->start + out->last + FRAME_HEADER, text, len);
    out->last += FRAME_HEADER + len;

    return ngx_http_sandbox_daemon_flush(d);
}


/* For _sync.c: an ack, which has no answer. */

void
ngx_http_sandbox_daemon_ack(uint64_t seq, ngx_uint_t all)
{
    u_char  text[64], *p;

    p = ngx_sprintf(text, "{\"op\":\"ack\",\"seq\":%uL%s}", seq,
                    all ? ",\"all\":true" : "");

    ngx_http_sandbox_daemon_tell(text, p - text);
}


void
ngx_http_sandbox_daemon_tell(u_char *text, size_t len)
{
    ngx_http_sandbox_daemon_t  *d;

    d = ngx_http_sandbox_daemon;

    if (ngx_http_sandbox_daemon_send(d, (char *) text, len) == NGX_ERROR) {
        d->connection->read->error = 1;
        ngx_post_event(d->connection->read, &ngx_posted_events);
    }
}


static ngx_int_t
ngx_http_sandbox_daemon_flush(ngx_http_sandbox_daemon_t *d)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = d->connection;

    while (d->out.pos < d->out.last) {
        n = c->send(c, d->out.start + d->out.pos, d->out.last - d->out.pos);

        if (n == NGX_AGAIN) {
            return ngx_handle_write_event(c->write, 0);
        }

        if (n <= 0) {
            return NGX_ERROR;
        }

        d->out.pos += n;
    }

    d->out.pos = d->out.last = 0;

    return NGX_OK;
}


static void
ngx_http_sandbox_daemon_write(ngx_event_t *wev)
{
    ngx_connection_t           *c;
    ngx_http_sandbox_daemon_t  *d;

    c = wev->data;
    d = c->data;

    if (ngx_http_sandbox_daemon_flush(d) != NGX_OK) {
        ngx_http_sandbox_daemon_lost(d, "can't write");
    }
}
