/*
 * Private previews, at the gate.  Who may see one brings a key of the API, or
 * a cookie that a signed link has been exchanged for.  A cookie counts only
 * where the preview's own pages, or a person who opens it, have made the
 * request: to a browser all previews below one domain are one site.
 *
 * Whoever brings nothing that counts is told the same as of an unknown name.
 */

#include "ngx_http_sandbox_api.h"

#include "sandbox_browser.h"
#include "sandbox_sign.h"


/* What of a request's passes is of use. */

typedef struct {
    sandbox_pass                  pass;
    unsigned                      valid:1;
    unsigned                      stale:1;     /* it was, once */
} ngx_http_sandbox_held_t;


/* What a request was let in to. */

typedef struct {
    uint32_t                      slot;
    uint32_t                      gen;
    uint16_t                      port;
} ngx_http_sandbox_passed_t;


static ngx_int_t ngx_http_sandbox_private_check(ngx_http_request_t *r,
    ngx_http_sandbox_exposure_t *exposure, ngx_str_t *id);
static ngx_uint_t ngx_http_sandbox_private_passed(ngx_http_request_t *r,
    ngx_http_sandbox_exposure_t *exposure);
static void ngx_http_sandbox_private_cleanup(void *data);
static ngx_int_t ngx_http_sandbox_private_bearer(ngx_http_request_t *r,
    ngx_str_t *id);
static ngx_int_t ngx_http_sandbox_private_cookies(ngx_http_request_t *r,
    sandbox_taken *taken);
static void ngx_http_sandbox_private_held(ngx_http_sandbox_held_t *held,
    sandbox_pass_kind kind, sandbox_signer *signer, sandbox_span *text,
    sandbox_pass_bound *bound, uint32_t gen);
static ngx_uint_t ngx_http_sandbox_private_fetch(ngx_http_request_t *r,
    sandbox_pass *pass);
static ngx_int_t ngx_http_sandbox_private_link(ngx_http_request_t *r,
    sandbox_pass *pass, sandbox_pass_bound *bound);
static ngx_int_t ngx_http_sandbox_private_cookie(ngx_http_request_t *r,
    sandbox_pass *pass, sandbox_pass_bound *bound);
static void ngx_http_sandbox_private_span(ngx_http_request_t *r,
    sandbox_span *span, const char *name, size_t len);


#define ngx_http_sandbox_private_header(r, span, name)                        \
    ngx_http_sandbox_private_span(r, span, name, sizeof(name) - 1)


/*
 * Where nginx redirects a request inside of itself, to a named location or for
 * try_files, it comes here again, and what it has brought was taken out of it.
 */

ngx_int_t
ngx_http_sandbox_private(ngx_http_request_t *r,
    ngx_http_sandbox_exposure_t *exposure, ngx_str_t *id)
{
    ngx_int_t                   rc;
    ngx_pool_cleanup_t         *cln;
    ngx_http_sandbox_passed_t  *passed;

    if (exposure && ngx_http_sandbox_private_passed(r, exposure)) {
        return NGX_OK;
    }

    rc = ngx_http_sandbox_private_check(r, exposure, id);

    if (rc != NGX_OK) {
        return rc;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_sandbox_passed_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    passed = cln->data;
    passed->slot = exposure->slot;
    passed->gen = exposure->gen;
    passed->port = exposure->port;

    cln->handler = ngx_http_sandbox_private_cleanup;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_sandbox_private_passed(ngx_http_request_t *r,
    ngx_http_sandbox_exposure_t *exposure)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_sandbox_passed_t  *passed;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        passed = cln->data;

        if (cln->handler == ngx_http_sandbox_private_cleanup
            && passed->slot == exposure->slot
            && passed->gen == exposure->gen
            && passed->port == exposure->port)
        {
            return 1;
        }
    }

    return 0;
}


/* There for its address alone. */

static void
ngx_http_sandbox_private_cleanup(void *data)
{
}


static ngx_int_t
ngx_http_sandbox_private_check(ngx_http_request_t *r,
    ngx_http_sandbox_exposure_t *exposure, ngx_str_t *id)
{
    uint32_t                       gen;
    ngx_int_t                      rc;
    ngx_str_t                     *arg;
    ngx_uint_t                     i, fetch;
    sandbox_span                   link;
    sandbox_taken                  taken;
    sandbox_pass_bound             bound;
    ngx_http_sandbox_held_t        cookie, opened;
    ngx_http_sandbox_main_conf_t  *smcf;

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);

    /* for an unknown name the same is done, with an exposure that isn't */

    bound.host = (char *) r->headers_in.server.data;
    bound.host_len = r->headers_in.server.len;
    bound.slot = exposure ? exposure->slot : 0;
    bound.port = exposure ? exposure->port : 0;
    gen = exposure ? exposure->gen : 0;

    ngx_memzero(&cookie, sizeof(ngx_http_sandbox_held_t));
    ngx_memzero(&opened, sizeof(ngx_http_sandbox_held_t));

    if (ngx_http_sandbox_private_cookies(r, &taken) != NGX_OK) {
        return NGX_ERROR;
    }

    /* a frame may bring its own one and that of the window */

    for (i = 0; i < ngx_min(taken.count, SANDBOX_SPANS_MAX); i++) {
        ngx_http_sandbox_private_held(&cookie, SANDBOX_PASS_COOKIE,
                                      smcf->signer, &taken.span[i], &bound,
                                      gen);
    }

    arg = r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)
          ? ngx_http_sandbox_scrubbed(r) : NULL;

    /*
     * Before a key is looked for: the preview's pages may bring tokens of their
     * own, which are no wrong keys.
     */

    fetch = cookie.valid && ngx_http_sandbox_private_fetch(r, &cookie.pass);

    if (fetch && arg == NULL) {
        return NGX_OK;
    }

    /* a page can't add a key: there is nothing to forge in such a request */

    rc = ngx_http_sandbox_private_bearer(r, id);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (arg) {
        link.data = (char *) arg->data;
        link.len = arg->len;

        ngx_http_sandbox_private_held(&opened, SANDBOX_PASS_LINK,
                                      smcf->signer, &link, &bound, gen);

        if (opened.valid) {
            return ngx_http_sandbox_private_link(r, &opened.pass, &bound);
        }

        if (cookie.valid) {
            return ngx_http_sandbox_private_redirect(r);
        }
    }

    if (cookie.valid) {
        return ngx_http_sandbox_reject(r, NGX_HTTP_FORBIDDEN, "CROSS_SITE",
                                       "A private preview can be used from "
                                       "its own pages, or opened in a window "
                                       "of its own", 0);
    }

    if (cookie.stale || opened.stale) {
        return ngx_http_sandbox_reject(r, NGX_HTTP_FORBIDDEN, "LINK_EXPIRED",
                                       "Access to this preview has expired or "
                                       "was withdrawn: ask for a new link", 0);
    }

    return NGX_DECLINED;
}


/*
 * A key of the API, which needs the scope of an operation inside.  One of
 * another tenant counts as none.
 */

static ngx_int_t
ngx_http_sandbox_private_bearer(ngx_http_request_t *r, ngx_str_t *id)
{
    ngx_int_t                   rc;
    ngx_http_sandbox_caller_t  *caller;

    rc = ngx_http_sandbox_bearer(r, &caller);

    if (rc != NGX_OK || id == NULL || !ngx_http_sandbox_owns(caller, id)) {
        return rc == NGX_ERROR ? NGX_ERROR : NGX_DECLINED;
    }

    if (caller->scopes & SANDBOX_SCOPE_EXEC) {
        return NGX_OK;
    }

    return ngx_http_sandbox_reject(r, NGX_HTTP_FORBIDDEN, "forbidden",
                                   "This key lacks the scope \"exec\"", 0);
}


/* Takes our cookies out of all Cookie headers. */

static ngx_int_t
ngx_http_sandbox_private_cookies(ngx_http_request_t *r, sandbox_taken *taken)
{
    sandbox_taken               some;
    ngx_table_elt_t            *h;
    ngx_http_sandbox_header_t   at;

    ngx_memzero(&at, sizeof(ngx_http_sandbox_header_t));
    taken->count = 0;

    while ((h = ngx_http_sandbox_each_header(r, &at, "cookie", 6))) {

        if (ngx_http_sandbox_cookie_cut(r, h, &some) != NGX_OK) {
            return NGX_ERROR;
        }

        if (some.count && taken->count == 0) {
            *taken = some;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_sandbox_cookie_cut(ngx_http_request_t *r, ngx_table_elt_t *h,
    sandbox_taken *taken)
{
    size_t   len;
    u_char  *p;

    static const char  name[] = NGX_HTTP_SANDBOX_COOKIE;

    taken->count = 0;

    if (h->value.len < sizeof(name) - 1
        || ngx_strnstr(h->value.data, (char *) name, h->value.len) == NULL)
    {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, h->value.len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    len = sandbox_cookie_cut((char *) p, (char *) h->value.data, h->value.len,
                             name, sizeof(name) - 1, taken);

    /* in place: whoever points at the header reads the rest, too */

    p[len] = '\0';
    h->value.data = p;
    h->value.len = len;

    return NGX_OK;
}


static void
ngx_http_sandbox_private_held(ngx_http_sandbox_held_t *held,
    sandbox_pass_kind kind, sandbox_signer *signer, sandbox_span *text,
    sandbox_pass_bound *bound, uint32_t gen)
{
    sandbox_pass  pass;

    if (sandbox_pass_read(&pass, signer, kind, text->data, text->len, bound) < 0
        || gen == 0)
    {
        return;
    }

    if (pass.gen != gen || pass.expires <= (uint64_t) ngx_time()) {
        held->stale = 1;
        return;
    }

    pass.embed |= held->pass.embed;
    held->pass = pass;
    held->valid = 1;
}


static ngx_uint_t
ngx_http_sandbox_private_fetch(ngx_http_request_t *r, sandbox_pass *pass)
{
    ngx_str_t      *upgrade;
    sandbox_fetch   fetch;

    ngx_memzero(&fetch, sizeof(sandbox_fetch));

    /* whatever an Upgrade may turn into, it is no plain request */

    upgrade = ngx_http_sandbox_request_header(r, "upgrade", 7);

    fetch.get = r->method == NGX_HTTP_GET;
    fetch.websocket = upgrade != NULL;
    fetch.embed = pass->embed;

    ngx_http_sandbox_private_header(r, &fetch.host, "host");
    ngx_http_sandbox_private_header(r, &fetch.origin, "origin");
    ngx_http_sandbox_private_header(r, &fetch.site, "sec-fetch-site");
    ngx_http_sandbox_private_header(r, &fetch.mode, "sec-fetch-mode");
    ngx_http_sandbox_private_header(r, &fetch.dest, "sec-fetch-dest");
    ngx_http_sandbox_private_header(r, &fetch.purpose, "sec-purpose");

    return sandbox_fetch_allowed(&fetch);
}


static void
ngx_http_sandbox_private_span(ngx_http_request_t *r, sandbox_span *span,
    const char *name, size_t len)
{
    ngx_str_t  *value;

    value = ngx_http_sandbox_request_header(r, name, len);

    span->data = value ? (char *) value->data : "";
    span->len = value ? value->len : 0;
}


/*
 * A link that counts is exchanged for a cookie.  In a frame of another site it
 * is one that only frames of that site get; anywhere else one that none gets.
 */

static ngx_int_t
ngx_http_sandbox_private_link(ngx_http_request_t *r, sandbox_pass *pass,
    sandbox_pass_bound *bound)
{
    sandbox_span  site, dest;

    ngx_http_sandbox_private_header(r, &dest, "sec-fetch-dest");
    ngx_http_sandbox_private_header(r, &site, "sec-fetch-site");

    if ((dest.len == 6 && ngx_memcmp(dest.data, "iframe", 6) == 0)
        || (dest.len == 5 && ngx_memcmp(dest.data, "frame", 5) == 0))
    {
        if (site.len == sizeof("same-origin") - 1
            && ngx_memcmp(site.data, "same-origin", site.len) == 0)
        {
            pass->embed = 0;

        } else if (!pass->embed) {
            return ngx_http_sandbox_reject(r, NGX_HTTP_FORBIDDEN,
                                           "FRAME_NOT_ALLOWED", "This link "
                                           "does not open in a frame of "
                                           "another page", 0);
        }

    } else {
        pass->embed = 0;
    }

    if (sandbox_path_local((char *) r->unparsed_uri.data, r->unparsed_uri.len)
        && ngx_http_sandbox_private_cookie(r, pass, bound) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_sandbox_private_redirect(r);
}


static ngx_int_t
ngx_http_sandbox_private_cookie(ngx_http_request_t *r, sandbox_pass *pass,
    sandbox_pass_bound *bound)
{
    u_char                        *p;
    ngx_str_t                      value;
    ngx_http_sandbox_main_conf_t  *smcf;

    static const u_char  name[] = NGX_HTTP_SANDBOX_COOKIE "=";

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);

    value.data = ngx_pnalloc(r->pool, sizeof(name) + SANDBOX_PASS_TEXT + 128);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(value.data, name, sizeof(name) - 1);

    pass->kind = SANDBOX_PASS_COOKIE;

    if (sandbox_pass_sign((char *) p, smcf->signer, pass, bound) != 0) {
        return NGX_ERROR;
    }

    p += SANDBOX_PASS_TEXT;
    p = ngx_sprintf(p, "; Path=/; Secure; HttpOnly; Max-Age=%uL; SameSite=%s",
                    pass->expires - (uint64_t) ngx_time(),
                    pass->embed ? "None; Partitioned" : "Lax");

    value.len = p - value.data;

    return ngx_http_sandbox_add_header(r, "Set-Cookie", &value);
}


ngx_int_t
ngx_http_sandbox_private_redirect(ngx_http_request_t *r)
{
    ngx_int_t  rc;
    ngx_str_t  value;

    if (!sandbox_path_local((char *) r->unparsed_uri.data,
                            r->unparsed_uri.len))
    {
        return ngx_http_sandbox_reject(r, NGX_HTTP_BAD_REQUEST,
                                       "invalid_request", "The path of a link "
                                       "begins with one slash", 0);
    }

    ngx_str_set(&value, "no-store");

    if (ngx_http_sandbox_add_header(r, "Cache-Control", &value) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_str_set(&value, "no-referrer");

    /* nginx would put a name and a port of its own before headers_out's */

    if (ngx_http_sandbox_add_header(r, "Referrer-Policy", &value) != NGX_OK
        || ngx_http_sandbox_add_header(r, "Location", &r->unparsed_uri)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->headers_out.status = NGX_HTTP_MOVED_TEMPORARILY;
    r->headers_out.content_length_n = 0;
    r->header_only = 1;

    rc = ngx_http_discard_request_body(r);

    if (rc == NGX_OK) {
        rc = ngx_http_send_header(r);
    }

    ngx_http_finalize_request(r, rc);

    return NGX_DONE;
}
