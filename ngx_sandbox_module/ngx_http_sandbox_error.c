/*
 * Answers that report a failure: ours, and those that nginx would give as a
 * page of HTML when no answer came from a sandbox.  That page is swapped for
 * JSON, or for a page of ours, on its way out, so error_page still goes first;
 * an answer that a sandbox gave itself is never touched.
 */


#include "ngx_http_sandbox_api.h"
#include "ngx_http_sandbox_count.h"
#include "ngx_http_sandbox_limit.h"


static ngx_int_t ngx_http_sandbox_error_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_sandbox_error_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_sandbox_error_keep(ngx_http_request_t *r,
    const ngx_http_sandbox_error_t *err);
static ngx_int_t ngx_http_sandbox_error_copy(ngx_pool_t *pool,
    ngx_str_t *str);
static ngx_uint_t ngx_http_sandbox_is_page(ngx_http_request_t *r);
static ngx_int_t ngx_http_sandbox_page_text(ngx_http_request_t *r,
    ngx_http_sandbox_error_t *err, ngx_str_t *text);
static void ngx_http_sandbox_page_error(ngx_http_request_t *r,
    ngx_http_sandbox_error_t *err);
static void ngx_http_sandbox_preview_error(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx, ngx_http_sandbox_error_t *err);
static void ngx_http_sandbox_control_error(ngx_http_sandbox_ctx_t *ctx,
    ngx_http_sandbox_error_t *err);
static json_t *ngx_http_sandbox_error_json(ngx_http_request_t *r,
    const ngx_http_sandbox_error_t *err);
static void ngx_http_sandbox_error_container(json_t *json,
    const ngx_http_sandbox_error_t *err);
static ngx_uint_t ngx_http_sandbox_is_container(ngx_http_request_t *r);
static ngx_int_t ngx_http_sandbox_error_headers(ngx_http_request_t *r,
    const ngx_http_sandbox_error_t *err);


typedef struct {
    ngx_uint_t                    status;
    ngx_str_t                     code;
    ngx_str_t                     message;
} ngx_http_sandbox_page_t;


/* What nginx itself refuses, before or instead of a sandbox. */

static ngx_http_sandbox_page_t  ngx_http_sandbox_pages[] = {

    { NGX_HTTP_BAD_REQUEST, ngx_string("invalid_request"),
      ngx_string("Bad request") },

    { NGX_HTTP_UNAUTHORIZED, ngx_string("unauthorized"),
      ngx_string("Unauthorized") },

    { NGX_HTTP_FORBIDDEN, ngx_string("forbidden"),
      ngx_string("Forbidden") },

    { NGX_HTTP_NOT_FOUND, ngx_string("not_found"),
      ngx_string("Not found") },

    { NGX_HTTP_NOT_ALLOWED, ngx_string("method_not_allowed"),
      ngx_string("Method not allowed") },

    { NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, ngx_string("payload_too_large"),
      ngx_string("The request's body is larger than this server takes") },

    { NGX_HTTP_REQUEST_URI_TOO_LARGE, ngx_string("uri_too_long"),
      ngx_string("The request's address is too long") },

    { NGX_HTTP_TOO_MANY_REQUESTS, ngx_string("too_many_requests"),
      ngx_string("Too many requests") },

    { NGX_HTTP_INTERNAL_SERVER_ERROR, ngx_string("internal_error"),
      ngx_string("Internal error; the server's log says more") },

    { NGX_HTTP_BAD_GATEWAY, ngx_string("bad_gateway"),
      ngx_string("No valid answer came from behind") },

    { NGX_HTTP_SERVICE_UNAVAILABLE, ngx_string("unavailable"),
      ngx_string("The service is not available at the moment") },

    { NGX_HTTP_GATEWAY_TIME_OUT, ngx_string("timeout"),
      ngx_string("No answer came in time") },

    { 0, ngx_null_string, ngx_null_string }
};


static u_char  ngx_http_sandbox_json_type[] = "application/json";
static u_char  ngx_http_sandbox_html_type[] = "text/html; charset=utf-8";

static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


ngx_int_t
ngx_http_sandbox_send_error(ngx_http_request_t *r, ngx_uint_t status,
    const char *code, const char *message, ngx_uint_t retry_after)
{
    ngx_http_sandbox_error_t  err;

    ngx_memzero(&err, sizeof(ngx_http_sandbox_error_t));

    err.status = status;
    err.retry_after = retry_after;
    err.code.data = (u_char *) code;
    err.code.len = ngx_strlen(code);
    err.message.data = (u_char *) message;
    err.message.len = ngx_strlen(message);

    return ngx_http_sandbox_send_failure(r, &err);
}


ngx_int_t
ngx_http_sandbox_send_failure(ngx_http_request_t *r,
    const ngx_http_sandbox_error_t *err)
{
    ngx_str_t                     value;
    ngx_http_sandbox_srv_conf_t  *sscf;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "sandbox error: %ui %V \"%V\"", err->status, &err->code,
                   &err->message);

    ngx_http_sandbox_count_error(&err->code);
    ngx_http_sandbox_audit_error(r, &err->code);

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_sandbox_module);

    if (sscf->domains != NULL) {
        return ngx_http_sandbox_error_keep(r, err);
    }

    if (ngx_http_sandbox_error_headers(r, err) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* other modules' 401 have challenges of their own */

    if (err->status == NGX_HTTP_UNAUTHORIZED) {
        ngx_str_set(&value, "Bearer");

        if (ngx_http_sandbox_add_header(r, "WWW-Authenticate", &value)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return ngx_http_sandbox_send_json(r, err->status,
                                      ngx_http_sandbox_error_json(r, err));
}


/* For the page that nginx is about to make of the status. */

static ngx_int_t
ngx_http_sandbox_error_keep(ngx_http_request_t *r,
    const ngx_http_sandbox_error_t *err)
{
    ngx_http_sandbox_ctx_t    *ctx;
    ngx_http_sandbox_error_t  *kept;

    ctx = ngx_http_sandbox_ctx(r);
    kept = ngx_palloc(r->pool, sizeof(ngx_http_sandbox_error_t));

    if (ctx == NULL) {
        ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_sandbox_ctx_t));
    }

    if (ctx == NULL || kept == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *kept = *err;

    if (ngx_http_sandbox_error_copy(r->pool, &kept->code) != NGX_OK
        || ngx_http_sandbox_error_copy(r->pool, &kept->message) != NGX_OK
        || ngx_http_sandbox_error_copy(r->pool, &kept->field) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->error = kept;
    ngx_http_set_ctx(r, ctx, ngx_http_sandbox_module);

    return err->status;
}


static ngx_int_t
ngx_http_sandbox_error_copy(ngx_pool_t *pool, ngx_str_t *str)
{
    u_char  *p;

    if (str->len == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, str->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, str->data, str->len);
    str->data = p;

    return NGX_OK;
}


static json_t *
ngx_http_sandbox_error_json(ngx_http_request_t *r,
    const ngx_http_sandbox_error_t *err)
{
    json_t                    *json;
    ngx_http_sandbox_error_t   e;

    e = *err;
    json = json_object();

    json_object_set_new(json, "error",
                        ngx_http_sandbox_json_string(&e.message));
    json_object_set_new(json, "code", ngx_http_sandbox_json_string(&e.code));

    if (e.field.len) {
        json_object_set_new(json, "field",
                            ngx_http_sandbox_json_string(&e.field));
    }

    if (e.limit) {
        json_object_set_new(json, "limit", json_integer(e.limit));
    }

    if (ngx_http_sandbox_is_container(r)) {
        ngx_http_sandbox_error_container(json, err);
    }

    return json;
}


/*
 * Clients of the container API look for these members; the agent's own errors
 * have them, and it shall not matter who refused.
 */

static void
ngx_http_sandbox_error_container(json_t *json,
    const ngx_http_sandbox_error_t *err)
{
    json_object_set(json, "message", json_object_get(json, "error"));
    json_object_set_new(json, "context", json_object());
    json_object_set_new(json, "httpStatus", json_integer(err->status));
    json_object_set_new(json, "timestamp", ngx_http_sandbox_json_now());
}


/* Whether a path leads, or would lead, below /v1/sandbox/{id}/api. */

static ngx_uint_t
ngx_http_sandbox_is_container(ngx_http_request_t *r)
{
    u_char  *p, *last;

    static const u_char  prefix[] = "/v1/sandbox/";

    p = r->unparsed_uri.data;
    last = p + r->unparsed_uri.len;

    if (r->unparsed_uri.len < sizeof(prefix) - 1
        || ngx_memcmp(p, prefix, sizeof(prefix) - 1) != 0)
    {
        return 0;
    }

    p = ngx_strlchr(p + sizeof(prefix) - 1, last, '/');

    return p != NULL && last - p >= 4 && ngx_memcmp(p, "/api", 4) == 0
           && (last - p == 4 || p[4] == '/' || p[4] == '?');
}


static ngx_int_t
ngx_http_sandbox_error_headers(ngx_http_request_t *r,
    const ngx_http_sandbox_error_t *err)
{
    ngx_str_t   value;
    ngx_uint_t  after;

    after = err->retry_after;

    if (after == 0 && err->status == NGX_HTTP_SERVICE_UNAVAILABLE) {
        after = 1;
    }

    if (after == 0) {
        return NGX_OK;
    }

    value.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%ui", after) - value.data;

    return ngx_http_sandbox_add_header(r, "Retry-After", &value);
}


/*
 * Whether nginx is about to send a page of its own for a server of ours.
 * Answers of a sandbox have no err_status, whatever their status; those that
 * an error_page has led to are internal.
 */

static ngx_uint_t
ngx_http_sandbox_is_page(ngx_http_request_t *r)
{
    ngx_http_sandbox_srv_conf_t  *sscf;

    if (r->err_status < NGX_HTTP_BAD_REQUEST
        || r != r->main
        || r->internal)
    {
        return 0;
    }

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_sandbox_module);

    return sscf->api == 1 || sscf->domains != NULL;
}


static ngx_int_t
ngx_http_sandbox_error_header_filter(ngx_http_request_t *r)
{
    ngx_str_t                 text, value;
    ngx_http_sandbox_error_t  err;

    if (!ngx_http_sandbox_is_page(r)) {
        return ngx_http_next_header_filter(r);
    }

    if (ngx_http_sandbox_interrupt_answer(r) == NGX_DONE) {
        return NGX_DONE;
    }

    if (ngx_http_sandbox_page_text(r, &err, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "sandbox error page: %ui \"%V\"", err.status, &err.message);

    ngx_str_set(&value, "no-store");

    if (ngx_http_sandbox_add_header(r, "Cache-Control", &value) != NGX_OK
        || ngx_http_sandbox_error_headers(r, &err) != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->err_status = err.status;
    r->headers_out.status = err.status;
    r->headers_out.status_line.len = 0;

    r->headers_out.content_length_n = text.len;
    r->headers_out.content_type.data = ngx_http_sandbox_json_type;
    r->headers_out.content_type.len = sizeof(ngx_http_sandbox_json_type) - 1;
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    if (ngx_http_sandbox_page_wanted(r)) {
        r->headers_out.content_type.data = ngx_http_sandbox_html_type;
        r->headers_out.content_type.len = sizeof(ngx_http_sandbox_html_type)
                                          - 1;
        r->headers_out.content_type_len = sizeof("text/html") - 1;

        ngx_http_sandbox_page_headers(r);
    }

    return ngx_http_next_header_filter(r);
}


/*
 * The text is made a second time instead of being kept: a request that was
 * refused before the gate has no context to keep it in.
 */

static ngx_int_t
ngx_http_sandbox_error_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t                *b;
    ngx_str_t                 text;
    ngx_chain_t               out, *cl;
    ngx_http_sandbox_error_t  err;

    if (in == NULL
        || (r->headers_out.content_type.data != ngx_http_sandbox_json_type
            && r->headers_out.content_type.data != ngx_http_sandbox_html_type))
    {
        return ngx_http_next_body_filter(r, in);
    }

    if (ngx_http_sandbox_page_text(r, &err, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->memory = 1;
    b->pos = text.data;
    b->last = text.data + text.len;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_next_body_filter(r, &out);
}


static ngx_int_t
ngx_http_sandbox_page_text(ngx_http_request_t *r,
    ngx_http_sandbox_error_t *err, ngx_str_t *text)
{
    char    *dump;
    json_t  *json;

    ngx_http_sandbox_page_error(r, err);

    if (ngx_http_sandbox_page_wanted(r)) {
        return ngx_http_sandbox_page_make(r, err, text);
    }

    json = ngx_http_sandbox_error_json(r, err);
    dump = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;

    json_decref(json);

    if (dump == NULL) {
        return NGX_ERROR;
    }

    text->len = ngx_strlen(dump);
    text->data = ngx_pnalloc(r->pool, text->len);

    if (text->data != NULL) {
        ngx_memcpy(text->data, dump, text->len);
    }

    free(dump);

    return text->data != NULL ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_sandbox_page_error(ngx_http_request_t *r,
    ngx_http_sandbox_error_t *err)
{
    ngx_http_sandbox_ctx_t    *ctx;
    ngx_http_sandbox_page_t   *page;
    ngx_http_core_loc_conf_t  *clcf;

    ngx_memzero(err, sizeof(ngx_http_sandbox_error_t));

    err->status = r->err_status;
    ngx_str_set(&err->code, "error");
    ngx_str_set(&err->message, "The request failed");

    for (page = ngx_http_sandbox_pages; page->status; page++) {
        if (page->status == err->status) {
            err->code = page->code;
            err->message = page->message;
        }
    }

    ctx = ngx_http_sandbox_ctx(r);

    if (ctx != NULL && ctx->error != NULL
        && ctx->error->status == err->status)
    {
        *err = *ctx->error;
        return;
    }

    if (err->status == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE) {

        if (ngx_http_sandbox_limit_body_error(r, err) == NGX_OK) {
            return;
        }

        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
        err->limit = clcf->client_max_body_size;
        return;
    }

    if (ctx == NULL || r->upstream == NULL) {
        return;
    }

    if (ctx->failure == NGX_HTTP_SANDBOX_FAIL_ENDED) {
        *err = *ctx->error;
        return;
    }

    if (err->status == NGX_HTTP_BAD_GATEWAY
        || err->status == NGX_HTTP_GATEWAY_TIME_OUT
        || ctx->failure == NGX_HTTP_SANDBOX_FAIL_LIMIT
        || ctx->failure == NGX_HTTP_SANDBOX_FAIL_DESTROYED)
    {
        if (ctx->failure == NGX_HTTP_SANDBOX_FAIL_DESTROYED) {
            ngx_http_sandbox_interrupt_error(ctx, err);
            ngx_str_set(&err->message, "The sandbox was destroyed");

        } else if (ctx->port) {
            ngx_http_sandbox_preview_error(r, ctx, err);

            if (ctx->proxied) {
                ngx_str_set(&err->code, "service_not_responding");
            }

        } else {
            ngx_http_sandbox_control_error(ctx, err);
        }
    }
}


static void
ngx_http_sandbox_preview_error(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx, ngx_http_sandbox_error_t *err)
{
    u_char      *p;
    const char  *format;

    ngx_str_set(&err->code, "SERVICE_NOT_RESPONDING");

    if (err->status == NGX_HTTP_GATEWAY_TIME_OUT) {
        format = "The service on port %ui of this sandbox did not answer in "
                 "time";

    } else {
        switch (ctx->failure) {

        case NGX_HTTP_SANDBOX_FAIL_REFUSED:
            format = "Nothing listens on port %ui of this sandbox";
            break;

        case NGX_HTTP_SANDBOX_FAIL_LIMIT:
            err->status = NGX_HTTP_SERVICE_UNAVAILABLE;
            format = "Too many connections to this sandbox; port %ui was "
                     "asked for";
            break;

        case NGX_HTTP_SANDBOX_FAIL_KEY:
        case NGX_HTTP_SANDBOX_FAIL_LINE:
        case NGX_HTTP_SANDBOX_FAIL_CONNECT:
            format = "This sandbox can't be reached; port %ui was asked for";
            break;

        case NGX_HTTP_SANDBOX_FAIL_PROTOCOL:
            format = "The service on port %ui of this sandbox gave an answer "
                     "that is no HTTP";
            break;

        default:
            format = "The service on port %ui of this sandbox closed the "
                     "connection without an answer";
        }
    }

    p = ngx_pnalloc(r->pool, ngx_strlen(format) + NGX_INT_T_LEN);

    if (p != NULL) {
        err->message.data = p;
        err->message.len = ngx_sprintf(p, format, (ngx_uint_t) ctx->port) - p;
    }
}


static void
ngx_http_sandbox_control_error(ngx_http_sandbox_ctx_t *ctx,
    ngx_http_sandbox_error_t *err)
{
    if (err->status == NGX_HTTP_GATEWAY_TIME_OUT) {
        ngx_str_set(&err->code, "timeout");
        ngx_str_set(&err->message, "The sandbox did not answer in time");
        return;
    }

    if (ctx->failure == NGX_HTTP_SANDBOX_FAIL_LIMIT) {
        err->status = NGX_HTTP_SERVICE_UNAVAILABLE;
        ngx_str_set(&err->code, "busy");
        ngx_str_set(&err->message, "Too many connections to this sandbox");
        return;
    }

    ngx_str_set(&err->code, "sandbox_unreachable");

    switch (ctx->failure) {

    case NGX_HTTP_SANDBOX_FAIL_KEY:
    case NGX_HTTP_SANDBOX_FAIL_LINE:
    case NGX_HTTP_SANDBOX_FAIL_CONNECT:
        ngx_str_set(&err->message, "The sandbox's agent can't be reached");
        break;

    case NGX_HTTP_SANDBOX_FAIL_PROTOCOL:
        ngx_str_set(&err->message, "The sandbox's agent gave an answer that "
                    "is no HTTP");
        break;

    default:
        ngx_str_set(&err->message, "The sandbox's agent closed the connection "
                    "without an answer");
    }
}


ngx_int_t
ngx_http_sandbox_error_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_sandbox_error_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_sandbox_error_body_filter;

    return ngx_http_sandbox_page_init();
}
