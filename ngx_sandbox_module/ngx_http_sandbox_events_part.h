/*
 * What the files of /v1/events share among themselves: a client, what a worker
 * was told, and the functions that one calls in the other.
 *
 *   _events.c      who follows, and where what is told comes from
 *   _events_out.c  how it gets to a client
 */

#ifndef _NGX_HTTP_SANDBOX_EVENTS_PART_H_INCLUDED_
#define _NGX_HTTP_SANDBOX_EVENTS_PART_H_INCLUDED_


#include "ngx_http_sandbox_api.h"
#include "ngx_http_sandbox_events.h"
#include "sandbox_position.h"


#define NGX_HTTP_SANDBOX_EVENTS_RING     1024

/* An event is at most a fifth of it: an id, a reason, and names. */
#define NGX_HTTP_SANDBOX_EVENTS_BUFFER   8192
#define NGX_HTTP_SANDBOX_EVENTS_ROOM     2048


typedef struct {
    ngx_queue_t                   queue;
    ngx_http_request_t           *request;
    ngx_http_sandbox_caller_t    *caller;
    ngx_str_t                     sandbox;     /* "": all */

    ngx_http_sandbox_call_t      *call;
    json_t                       *page;        /* what sandboxd remembered, */
    size_t                        at;          /* and how far it was told */

    uint64_t                      seq;         /* seen up to here */
    uint64_t                      ring;        /* the next one of the ring */
    ngx_msec_t                    sent;        /* when something last was, */
    ngx_msec_t                    checked;     /* and the key */
    u_char                        key[SANDBOX_POSITION_KEY];

    ngx_buf_t                    *buf;
    ngx_chain_t                  *free;
    ngx_chain_t                  *busy;

    unsigned                      begun:1;     /* the head is sent */
    unsigned                      since:1;     /* seq is valid */
    unsigned                      greet:1;     /* it is to be told of this */
    unsigned                      lost:1;      /* or that events are missing */
    unsigned                      more:1;      /* pages follow */
    unsigned                      live:1;      /* goes by the ring */
    unsigned                      over:1;
} ngx_http_sandbox_events_t;


typedef struct {
    ngx_queue_t                   clients;
    ngx_uint_t                    nclients;
    ngx_event_t                   tick;
    uint64_t                      head;        /* the next one to come */
    json_t                       *ring[NGX_HTTP_SANDBOX_EVENTS_RING];
} ngx_http_sandbox_events_worker_t;


extern ngx_http_sandbox_events_worker_t  ngx_http_sandbox_events;


/* _events.c */

/* Asks sandboxd for what follows. */
ngx_int_t ngx_http_sandbox_events_ask(ngx_http_sandbox_events_t *e);

/* The client is one no more; its request is still to be finalized. */
void ngx_http_sandbox_events_leave(ngx_http_sandbox_events_t *e);


/* _events_out.c */

/* Sends what there is.  The request may be finalized in here, and is then not
 * to be used. */
void ngx_http_sandbox_events_pump(ngx_http_sandbox_events_t *e);

/* Sends the buffer.  NGX_OK: it is free again. */
ngx_int_t ngx_http_sandbox_events_flush(ngx_http_sandbox_events_t *e);

/* The last event, or none, and the end of the stream. */
void ngx_http_sandbox_events_end(ngx_http_sandbox_events_t *e,
    const char *data);

/* Writes where the client is; each time it is told, it is another text. */
u_char *ngx_http_sandbox_events_id(ngx_http_sandbox_events_t *e, u_char *p,
    u_char *last);


#endif /* _NGX_HTTP_SANDBOX_EVENTS_PART_H_INCLUDED_ */
