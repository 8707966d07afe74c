/*
 * The control API for pages of other origins (CORS).  Which origins those are
 * is the configuration's to say, letter by letter; what a page needs beside
 * that is a key, in a header that browsers never send by themselves.  So there
 * are no credentials to allow, and none are.
 *
 * A preflight is answered before anybody is asked for a key, as browsers want
 * it, and tells nothing but what this file says.
 */

#include "ngx_http_sandbox_api.h"


static ngx_int_t ngx_http_sandbox_cors_origin(ngx_str_t *value);
static ngx_str_t *ngx_http_sandbox_cors_match(ngx_http_request_t *r,
    ngx_http_sandbox_srv_conf_t *sscf);
static void ngx_http_sandbox_cors_clear(ngx_http_request_t *r);
static ngx_int_t ngx_http_sandbox_cors_filter(ngx_http_request_t *r);


static ngx_str_t  ngx_http_sandbox_cors_any = ngx_string("*");

static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


/* Configuration */


/* sandbox_api_cors ORIGIN... | * | off */

char *
ngx_http_sandbox_cors_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sandbox_srv_conf_t *sscf = conf;

    ngx_str_t   *value, *origin;
    ngx_uint_t   i;

    if (sscf->api_cors != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        sscf->api_cors = NULL;
        return NGX_CONF_OK;
    }

    sscf->api_cors = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                      sizeof(ngx_str_t));
    if (sscf->api_cors == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_sandbox_cors_origin(&value[i]) != NGX_OK
            && !(cf->args->nelts == 2 && ngx_strcmp(value[1].data, "*") == 0))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" in \"sandbox_api_cors\" is no origin "
                               "as browsers send it", &value[i]);
            return NGX_CONF_ERROR;
        }

        origin = ngx_array_push(sscf->api_cors);
        if (origin == NULL) {
            return NGX_CONF_ERROR;
        }

        *origin = value[i];
    }

    return NGX_CONF_OK;
}


/* Whether a browser could send it. */

static ngx_int_t
ngx_http_sandbox_cors_origin(ngx_str_t *value)
{
    u_char     *p, *last, *host;
    ngx_int_t   port, own;

    last = value->data + value->len;

    if (ngx_strncmp(value->data, "https://", sizeof("https://") - 1) == 0) {
        host = value->data + sizeof("https://") - 1;
        own = 443;

    } else if (ngx_strncmp(value->data, "http://", sizeof("http://") - 1)
               == 0)
    {
        host = value->data + sizeof("http://") - 1;
        own = 80;

    } else {
        return NGX_ERROR;
    }

    p = host;

    if (p < last && *p == '[') {

        for (p++; p < last && *p != ']'; p++) {
            if ((*p < '0' || *p > ':') && (*p < 'a' || *p > 'f')) {
                return NGX_ERROR;
            }
        }

        if (p++ == last) {
            return NGX_ERROR;
        }

    } else {

        for ( /* void */ ; p < last && *p != ':'; p++) {
            if ((*p < 'a' || *p > 'z') && (*p < '0' || *p > '9')
                && *p != '-' && *p != '.' && *p != '_')
            {
                return NGX_ERROR;
            }
        }
    }

    if (p == host) {
        return NGX_ERROR;
    }

    if (p == last) {
        return NGX_OK;
    }

    if (*p++ != ':' || p == last || *p == '0') {
        return NGX_ERROR;
    }

    port = ngx_atoi(p, last - p);

    return port > 0 && port <= 65535 && port != own ? NGX_OK : NGX_ERROR;
}


/* Requests */


/* What an answer to this request may be read by; NULL: no page of another. */

static ngx_str_t *
ngx_http_sandbox_cors_match(ngx_http_request_t *r,
    ngx_http_sandbox_srv_conf_t *sscf)
{
    ngx_str_t      *origin, *allowed;
    ngx_uint_t      i;
    sandbox_route   route;

    origin = ngx_http_sandbox_request_header(r, "origin",
                                             sizeof("origin") - 1);
    if (origin == NULL) {
        return NULL;
    }

    allowed = sscf->api_cors->elts;

    if (allowed[0].len == 1) {

        /* a ticket is for an origin that somebody has thought of */

        sandbox_route_parse(r->method, (char *) r->unparsed_uri.data,
                            r->unparsed_uri.len, &route);

        return route.kind == SANDBOX_ROUTE_LOCAL
               && route.op == SANDBOX_OP_TICKET
               ? NULL : &ngx_http_sandbox_cors_any;
    }

    for (i = 0; i < sscf->api_cors->nelts; i++) {
        if (allowed[i].len == origin->len
            && ngx_memcmp(allowed[i].data, origin->data, origin->len) == 0)
        {
            return &allowed[i];
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_sandbox_cors_preflight(ngx_http_request_t *r,
    ngx_http_sandbox_srv_conf_t *sscf)
{
    ngx_str_t   value;
    ngx_uint_t  i;

    static const struct {
        const char  *name;
        ngx_str_t    value;
    } headers[] = {

        { "Access-Control-Allow-Methods",
          ngx_string("GET, HEAD, POST, PUT, PATCH, DELETE") },

        { "Access-Control-Allow-Headers",
          ngx_string("Authorization, Content-Type, Idempotency-Key, If-Match, "
                     "If-Modified-Since, If-None-Match, If-Range, "
                     "Last-Event-ID, Range, Session-Id, X-Sandbox-Id, "
                     "X-Session-Id, X-Trace-Id") },

        { "Access-Control-Max-Age", ngx_string("600") }
    };

    if (r->method != NGX_HTTP_OPTIONS
        || sscf->api_cors == NULL
        || ngx_http_sandbox_cors_match(r, sscf) == NULL
        || ngx_http_sandbox_request_header(r, "access-control-request-method",
                              sizeof("access-control-request-method") - 1)
           == NULL)
    {
        return NGX_DECLINED;
    }

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        value = headers[i].value;

        if (ngx_http_sandbox_add_header(r, headers[i].name, &value) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_http_finalize_request(r, ngx_http_sandbox_send_none(r));

    return NGX_DONE;
}


/* An agent or an app would speak for itself; this is the API's origin. */

static void
ngx_http_sandbox_cors_clear(ngx_http_request_t *r)
{
    ngx_table_elt_t            *h;
    ngx_http_sandbox_header_t   at;

    static u_char  prefix[] = "access-control-";

    ngx_memzero(&at, sizeof(ngx_http_sandbox_header_t));

    while ((h = ngx_http_sandbox_each_out(r, &at)) != NULL) {
        if (h->key.len > sizeof(prefix) - 1
            && ngx_strncasecmp(h->key.data, prefix, sizeof(prefix) - 1) == 0)
        {
            h->hash = 0;
        }
    }
}


static ngx_int_t
ngx_http_sandbox_cors_filter(ngx_http_request_t *r)
{
    ngx_str_t                    *origin, value;
    ngx_http_sandbox_srv_conf_t  *sscf;

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_sandbox_module);

    if (!sscf->api || sscf->api_cors == NULL || r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    if (r->upstream) {
        ngx_http_sandbox_cors_clear(r);
    }

    origin = ngx_http_sandbox_cors_match(r, sscf);

    if (((ngx_str_t *) sscf->api_cors->elts)[0].len != 1) {
        ngx_str_set(&value, "Origin");

        if (ngx_http_sandbox_add_header(r, "Vary", &value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (origin == NULL) {
        return ngx_http_next_header_filter(r);
    }

    ngx_str_set(&value, "Accept-Ranges, Allow, Content-Disposition, "
                "Content-Range, ETag, Idempotency-Replayed, Location, "
                "Retry-After, X-Process-Id");

    if (ngx_http_sandbox_add_header(r, "Access-Control-Allow-Origin", origin)
        != NGX_OK
        || (r->method != NGX_HTTP_OPTIONS
            && ngx_http_sandbox_add_header(r, "Access-Control-Expose-Headers",
                                           &value)
               != NGX_OK))
    {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


ngx_int_t
ngx_http_sandbox_cors_init(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_sandbox_cors_filter;

    return NGX_OK;
}
