/*
 * Limits of a sandbox's visitors: requests in a second, connections, bytes of
 * a body; bytes in a second are in _pace.c.  They are looked at in the
 * pre-content phase, behind all access checks and before a sandbox is woken:
 * who isn't let in uses up nothing.  The control API has other limits, so that
 * visitors can't lock the owner out.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_limit.h"
#include "ngx_http_sandbox_zone.h"


static ngx_int_t ngx_http_sandbox_limit_refuse(ngx_http_request_t *r,
    ngx_http_sandbox_excess_t *excess);
static ngx_int_t ngx_http_sandbox_limit_bound(ngx_http_request_t *r,
    uint64_t body);
static void ngx_http_sandbox_limit_cleanup(void *data);
static ngx_int_t ngx_http_sandbox_limit_number(ngx_conf_t *cf,
    ngx_str_t *value, ngx_int_t min, uint32_t *dst);
static ngx_int_t ngx_http_sandbox_limit_size(ngx_conf_t *cf, ngx_str_t *value,
    uint32_t *dst);


/* Not set in this location; what a limit can't be. */

#define NGX_HTTP_SANDBOX_UNSET         0xffffffff
#define NGX_HTTP_SANDBOX_LIMIT_MAX     1000000


ngx_int_t
ngx_http_sandbox_limit_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_pool_cleanup_t            *cln;
    ngx_http_sandbox_ctx_t        *ctx;
    ngx_http_sandbox_held_t       *held;
    ngx_http_sandbox_grant_t       grant;
    ngx_http_sandbox_excess_t      excess;
    ngx_http_sandbox_loc_conf_t   *slcf;
    ngx_http_sandbox_main_conf_t  *smcf;

    ctx = ngx_http_sandbox_ctx(r);

    if (ctx == NULL || !ctx->authorised || ctx->control || r != r->main) {
        return NGX_DECLINED;
    }

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_sandbox_module);

    if (!ctx->limited && !slcf->limited) {
        return NGX_DECLINED;
    }

    /* a second time here: after a redirect inside of nginx */

    held = ngx_http_sandbox_limit_held(r);

    if (held) {
        return ngx_http_sandbox_limit_bound(r, held->grant.body);
    }

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_sandbox_held_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_sandbox_usage_enter(smcf->zone, ctx,
                                      slcf->limited ? &slcf->limits : NULL,
                                      r->headers_in.content_length_n, &grant,
                                      &excess);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "sandbox limits: %i, %d", rc, excess.what);

    if (rc == NGX_DECLINED) {
        return NGX_DECLINED;
    }

    if (rc != NGX_OK) {
        return ngx_http_sandbox_limit_refuse(r, &excess);
    }

    held = cln->data;
    ngx_memzero(held, sizeof(ngx_http_sandbox_held_t));

    held->grant = grant;
    held->zone = smcf->zone;

    cln->handler = ngx_http_sandbox_limit_cleanup;
    ctx->grant = held;

    return ngx_http_sandbox_limit_bound(r, grant.body);
}


ngx_http_sandbox_held_t *
ngx_http_sandbox_limit_held(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t      *cln;
    ngx_http_sandbox_ctx_t  *ctx;

    ctx = ngx_http_sandbox_ctx(r);

    if (ctx == NULL || ctx->grant) {
        return ctx ? ctx->grant : NULL;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_sandbox_limit_cleanup) {
            ctx->grant = cln->data;
            break;
        }
    }

    return ctx->grant;
}


static void
ngx_http_sandbox_limit_cleanup(void *data)
{
    ngx_http_sandbox_held_t *held = data;

    if (held->pace) {
        ngx_http_sandbox_pace_free(held->pace);
    }

    ngx_http_sandbox_usage_leave(held->zone, &held->grant);
}


/*
 * A body without a length is counted by nginx as it comes, against the
 * location's limit: the request gets settings of its own with a lower one.
 */

static ngx_int_t
ngx_http_sandbox_limit_bound(ngx_http_request_t *r, uint64_t body)
{
    void                      **conf;
    ngx_http_core_loc_conf_t   *clcf, *own;

    if (body == 0 || r->headers_in.content_length_n >= 0) {
        return NGX_DECLINED;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->client_max_body_size
        && (uint64_t) clcf->client_max_body_size <= body)
    {
        return NGX_DECLINED;
    }

    conf = ngx_palloc(r->pool, ngx_http_max_module * sizeof(void *));
    own = ngx_palloc(r->pool, sizeof(ngx_http_core_loc_conf_t));

    if (conf == NULL || own == NULL) {
        return NGX_ERROR;
    }

    *own = *clcf;
    own->client_max_body_size = (off_t) body;

    ngx_memcpy(conf, r->loc_conf, ngx_http_max_module * sizeof(void *));
    conf[ngx_http_core_module.ctx_index] = own;

    r->loc_conf = conf;

    return NGX_DECLINED;
}


/* Answers */


static ngx_int_t
ngx_http_sandbox_limit_refuse(ngx_http_request_t *r,
    ngx_http_sandbox_excess_t *excess)
{
    u_char                    *p;
    const char                *text;
    ngx_http_sandbox_error_t   err;

    ngx_memzero(&err, sizeof(ngx_http_sandbox_error_t));

    err.limit = (json_int_t) excess->limit;
    err.retry_after = excess->retry_after;

    switch (excess->what) {

    case sandbox_excess_requests:
        err.status = NGX_HTTP_TOO_MANY_REQUESTS;
        ngx_str_set(&err.code, "requests_exceeded");
        ngx_str_set(&err.field, "limits.requestsPerSecond");
        text = "This %s takes %uL requests per second";
        break;

    case sandbox_excess_connections:
        err.status = NGX_HTTP_SERVICE_UNAVAILABLE;
        ngx_str_set(&err.code, "connections_exceeded");
        ngx_str_set(&err.field, "limits.connections");
        text = "This %s takes %uL connections at once";
        break;

    case sandbox_excess_body:
        err.status = NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
        ngx_str_set(&err.code, "body_exceeded");
        ngx_str_set(&err.field, "limits.bodySize");
        text = "This %s takes bodies of at most %uL bytes";
        break;

    default: /* sandbox_excess_room */
        err.status = NGX_HTTP_SERVICE_UNAVAILABLE;
        err.retry_after = 3;
        ngx_str_set(&err.code, "zone_full");
        text = "The limits of this %s can't be kept at the moment";
    }

    p = ngx_pnalloc(r->pool, 128);
    if (p == NULL) {
        return NGX_ERROR;
    }

    err.message.data = p;
    err.message.len = ngx_snprintf(p, 128, text,
                                   excess->exposure ? "preview" : "sandbox",
                                   excess->limit)
                      - p;

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "sandbox \"%V\": %V", &ngx_http_sandbox_ctx(r)->id,
                  &err.message);

    ngx_http_finalize_request(r, ngx_http_sandbox_send_failure(r, &err));

    return NGX_DONE;
}


ngx_int_t
ngx_http_sandbox_limit_body_error(ngx_http_request_t *r,
    ngx_http_sandbox_error_t *err)
{
    ngx_http_sandbox_held_t   *held;
    ngx_http_core_loc_conf_t  *clcf;

    held = ngx_http_sandbox_limit_held(r);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (held == NULL || held->grant.body == 0
        || (uint64_t) clcf->client_max_body_size != held->grant.body)
    {
        return NGX_DECLINED;
    }

    err->limit = (json_int_t) held->grant.body;
    ngx_str_set(&err->code, "body_exceeded");
    ngx_str_set(&err->field, "limits.bodySize");
    ngx_str_set(&err->message, "The body is larger than this sandbox takes");

    return NGX_OK;
}


/* Configuration */


void
ngx_http_sandbox_limit_create(ngx_http_sandbox_loc_conf_t *slcf)
{
    slcf->limits.requests = NGX_HTTP_SANDBOX_UNSET;
    slcf->limits.connections = NGX_HTTP_SANDBOX_UNSET;
    slcf->limits.out = NGX_HTTP_SANDBOX_UNSET;
    slcf->limits.in = NGX_HTTP_SANDBOX_UNSET;
    slcf->limits.body = (uint64_t) -1;
}


void
ngx_http_sandbox_limit_merge(ngx_http_sandbox_loc_conf_t *prev,
    ngx_http_sandbox_loc_conf_t *conf)
{
    ngx_http_sandbox_limits_t  *l, *p;

    l = &conf->limits;
    p = &prev->limits;

    if (l->requests == NGX_HTTP_SANDBOX_UNSET) {
        l->requests = p->requests == NGX_HTTP_SANDBOX_UNSET ? 0 : p->requests;
        l->burst = p->burst;
    }

    if (l->connections == NGX_HTTP_SANDBOX_UNSET) {
        l->connections = p->connections == NGX_HTTP_SANDBOX_UNSET
                         ? 0 : p->connections;
    }

    if (l->out == NGX_HTTP_SANDBOX_UNSET) {
        l->out = p->out == NGX_HTTP_SANDBOX_UNSET ? 0 : p->out;
    }

    if (l->in == NGX_HTTP_SANDBOX_UNSET) {
        l->in = p->in == NGX_HTTP_SANDBOX_UNSET ? 0 : p->in;
    }

    if (l->body == (uint64_t) -1) {
        l->body = p->body == (uint64_t) -1 ? 0 : p->body;
    }

    conf->limited = l->requests || l->connections || l->out || l->in
                    || l->body;
}


static ngx_int_t
ngx_http_sandbox_limit_number(ngx_conf_t *cf, ngx_str_t *value,
    ngx_int_t min, uint32_t *dst)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n < min || n > NGX_HTTP_SANDBOX_LIMIT_MAX) {
        if (min) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid number \"%V\": must be 1 to %i, or "
                               "\"off\"", value,
                               (ngx_int_t) NGX_HTTP_SANDBOX_LIMIT_MAX);
        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid burst \"%V\": must be 0 to %i", value,
                               (ngx_int_t) NGX_HTTP_SANDBOX_LIMIT_MAX);
        }

        return NGX_ERROR;
    }

    *dst = (uint32_t) n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_sandbox_limit_size(ngx_conf_t *cf, ngx_str_t *value, uint32_t *dst)
{
    ssize_t  n;

    n = ngx_parse_size(value);

    if (n < 4096 || (uint64_t) n >= NGX_HTTP_SANDBOX_UNSET) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size \"%V\": must be 4k to 4095m", value);
        return NGX_ERROR;
    }

    *dst = (uint32_t) n;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_sandbox_limit_off(ngx_conf_t *cf)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    return cf->args->nelts == 2 && value[1].len == 3
           && ngx_strncmp(value[1].data, "off", 3) == 0;
}


/* sandbox_limit_requests NUMBER [burst=NUMBER] | off */

char *
ngx_http_sandbox_limit_requests(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sandbox_loc_conf_t *slcf = conf;

    ngx_str_t                  *value, burst;
    ngx_http_sandbox_limits_t  *l;

    l = &slcf->limits;

    if (l->requests != NGX_HTTP_SANDBOX_UNSET) {
        return "is duplicate";
    }

    if (ngx_http_sandbox_limit_off(cf)) {
        l->requests = 0;
        return NGX_CONF_OK;
    }

    value = cf->args->elts;

    if (ngx_http_sandbox_limit_number(cf, &value[1], 1, &l->requests)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    l->burst = l->requests;

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value[2].data, "burst=", 6) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                           &value[2]);
        return NGX_CONF_ERROR;
    }

    burst.data = value[2].data + 6;
    burst.len = value[2].len - 6;

    return ngx_http_sandbox_limit_number(cf, &burst, 0, &l->burst)
           == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* sandbox_limit_connections NUMBER | off */

char *
ngx_http_sandbox_limit_connections(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_sandbox_loc_conf_t *slcf = conf;

    ngx_str_t  *value;

    if (slcf->limits.connections != NGX_HTTP_SANDBOX_UNSET) {
        return "is duplicate";
    }

    if (ngx_http_sandbox_limit_off(cf)) {
        slcf->limits.connections = 0;
        return NGX_CONF_OK;
    }

    value = cf->args->elts;

    return ngx_http_sandbox_limit_number(cf, &value[1], 1,
                                         &slcf->limits.connections)
           == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* sandbox_limit_bandwidth [out=SIZE] [in=SIZE] | off */

char *
ngx_http_sandbox_limit_bandwidth(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_sandbox_loc_conf_t *slcf = conf;

    ngx_str_t                  *value, size;
    ngx_uint_t                  i;
    ngx_http_sandbox_limits_t  *l;

    l = &slcf->limits;

    if (l->out != NGX_HTTP_SANDBOX_UNSET || l->in != NGX_HTTP_SANDBOX_UNSET) {
        return "is duplicate";
    }

    l->out = 0;
    l->in = 0;

    if (ngx_http_sandbox_limit_off(cf)) {
        return NGX_CONF_OK;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "out=", 4) == 0) {
            size.data = value[i].data + 4;
            size.len = value[i].len - 4;

            if (ngx_http_sandbox_limit_size(cf, &size, &l->out) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

        } else if (ngx_strncmp(value[i].data, "in=", 3) == 0) {
            size.data = value[i].data + 3;
            size.len = value[i].len - 3;

            if (ngx_http_sandbox_limit_size(cf, &size, &l->in) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* sandbox_limit_body SIZE | off */

char *
ngx_http_sandbox_limit_body(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sandbox_loc_conf_t *slcf = conf;

    off_t       n;
    ngx_str_t  *value;

    if (slcf->limits.body != (uint64_t) -1) {
        return "is duplicate";
    }

    if (ngx_http_sandbox_limit_off(cf)) {
        slcf->limits.body = 0;
        return NGX_CONF_OK;
    }

    value = cf->args->elts;
    n = ngx_parse_offset(&value[1]);

    if (n < 1) {
        return "must be a size of at least 1 byte, or \"off\"";
    }

    slcf->limits.body = (uint64_t) n;

    return NGX_CONF_OK;
}
