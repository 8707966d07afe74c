/*
 * The workers' connections: hello, frames in and out, events, and everything
 * that bounds a peer (docs/protocol.md, section 1).  What operations do is
 * in ops.c.  Event loop's thread only.
 */

#ifndef SANDBOXD_SERVER_H
#define SANDBOXD_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>
#include <uv.h>

#include "common/error.h"
#include "common/frame.h"
#include "sandboxd/op.h"
#include "sandboxd/registry.h"
#include "sandboxd/server_poll.h"
#include "sandboxd/zones.h"

#define SERVER_HELLO_MS        5000
#define SERVER_HELLO_BYTES     4096     /* of the hello's frame */
#define SERVER_STRANGERS_MAX    128     /* connections before their hello */
#define SERVER_WORKERS_MAX     1024
#define SERVER_REQUESTS_MAX    1024     /* open ones of a connection */
#define SERVER_OUT_MAX         (16 * 1024 * 1024)   /* unread: dropped */
#define SERVER_OUT_PAUSE       (1024 * 1024)        /* nothing more is read */
#define SERVER_STALL_MS       20000     /* without reading: dropped */
#define SERVER_REQUEST_MS     30000

typedef struct server   server;
typedef struct conn     conn;
typedef struct request  request;
typedef struct out      out;
typedef struct poll_question  poll_question;

/* One operation of a worker, until its handler has ended with it. */
struct request {
    request    *next;           /* among the connection's open ones */
    request   **link;
    conn       *c;
    server     *s;
    op          op;
    json_t     *frame;
    uint64_t    deadline;

    /* For the handler. */
    unsigned    parts;          /* that it still waits for */
    uint64_t    revoked;
    sandbox    *sb;             /* holds a reference */
    bool        made;           /* by this very request */
    json_t     *result;
};

typedef void (*server_handler)(void *data, request *req);

struct server {
    uv_loop_t       *loop;
    uv_pipe_t        pipe;
    uv_timer_t       tick;
    registry        *r;
    zones            zones;
    server_handler   handler;
    void            *handler_data;
    char             secret[FRAME_SECRET_MAX + 1];
    size_t           secret_len;
    conn            *strangers;         /* newest first */
    unsigned         stranger_count;
    conn            *workers;
    unsigned         worker_count;
    poll_question   *questions;         /* oldest first */
    uv_timer_t       poll_timer;
    uint64_t         poll_ref;          /* of the newest */
    uint64_t         unsettled;         /* loop time: a worker was lost */
    uint64_t         refused;           /* hellos with a wrong proof */
    uint64_t         refused_at;        /* loop time of the last log line */
};

/* Starts to listen on the bound socket fd; the registry's publish hook has to
 * be server_publish(). */
server *server_create(uv_loop_t *loop, int fd, registry *r,
    const char *secret, server_handler handler, void *data, error **err);

/* Closes all connections.  Requests that are open come to their end unheard;
 * the memory goes with server_free(), when the loop has run for the last
 * time. */
void server_close(server *s);
void server_free(server *s);

void server_publish(void *data, uint64_t seq, bool ack, json_t *record);

/*
 * Ends a request with a result (taken over) or an error (freed).  The request
 * is gone afterwards.
 */
void request_answer(request *req, json_t *result);
void request_fail(request *req, error *err);

#endif
