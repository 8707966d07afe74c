/*
 * What the parts of the HTTP server share: http_conn.c owns a connection,
 * http_parse.c takes requests apart, http_reply.c writes answers.  Handlers
 * see agent/http.h only.
 */

#ifndef AGENT_HTTP_CONN_H
#define AGENT_HTTP_CONN_H

#include <llhttp.h>

#include "agent/http.h"
#include "agent/io.h"
#include "common/buffer.h"

#define HTTP_HEAD_MAX      (64 * 1024)  /* target and headers of a request */
#define HTTP_HEADERS_MAX   128
#define HTTP_HELD_MAX      (128 * 1024 * 1024)  /* of all whole bodies */
#define HTTP_LOW_WATER     (HTTP_HIGH_WATER / 4)

typedef struct {
    size_t  name, name_len;             /* offsets into head */
    size_t  value, value_len;
} http_field;

typedef enum {
    HTTP_BODY_UNREAD,
    HTTP_BODY_WHOLE,
    HTTP_BODY_STREAM,
    HTTP_BODY_DISCARD
} http_body_mode;

typedef struct {
    http_request     pub;               /* first: handlers hold its address */

    buffer           head;              /* target, names, values; each NUL */
    http_field       fields[HTTP_HEADERS_MAX];
    unsigned         nfields;
    char            *strings;           /* decoded path and parameter */
    char            *query_value[8];    /* decoded on demand, to be freed */
    unsigned         nquery;

    http_body_mode   mode;
    http_body_done   on_whole;
    http_body_data   on_data;
    http_body_end    on_end;
    size_t           limit;
    buffer           body;              /* whole, or not delivered yet */
    size_t           held;              /* its part of http_held */
    uint64_t         received;

    void           (*on_drain)(http_request *r);
    void           (*on_ready)(http_request *r);
    void           (*on_close)(http_request *r);
    buffer           extra;             /* headers of http_set_header() */
    int64_t          left;              /* of a known length */

    unsigned         crowded:1;         /* the body found no room */
    unsigned         head_done:1;
    unsigned         dispatched:1;
    unsigned         body_done:1;       /* all of it was received */
    unsigned         end_told:1;        /* the reader knows */
    unsigned         expect:1;          /* 100-continue awaited */
    unsigned         paused:1;
    unsigned         begun:1;
    unsigned         chunked:1;
    unsigned         ended:1;
    unsigned         stalled:1;         /* http_write() said stop */
    unsigned         sse:1;
    unsigned         lent:1;            /* a thread sends */
    unsigned         keep_alive:1;
    unsigned         http10:1;
} http_exchange;

struct http_conn {
    http_conn       *next, *prev;
    io              *w;
    llhttp_t         parser;
    http_exchange   *x;                 /* the one being read or answered */
    buffer           in;                /* received, not parsed */
    buffer           out;               /* to be sent */
    uint64_t         last_in, last_out; /* loop times of progress */
    uint64_t         since;             /* when this request began */
    size_t           lingered;
    void           (*take)(void *data, io *w, buffer *in, buffer *out);
    void            *take_data;         /* NULL: it stays HTTP's */
    uint64_t         linger_until;      /* 0: not closing */
    unsigned         holds;             /* callers that still look at it */
    unsigned         busy:1;            /* inside http_conn_run() */
    unsigned         dead:1;
    unsigned         broken:1;          /* sending failed */
    unsigned         too_large:1;       /* the head of a request */
    unsigned         closing:1;         /* after what is in out */
};

/* Whole bodies are memory: counts one's bytes as long as the request has them.
 * http_body_hold() returns -1 if there is no room. */
int http_body_hold(http_exchange *x, size_t n);
void http_body_let_go(http_exchange *x);

/* http_parse.c: readies the parser; calls the handler once the head is
 * complete; gives a piece of the body to its reader. */
void http_parser_init(http_conn *c);
void http_dispatch(http_conn *c);
void http_deliver(http_exchange *x, const char *p, size_t n);

/* Sends what it can; called by http_reply.c after it has put bytes to out. */
void http_conn_flush(http_conn *c);

/* Looks what is to do next: called when an answer has ended or a reader was
 * set or resumed. */
void http_conn_kick(http_conn *c);

/* Closes at once. */
void http_conn_abort(http_conn *c);

/* For requests that never reach a handler. */
void http_reply_bad(http_conn *c, int status, const char *message);

#endif
