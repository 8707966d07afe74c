/*
 * JSON bodies of the control API, in and out.  A body that comes in is read
 * piece by piece and refused as soon as it is too long, whatever
 * client_max_body_size lets through for files: nothing of it reaches a disk.
 */


#include "ngx_http_sandbox_api.h"


typedef struct {
    ngx_http_sandbox_api_t       *api;
    ngx_http_sandbox_body_pt      handler;
    size_t                        len;
    size_t                        size;
    u_char                       *data;
} ngx_http_sandbox_body_t;


static void ngx_http_sandbox_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_sandbox_body_take(ngx_http_request_t *r,
    ngx_http_sandbox_body_t *body);
static void ngx_http_sandbox_body_done(ngx_http_request_t *r,
    ngx_http_sandbox_body_t *body);
static ngx_int_t ngx_http_sandbox_body_too_large(ngx_http_request_t *r);
static ngx_http_sandbox_body_t *ngx_http_sandbox_body(ngx_http_request_t *r);
static void ngx_http_sandbox_body_cleanup(void *data);


ngx_int_t
ngx_http_sandbox_read_body(ngx_http_request_t *r, ngx_http_sandbox_api_t *api,
    ngx_http_sandbox_body_pt handler)
{
    ngx_int_t                 rc;
    ngx_pool_cleanup_t       *cln;
    ngx_http_sandbox_body_t  *body;

    if (r->headers_in.content_length_n > NGX_HTTP_SANDBOX_BODY_MAX) {
        return ngx_http_sandbox_body_too_large(r);
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_sandbox_body_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body = cln->data;
    ngx_memzero(body, sizeof(ngx_http_sandbox_body_t));

    body->api = api;
    body->handler = handler;
    body->size = NGX_HTTP_SANDBOX_BODY_MAX;

    if (r->headers_in.content_length_n > 0) {
        body->size = r->headers_in.content_length_n;
    }

    cln->handler = ngx_http_sandbox_body_cleanup;

    r->request_body_no_buffering = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_sandbox_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


static void
ngx_http_sandbox_body_handler(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    ngx_http_sandbox_body_t  *body;

    body = ngx_http_sandbox_body(r);

    for ( ;; ) {
        rc = ngx_http_sandbox_body_take(r, body);

        if (rc != NGX_OK) {
            rc = rc == NGX_DECLINED ? ngx_http_sandbox_body_too_large(r)
                                    : NGX_HTTP_INTERNAL_SERVER_ERROR;
            ngx_http_finalize_request(r, rc);
            return;
        }

        if (!r->reading_body) {
            break;
        }

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            ngx_http_finalize_request(r, rc);
            return;
        }

        if (rc == NGX_AGAIN && r->request_body->bufs == NULL) {
            r->read_event_handler = ngx_http_sandbox_body_handler;
            return;
        }
    }

    r->read_event_handler = ngx_http_block_reading;

    ngx_http_sandbox_body_done(r, body);
}


/* Copies what has arrived; NGX_DECLINED: it is too much. */

static ngx_int_t
ngx_http_sandbox_body_take(ngx_http_request_t *r,
    ngx_http_sandbox_body_t *body)
{
    size_t                    size;
    ngx_buf_t                *b;
    ngx_chain_t              *cl, *next;
    ngx_http_request_body_t  *rb;

    rb = r->request_body;

    if (rb == NULL || rb->bufs == NULL) {
        return NGX_OK;
    }

    if (body->data == NULL) {
        body->data = ngx_pnalloc(r->pool, body->size);
        if (body->data == NULL) {
            return NGX_ERROR;
        }
    }

    cl = rb->bufs;
    rb->bufs = NULL;

    for ( /* void */ ; cl; cl = next) {
        b = cl->buf;
        next = cl->next;
        size = ngx_buf_in_memory(b) ? b->last - b->pos : 0;

        if (size > body->size - body->len) {
            return NGX_DECLINED;
        }

        if (size) {
            ngx_memcpy(body->data + body->len, b->pos, size);
            body->len += size;

            /* nginx fills the buffer again when it sees that it is empty */

            b->pos = b->last;
        }

        ngx_free_chain(r->pool, cl);
    }

    return NGX_OK;
}


static void
ngx_http_sandbox_body_done(ngx_http_request_t *r,
    ngx_http_sandbox_body_t *body)
{
    json_t        *json;
    ngx_int_t      rc;
    json_error_t   err;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "sandbox api body: %uz", body->len);

    if (body->len == 0) {
        body->handler(r, body->api);
        return;
    }

    json = json_loadb((char *) body->data, body->len,
                      JSON_REJECT_DUPLICATES, &err);

    if (json_is_object(json)) {
        body->api->body = json;
        body->handler(r, body->api);
        return;
    }

    if (json != NULL) {
        json_decref(json);
        rc = ngx_http_sandbox_send_error(r, NGX_HTTP_BAD_REQUEST,
                                         "invalid_request",
                                         "The body must be a JSON object", 0);

    } else if (json_error_code(&err) == json_error_duplicate_key) {
        rc = ngx_http_sandbox_send_error(r, NGX_HTTP_BAD_REQUEST,
                                         "invalid_request", "Invalid JSON "
                                         "body: a member is there twice", 0);

    } else {
        rc = ngx_http_sandbox_send_error(r, NGX_HTTP_BAD_REQUEST,
                                         "invalid_request",
                                         "Invalid JSON body", 0);
    }

    ngx_http_finalize_request(r, rc);
}


static ngx_int_t
ngx_http_sandbox_body_too_large(ngx_http_request_t *r)
{
    ngx_http_sandbox_error_t  err;

    ngx_memzero(&err, sizeof(ngx_http_sandbox_error_t));

    err.status = NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    err.limit = NGX_HTTP_SANDBOX_BODY_MAX;
    ngx_str_set(&err.code, "payload_too_large");
    ngx_str_set(&err.message, "The body of this request is limited to 65536 "
                "bytes");

    return ngx_http_sandbox_send_failure(r, &err);
}


/* The request's context belongs to the gate, so the pool remembers ours. */

static ngx_http_sandbox_body_t *
ngx_http_sandbox_body(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_sandbox_body_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


static void
ngx_http_sandbox_body_cleanup(void *data)
{
    ngx_http_sandbox_body_t  *body = data;

    if (body->api->body != NULL) {
        json_decref(body->api->body);
        body->api->body = NULL;
    }
}


ngx_int_t
ngx_http_sandbox_send_json(ngx_http_request_t *r, ngx_uint_t status,
    json_t *json)
{
    char       *dump;
    ngx_str_t   text;

    /* A NULL is a json_pack() that found no memory. */

    dump = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;

    json_decref(json);

    if (dump == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    text.len = ngx_strlen(dump);
    text.data = ngx_pnalloc(r->pool, text.len);

    if (text.data == NULL) {
        free(dump);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(text.data, dump, text.len);
    free(dump);

    return ngx_http_sandbox_send_text(r, status, &text);
}


ngx_int_t
ngx_http_sandbox_send_text(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *text)
{
    ngx_str_t  type;

    ngx_str_set(&type, "application/json");

    return ngx_http_sandbox_send_typed(r, status, &type, text);
}


ngx_int_t
ngx_http_sandbox_send_typed(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *type, ngx_str_t *text)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_str_t    value;
    ngx_chain_t  out;

    /* No "100 Continue" for a body that nobody is going to read. */

    r->expect_tested = 1;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_str_set(&value, "no-store");

    if (ngx_http_sandbox_add_header(r, "Cache-Control", &value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = status;
    r->headers_out.content_length_n = text->len;
    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->memory = 1;
    b->pos = text->data;
    b->last = text->data + text->len;
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_http_sandbox_send_none(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    r->headers_out.status = NGX_HTTP_NO_CONTENT;
    r->header_only = 1;

    return ngx_http_send_header(r);
}


ngx_int_t
ngx_http_sandbox_add_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    return ngx_http_sandbox_push_header(r, name, value) ? NGX_OK : NGX_ERROR;
}


ngx_table_elt_t *
ngx_http_sandbox_push_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NULL;
    }

    /* Newer versions of nginx have more members. */

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;

    return h;
}


void
ngx_http_sandbox_json_unknown(json_t *answer, json_t *body,
    const char *const *known)
{
    json_t      *warnings, *member;
    ngx_uint_t   i;
    const char  *name;

    warnings = json_array();

    json_object_foreach(body, name, member) {

        for (i = 0; known[i]; i++) {
            if (ngx_strcmp(name, known[i]) == 0) {
                break;
            }
        }

        if (known[i] == NULL) {
            json_array_append_new(warnings,
                                  json_sprintf("%s is not known, and ignored",
                                               name));
        }
    }

    if (json_array_size(warnings)) {
        json_object_set(answer, "warnings", warnings);
    }

    json_decref(warnings);
}


time_t
ngx_http_sandbox_json_seconds(json_t *json)
{
    size_t       len;
    ngx_int_t    n, unit;
    const char  *text;

    if (json_is_integer(json)) {
        return json_integer_value(json) < 0
               || json_integer_value(json) > NGX_MAX_INT32_VALUE
               ? -1 : (time_t) json_integer_value(json);
    }

    text = json_string_value(json);
    len = json_string_length(json);

    if (text == NULL || len == 0) {
        return -1;
    }

    unit = 1;

    switch (text[len - 1]) {

    case 'd':
        unit *= 24;
        /* fall through */

    case 'h':
        unit *= 60;
        /* fall through */

    case 'm':
        unit *= 60;
        /* fall through */

    case 's':
        len--;
    }

    n = ngx_atoi((u_char *) text, len);

    return n == NGX_ERROR || n > NGX_MAX_INT32_VALUE / unit ? -1 : n * unit;
}


json_t *
ngx_http_sandbox_json_now(void)
{
    u_char       text[sizeof("1970-09-28T12:00:00.000Z")];
    ngx_tm_t     tm;
    ngx_time_t  *tp;

    tp = ngx_timeofday();
    ngx_gmtime(tp->sec, &tm);

    *ngx_snprintf(text, sizeof(text) - 1, "%4d-%02d-%02dT%02d:%02d:%02d.%03MZ",
                  tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                  tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec, tp->msec)
        = '\0';

    return json_string((char *) text);
}


json_t *
ngx_http_sandbox_json_string(ngx_str_t *s)
{
    json_t  *json;

    json = json_stringn((char *) s->data, s->len);

    return json != NULL ? json : json_string("?");
}
