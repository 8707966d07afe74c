/*
 * The API's description, as a text that each worker makes once.
 */


#include "ngx_http_sandbox_api.h"
#include "sandbox_openapi.h"


#ifndef SANDBOX_VERSION
#define SANDBOX_VERSION  "0.1.0"
#endif


static ngx_str_t  ngx_http_sandbox_openapi_text;


ngx_str_t *
ngx_http_sandbox_openapi(void)
{
    char    *dump;
    json_t  *json;

    if (ngx_http_sandbox_openapi_text.len) {
        return &ngx_http_sandbox_openapi_text;
    }

    json = sandbox_openapi(SANDBOX_VERSION);
    dump = json != NULL ? json_dumps(json, JSON_INDENT(1)) : NULL;

    json_decref(json);

    if (dump == NULL) {
        return NULL;
    }

    /* It lives as long as the worker. */

    ngx_http_sandbox_openapi_text.data = (u_char *) dump;
    ngx_http_sandbox_openapi_text.len = ngx_strlen(dump);

    return &ngx_http_sandbox_openapi_text;
}
