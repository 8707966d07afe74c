/*
 * Headers on the way in: our credentials and whatever a client might forge are
 * taken out of the request itself, not through proxy_set_header, which a
 * location can lose; then ours are put in.  Nothing else is rewritten.
 */

#include "ngx_http_sandbox_api.h"

#include "sandbox_label.h"


#define ngx_http_sandbox_is(h, name)                                          \
    ((h)->key.len == sizeof(name) - 1                                         \
     && ngx_memcmp((h)->lowcase_key, name, sizeof(name) - 1) == 0)

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
ngx_http_sandbox_list_header(ngx_list_t *headers,
    ngx_http_sandbox_header_t *at)
{
    if (at->part == NULL) {
        at->part = &headers->part;
    }

    while (at->i >= at->part->nelts) {
        if (at->part->next == NULL) {
            return NULL;
        }

        at->part = at->part->next;
        at->i = 0;
    }

    return (ngx_table_elt_t *) at->part->elts + at->i++;
}


ngx_table_elt_t *
ngx_http_sandbox_each_header(ngx_http_request_t *r,
    ngx_http_sandbox_header_t *at, const char *name, size_t len)
{
    ngx_table_elt_t  *h;

    do {
        h = ngx_http_sandbox_list_header(&r->headers_in.headers, at);
    } while (h && (h->key.len != len
                   || ngx_memcmp(h->lowcase_key, name, len) != 0));

    return h;
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

    ngx_http_sandbox_headers_out_init();

    return NGX_OK;
}
