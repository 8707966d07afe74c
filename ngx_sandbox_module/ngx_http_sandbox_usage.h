/*
 * What limits and counters of sandboxes need in the zone: who is let in, who
 * leaves, how fast bytes may go.  Called by _limit.c, _pace.c and _count.c;
 * each call takes the zone's lock once.  A request names what it holds by slot
 * and serial, never by a pointer.
 */

#ifndef _NGX_HTTP_SANDBOX_USAGE_H_INCLUDED_
#define _NGX_HTTP_SANDBOX_USAGE_H_INCLUDED_


#include "ngx_http_sandbox.h"


/* What a request was granted by its sandbox (0) and its exposure (1). */

typedef struct {
    uint32_t                      slot;
    uint32_t                      serial[2];   /* 0: no such limits */
    uint32_t                      out[2];      /* bytes in a second, */
    uint32_t                      in[2];       /* 0: as they come */
    unsigned                      counted:2;   /* bits: has a connection */
    uint64_t                      body;        /* 0: of any size */
} ngx_http_sandbox_grant_t;


typedef enum {
    sandbox_excess_none = 0,
    sandbox_excess_requests,
    sandbox_excess_connections,
    sandbox_excess_body,
    sandbox_excess_room             /* the zone has none: no limit holds */
} ngx_http_sandbox_excess_e;


/* Which limit was exceeded. */

typedef struct {
    ngx_http_sandbox_excess_e     what;
    ngx_uint_t                    exposure;    /* the exposure's own */
    uint64_t                      limit;
    ngx_uint_t                    retry_after; /* seconds */
} ngx_http_sandbox_excess_t;


/*
 * Lets a request in.  NGX_OK: grant is filled, and has to be given back with
 * ngx_http_sandbox_usage_leave().  NGX_DECLINED: there is no limit.  NGX_BUSY:
 * excess says why not, and nothing was taken.  above: limits that hold for
 * each sandbox, or NULL.  length: the body's, or -1.
 */
ngx_int_t ngx_http_sandbox_usage_enter(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_ctx_t *ctx, ngx_http_sandbox_limits_t *above,
    off_t length, ngx_http_sandbox_grant_t *grant,
    ngx_http_sandbox_excess_t *excess);

void ngx_http_sandbox_usage_leave(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_grant_t *grant);

/*
 * Bytes have gone out of the sandbox, or in; the result is for how many
 * milliseconds nothing more should go that way.
 */
ngx_msec_t ngx_http_sandbox_usage_pace(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_grant_t *grant, ngx_uint_t in, size_t bytes);

/* A request has ended. */
void ngx_http_sandbox_usage_count(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx, off_t in, off_t out);


#endif /* _NGX_HTTP_SANDBOX_USAGE_H_INCLUDED_ */
