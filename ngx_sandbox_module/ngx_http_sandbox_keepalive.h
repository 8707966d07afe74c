/*
 * What `sandbox_keepalive` keeps: connections to sandboxes that wait for their
 * next request.  Called by the balancer (_upstream.c) for one upstream, and by
 * _sync.c, for all of them, when sandboxd tells of a change.
 */

#ifndef _NGX_HTTP_SANDBOX_KEEPALIVE_H_INCLUDED_
#define _NGX_HTTP_SANDBOX_KEEPALIVE_H_INCLUDED_


#include "ngx_http_sandbox_peer.h"
#include "ngx_http_sandbox_zone.h"


/* NGX_DONE: pc has a connection, NGX_DECLINED: there is none. */
ngx_int_t ngx_http_sandbox_keepalive_get(ngx_http_sandbox_keepalive_t *k,
    ngx_peer_connection_t *pc, ngx_http_sandbox_peer_t *p);

/* Takes pc's connection over if another request may follow on it. */
void ngx_http_sandbox_keepalive_free(ngx_http_sandbox_keepalive_t *k,
    ngx_peer_connection_t *pc, ngx_http_sandbox_peer_t *p, ngx_uint_t state);

/* Closes what the change makes useless. */
void ngx_http_sandbox_keepalive_change(ngx_http_sandbox_record_t *record);

/* Closes everything. */
void ngx_http_sandbox_keepalive_flush(void);


#endif /* _NGX_HTTP_SANDBOX_KEEPALIVE_H_INCLUDED_ */
