/*
 * Headers on the way out, for previews: what reaches beyond the preview's own
 * host is dropped, and a redirect to the sandbox's local origin is mapped to
 * the public one.  Nothing else is rewritten.
 */

#include "ngx_http_sandbox_api.h"

#include "sandbox_label.h"


#define ngx_http_sandbox_out(h, name)                                         \
    ((h)->key.len == sizeof(name) - 1                                         \
     && ngx_strncasecmp((h)->key.data, (u_char *) name, sizeof(name) - 1)     \
        == 0)

#define ngx_http_sandbox_ends(h, name)                                        \
    ((h)->key.len >= sizeof(name) - 1                                         \
     && ngx_strncasecmp((h)->key.data + (h)->key.len - (sizeof(name) - 1),    \
                        (u_char *) name, sizeof(name) - 1)                    \
        == 0)


static ngx_int_t ngx_http_sandbox_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_sandbox_ticket_answer(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx);
static ngx_uint_t ngx_http_sandbox_drop(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx, ngx_table_elt_t *h);
static ngx_int_t ngx_http_sandbox_keep_private(ngx_http_request_t *r,
    ngx_str_t *value);
static ngx_int_t ngx_http_sandbox_map_cookie(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx, ngx_table_elt_t *h);
static ngx_int_t ngx_http_sandbox_map_location(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx, ngx_table_elt_t *h);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


static ngx_int_t
ngx_http_sandbox_header_filter(ngx_http_request_t *r)
{
    ngx_str_t                   value;
    ngx_uint_t                  cached;
    ngx_table_elt_t            *h;
    ngx_http_sandbox_ctx_t     *ctx;
    ngx_http_sandbox_header_t   at;

    cached = 0;
    ctx = ngx_http_sandbox_ctx(r);

    if (ctx != NULL && ctx->ticket.len && ngx_http_sandbox_ticket_answer(r, ctx)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx == NULL || !ctx->authorised || r->upstream == NULL
        || r != r->main)
    {
        return ngx_http_next_header_filter(r);
    }

    ngx_memzero(&at, sizeof(ngx_http_sandbox_header_t));

    while ((h = ngx_http_sandbox_each_out(r, &at)) != NULL) {
        if (ngx_http_sandbox_drop(r, ctx, h)) {
            h->hash = 0;
            continue;
        }

        if (ctx->control) {
            continue;
        }

        if (ctx->proxied && ngx_http_sandbox_out(h, "Set-Cookie")
            && ngx_http_sandbox_map_cookie(r, ctx, h) != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (ctx->private && ngx_http_sandbox_out(h, "Cache-Control")) {
            cached = 1;

            if (ngx_http_sandbox_keep_private(r, &h->value) != NGX_OK) {
                return NGX_ERROR;
            }
        }

        /* headers_out.location is not set for one that begins with a slash */

        if (ngx_http_sandbox_out(h, "Location")
            && ngx_http_sandbox_map_location(r, ctx, h) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (ctx->private && !cached) {
        ngx_str_set(&value, "private");

        if (ngx_http_sandbox_add_header(r, "Cache-Control", &value) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (ctx->proxied) {

        /*
         * What an app sends is shown, if by a browser, as of an origin of its
         * own, not as the API's.
         */

        ngx_str_set(&value, "sandbox");

        if (ngx_http_sandbox_add_header(r, "Content-Security-Policy", &value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_http_next_header_filter(r);
}


/*
 * A browser that has offered protocols gives up without an answer.  Where the
 * app takes none of the others, it gets its ticket back, which is used up.
 */

static ngx_int_t
ngx_http_sandbox_ticket_answer(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx)
{
    ngx_table_elt_t            *h;
    ngx_http_sandbox_header_t   at;

    if (r->headers_out.status != NGX_HTTP_SWITCHING_PROTOCOLS) {
        return NGX_OK;
    }

    ngx_memzero(&at, sizeof(ngx_http_sandbox_header_t));

    while ((h = ngx_http_sandbox_each_out(r, &at)) != NULL) {
        if (ngx_http_sandbox_out(h, "Sec-WebSocket-Protocol")) {
            return NGX_OK;
        }
    }

    return ngx_http_sandbox_add_header(r, "Sec-WebSocket-Protocol",
                                       &ctx->ticket);
}


/* Whether a header must not get out. */

static ngx_uint_t
ngx_http_sandbox_drop(ngx_http_request_t *r, ngx_http_sandbox_ctx_t *ctx,
    ngx_table_elt_t *h)
{
    if (ngx_http_sandbox_out(h, "Set-Cookie")) {

        /* the API has none, whatever an agent has become */

        if (ctx->control) {
            return 1;
        }

        if (sandbox_cookie_sets((char *) h->value.data, h->value.len,
                                NGX_HTTP_SANDBOX_COOKIE,
                                sizeof(NGX_HTTP_SANDBOX_COOKIE) - 1))
        {
            return 1;
        }

        if (sandbox_cookie_stays((char *) h->value.data, h->value.len,
                                 (char *) r->headers_in.server.data,
                                 r->headers_in.server.len))
        {
            return 0;
        }

        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "sandbox: a cookie for more than its host dropped");
        return 1;
    }

    if (ngx_http_sandbox_out(h, "Clear-Site-Data")) {
        return 1;
    }

    /* some caches obey these before Cache-Control, those of their own first */

    if (ctx->private && (ngx_http_sandbox_out(h, "Surrogate-Control")
                         || ngx_http_sandbox_out(h, "Edge-Control")
                         || ngx_http_sandbox_ends(h, "CDN-Cache-Control")))
    {
        return 1;
    }

    /* of one connection only: HTTP/2 and 3 may not carry them at all */

    if (ngx_http_sandbox_out(h, "Upgrade")) {
        return r->headers_out.status != NGX_HTTP_SWITCHING_PROTOCOLS;
    }

    return ngx_http_sandbox_out(h, "Proxy-Connection");
}


static ngx_int_t
ngx_http_sandbox_keep_private(ngx_http_request_t *r, ngx_str_t *value)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, value->len + sizeof("private,"));
    if (p == NULL) {
        return NGX_ERROR;
    }

    value->len = sandbox_cache_private((char *) p, (char *) value->data,
                                       value->len);
    value->data = p;

    return NGX_OK;
}


/* What a port sets through the API is no other port's or sandbox's. */

static ngx_int_t
ngx_http_sandbox_map_cookie(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx, ngx_table_elt_t *h)
{
    u_char     *p, *last;
    ngx_str_t   prefix;

    last = ctx->origin.data + ctx->origin.len;
    prefix.data = ctx->origin.data + sizeof("https://") - 1;
    prefix.data = ngx_strlchr(prefix.data, last, '/');
    prefix.len = last - prefix.data;

    p = ngx_pnalloc(r->pool, h->value.len + prefix.len + SANDBOX_COOKIE_BELOW);
    if (p == NULL) {
        return NGX_ERROR;
    }

    h->value.len = sandbox_cookie_below((char *) p, (char *) h->value.data,
                                        h->value.len, (char *) prefix.data,
                                        prefix.len);
    h->value.data = p;

    return NGX_OK;
}


static ngx_int_t
ngx_http_sandbox_map_location(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx, ngx_table_elt_t *h)
{
    size_t      n;
    u_char     *p, *data;
    ngx_str_t  *value;

    value = &h->value;

    n = sandbox_origin_local((char *) value->data, value->len, ctx->port);

    if (n == 0
        && !(ctx->proxied && value->len && value->data[0] == '/'
             && (value->len == 1 || value->data[1] != '/')))
    {
        return NGX_OK;
    }

    data = ngx_pnalloc(r->pool, ctx->origin.len + value->len - n);
    if (data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(data, ctx->origin.data, ctx->origin.len);
    p = ngx_cpymem(p, value->data + n, value->len - n);

    value->data = data;
    value->len = p - data;

    return NGX_OK;
}


ngx_table_elt_t *
ngx_http_sandbox_each_out(ngx_http_request_t *r,
    ngx_http_sandbox_header_t *at)
{
    ngx_table_elt_t  *h;

    do {
        h = ngx_http_sandbox_list_header(&r->headers_out.headers, at);
    } while (h && h->hash == 0);

    return h;
}


void
ngx_http_sandbox_headers_out_init(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_sandbox_header_filter;
}
