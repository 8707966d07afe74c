/*
 * The API's description: as JSON and as a page, texts that each worker makes
 * once, when somebody asks.
 */


#include "ngx_http_sandbox_api.h"
#include "sandbox_openapi.h"


#ifndef SANDBOX_VERSION
#define SANDBOX_VERSION  "0.1.0"
#endif


static ngx_uint_t ngx_http_sandbox_openapi_wants_html(ngx_http_request_t *r);
static ngx_int_t ngx_http_sandbox_openapi_make(void);


/* They live as long as the worker. */

static ngx_str_t  ngx_http_sandbox_openapi_text;
static ngx_str_t  ngx_http_sandbox_openapi_page;


ngx_int_t
ngx_http_sandbox_openapi_handler(ngx_http_request_t *r, sandbox_route_op op)
{
    ngx_str_t  value;

    if (ngx_http_sandbox_openapi_make() != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (op == SANDBOX_OP_OPENAPI_EITHER) {
        ngx_str_set(&value, "Accept");

        if (ngx_http_sandbox_add_header(r, "Vary", &value) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (op == SANDBOX_OP_OPENAPI
        || (op == SANDBOX_OP_OPENAPI_EITHER
            && !ngx_http_sandbox_openapi_wants_html(r)))
    {
        return ngx_http_sandbox_send_text(r, NGX_HTTP_OK,
                                          &ngx_http_sandbox_openapi_text);
    }

    ngx_str_set(&value, "default-src 'none'; style-src 'unsafe-inline'");

    if (ngx_http_sandbox_add_header(r, "Content-Security-Policy", &value)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_set(&value, "text/html; charset=utf-8");

    return ngx_http_sandbox_send_typed(r, NGX_HTTP_OK, &value,
                                       &ngx_http_sandbox_openapi_page);
}


/* Browsers name text/html; programs name something else, or nothing. */

static ngx_uint_t
ngx_http_sandbox_openapi_wants_html(ngx_http_request_t *r)
{
    ngx_table_elt_t            *h;
    ngx_http_sandbox_header_t   at;

    ngx_memzero(&at, sizeof(ngx_http_sandbox_header_t));

    while ((h = ngx_http_sandbox_each_header(r, &at, "accept", 6))) {
        if (ngx_strlcasestrn(h->value.data, h->value.data + h->value.len,
                             (u_char *) "text/html", sizeof("text/html") - 2)
            != NULL)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_sandbox_openapi_make(void)
{
    char    *text, *page;
    json_t  *json;

    if (ngx_http_sandbox_openapi_text.len) {
        return NGX_OK;
    }

    json = sandbox_openapi(SANDBOX_VERSION);
    text = json != NULL ? json_dumps(json, JSON_INDENT(1)) : NULL;
    page = text != NULL ? sandbox_openapi_html(json) : NULL;

    json_decref(json);

    if (page == NULL) {
        free(text);
        return NGX_ERROR;
    }

    ngx_http_sandbox_openapi_text.data = (u_char *) text;
    ngx_http_sandbox_openapi_text.len = ngx_strlen(text);
    ngx_http_sandbox_openapi_page.data = (u_char *) page;
    ngx_http_sandbox_openapi_page.len = ngx_strlen(page);

    return NGX_OK;
}
