/*
 * Headers.  On the way in: our credentials and whatever a client might forge
 * are taken out of the request itself, not through proxy_set_header, which a
 * location can lose; then ours are put in.  On the way out, for previews: what
 * reaches beyond the preview's own host is dropped, and a redirect to the
 * sandbox's local origin is mapped to the public one.  Nothing else is
 * rewritten.
 */

#include "ngx_http_sandbox_api.h"

#include "sandbox_label.h"


#define ngx_http_sandbox_is(h, name)                                          \
    ((h)->key.len == sizeof(name) - 1                                         \
     && ngx_memcmp((h)->lowcase_key, name, sizeof(name) - 1) == 0)

#define ngx_http_sandbox_out(h, name)                                         \
    ((h)->key.len == sizeof(name) - 1                                         \
     && ngx_strncasecmp((h)->key.data, (u_char *) name, sizeof(name) - 1)     \
        == 0)

#define ngx_http_sandbox_ends(h, name)                                        \
    ((h)->key.len >= sizeof(name) - 1                                         \
     && ngx_strncasecmp((h)->key.data + (h)->key.len - (sizeof(name) - 1),    \
                        (u_char *) name, sizeof(name) - 1)                    \
        == 0)

/* With what many apps take for the same: anything for a hyphen. */

#define ngx_http_sandbox_begins(h, name)                                      \
    ngx_http_sandbox_alike(h, name, sizeof(name) - 1)

#define ngx_http_sandbox_looks(h, name)                                       \
    ((h)->key.len == sizeof(name) - 1                                         \
     && ngx_http_sandbox_alike(h, name, sizeof(name) - 1))


static ngx_uint_t ngx_http_sandbox_alike(ngx_table_elt_t *h, const char *name,
    size_t len);
static ngx_uint_t ngx_http_sandbox_strip(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx, ngx_table_elt_t *h);
static ngx_int_t ngx_http_sandbox_map_origin(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx, ngx_table_elt_t *h);
static ngx_int_t ngx_http_sandbox_remove(ngx_http_request_t *r,
    ngx_list_part_t *prev, ngx_list_part_t *part, ngx_uint_t i);
static ngx_int_t ngx_http_sandbox_add(ngx_http_request_t *r, ngx_uint_t name,
    ngx_str_t *value);
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


typedef struct {
    ngx_str_t                     key;
    u_char                       *lowcase_key;
    ngx_uint_t                    hash;
} ngx_http_sandbox_name_t;


enum {
    sandbox_forwarded_host = 0,
    sandbox_forwarded_proto,
    sandbox_forwarded_for,
    sandbox_original_url,
    sandbox_sandbox_name
};


static ngx_http_sandbox_name_t  ngx_http_sandbox_names[] = {
    { ngx_string("X-Forwarded-Host"), (u_char *) "x-forwarded-host", 0 },
    { ngx_string("X-Forwarded-Proto"), (u_char *) "x-forwarded-proto", 0 },
    { ngx_string("X-Forwarded-For"), (u_char *) "x-forwarded-for", 0 },
    { ngx_string("X-Original-URL"), (u_char *) "x-original-url", 0 },
    { ngx_string("X-Sandbox-Name"), (u_char *) "x-sandbox-name", 0 }
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


/* Requests */


ngx_int_t
ngx_http_sandbox_request_headers(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx)
{
    ngx_str_t         proto, url;
    ngx_uint_t        i;
    ngx_list_part_t  *part, *prev;
    ngx_table_elt_t  *h;

    prev = NULL;
    part = &r->headers_in.headers.part;

    for (i = 0; /* void */ ; i++) {

        while (i >= part->nelts) {
            if (part->next == NULL) {
                goto stripped;
            }

            prev = part;
            part = part->next;
            i = 0;
        }

        h = (ngx_table_elt_t *) part->elts + i;

        if (ngx_http_sandbox_strip(r, ctx, h)) {

            ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                           "sandbox strips header \"%V\"", &h->key);

            if (ngx_http_sandbox_remove(r, prev, part, i) != NGX_OK) {
                return NGX_ERROR;
            }

            if (part->nelts == 0 && prev != NULL) {

                /* it is out of the list */

                part = prev;
                i = part->nelts;
            }

            /* what followed is in this place now, or in the next part */

            i--;
            continue;
        }

        if (!ctx->control && !ctx->public_host
            && (ngx_http_sandbox_is(h, "origin")
                || ngx_http_sandbox_is(h, "referer"))
            && ngx_http_sandbox_map_origin(r, ctx, h) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

stripped:

    /* also what variables and other modules take for the client's words */

#if (NGX_HTTP_X_FORWARDED_FOR)
    ngx_memzero(&r->headers_in.x_forwarded_for,
                sizeof(r->headers_in.x_forwarded_for));
#endif

#if (NGX_HTTP_REALIP)
    r->headers_in.x_real_ip = NULL;
#endif

    /* what nginx goes by when an app switches protocols */

    if (!ctx->websocket) {
        r->headers_in.upgrade = NULL;
    }

    if (ctx->api) {
        return NGX_OK;
    }

    ngx_str_set(&proto, "http");

    if (ctx->origin.data[4] == 's') {
        ngx_str_set(&proto, "https");
    }

    url.len = ctx->origin.len + r->unparsed_uri.len;
    url.data = ngx_pnalloc(r->pool, url.len);
    if (url.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ngx_cpymem(url.data, ctx->origin.data, ctx->origin.len),
               r->unparsed_uri.data, r->unparsed_uri.len);

    if (ngx_http_sandbox_add(r, sandbox_forwarded_host,
                             &r->headers_in.server) != NGX_OK
        || ngx_http_sandbox_add(r, sandbox_forwarded_proto, &proto) != NGX_OK
        || ngx_http_sandbox_add(r, sandbox_forwarded_for,
                                &r->connection->addr_text) != NGX_OK
        || ngx_http_sandbox_add(r, sandbox_original_url, &url) != NGX_OK
        || ngx_http_sandbox_add(r, sandbox_sandbox_name, &ctx->id) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_table_elt_t *
ngx_http_sandbox_each_header(ngx_http_request_t *r,
    ngx_http_sandbox_header_t *at, const char *name, size_t len)
{
    ngx_table_elt_t  *h;

    if (at->part == NULL) {
        at->part = &r->headers_in.headers.part;
    }

    for ( ;; ) {

        while (at->i >= at->part->nelts) {
            if (at->part->next == NULL) {
                return NULL;
            }

            at->part = at->part->next;
            at->i = 0;
        }

        h = at->part->elts;
        h += at->i++;

        if (h->key.len == len && ngx_memcmp(h->lowcase_key, name, len) == 0) {
            return h;
        }
    }
}


ngx_str_t *
ngx_http_sandbox_request_header(ngx_http_request_t *r, const char *name,
    size_t len)
{
    ngx_table_elt_t            *h;
    ngx_http_sandbox_header_t   at;

    ngx_memzero(&at, sizeof(ngx_http_sandbox_header_t));

    h = ngx_http_sandbox_each_header(r, &at, name, len);

    return h ? &h->value : NULL;
}


/*
 * `X_Forwarded_For` comes here where `underscores_in_headers` is on, and what
 * speaks CGI or WSGI inside can't tell it from ours.
 */

static ngx_uint_t
ngx_http_sandbox_alike(ngx_table_elt_t *h, const char *name, size_t len)
{
    u_char  ch;
    size_t  i;

    if (h->key.len < len) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        ch = h->lowcase_key[i];

        if (ch == (u_char) name[i]) {
            continue;
        }

        if (name[i] != '-' || (ch >= 'a' && ch <= 'z')
            || (ch >= '0' && ch <= '9'))
        {
            return 0;
        }
    }

    return 1;
}


/* Whether a header must not get inside.  Learns of a WebSocket by the way. */

static ngx_uint_t
ngx_http_sandbox_strip(ngx_http_request_t *r, ngx_http_sandbox_ctx_t *ctx,
    ngx_table_elt_t *h)
{
    sandbox_taken  taken;

    if (h->key.len == 0) {
        return 0;
    }

    switch (h->lowcase_key[0]) {

    case 'x':
        return ngx_http_sandbox_begins(h, "x-sandbox-")
               || ngx_http_sandbox_begins(h, "x-forwarded-")
               || ngx_http_sandbox_looks(h, "x-real-ip")
               || ngx_http_sandbox_looks(h, "x-original-url");

    case 'f':
        return ngx_http_sandbox_is(h, "forwarded");

    case 'a':

        if (!ngx_http_sandbox_is(h, "authorization")
            || (!ctx->api && !ngx_http_sandbox_is_our_key(r, &h->value)))
        {
            return 0;
        }

        if (r->headers_in.authorization == h) {
            r->headers_in.authorization = NULL;
        }

        return 1;

    case 'c':
        if (!ngx_http_sandbox_is(h, "cookie")) {
            return 0;
        }

        if (ctx->control
            || ngx_http_sandbox_cookie_cut(r, h, &taken) != NGX_OK)
        {
            return 1;
        }

        return h->value.len == 0;

    case 's':
        if (!ngx_http_sandbox_is(h, "sec-websocket-protocol")) {
            return 0;
        }

        return ngx_http_sandbox_ticket_cut(r, h, &ctx->ticket) != NGX_OK
               || h->value.len == 0;

    case 'u':

        if (!ngx_http_sandbox_is(h, "upgrade")) {
            return 0;
        }

        /* no h2c, and no tunnel of another kind */

        if (r->http_version == NGX_HTTP_VERSION_11
            && h->value.len == sizeof("websocket") - 1
            && ngx_strncasecmp(h->value.data, (u_char *) "websocket",
                               sizeof("websocket") - 1)
               == 0)
        {
            ctx->websocket = 1;
            return 0;
        }

        return 1;

    default:
        return 0;
    }
}


/* An Origin or Referer of the preview's own becomes the app's own. */

static ngx_int_t
ngx_http_sandbox_map_origin(ngx_http_request_t *r, ngx_http_sandbox_ctx_t *ctx,
    ngx_table_elt_t *h)
{
    size_t   n;
    u_char  *p, *value;

    n = sandbox_origin_match((char *) h->value.data, h->value.len,
                             (char *) ctx->origin.data, ctx->origin.len);

    if (n == 0 || (h->key.len == sizeof("origin") - 1 && n != h->value.len)) {
        return NGX_OK;
    }

    value = ngx_pnalloc(r->pool, sizeof("http://") + ctx->host.len
                                 + h->value.len - n);
    if (value == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(value, "http://", sizeof("http://") - 1);
    p = ngx_cpymem(p, ctx->host.data, ctx->host.len);
    p = ngx_cpymem(p, h->value.data + n, h->value.len - n);
    *p = '\0';

    h->value.data = value;
    h->value.len = p - value;

    return NGX_OK;
}


/*
 * Removes an element of a list without moving another one: nginx points at
 * many of them.  Whoever reads such a list takes every part but the first for
 * one that isn't empty, so none may be left behind.
 */

static ngx_int_t
ngx_http_sandbox_remove(ngx_http_request_t *r, ngx_list_part_t *prev,
    ngx_list_part_t *part, ngx_uint_t i)
{
    ngx_list_t       *list;
    ngx_list_part_t  *rest;

    list = &r->headers_in.headers;

    if (i + 1 == part->nelts) {
        part->nelts--;

        if (part->nelts == 0 && prev != NULL) {
            prev->next = part->next;

            if (list->last == part) {
                list->last = prev;
                list->nalloc = prev->nelts ? prev->nelts : 1;
            }
        }

        return NGX_OK;
    }

    if (i == 0) {
        part->elts = (ngx_table_elt_t *) part->elts + 1;
        part->nelts--;

        if (list->last == part) {
            list->nalloc--;
        }

        return NGX_OK;
    }

    rest = ngx_palloc(r->pool, sizeof(ngx_list_part_t));
    if (rest == NULL) {
        return NGX_ERROR;
    }

    rest->elts = (ngx_table_elt_t *) part->elts + i + 1;
    rest->nelts = part->nelts - i - 1;
    rest->next = part->next;

    part->nelts = i;
    part->next = rest;

    if (list->last == part) {

        /* the memory behind the part is the rest's, down to the last element */

        list->last = rest;
        list->nalloc -= i + 1;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sandbox_add(ngx_http_request_t *r, ngx_uint_t name, ngx_str_t *value)
{
    ngx_table_elt_t          *h;
    ngx_http_sandbox_name_t  *n;

    n = &ngx_http_sandbox_names[name];

    h = ngx_list_push(&r->headers_in.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    /* newer versions chain headers of one name through a further member */

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = n->hash;
    h->key = n->key;
    h->lowcase_key = n->lowcase_key;
    h->value = *value;

    return NGX_OK;
}


/* Responses */


static ngx_int_t
ngx_http_sandbox_header_filter(ngx_http_request_t *r)
{
    ngx_str_t                value;
    ngx_uint_t               i, cached;
    ngx_list_part_t         *part;
    ngx_table_elt_t         *h;
    ngx_http_sandbox_ctx_t  *ctx;

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

    part = &r->headers_out.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].hash == 0) {
            continue;
        }

        if (ngx_http_sandbox_drop(r, ctx, &h[i])) {
            h[i].hash = 0;
            continue;
        }

        if (ctx->control) {
            continue;
        }

        if (ctx->proxied && ngx_http_sandbox_out(&h[i], "Set-Cookie")
            && ngx_http_sandbox_map_cookie(r, ctx, &h[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (ctx->private && ngx_http_sandbox_out(&h[i], "Cache-Control")) {
            cached = 1;

            if (ngx_http_sandbox_keep_private(r, &h[i].value) != NGX_OK) {
                return NGX_ERROR;
            }
        }

        /* headers_out.location is not set for one that begins with a slash */

        if (ngx_http_sandbox_out(&h[i], "Location")
            && ngx_http_sandbox_map_location(r, ctx, &h[i]) != NGX_OK)
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
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    if (r->headers_out.status != NGX_HTTP_SWITCHING_PROTOCOLS) {
        return NGX_OK;
    }

    part = &r->headers_out.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].hash && ngx_http_sandbox_out(&h[i], "Sec-WebSocket-Protocol"))
        {
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


ngx_int_t
ngx_http_sandbox_headers_init(ngx_conf_t *cf)
{
    ngx_uint_t                i;
    ngx_http_sandbox_name_t  *n;

    for (i = 0; i < sizeof(ngx_http_sandbox_names)
                    / sizeof(ngx_http_sandbox_names[0]); i++)
    {
        n = &ngx_http_sandbox_names[i];
        n->hash = ngx_hash_key(n->lowcase_key, n->key.len);
    }

    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_sandbox_header_filter;

    return NGX_OK;
}
