/*
 * The control API: sandboxes that others run.  sandboxd checks what is
 * registered, and looks whether their agents answer.
 */


#include "ngx_http_sandbox_api.h"


static void ngx_http_sandbox_external_body(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);
static void ngx_http_sandbox_external_call(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *request);
static void ngx_http_sandbox_external_done(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);


ngx_int_t
ngx_http_sandbox_external_handler(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api)
{
    if (api->op == SANDBOX_OP_EXTERNAL_PUT) {
        return ngx_http_sandbox_read_body(r, api,
                                          ngx_http_sandbox_external_body);
    }

    r->main->count++;

    ngx_http_sandbox_external_call(r, api,
                 json_pack("{s:s, s:s%}", "op", "external", "sandbox",
                           api->id.data, api->id.len));

    return NGX_DONE;
}


static void
ngx_http_sandbox_external_body(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api)
{
    json_t  *request;

    if (api->body == NULL) {
        api->body = json_object();
    }

    request = json_pack("{s:s, s:s%, s:O, s:o}", "op", "external",
                        "sandbox", api->id.data, api->id.len,
                        "options", api->body, "caller",
                        ngx_http_sandbox_caller_json(api->caller));

    ngx_http_sandbox_api_match(r, request);
    ngx_http_sandbox_external_call(r, api, request);
}


static void
ngx_http_sandbox_external_call(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *request)
{
    ngx_http_sandbox_api_call(r, api, request, NGX_HTTP_SANDBOX_SLOW_TIMEOUT,
                              ngx_http_sandbox_external_done);
}


/* The record, with where its agent is; the key is shown to nobody. */

static void
ngx_http_sandbox_external_done(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result)
{
    json_t  *answer, *member;

    answer = json_copy(json_object_get(result, "sandbox"));

    if (answer) {
        json_object_set(answer, "endpoint", json_object_get(result,
                                                            "endpoint"));
        member = json_object_get(result, "created");

        if (member) {
            json_object_set(answer, "created", member);
        }

        if (json_is_true(member)) {
            ngx_http_sandbox_audit_created(r,
                json_string_value(json_object_get(answer, "id")));
        }

        member = json_object_get(result, "warnings");

        if (json_array_size(member)) {
            json_object_set(answer, "warnings", member);
        }
    }

    ngx_http_finalize_request(r, ngx_http_sandbox_send_record(r, answer,
                                                              result));
}
