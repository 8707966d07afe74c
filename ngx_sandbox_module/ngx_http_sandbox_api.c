/*
 * The control API: who may ask, and what sandboxd or the worker itself
 * answers.  Routes that the agent answers leave here with the check done.
 */


#include "ngx_http_sandbox_api.h"
#include "ngx_http_sandbox_events.h"
#include "ngx_http_sandbox_gate.h"


static ngx_int_t ngx_http_sandbox_api_route(ngx_http_request_t *r,
    sandbox_route *route);
static ngx_int_t ngx_http_sandbox_api_dispatch(ngx_http_request_t *r,
    sandbox_route *route, unsigned port);
static ngx_int_t ngx_http_sandbox_api_refuse(ngx_http_request_t *r,
    sandbox_route *route);
static ngx_int_t ngx_http_sandbox_api_allow(ngx_http_request_t *r,
    sandbox_route *route);

static void ngx_http_sandbox_api_create(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);
static void ngx_http_sandbox_api_created(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);
static ngx_int_t ngx_http_sandbox_api_idempotency(ngx_http_request_t *r,
    ngx_str_t *value);
static ngx_int_t ngx_http_sandbox_api_get(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, const char *op);
static void ngx_http_sandbox_api_got(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);
static void ngx_http_sandbox_api_destroyed(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);

static void ngx_http_sandbox_api_done(ngx_http_request_t *r, void *data,
    json_t *result, ngx_http_sandbox_error_t *err);


/* The data of a call to sandboxd. */

typedef struct {
    ngx_http_sandbox_api_t       *api;
    ngx_http_sandbox_result_pt    handler;
} ngx_http_sandbox_api_call_t;


ngx_int_t
ngx_http_sandbox_api_handler(ngx_http_request_t *r)
{
    unsigned                 port;
    sandbox_route            route;
    ngx_http_sandbox_ctx_t  *ctx;

    /* the gate has compared the host */

    if (!ngx_http_sandbox_host(r, &port)
        || ngx_http_sandbox_api_route(r, &route) != NGX_OK)
    {
        return ngx_http_sandbox_send_error(r, NGX_HTTP_NOT_FOUND,
                                           "not_found", "No such route", 0);
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "sandbox api: kind:%d op:%d port:%ud", route.kind, route.op,
                   route.port);

    ctx = ngx_http_sandbox_ctx(r);

    /* Outside of /v1 there is nothing to learn, and the gate asks nobody. */

    if ((ctx == NULL || ctx->caller == NULL)
        && sandbox_route_is_private((char *) r->unparsed_uri.data,
                                    r->unparsed_uri.len))
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "a request has come to the API without the gate's "
                      "consent");
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (route.kind == SANDBOX_ROUTE_LOCAL) {
        return ngx_http_sandbox_api_dispatch(r, &route, port);
    }

    return ngx_http_sandbox_api_refuse(r, &route);
}


/*
 * The path as the client spelled it.  After an internal redirect there is
 * none, and nobody could say which of the two paths was meant.
 */

static ngx_int_t
ngx_http_sandbox_api_route(ngx_http_request_t *r, sandbox_route *route)
{
    if (!r->valid_unparsed_uri) {
        return NGX_DECLINED;
    }

    sandbox_route_parse(r->method, (char *) r->unparsed_uri.data,
                        r->unparsed_uri.len, route);

    return NGX_OK;
}


static ngx_int_t
ngx_http_sandbox_api_dispatch(ngx_http_request_t *r, sandbox_route *route,
    unsigned port)
{
    ngx_str_t                id;
    ngx_http_sandbox_ctx_t  *ctx;
    ngx_http_sandbox_api_t  *api;

    api = ngx_pcalloc(r->pool, sizeof(ngx_http_sandbox_api_t));
    if (api == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    api->op = route->op;
    api->port = route->port;

    ctx = ngx_http_sandbox_ctx(r);
    api->caller = ctx != NULL ? ctx->caller : NULL;

    id.data = (u_char *) route->id;
    id.len = route->id_len;

    api->name.data = (u_char *) route->name;
    api->name.len = route->name_len;

    if (id.len != 0
        && ngx_http_sandbox_qualify(r->pool, api->caller, &id, &api->id)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_set(&api->url_port, "");

    if (port) {
        api->url_port.data = ngx_pnalloc(r->pool, sizeof(":65535") - 1);
        if (api->url_port.data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        api->url_port.len = ngx_sprintf(api->url_port.data, ":%ud", port)
                            - api->url_port.data;
    }

    switch (route->op) {

    case SANDBOX_OP_HEALTH:
        return ngx_http_sandbox_health_handler(r);

    case SANDBOX_OP_OPENAPI:
    case SANDBOX_OP_OPENAPI_HTML:
    case SANDBOX_OP_OPENAPI_EITHER:
        return ngx_http_sandbox_openapi_handler(r, route->op);

    case SANDBOX_OP_EVENTS:
        return ngx_http_sandbox_events_handler(r, api->caller);

    case SANDBOX_OP_CREATE:
    case SANDBOX_OP_FORK:
        return ngx_http_sandbox_read_body(r, api, ngx_http_sandbox_api_create);

    case SANDBOX_OP_LIST:
        return ngx_http_sandbox_list_handler(r, api);

    case SANDBOX_OP_GET:
    case SANDBOX_OP_RUNNING:
        return ngx_http_sandbox_api_get(r, api, "get");

    case SANDBOX_OP_DESTROY:
        return ngx_http_sandbox_api_get(r, api, "destroy");

    case SANDBOX_OP_STATS:
    case SANDBOX_OP_POOL_STATS:
    case SANDBOX_OP_POOL_PRIME:
    case SANDBOX_OP_POOL_SHUTDOWN:
        return ngx_http_sandbox_host_handler(r, api);

    case SANDBOX_OP_EXTERNAL:
    case SANDBOX_OP_EXTERNAL_PUT:
        return ngx_http_sandbox_external_handler(r, api);

    case SANDBOX_OP_DOMAINS:
    case SANDBOX_OP_DOMAIN_PUT:
    case SANDBOX_OP_DOMAIN_DELETE:
        return ngx_http_sandbox_domains_handler(r, api);

    case SANDBOX_OP_TICKET:
        return ngx_http_sandbox_ticket_handler(r, api);

    case SANDBOX_OP_LINK:
        return ngx_http_sandbox_link_handler(r, api);

    case SANDBOX_OP_UPDATE:
    case SANDBOX_OP_ENV:
    case SANDBOX_OP_ENV_PATCH:
    case SANDBOX_OP_SLEEP:
    case SANDBOX_OP_WAKE:
        return ngx_http_sandbox_lifecycle_handler(r, api);

    default:
        return ngx_http_sandbox_ports_handler(r, api);
    }
}


static ngx_int_t
ngx_http_sandbox_api_refuse(ngx_http_request_t *r, sandbox_route *route)
{
    switch (route->kind) {

    case SANDBOX_ROUTE_NOT_IMPLEMENTED:
        return ngx_http_sandbox_send_error(r, NGX_HTTP_NOT_IMPLEMENTED,
                                           "not_implemented", "This route is "
                                           "known, but not implemented", 0);

    case SANDBOX_ROUTE_METHOD:
        if (ngx_http_sandbox_api_allow(r, route) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_sandbox_send_error(r, NGX_HTTP_NOT_ALLOWED,
                                           "method_not_allowed", "This route "
                                           "has other methods: see Allow", 0);

    case SANDBOX_ROUTE_BAD_ID:
        return ngx_http_sandbox_send_error(r, NGX_HTTP_BAD_REQUEST,
                                           "invalid_request",
                                           "Invalid sandbox ID format", 0);

    case SANDBOX_ROUTE_RESERVED_ID:
        return ngx_http_sandbox_send_error(r, NGX_HTTP_BAD_REQUEST,
                                           "invalid_request", "Invalid "
                                           "sandbox ID: t, five of a-z and "
                                           "2-7, and a hyphen are reserved at "
                                           "its beginning", 0);

    case SANDBOX_ROUTE_BAD_PORT:
        return ngx_http_sandbox_send_error(r, NGX_HTTP_BAD_REQUEST,
                                           "invalid_port", "Invalid port: it "
                                           "must be 1024 to 65535, and not "
                                           "3000", 0);

    case SANDBOX_ROUTE_BAD_PATH:
        return ngx_http_sandbox_send_error(r, NGX_HTTP_BAD_REQUEST,
                                           "invalid_request", route->message,
                                           0);

    case SANDBOX_ROUTE_FORBIDDEN:
        return ngx_http_sandbox_send_error(r, NGX_HTTP_FORBIDDEN,
                                           "invalid_request", "path must "
                                           "resolve to a location within "
                                           "/workspace", 0);

    case SANDBOX_ROUTE_AGENT:
    case SANDBOX_ROUTE_PROXY:

        /* The gate takes these away before; there is no gate in its place. */

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "a request for a sandbox has come to the API's own "
                      "handler");
        return NGX_HTTP_INTERNAL_SERVER_ERROR;

    default:
        return ngx_http_sandbox_send_error(r, NGX_HTTP_NOT_FOUND,
                                           "not_found", "No such route", 0);
    }
}


static ngx_int_t
ngx_http_sandbox_api_allow(ngx_http_request_t *r, sandbox_route *route)
{
    char       allow[SANDBOX_ROUTE_ALLOW_MAX];
    ngx_str_t  value;

    value.len = sandbox_route_allow(route->allow, allow);
    value.data = ngx_pnalloc(r->pool, value.len);

    if (value.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(value.data, allow, value.len);

    return ngx_http_sandbox_add_header(r, "Allow", &value);
}


static void
ngx_http_sandbox_api_create(ngx_http_request_t *r, ngx_http_sandbox_api_t *api)
{
    json_t     *request;
    ngx_int_t   rc;
    ngx_str_t   key;

    rc = ngx_http_sandbox_api_idempotency(r, &key);

    if (rc == NGX_ERROR) {
        ngx_http_finalize_request(r,
            ngx_http_sandbox_send_invalid(r, "Idempotency-Key", 255,
                                          "Idempotency-Key must be there once, "
                                          "1 to 255 visible characters"));
        return;
    }

    if (api->body == NULL) {
        api->body = json_object();
    }

    request = json_pack("{s:s, s:O, s:o}", "op", "create", "options",
                        api->body, "caller",
                        ngx_http_sandbox_caller_json(api->caller));

    if (api->op == SANDBOX_OP_FORK) {
        json_object_set_new(request, "op", json_string("fork"));
        json_object_set_new(request, "sandbox",
                            ngx_http_sandbox_json_string(&api->id));
    }

    if (rc == NGX_OK) {
        json_object_set_new(request, "idempotency",
                            ngx_http_sandbox_json_string(&key));
    }

    ngx_http_sandbox_api_call(r, api, request,
                              api->op == SANDBOX_OP_FORK
                              ? NGX_HTTP_SANDBOX_SLOW_TIMEOUT : 0,
                              ngx_http_sandbox_api_created);
}


/* The record itself is the answer: clients look for its id. */

static void
ngx_http_sandbox_api_created(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result)
{
    json_t     *answer, *member;
    ngx_str_t   value;

    if (json_is_true(json_object_get(result, "replayed"))) {
        ngx_str_set(&value, "true");

        if (ngx_http_sandbox_add_header(r, "Idempotency-Replayed", &value)
            != NGX_OK)
        {
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }
    }

    answer = json_copy(json_object_get(result, "sandbox"));

    if (answer != NULL) {
        member = json_object_get(result, "created");
        json_object_set(answer, "created", member ? member : json_true());

        if (!json_is_false(member)
            && !json_is_true(json_object_get(result, "replayed")))
        {
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


/* NGX_OK: value is set, NGX_DECLINED: there is none, NGX_ERROR: not one. */

static ngx_int_t
ngx_http_sandbox_api_idempotency(ngx_http_request_t *r, ngx_str_t *value)
{
    ngx_uint_t                  i, n;
    ngx_table_elt_t            *h;
    ngx_http_sandbox_header_t   at;

    ngx_memzero(&at, sizeof(ngx_http_sandbox_header_t));
    n = 0;

    while ((h = ngx_http_sandbox_each_header(r, &at, "idempotency-key", 15))) {
        *value = h->value;
        n++;
    }

    if (n == 0) {
        return NGX_DECLINED;
    }

    for (i = 0; i < value->len; i++) {
        if (value->data[i] < 0x21 || value->data[i] > 0x7e) {
            return NGX_ERROR;
        }
    }

    return n == 1 && value->len && value->len <= 255 ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_sandbox_api_get(ngx_http_request_t *r, ngx_http_sandbox_api_t *api,
    const char *op)
{
    json_t  *request;

    request = json_pack("{s:s, s:s%}", "op", op, "sandbox", api->id.data,
                        api->id.len);

    r->main->count++;

    if (api->op == SANDBOX_OP_DESTROY) {
        ngx_http_sandbox_api_match(r, request);
        ngx_http_sandbox_api_call(r, api, request,
                                  NGX_HTTP_SANDBOX_SLOW_TIMEOUT,
                                  ngx_http_sandbox_api_destroyed);

    } else {
        ngx_http_sandbox_api_call(r, api, request, 0,
                                  ngx_http_sandbox_api_got);
    }

    return NGX_DONE;
}


/* result is NULL where sandboxd knows no such sandbox and that is an answer. */

static void
ngx_http_sandbox_api_got(ngx_http_request_t *r, ngx_http_sandbox_api_t *api,
    json_t *result)
{
    json_t      *record;
    const char  *state;

    record = json_object_get(result, "sandbox");

    if (api->op == SANDBOX_OP_RUNNING) {
        state = json_string_value(json_object_get(record, "state"));

        record = json_pack("{s:b}", "running",
                           state != NULL && strcmp(state, "running") == 0);

    } else {
        json_incref(record);
    }

    if (api->op == SANDBOX_OP_GET) {
        ngx_http_finalize_request(r, ngx_http_sandbox_send_record(r, record,
                                                                  result));
        return;
    }

    ngx_http_finalize_request(r, ngx_http_sandbox_send_json(r, NGX_HTTP_OK,
                                                            record));
}


static void
ngx_http_sandbox_api_destroyed(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result)
{
    ngx_http_finalize_request(r, ngx_http_sandbox_send_none(r));
}


static void
ngx_http_sandbox_api_done(ngx_http_request_t *r, void *data, json_t *result,
    ngx_http_sandbox_error_t *err)
{
    ngx_http_sandbox_api_call_t  *call = data;

    if (err == NULL) {
        call->handler(r, call->api, result);
        return;
    }

    if (call->api->op == SANDBOX_OP_RUNNING
        && err->status == NGX_HTTP_NOT_FOUND)
    {
        call->handler(r, call->api, NULL);
        return;
    }

    ngx_http_finalize_request(r, ngx_http_sandbox_send_failure(r, err));
}


void
ngx_http_sandbox_api_call(ngx_http_request_t *r, ngx_http_sandbox_api_t *api,
    json_t *request, ngx_msec_t timeout, ngx_http_sandbox_result_pt handler)
{
    ngx_http_sandbox_api_call_t     *call;
    ngx_http_sandbox_main_conf_t    *mcf;

    call = ngx_palloc(r->pool, sizeof(ngx_http_sandbox_api_call_t));

    if (call == NULL || request == NULL) {
        json_decref(request);
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    call->api = api;
    call->handler = handler;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);

    if (timeout < mcf->call_timeout) {
        timeout = mcf->call_timeout;
    }

    if (ngx_http_sandbox_call(r, request, timeout, ngx_http_sandbox_api_done,
                              call)
        != NGX_OK)
    {
        ngx_http_finalize_request(r,
            ngx_http_sandbox_send_error(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                        "unavailable", "sandboxd can't be "
                                        "reached", 1));
    }
}


ngx_int_t
ngx_http_sandbox_send_invalid(ngx_http_request_t *r, const char *field,
    json_int_t limit, const char *message)
{
    ngx_http_sandbox_error_t  err;

    ngx_memzero(&err, sizeof(ngx_http_sandbox_error_t));

    err.status = NGX_HTTP_BAD_REQUEST;
    err.limit = limit;
    ngx_str_set(&err.code, "invalid_request");
    err.field.data = (u_char *) field;
    err.field.len = ngx_strlen(field);
    err.message.data = (u_char *) message;
    err.message.len = ngx_strlen(message);

    return ngx_http_sandbox_send_failure(r, &err);
}


ngx_int_t
ngx_http_sandbox_api_arg(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    u_char     *dst, *src;
    ngx_str_t   raw;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &raw) != NGX_OK) {
        return NGX_DECLINED;
    }

    value->data = ngx_pnalloc(r->pool, raw.len ? raw.len : 1);
    if (value->data == NULL) {
        return NGX_DECLINED;
    }

    dst = value->data;
    src = raw.data;

    ngx_unescape_uri(&dst, &src, raw.len, 0);

    value->len = dst - value->data;

    return NGX_OK;
}
