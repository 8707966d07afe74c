/*
 * Credentials that a request's address holds: the link of a private preview,
 * and on the API `?authorization=`.  They are taken out of the request itself
 * as soon as it is read, and again right before it is logged for those that
 * never got so far: neither a log nor a variable nor what is behind the edge
 * sees them.  A page that is shown at such an address, as an error_page of
 * one's own is, names it in the Referer of what it loads.
 */

#include "ngx_http_sandbox.h"

#include "sandbox_browser.h"


static ngx_int_t ngx_http_sandbox_scrub_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_sandbox_scrub_log_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_sandbox_scrub(ngx_http_request_t *r,
    ngx_str_t *name);
static ngx_int_t ngx_http_sandbox_scrub_uri(ngx_http_request_t *r,
    ngx_str_t *uri, ngx_str_t *name, ngx_str_t *value);
static ngx_int_t ngx_http_sandbox_scrub_line(ngx_http_request_t *r,
    ngx_str_t *name);
static ngx_int_t ngx_http_sandbox_scrub_referer(ngx_http_request_t *r,
    ngx_str_t *name);
static void ngx_http_sandbox_scrub_cleanup(void *data);


static ngx_str_t  ngx_http_sandbox_scrub_link =
    ngx_string(NGX_HTTP_SANDBOX_LINK_ARG);
static ngx_str_t  ngx_http_sandbox_scrub_key = ngx_string("authorization");


static ngx_int_t
ngx_http_sandbox_scrub_handler(ngx_http_request_t *r)
{
    ngx_http_sandbox_srv_conf_t  *sscf;

    /* one that can't be read is logged, too, and whose it is isn't known */

    if (r->headers_in.server.len == 0) {

        if (ngx_http_sandbox_scrub(r, &ngx_http_sandbox_scrub_key)
            == NGX_ERROR)
        {
            return NGX_ERROR;
        }

        return ngx_http_sandbox_scrub(r, &ngx_http_sandbox_scrub_link);
    }

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_sandbox_module);

    if (sscf->api) {
        return ngx_http_sandbox_scrub(r, &ngx_http_sandbox_scrub_key);
    }

    return sscf->domains ? ngx_http_sandbox_scrub(r,
                                                 &ngx_http_sandbox_scrub_link)
                         : NGX_DECLINED;
}


/*
 * Cookies and tickets are the gate's to take; what nginx has answered before
 * the gate, as where a rate is limited, still has them.
 */

static ngx_int_t
ngx_http_sandbox_scrub_log_handler(ngx_http_request_t *r)
{
    ngx_str_t                     entry;
    sandbox_taken                 taken;
    ngx_table_elt_t              *h;
    ngx_http_sandbox_header_t     at;
    ngx_http_sandbox_srv_conf_t  *sscf;

    if (ngx_http_sandbox_scrub_handler(r) == NGX_ERROR) {
        return NGX_ERROR;
    }

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_sandbox_module);

    if (!sscf->api && sscf->domains == NULL && r->headers_in.server.len) {
        return NGX_OK;
    }

    ngx_memzero(&at, sizeof(ngx_http_sandbox_header_t));

    while ((h = ngx_http_sandbox_each_header(r, &at, "cookie", 6))) {
        if (ngx_http_sandbox_cookie_cut(r, h, &taken) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_memzero(&at, sizeof(ngx_http_sandbox_header_t));
    ngx_str_null(&entry);

    while ((h = ngx_http_sandbox_each_header(r, &at, "sec-websocket-protocol",
                                             22)))
    {
        if (ngx_http_sandbox_ticket_cut(r, h, &entry) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sandbox_scrub(ngx_http_request_t *r, ngx_str_t *name)
{
    u_char              *p;
    ngx_str_t           *value, *where, args, ignored;
    ngx_pool_cleanup_t  *cln;

    if (r->headers_in.referer
        && ngx_http_sandbox_scrub_referer(r, name) != NGX_OK)
    {
        return NGX_ERROR;
    }

    where = r->uri.len ? &r->args : &r->request_line;

    if (where->len == 0
        || ngx_strnstr(where->data, (char *) name->data, where->len) == NULL)
    {
        return NGX_DECLINED;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_str_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    value = cln->data;
    ngx_str_null(value);

    if (ngx_http_sandbox_scrub_uri(r, &r->unparsed_uri, name, value) != NGX_OK
        || ngx_http_sandbox_scrub_line(r, name) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (value->data) {
        cln->handler = ngx_http_sandbox_scrub_cleanup;
    }

    if (r->args.len == 0) {
        return NGX_DECLINED;
    }

    args.len = r->args.len + 1;
    args.data = ngx_pnalloc(r->pool, args.len);
    if (args.data == NULL) {
        return NGX_ERROR;
    }

    p = args.data;
    *p++ = '?';
    ngx_memcpy(p, r->args.data, r->args.len);

    if (ngx_http_sandbox_scrub_uri(r, &args, name, &ignored) != NGX_OK) {
        return NGX_ERROR;
    }

    r->args.data = args.data + 1;
    r->args.len = args.len ? args.len - 1 : 0;

    return NGX_DECLINED;
}


/* The first value goes to `value`; the address is a new one. */

static ngx_int_t
ngx_http_sandbox_scrub_uri(ngx_http_request_t *r, ngx_str_t *uri,
    ngx_str_t *name, ngx_str_t *value)
{
    u_char         *p;
    sandbox_taken   taken;

    if (uri->len == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, uri->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    uri->len = sandbox_argument_cut((char *) p, (char *) uri->data, uri->len,
                                    (char *) name->data, name->len, &taken);
    uri->data = p;

    if (taken.count) {
        value->data = (u_char *) taken.span[0].data;
        value->len = taken.span[0].len;
    }

    return NGX_OK;
}


/* `GET /path?arguments HTTP/1.1`, which only logs read. */

static ngx_int_t
ngx_http_sandbox_scrub_line(ngx_http_request_t *r, ngx_str_t *name)
{
    u_char     *p, *last, *first;
    ngx_str_t   uri, ignored;

    last = r->request_line.data + r->request_line.len;
    first = ngx_strlchr(r->request_line.data, last, ' ');

    if (first == NULL) {
        return NGX_OK;
    }

    for (p = last; p[-1] != ' '; p--) { /* void */ }

    if (p - 1 == first) {
        p = last + 1;
    }

    uri.data = first + 1;
    uri.len = p - 1 - uri.data;

    if (ngx_http_sandbox_scrub_uri(r, &uri, name, &ignored) != NGX_OK) {
        return NGX_ERROR;
    }

    first = ngx_pnalloc(r->pool, r->request_line.len);
    if (first == NULL) {
        return NGX_ERROR;
    }

    last = ngx_sprintf(first, "%*s%V%*s",
                       (size_t) (ngx_strlchr(r->request_line.data, last, ' ')
                                 + 1 - r->request_line.data),
                       r->request_line.data, &uri,
                       (size_t) (last - (p - 1)), p - 1);

    r->request_line.data = first;
    r->request_line.len = last - first;

    return NGX_OK;
}


/* Where there are several, nginx logs the first, and passes all. */

static ngx_int_t
ngx_http_sandbox_scrub_referer(ngx_http_request_t *r, ngx_str_t *name)
{
    u_char                     *p;
    sandbox_taken               taken;
    ngx_table_elt_t            *h;
    ngx_http_sandbox_header_t   at;

    ngx_memzero(&at, sizeof(ngx_http_sandbox_header_t));

    while ((h = ngx_http_sandbox_each_header(r, &at, "referer", 7))) {

        if (h->value.len == 0
            || ngx_strnstr(h->value.data, (char *) name->data, h->value.len)
               == NULL)
        {
            continue;
        }

        p = ngx_pnalloc(r->pool, h->value.len + 1);
        if (p == NULL) {
            return NGX_ERROR;
        }

        h->value.len = sandbox_argument_cut((char *) p, (char *) h->value.data,
                                            h->value.len, (char *) name->data,
                                            name->len, &taken);
        h->value.data = p;
        p[h->value.len] = '\0';
    }

    return NGX_OK;
}


ngx_str_t *
ngx_http_sandbox_scrubbed(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_sandbox_scrub_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


/* There for its address alone, by which the value is found again. */

static void
ngx_http_sandbox_scrub_cleanup(void *data)
{
}


ngx_int_t
ngx_http_sandbox_scrub_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_POST_READ_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_sandbox_scrub_handler;

    if (ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers) == NULL) {
        return NGX_ERROR;
    }

    /* these are called from the first to the last: ours goes first */

    h = cmcf->phases[NGX_HTTP_LOG_PHASE].handlers.elts;

    ngx_memmove(h + 1, h, (cmcf->phases[NGX_HTTP_LOG_PHASE].handlers.nelts - 1)
                          * sizeof(ngx_http_handler_pt));

    h[0] = ngx_http_sandbox_scrub_log_handler;

    return NGX_OK;
}
