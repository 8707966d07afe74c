/* The gate: what its previews (_gate.c) and its API (_control.c) share. */

#ifndef NGX_HTTP_SANDBOX_GATE_H
#define NGX_HTTP_SANDBOX_GATE_H

#include "ngx_http_sandbox.h"


/* The access phase of an API server. */
ngx_int_t ngx_http_sandbox_control(ngx_http_request_t *r,
    ngx_http_sandbox_srv_conf_t *sscf);

/* Finalizes with the one answer to whatever is unknown; NGX_DONE. */
ngx_int_t ngx_http_sandbox_unknown(ngx_http_request_t *r);

/* Whether the Host is a plain one; its port, 0 if there is none. */
ngx_uint_t ngx_http_sandbox_host(ngx_http_request_t *r,
    unsigned *port);

/* The public origin, and the Host that the app sees. */
ngx_int_t ngx_http_sandbox_origin(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx, unsigned port);


#endif
