/*
 * Who asks.  A bearer is an API key or a token that somebody signed; each of
 * them becomes a caller with a tenant, scopes and limits.  What is refused is
 * counted against the client's address.
 */


#include "ngx_http_sandbox_keys.h"
#include "ngx_http_sandbox_zone.h"
#include "sandbox_jwt.h"
#include "sandbox_route.h"


static ngx_str_t *ngx_http_sandbox_authorization(ngx_http_request_t *r);
static ngx_int_t ngx_http_sandbox_credential(ngx_str_t *value,
    ngx_str_t *credential);
static ngx_int_t ngx_http_sandbox_auth_same(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t *was);
static ngx_int_t ngx_http_sandbox_auth(ngx_http_request_t *r, ngx_str_t *value,
    ngx_uint_t any, ngx_http_sandbox_caller_t **caller);
static ngx_int_t ngx_http_sandbox_auth_any(ngx_http_request_t *r,
    ngx_str_t *credential, ngx_http_sandbox_caller_t *caller);
static ngx_int_t ngx_http_sandbox_auth_check(ngx_http_request_t *r,
    ngx_http_sandbox_srv_conf_t *sscf, ngx_str_t *credential,
    ngx_http_sandbox_caller_t *caller);
static ngx_int_t ngx_http_sandbox_auth_key(ngx_http_request_t *r,
    ngx_http_sandbox_key_t *key, ngx_http_sandbox_caller_t *caller);


ngx_int_t
ngx_http_sandbox_authenticate(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t **caller)
{
    ngx_str_t               *value;
    ngx_http_sandbox_ctx_t  *ctx;

    value = ngx_http_sandbox_authorization(r);
    ctx = ngx_http_sandbox_ctx(r);

    if (value == NULL && ctx != NULL && ctx->credential.len != 0) {
        value = &ctx->credential;
    }

    return value ? ngx_http_sandbox_authenticate_value(r, value, caller)
                 : NGX_DECLINED;
}


ngx_int_t
ngx_http_sandbox_authenticate_value(ngx_http_request_t *r, ngx_str_t *value,
    ngx_http_sandbox_caller_t **caller)
{
    return ngx_http_sandbox_auth(r, value, 0, caller);
}


/*
 * A request that is asked again and again may last for months: what it takes to
 * look must not stay in its pool.
 */

ngx_int_t
ngx_http_sandbox_authenticate_again(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t *was)
{
    ngx_int_t    rc;
    ngx_pool_t  *pool;

    pool = r->pool;
    r->pool = ngx_create_pool(1024, r->connection->log);

    if (r->pool == NULL) {
        r->pool = pool;
        return NGX_OK;
    }

    rc = ngx_http_sandbox_auth_same(r, was);

    ngx_destroy_pool(r->pool);
    r->pool = pool;

    return rc;
}


static ngx_int_t
ngx_http_sandbox_auth_same(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t *was)
{
    ngx_http_sandbox_caller_t  *caller;

    if (ngx_http_sandbox_authenticate(r, &caller) != NGX_OK
        || caller->scopes != was->scopes)
    {
        return NGX_DECLINED;
    }

    /* an administrator may have named another tenant */

    if (!(caller->scopes & SANDBOX_SCOPE_ADMIN)
        && (caller->tenant.len != was->tenant.len
            || ngx_memcmp(caller->tenant.data, was->tenant.data,
                          was->tenant.len)
               != 0))
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * On a preview the keys of all API servers count.  A tenant that the zone
 * doesn't know has no sandbox that a preview could be of.
 */

ngx_int_t
ngx_http_sandbox_bearer(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t **caller)
{
    u_char                        *prefix;
    ngx_int_t                      rc;
    ngx_str_t                     *value;
    ngx_http_sandbox_main_conf_t  *smcf;

    value = ngx_http_sandbox_authorization(r);

    if (value == NULL) {
        return NGX_DECLINED;
    }

    rc = ngx_http_sandbox_auth(r, value, 1, caller);

    if (rc != NGX_OK || (*caller)->tenant.len == 0) {
        return rc;
    }

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);

    prefix = ngx_pnalloc(r->pool, SANDBOX_PREFIX_LEN);
    if (prefix == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_sandbox_zone_prefix(smcf->zone, &(*caller)->tenant, prefix)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    (*caller)->prefix.data = prefix;
    (*caller)->prefix.len = SANDBOX_PREFIX_LEN;

    return NGX_OK;
}


static ngx_int_t
ngx_http_sandbox_auth(ngx_http_request_t *r, ngx_str_t *value, ngx_uint_t any,
    ngx_http_sandbox_caller_t **caller)
{
    ngx_int_t                     rc;
    ngx_str_t                     credential;
    ngx_http_sandbox_caller_t    *c;
    ngx_http_sandbox_srv_conf_t  *sscf;

    if (ngx_http_sandbox_credential(value, &credential) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (ngx_http_sandbox_failures_wait(r, &credential)) {
        return NGX_BUSY;
    }

    c = ngx_pcalloc(r->pool, sizeof(ngx_http_sandbox_caller_t));
    if (c == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&c->prefix, "");

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_sandbox_module);

    rc = any ? ngx_http_sandbox_auth_any(r, &credential, c)
             : ngx_http_sandbox_auth_check(r, sscf, &credential, c);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    ngx_http_sandbox_failures_note(r, &credential, rc == NGX_OK);

    if (rc != NGX_OK) {
        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "sandbox auth: no credential of ours");
        return NGX_DECLINED;
    }

    /* what is made by its first use is made, all the same */

    if (!(c->scopes & SANDBOX_SCOPE_MANAGE)) {
        c->create = 0;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "sandbox auth: key \"%V\" of tenant \"%V\"", &c->name,
                   &c->tenant);

    *caller = c;

    return NGX_OK;
}


ngx_int_t
ngx_http_sandbox_reject_caller(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_str_t   *value, credential;
    ngx_uint_t   wait;

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc != NGX_BUSY) {
        return ngx_http_sandbox_reject(r, NGX_HTTP_UNAUTHORIZED,
                                       "unauthorized", "Unauthorized", 0);
    }

    wait = 1;
    value = ngx_http_sandbox_authorization(r);

    if (value && ngx_http_sandbox_credential(value, &credential) == NGX_OK) {
        wait = ngx_max(ngx_http_sandbox_failures_wait(r, &credential), 1);
    }

    return ngx_http_sandbox_reject(r, NGX_HTTP_TOO_MANY_REQUESTS,
                                   "too_many_failures", "Too many wrong keys "
                                   "from this address", wait);
}


/*
 * A key of any API server of this nginx is ours.  Of tokens it is enough that
 * they say that they are for us: an app that is given one could use it.
 */

ngx_uint_t
ngx_http_sandbox_is_our_key(ngx_http_request_t *r, ngx_str_t *value)
{
    void                          *checked;
    ngx_str_t                      credential;
    ngx_uint_t                     i;
    ngx_http_sandbox_key_t        *key;
    ngx_http_core_srv_conf_t     **cscfp;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_sandbox_srv_conf_t   *sscf;

    if (ngx_http_sandbox_credential(value, &credential) != NGX_OK) {
        return 0;
    }

    checked = NULL;
    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        sscf = cscfp[i]->ctx->srv_conf[ngx_http_sandbox_module.ctx_index];

        if (sscf->api_jwt
            && ngx_http_sandbox_jwt_is_ours(sscf->api_jwt, &credential))
        {
            return 1;
        }

        if (sscf->api_keys == checked || sscf->api_keys == NULL) {
            continue;
        }

        checked = sscf->api_keys;

        if (ngx_http_sandbox_keys_find(checked, &credential, &key)
            != NGX_DECLINED)
        {
            return 1;
        }
    }

    return 0;
}


/*
 * The value of the only Authorization header.  With two of them, which one a
 * program behind us would believe is anybody's guess.
 */

static ngx_str_t *
ngx_http_sandbox_authorization(ngx_http_request_t *r)
{
    ngx_table_elt_t            *h;
    ngx_http_sandbox_header_t   at;

    ngx_memzero(&at, sizeof(ngx_http_sandbox_header_t));

    h = ngx_http_sandbox_each_header(r, &at, "authorization", 13);

    return h && ngx_http_sandbox_each_header(r, &at, "authorization", 13)
                == NULL
           ? &h->value : NULL;
}


/* What follows `Bearer`, without blanks around it. */

static ngx_int_t
ngx_http_sandbox_credential(ngx_str_t *value, ngx_str_t *credential)
{
    u_char  *p, *last;

    if (value->len <= sizeof("Bearer ") - 1
        || ngx_strncasecmp(value->data, (u_char *) "Bearer ",
                           sizeof("Bearer ") - 1)
           != 0)
    {
        return NGX_DECLINED;
    }

    p = value->data + sizeof("Bearer ") - 1;
    last = value->data + value->len;

    while (p < last && *p == ' ') {
        p++;
    }

    while (last > p && last[-1] == ' ') {
        last--;
    }

    credential->data = p;
    credential->len = last - p;

    return p == last || credential->len > SANDBOX_JWT_MAX ? NGX_DECLINED
                                                          : NGX_OK;
}


static ngx_int_t
ngx_http_sandbox_auth_check(ngx_http_request_t *r,
    ngx_http_sandbox_srv_conf_t *sscf, ngx_str_t *credential,
    ngx_http_sandbox_caller_t *caller)
{
    ngx_int_t                rc;
    ngx_http_sandbox_key_t  *key;

    if (sscf->api_keys) {
        rc = ngx_http_sandbox_keys_find(sscf->api_keys, credential, &key);

        if (rc != NGX_DECLINED) {
            return rc == NGX_OK ? ngx_http_sandbox_auth_key(r, key, caller)
                                : NGX_ERROR;
        }
    }

    return ngx_http_sandbox_jwt_check(r, sscf->api_jwt, credential, caller);
}


static ngx_int_t
ngx_http_sandbox_auth_any(ngx_http_request_t *r, ngx_str_t *credential,
    ngx_http_sandbox_caller_t *caller)
{
    ngx_int_t                      rc;
    ngx_uint_t                     i;
    ngx_http_core_srv_conf_t     **cscfp;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_sandbox_srv_conf_t   *sscf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        sscf = cscfp[i]->ctx->srv_conf[ngx_http_sandbox_module.ctx_index];

        if (!sscf->api) {
            continue;
        }

        rc = ngx_http_sandbox_auth_check(r, sscf, credential, caller);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return NGX_DECLINED;
}


/* Copies what it needs: the keys may be others when the request ends. */

static ngx_int_t
ngx_http_sandbox_auth_key(ngx_http_request_t *r, ngx_http_sandbox_key_t *key,
    ngx_http_sandbox_caller_t *caller)
{
    caller->name.len = key->name.len;
    caller->name.data = ngx_pstrdup(r->pool, &key->name);
    caller->tenant.len = key->tenant.len;
    caller->tenant.data = ngx_pstrdup(r->pool, &key->tenant);

    if (caller->name.data == NULL || caller->tenant.data == NULL) {
        return NGX_ERROR;
    }

    caller->scopes = key->scopes;
    caller->sandboxes = key->sandboxes;
    caller->starts = key->starts;
    caller->create = key->create;

    return NGX_OK;
}


char *
ngx_http_sandbox_api_keys(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sandbox_srv_conf_t *sscf = conf;

    ngx_str_t  *value;

    if (sscf->api_keys != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;
    sscf->api_keys = ngx_http_sandbox_keys(cf, &value[1]);

    return sscf->api_keys ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* sandbox_auth_limit rate=NUMBERr/s|r/m [burst=NUMBER] | off */

char *
ngx_http_sandbox_auth_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sandbox_srv_conf_t *sscf = conf;

    size_t       len;
    ngx_int_t    rate, burst;
    ngx_str_t   *value;
    ngx_uint_t   scale;

    if (sscf->auth_rate != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 3 && ngx_strncmp(value[1].data, "off", 3) == 0) {
        sscf->auth_rate = 0;
        return cf->args->nelts == 2 ? NGX_CONF_OK
                                    : "takes nothing behind \"off\"";
    }

    len = value[1].len;
    scale = 0;

    if (len > 8 && ngx_strncmp(value[1].data, "rate=", 5) == 0) {
        scale = ngx_strncmp(value[1].data + len - 3, "r/s", 3) == 0 ? 1
                : ngx_strncmp(value[1].data + len - 3, "r/m", 3) == 0 ? 60 : 0;
    }

    rate = scale ? ngx_atoi(value[1].data + 5, len - 8) : NGX_ERROR;

    if (rate < 1 || rate > 100000) {
        return "must be rate=NUMBERr/s or rate=NUMBERr/m, 1 to 100000";
    }

    burst = 20;

    if (cf->args->nelts == 3) {
        burst = value[2].len > 6 && ngx_strncmp(value[2].data, "burst=", 6) == 0
                ? ngx_atoi(value[2].data + 6, value[2].len - 6) : NGX_ERROR;

        if (burst < 1 || burst > 100000) {
            return "must have burst=NUMBER, 1 to 100000";
        }
    }

    /* thousandths of a failure in a second */

    sscf->auth_rate = ngx_max((ngx_uint_t) rate * 1000 / scale, 1);
    sscf->auth_burst = burst;

    return NGX_CONF_OK;
}
