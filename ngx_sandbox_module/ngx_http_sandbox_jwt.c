/*
 * JSON Web Tokens as credentials: whose they are, which keys they are verified
 * with, and what of them becomes the caller.  What a token is and when it is
 * true is sandbox_jwt.c's.
 */


#include "ngx_http_sandbox_keys.h"
#include "sandbox_jwt.h"
#include "sandbox_route.h"


#define NGX_HTTP_SANDBOX_JWT_FILES     8


struct ngx_http_sandbox_jwt_s {
    sandbox_jwt_rules             rules;
    ngx_http_sandbox_watch_t     *files[NGX_HTTP_SANDBOX_JWT_FILES];
    ngx_uint_t                    nfiles;
    ngx_str_t                     tenant;      /* of all its tokens */
    ngx_uint_t                    sandboxes;
    ngx_uint_t                    starts;
    unsigned                      fixed:1;     /* tenant is */
    unsigned                      create:1;
    unsigned                      admin:1;     /* the scope counts */
};


static char *ngx_http_sandbox_jwt_option(ngx_conf_t *cf,
    ngx_http_sandbox_jwt_t *jwt, ngx_str_t *option);
static char *ngx_http_sandbox_jwt_file(ngx_conf_t *cf,
    ngx_http_sandbox_jwt_t *jwt, ngx_str_t *path, sandbox_jwt_source source);
static char *ngx_http_sandbox_jwt_text(ngx_conf_t *cf, ngx_str_t *value,
    const char **dst);
static char *ngx_http_sandbox_jwt_flag(ngx_str_t *value, ngx_uint_t *flag);
static void *ngx_http_sandbox_jwt_load(ngx_http_sandbox_watch_t *w,
    ngx_str_t *text, ngx_uint_t level, ngx_log_t *log);
static void ngx_http_sandbox_jwt_unload(void *set);
static ngx_int_t ngx_http_sandbox_jwt_caller(ngx_http_request_t *r,
    ngx_http_sandbox_jwt_t *jwt, sandbox_jwt_claims *claims,
    ngx_http_sandbox_caller_t *caller);


/* sandbox_api_jwt issuer=... audience=... key=FILE|jwks=FILE|secret=FILE ... */

char *
ngx_http_sandbox_api_jwt(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sandbox_srv_conf_t *sscf = conf;

    char                     *rv;
    ngx_str_t                *value;
    ngx_uint_t                i;
    ngx_http_sandbox_jwt_t   *jwt, **slot;

    if (sscf->api_jwt == NGX_CONF_UNSET_PTR) {
        sscf->api_jwt = ngx_array_create(cf->pool, 2,
                                         sizeof(ngx_http_sandbox_jwt_t *));
        if (sscf->api_jwt == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    jwt = ngx_pcalloc(cf->pool, sizeof(ngx_http_sandbox_jwt_t));
    slot = ngx_array_push(sscf->api_jwt);

    if (jwt == NULL || slot == NULL) {
        return NGX_CONF_ERROR;
    }

    *slot = jwt;

    jwt->create = 1;
    jwt->rules.leeway = 30;
    jwt->rules.tenant_claim = "tenant";
    jwt->rules.scope_claim = "scope";
    ngx_str_set(&jwt->tenant, "");

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        rv = ngx_http_sandbox_jwt_option(cf, jwt, &value[i]);

        if (rv == NGX_CONF_OK) {
            continue;
        }

        if (rv != NGX_CONF_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" in \"sandbox_api_jwt\": %s",
                               &value[i], rv);
        }

        return NGX_CONF_ERROR;
    }

    if (jwt->rules.issuer == NULL || jwt->rules.audience == NULL
        || jwt->nfiles == 0)
    {
        return "needs issuer=, audience=, and key=, jwks= or secret=";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_sandbox_jwt_option(ngx_conf_t *cf, ngx_http_sandbox_jwt_t *jwt,
    ngx_str_t *option)
{
    u_char     *eq;
    ngx_int_t   n;
    ngx_str_t   name, value;
    ngx_uint_t  flag;
    char       *rv;

#define is(s)  (name.len == sizeof(s) - 1                                     \
                && ngx_strncmp(name.data, s, sizeof(s) - 1) == 0)

    eq = ngx_strlchr(option->data, option->data + option->len, '=');
    if (eq == NULL) {
        return "it must be NAME=VALUE";
    }

    name.data = option->data;
    name.len = eq - option->data;
    value.data = eq + 1;
    value.len = option->data + option->len - value.data;

    if (value.len == 0) {
        return "it has no value";
    }

    if (is("key")) {
        return ngx_http_sandbox_jwt_file(cf, jwt, &value, SANDBOX_JWT_PEM);
    }

    if (is("jwks")) {
        return ngx_http_sandbox_jwt_file(cf, jwt, &value, SANDBOX_JWT_JWKS);
    }

    if (is("secret")) {
        return ngx_http_sandbox_jwt_file(cf, jwt, &value, SANDBOX_JWT_SECRET);
    }

    if (is("issuer")) {
        return ngx_http_sandbox_jwt_text(cf, &value, &jwt->rules.issuer);
    }

    if (is("audience")) {
        return ngx_http_sandbox_jwt_text(cf, &value, &jwt->rules.audience);
    }

    if (is("scope_claim")) {
        return ngx_http_sandbox_jwt_text(cf, &value, &jwt->rules.scope_claim);
    }

    if (is("tenant_claim")) {
        return ngx_http_sandbox_jwt_text(cf, &value,
                                         &jwt->rules.tenant_claim);
    }

    if (is("tenant")) {

        /* "-" is the default tenant, which has no name */

        if (value.len == 1 && value.data[0] == '-') {
            value.len = 0;

        } else if (!sandbox_tenant_valid((char *) value.data, value.len)) {
            return "a tenant's name has 1 to 64 of A-Z, a-z, 0-9 and ._@+-";
        }

        jwt->tenant = value;
        jwt->fixed = 1;
        jwt->rules.tenant_claim = NULL;
        return NGX_CONF_OK;
    }

    if (is("create") || is("admin")) {
        rv = ngx_http_sandbox_jwt_flag(&value, &flag);

        if (is("create")) {
            jwt->create = flag;

        } else {
            jwt->admin = flag;
        }

        return rv;
    }

    if (is("leeway")) {
        n = ngx_parse_time(&value, 1);

        if (n == NGX_ERROR || n > 600) {
            return "leeway is 0s to 10m";
        }

        jwt->rules.leeway = n;
        return NGX_CONF_OK;
    }

    n = ngx_atoi(value.data, value.len);

    if (n < 1 || n > SANDBOX_KEY_LIMIT_MAX) {
        return "there is no such option, or its number is not 1 to 1000000";
    }

    if (is("sandboxes")) {
        jwt->sandboxes = n;
        return NGX_CONF_OK;
    }

    if (is("starts")) {
        jwt->starts = n;
        return NGX_CONF_OK;
    }

#undef is

    return "there is no such option";
}


static char *
ngx_http_sandbox_jwt_flag(ngx_str_t *value, ngx_uint_t *flag)
{
    *flag = value->len == 2 && ngx_strncmp(value->data, "on", 2) == 0;

    return *flag || (value->len == 3 && ngx_strncmp(value->data, "off", 3) == 0)
           ? NGX_CONF_OK : "it is on or off";
}


static char *
ngx_http_sandbox_jwt_text(ngx_conf_t *cf, ngx_str_t *value, const char **dst)
{
    u_char  *p;

    p = ngx_pnalloc(cf->pool, value->len + 1);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_cpystrn(p, value->data, value->len + 1);
    *dst = (char *) p;

    return NGX_CONF_OK;
}


static char *
ngx_http_sandbox_jwt_file(ngx_conf_t *cf, ngx_http_sandbox_jwt_t *jwt,
    ngx_str_t *path, sandbox_jwt_source source)
{
    if (jwt->nfiles == NGX_HTTP_SANDBOX_JWT_FILES) {
        return "more than 8 files";
    }

    jwt->files[jwt->nfiles] = ngx_http_sandbox_watch(cf, path,
                                                  ngx_http_sandbox_jwt_load,
                                                  ngx_http_sandbox_jwt_unload,
                                                  (void *) source);

    return jwt->files[jwt->nfiles++] ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static void *
ngx_http_sandbox_jwt_load(ngx_http_sandbox_watch_t *w, ngx_str_t *text,
    ngx_uint_t level, ngx_log_t *log)
{
    char               error[SANDBOX_JWT_ERROR_MAX];
    sandbox_jwt_keys  *keys;

    keys = sandbox_jwt_keys_parse((sandbox_jwt_source) (uintptr_t) w->data,
                                  (char *) text->data, text->len, error);
    if (keys == NULL) {
        ngx_log_error(level, log, 0, "\"%V\" is no file of keys for tokens: "
                      "%s", &w->path, error);
    }

    return keys;
}


static void
ngx_http_sandbox_jwt_unload(void *set)
{
    sandbox_jwt_keys_free(set);
}


ngx_int_t
ngx_http_sandbox_jwt_check(ngx_http_request_t *r, ngx_array_t *jwts,
    ngx_str_t *token, ngx_http_sandbox_caller_t *caller)
{
    const char               *why;
    ngx_uint_t                i, k;
    sandbox_jwt_claims        claims;
    const sandbox_jwt_keys   *sets[NGX_HTTP_SANDBOX_JWT_FILES];
    ngx_http_sandbox_jwt_t  **jwt;

    if (jwts == NULL || token->len > SANDBOX_JWT_MAX
        || ngx_strlchr(token->data, token->data + token->len, '.') == NULL)
    {
        return NGX_DECLINED;
    }

    jwt = jwts->elts;

    for (i = 0; i < jwts->nelts; i++) {

        for (k = 0; k < jwt[i]->nfiles; k++) {
            sets[k] = jwt[i]->files[k]->set;
        }

        why = sandbox_jwt_verify((char *) token->data, token->len, sets,
                                 jwt[i]->nfiles, &jwt[i]->rules, ngx_time(),
                                 &claims);
        if (why == NULL) {
            return ngx_http_sandbox_jwt_caller(r, jwt[i], &claims, caller);
        }

        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "a token is refused: %s", why);
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_sandbox_jwt_caller(ngx_http_request_t *r, ngx_http_sandbox_jwt_t *jwt,
    sandbox_jwt_claims *claims, ngx_http_sandbox_caller_t *caller)
{
    u_char  *p;

    caller->name.data = ngx_pnalloc(r->pool, sizeof("jwt:")
                                             + SANDBOX_JWT_NAME_MAX);
    p = ngx_pnalloc(r->pool, SANDBOX_JWT_TENANT_MAX + 1);

    if (caller->name.data == NULL || p == NULL) {
        return NGX_ERROR;
    }

    caller->name.len = ngx_sprintf(caller->name.data, "jwt:%s", claims->name)
                       - caller->name.data;

    caller->tenant.data = p;
    caller->tenant.len = ngx_sprintf(p, "%s", claims->tenant) - p;

    if (jwt->fixed) {
        caller->tenant = jwt->tenant;
    }

    caller->scopes = claims->scopes;
    caller->sandboxes = jwt->sandboxes;
    caller->starts = jwt->starts;
    caller->create = jwt->create;

    if (!jwt->admin) {
        caller->scopes &= ~SANDBOX_SCOPE_ADMIN;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_sandbox_jwt_is_ours(ngx_array_t *jwts, ngx_str_t *token)
{
    ngx_uint_t                i;
    ngx_http_sandbox_jwt_t  **jwt;

    jwt = jwts->elts;

    for (i = 0; i < jwts->nelts; i++) {
        if (sandbox_jwt_is_for((char *) token->data, token->len,
                               &jwt[i]->rules))
        {
            return 1;
        }
    }

    return 0;
}
