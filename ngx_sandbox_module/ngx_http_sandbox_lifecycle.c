/*
 * What a sandbox is to be, through the control API: its options, its
 * environment, asleep or awake; and the entity tags of its record.
 */


#include "ngx_http_sandbox_api.h"


static ngx_int_t ngx_http_sandbox_lifecycle_call(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *request);
static void ngx_http_sandbox_lifecycle_body(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);
static void ngx_http_sandbox_lifecycle_done(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);


/* A start's own limits are sandboxd's. */

#define NGX_HTTP_SANDBOX_WAKE_TIMEOUT  600000


ngx_int_t
ngx_http_sandbox_lifecycle_handler(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api)
{
    const char  *op;

    switch (api->op) {

    case SANDBOX_OP_UPDATE:
    case SANDBOX_OP_ENV_PATCH:
        return ngx_http_sandbox_read_body(r, api,
                                          ngx_http_sandbox_lifecycle_body);

    case SANDBOX_OP_SLEEP:
        op = "sleep";
        break;

    case SANDBOX_OP_WAKE:
        op = "wake";
        break;

    default: /* SANDBOX_OP_ENV */
        op = "env";
        break;
    }

    r->main->count++;

    return ngx_http_sandbox_lifecycle_call(r, api,
                 json_pack("{s:s, s:s%, s:o}", "op", op,
                           "sandbox", api->id.data, api->id.len, "caller",
                           ngx_http_sandbox_caller_json(api->caller)));
}


static ngx_int_t
ngx_http_sandbox_lifecycle_call(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *request)
{
    ngx_http_sandbox_api_call(r, api, request,
                              api->op == SANDBOX_OP_WAKE
                              ? NGX_HTTP_SANDBOX_WAKE_TIMEOUT
                              : NGX_HTTP_SANDBOX_SLOW_TIMEOUT,
                              ngx_http_sandbox_lifecycle_done);
    return NGX_DONE;
}


static void
ngx_http_sandbox_lifecycle_body(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api)
{
    json_t      *request;
    ngx_uint_t   env;

    env = api->op == SANDBOX_OP_ENV_PATCH;

    if (api->body == NULL) {
        api->body = json_object();
    }

    request = json_pack("{s:s, s:s%, s:O}", "op", env ? "env" : "update",
                        "sandbox", api->id.data, api->id.len,
                        env ? "env" : "options", api->body);

    ngx_http_sandbox_api_match(r, request);

    (void) ngx_http_sandbox_lifecycle_call(r, api, request);
}


/* Only if the record is still the one that the client has seen. */

void
ngx_http_sandbox_api_match(ngx_http_request_t *r, json_t *request)
{
    if (request == NULL || r->headers_in.if_match == NULL) {
        return;
    }

    json_object_set_new(request, "match", ngx_http_sandbox_json_string(
                                       &r->headers_in.if_match->value));
}


static void
ngx_http_sandbox_lifecycle_done(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result)
{
    json_t  *answer, *warnings;

    if (api->op == SANDBOX_OP_ENV || api->op == SANDBOX_OP_ENV_PATCH) {
        answer = json_pack("{s:O?}", "env", json_object_get(result, "env"));

    } else {
        answer = json_copy(json_object_get(result, "sandbox"));
    }

    warnings = json_object_get(result, "warnings");

    if (json_array_size(warnings)) {
        json_object_set(answer, "warnings", warnings);
    }

    ngx_http_finalize_request(r, ngx_http_sandbox_send_record(r, answer,
                                                              result));
}


/*
 * Answers with what is made from a record, and its entity tag.  nginx itself
 * answers 304 to whoever has it; but the conditions of a change were about the
 * record before it.
 */

ngx_int_t
ngx_http_sandbox_send_record(ngx_http_request_t *r, json_t *answer,
    json_t *result)
{
    json_t     *etag;
    ngx_str_t   value;

    etag = json_object_get(result, "etag");

    if (answer == NULL || !json_is_string(etag)) {
        return ngx_http_sandbox_send_json(r, NGX_HTTP_OK, answer);
    }

    value.len = json_string_length(etag);
    value.data = ngx_pnalloc(r->pool, value.len);

    if (value.data == NULL) {
        json_decref(answer);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(value.data, json_string_value(etag), value.len);

    if (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)) {
        r->headers_out.etag = ngx_http_sandbox_push_header(r, "ETag", &value);

        if (r->headers_out.etag == NULL) {
            json_decref(answer);
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

    } else {
        r->disable_not_modified = 1;

        if (ngx_http_sandbox_add_header(r, "ETag", &value) != NGX_OK) {
            json_decref(answer);
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return ngx_http_sandbox_send_json(r, NGX_HTTP_OK, answer);
}
