/*
 * The HTTP/1.1 server of control connections, as handlers see it.
 *
 * A handler is called when the head of a request is complete.  It answers
 * exactly once, now or later, with one of
 *
 *     http_send(), http_send_json(), http_send_empty()     a whole answer
 *     http_begin(), http_write()..., http_end()            a streamed one
 *     api_error(), bridge_error()                          an error
 *     http_abort()                                         no proper end
 *
 * and must not touch the request after the call that ends the answer: the
 * server frees it.  A handler that keeps the request beyond its own return
 * sets http_on_close(), which is called if the client leaves before the end
 * of the answer; the request must not be used after that callback returns,
 * and nothing needs to be answered.
 *
 * Everything runs on the one event loop thread.  Callbacks of a request are
 * never called from inside the function that registers them, except where
 * said.
 */

#ifndef AGENT_HTTP_H
#define AGENT_HTTP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <jansson.h>

#include "agent/router.h"
#include "common/buffer.h"
#include "common/error.h"

/* Above this many unsent bytes http_write() asks the producer to stop. */
#define HTTP_HIGH_WATER  (256 * 1024)

/* The usual bound of a JSON request body. */
#define HTTP_JSON_LIMIT  (16 * 1024 * 1024)

typedef struct http_conn http_conn;
struct io;

struct http_request {
    unsigned      method;           /* METHOD_... of router.h */
    const char   *method_name;      /* "GET" */
    const char   *path;             /* percent-decoded, without the query */
    const char   *query;            /* as sent, without '?'; "" if none */
    const char   *param;            /* the route's last wildcard, decoded */
    int64_t       content_length;   /* of the body; -1: chunked */
    int           bridge;           /* path begins with /bridge/: its errors */
    const char   *members;          /* of its JSON; NULL: any (router.h) */
    json_t       *warnings;         /* for its answer; NULL: none */

    void         *data;             /* the handler's own */

    http_conn    *conn;             /* the server's own from here on */
};


/* What was sent.  Pointers live as long as the request. */

/* The first value of a header, name in any case; NULL if absent. */
const char *http_header(http_request *r, const char *name);

/* The next value of a header that may be sent several times; *at begins as 0.
 * NULL: no more. */
const char *http_header_next(http_request *r, const char *name, unsigned *at);

/* A member of the query, percent-decoded ('+' is a blank); NULL if absent.
 * len may be NULL. */
const char *http_query(http_request *r, const char *name, size_t *len);


/* The body.  At most one of these is called, before the answer begins; an
 * `Expect: 100-continue` is answered by the call.  A body that nobody reads is
 * discarded after the answer, or the connection closed if it is long. */

typedef void (*http_body_done)(http_request *r, char *body, size_t len);
typedef void (*http_body_data)(http_request *r, const char *p, size_t n);
typedef void (*http_body_end)(http_request *r, int ok);

/* The whole body; body[len] is NUL and the buffer lives as long as the
 * request.  May call done() at once.  A longer body than limit is answered
 * with 413 and done() is not called; neither is it when the client leaves. */
void http_read_body(http_request *r, size_t limit, http_body_done done);

/* In done(): the caller takes the body over and frees it with buffer_free(), so
 * that it may outlive the request (and its text may be changed). */
void http_take_body(http_request *r, buffer *body);

/* Piece by piece.  on_end(ok = 1) comes after the last piece; on_end(ok = 0)
 * if the client left or the framing was broken before that (the request is
 * then gone when on_end returns, and http_on_close()'s callback isn't called
 * as well).  After http_pause() at most one piece more is delivered; pieces
 * are at most 64 KiB.  on_data may answer the request (with an error): no
 * callback follows then. */
void http_read_stream(http_request *r, http_body_data on_data,
    http_body_end on_end);
void http_pause(http_request *r);
void http_resume(http_request *r);


/* The answer. */

/* Before http_begin() or http_send(); replaces nothing, copies both. */
void http_set_header(http_request *r, const char *name, const char *value);

void http_send(http_request *r, int status, const char *ctype, const void *p,
    size_t n);
void http_send_json(http_request *r, int status, json_t *stolen);
void http_send_empty(http_request *r, int status);

/* length -1: chunked (or up to the end of the connection for HTTP/1.0).
 * Answers to HEAD take the same calls; the body is dropped. */
void http_begin(http_request *r, int status, const char *ctype,
    int64_t length);

/* Copies.  Returns 1 when more than HTTP_HIGH_WATER bytes are waiting: stop
 * until on_drain; else 0.  Never fails: a client that left is told by
 * on_close, later. */
int http_write(http_request *r, const void *p, size_t n);
void http_end(http_request *r);

/* What was written leaves now rather than when the handler returns. */
void http_flush(http_request *r);

/* For bodies that a thread sends by itself (in chunks of its own making if
 * http_is_chunked() says so, else bytes of a known length): on_ready is called,
 * once, when all that was written before has left and the socket takes more;
 * until the answer ends or http_write() is called again, nobody else sends.
 * http_socket() gives a descriptor of the caller's own (close it), and
 * http_sent() counts what went that way. */
void http_when_ready(http_request *r, void (*on_ready)(http_request *r));
int http_socket(http_request *r);
void http_sent(http_request *r, size_t n);
int http_is_chunked(http_request *r);

/* What is written between the two calls goes out together, the end of the
 * answer included.  The connection lives until it is uncorked, whatever becomes
 * of the request.  NULL if it is corked already; http_uncork() takes that. */
http_conn *http_cork(http_request *r);
void http_uncork(http_conn *c);

/* Closes the connection so that the client sees a broken answer. */
void http_abort(http_request *r);

/* Called each time the unsent bytes fall below a quarter of the high-water
 * mark after http_write() returned 1. */
void http_on_drain(http_request *r, void (*cb)(http_request *r));
void http_on_close(http_request *r, void (*cb)(http_request *r));


/* Another protocol on the same connection.
 *
 * The head is sent as it is given; then the connection is no longer HTTP's:
 * take() gets its descriptor, what was received and not looked at yet, and
 * what is still to be sent before anything else (both buffers are taken over,
 * even if empty).  It is called during this call or soon after, always, and
 * nothing else is called for the request afterwards. */
void http_upgrade(http_request *r, const char *head,
    void (*take)(void *data, struct io *w, buffer *in, buffer *out),
    void *data);


/* Errors.  Both take the error over and free it, and end the answer.
 *
 * api_error() sends the container API's form: the code in upper case, the
 * HTTP status, the message, and in `context` what is given (stolen; NULL: an
 * empty object, or validationErrors if the error names a field).  On a route
 * of the bridge it is the bridge's form all the same.
 * http_error() takes the form of the path that was asked for.  The message may
 * hold any bytes and end within a character. */

void api_error(http_request *r, error *err);
void api_error_context(http_request *r, error *err, json_t *context);
void bridge_error(http_request *r, error *err);
void http_error(http_request *r, error *err);

/* The body as a JSON object in *out (caller decrefs), or an error sent and -1
 * returned.  Duplicate members and NUL in names are refused, unknown ones are
 * left to http_json_members(). */
int http_json_object(http_request *r, const char *body, size_t len,
    json_t **out);

/* Names members that the route doesn't know in the warnings of the answer. */
void http_json_members(http_request *r, json_t *object);

/* Any text as a JSON string; what isn't UTF-8 becomes U+FFFD. */
json_t *http_text(const char *p);

/* "2026-11-21T19:47:29.060Z"; size at least 32. */
void http_timestamp(char *out, size_t size);


/* Server-sent events.  sse_begin() sends the head; each event goes out at
 * once.  They return what http_write() returns.  A comment line is sent when
 * nothing else was for 15 s. */

void sse_begin(http_request *r);
int sse_event(http_request *r, const char *event, const void *data, size_t n);

#endif
