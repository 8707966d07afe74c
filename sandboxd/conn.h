/*
 * One worker's connection, shared by the files of the server: server.c (life,
 * hello, reading), server_out.c (writing), request.c (open requests).
 */

#ifndef SANDBOXD_CONN_H
#define SANDBOXD_CONN_H

#include "sandboxd/server.h"

struct conn {
    conn       *next;           /* among strangers or workers */
    server     *s;
    uv_pipe_t   pipe;
    unsigned    refs;           /* the open handle, and each write */
    bool        live;           /* has proved the secret */
    bool        closing;
    bool        reading;
    uint64_t    since_hello;    /* loop time of the accept */
    char        nonce[FRAME_NONCE_LEN + 1];
    long        pid;            /* as the worker says, for the log */
    zone       *zone;
    uint64_t    asked;          /* the last question that it got, */
    uint64_t    polled;         /* and that it has answered */
    uint64_t    since;          /* gets every change above */
    char       *in;
    size_t      in_len;
    size_t      in_size;
    size_t      out_bytes;      /* not yet taken by the kernel */
    uint64_t    progress;       /* loop time of the last write that ended */
    request    *requests;
    unsigned    request_count;
};

/* No callback of the request layer may run between this and its return. */
void conn_close(conn *c, const char *why);
void conn_unref(conn *c);
void conn_read(conn *c, bool on);
void conn_resume(conn *c);              /* the peer has read its answers */

/* A frame, to one connection or (as an out) to many. */
void conn_send(conn *c, json_t *frame);
out *out_create(json_t *frame);         /* NULL: longer than FRAME_MAX */
void out_unref(out *o);
void conn_send_out(conn *c, out *o);

/* A worker's answer to a question of server_poll(). */
void conn_polled(conn *c, uint64_t ref, json_t *slots);
void server_polls_check(uv_timer_t *timer);
void server_polls_free(server *s);

/* err is the error of a request that didn't parse, or NULL; taken over. */
void request_begin(conn *c, const op *parsed, json_t *frame, error *err);

/* Answers those past their deadline; forgets the connection in all. */
void requests_expire(conn *c, uint64_t now);
void requests_orphan(conn *c);

#endif
