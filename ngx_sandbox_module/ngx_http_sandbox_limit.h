/*
 * What a request holds of its sandbox's limits, as _limit.c, _pace.c and the
 * error pages share it.  It lives as long as the request; after an internal
 * redirect it is found again through the request's pool.
 */

#ifndef _NGX_HTTP_SANDBOX_LIMIT_H_INCLUDED_
#define _NGX_HTTP_SANDBOX_LIMIT_H_INCLUDED_


#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_usage.h"


typedef struct ngx_http_sandbox_pace_s  ngx_http_sandbox_pace_t;


typedef struct {
    ngx_http_sandbox_grant_t      grant;
    ngx_http_sandbox_zone_t      *zone;
    ngx_http_sandbox_pace_t      *pace;        /* NULL: bytes have no limit */
} ngx_http_sandbox_held_t;


/* An upstream connection whose bytes are paced, both ways. */

struct ngx_http_sandbox_pace_s {
    ngx_http_sandbox_held_t      *held;
    ngx_connection_t             *connection;
    ngx_event_t                   read;        /* set: nothing is read, */
    ngx_event_t                   write;       /* nothing is sent */
};


/* What the request holds; NULL: nothing. */
ngx_http_sandbox_held_t *ngx_http_sandbox_limit_held(ngx_http_request_t *r);

/* The words for a body that turned out too large; NGX_DECLINED: not ours. */
ngx_int_t ngx_http_sandbox_limit_body_error(ngx_http_request_t *r,
    ngx_http_sandbox_error_t *err);


/*
 * _pace.c: the connection is behind its first line, or has been kept; from now
 * on it goes no faster than it may.  bytes have gone already.
 */
void ngx_http_sandbox_pace_recv(ngx_http_request_t *r, ngx_connection_t *c,
    size_t bytes);
void ngx_http_sandbox_pace_send(ngx_http_request_t *r, ngx_connection_t *c,
    size_t bytes);

/* Whether the first bytes have to wait; they are asked for again then. */
ngx_uint_t ngx_http_sandbox_pace_waits(ngx_http_request_t *r,
    ngx_connection_t *c, ngx_uint_t in);

/* The connection ends, or is kept for another request. */
void ngx_http_sandbox_pace_end(ngx_http_request_t *r, ngx_connection_t *c);

/* For the request's end, however it comes. */
void ngx_http_sandbox_pace_free(ngx_http_sandbox_pace_t *pace);


#endif /* _NGX_HTTP_SANDBOX_LIMIT_H_INCLUDED_ */
