/*
 * GET /v1/events, as _api.c (the request) and _sync.c (what sandboxd tells)
 * see it.
 */

#ifndef _NGX_HTTP_SANDBOX_EVENTS_H_INCLUDED_
#define _NGX_HTTP_SANDBOX_EVENTS_H_INCLUDED_


#include "ngx_http_sandbox.h"


ngx_int_t ngx_http_sandbox_events_handler(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t *caller);

/* A change that was told; the connection broke; it is there again. */
void ngx_http_sandbox_events_change(json_t *record);
void ngx_http_sandbox_events_lost(void);
void ngx_http_sandbox_events_ready(void);


#endif /* _NGX_HTTP_SANDBOX_EVENTS_H_INCLUDED_ */
