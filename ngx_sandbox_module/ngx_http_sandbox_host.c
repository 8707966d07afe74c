/*
 * The control API: what the host has.  The warm pool, and what a sandbox uses;
 * sandboxd answers all of it.
 */


#include "ngx_http_sandbox_api.h"


static void ngx_http_sandbox_host_answer(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);
static void ngx_http_sandbox_host_done(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);


ngx_int_t
ngx_http_sandbox_host_handler(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api)
{
    json_t                      *request;
    ngx_http_sandbox_result_pt   handler;

    handler = ngx_http_sandbox_host_done;

    switch (api->op) {

    case SANDBOX_OP_STATS:
        request = json_pack("{s:s, s:s%}", "op", "stats", "sandbox",
                            api->id.data, api->id.len);
        handler = ngx_http_sandbox_host_answer;
        break;

    case SANDBOX_OP_POOL_STATS:
        request = json_pack("{s:s}", "op", "pool_stats");
        handler = ngx_http_sandbox_host_answer;
        break;

    case SANDBOX_OP_POOL_PRIME:
        request = json_pack("{s:s}", "op", "pool_prime");
        break;

    default: /* SANDBOX_OP_POOL_SHUTDOWN */
        request = json_pack("{s:s}", "op", "pool_shutdown");
        break;
    }

    r->main->count++;

    ngx_http_sandbox_api_call(r, api, request, 0, handler);

    return NGX_DONE;
}


/* The answer is the result's only member. */

static void
ngx_http_sandbox_host_answer(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result)
{
    json_t  *answer;

    answer = json_object_get(result, api->op == SANDBOX_OP_STATS ? "stats"
                                                                 : "pool");

    ngx_http_finalize_request(r, ngx_http_sandbox_send_json(r, NGX_HTTP_OK,
                                                         json_incref(answer)));
}


static void
ngx_http_sandbox_host_done(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result)
{
    ngx_http_finalize_request(r,
        ngx_http_sandbox_send_json(r, NGX_HTTP_OK,
                                   json_pack("{s:b}", "ok", 1)));
}
