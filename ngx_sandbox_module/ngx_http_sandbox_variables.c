/*
 * The variables $sandbox_...: for logs, and for what a location sends upstream.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_zone.h"
#include "sandbox_route.h"


static ngx_int_t ngx_http_sandbox_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_sandbox_caller_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


/*
 * None of them holds a key or a token.  They are looked up anew each time,
 * since an internal redirect begins with a new context.
 */

enum {
    sandbox_var_host = 0,
    sandbox_var_upgrade,
    sandbox_var_connection,
    sandbox_var_id,
    sandbox_var_tenant,
    sandbox_var_key,
    sandbox_var_port,
    sandbox_var_state,
    sandbox_var_wait
};

static ngx_http_variable_t  ngx_http_sandbox_vars[] = {

    { ngx_string("sandbox_host"), NULL, ngx_http_sandbox_variable,
      sandbox_var_host, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sandbox_upgrade"), NULL, ngx_http_sandbox_variable,
      sandbox_var_upgrade, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sandbox_connection"), NULL, ngx_http_sandbox_variable,
      sandbox_var_connection, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sandbox_id"), NULL, ngx_http_sandbox_variable,
      sandbox_var_id, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sandbox_tenant"), NULL, ngx_http_sandbox_caller_variable,
      sandbox_var_tenant, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sandbox_key"), NULL, ngx_http_sandbox_caller_variable,
      sandbox_var_key, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sandbox_port"), NULL, ngx_http_sandbox_variable,
      sandbox_var_port, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sandbox_state"), NULL, ngx_http_sandbox_variable,
      sandbox_var_state, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sandbox_wake_time"), NULL, ngx_http_sandbox_variable,
      sandbox_var_wait, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("sandbox_wait_time"), NULL, ngx_http_sandbox_variable,
      sandbox_var_wait, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


/* By their numbers. */

ngx_str_t  ngx_http_sandbox_states[] = {
    ngx_null_string, ngx_string("created"), ngx_string("starting"),
    ngx_string("running"), ngx_string("sleeping"), ngx_string("asleep"),
    ngx_string("destroying"), ngx_string("unreachable")
};


static ngx_int_t
ngx_http_sandbox_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    u_char                  *p;
    ngx_str_t                value;
    ngx_http_sandbox_ctx_t  *ctx;

    ctx = ngx_http_sandbox_ctx(r);

    if (ctx == NULL || !ctx->authorised) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_str_null(&value);

    switch (data) {

    case sandbox_var_host:
        value = ctx->host;
        ctx->host_used = 1;
        break;

    case sandbox_var_upgrade:
        if (ctx->websocket) {
            ngx_str_set(&value, "websocket");
        }
        break;

    case sandbox_var_connection:
        if (ctx->websocket) {
            ngx_str_set(&value, "upgrade");
        }
        break;

    case sandbox_var_id:
        value = ngx_http_sandbox_local_id(&ctx->id);
        break;

    case sandbox_var_state:
        value = ngx_http_sandbox_states[ctx->state];
        break;

    default: /* sandbox_var_port, sandbox_var_wait */

        p = ngx_pnalloc(r->pool, NGX_INT64_LEN + 4);
        if (p == NULL) {
            return NGX_ERROR;
        }

        value.data = p;

        if (data == sandbox_var_wait) {
            p = ngx_sprintf(p, "%T.%03M", (time_t) (ctx->wait_time / 1000),
                            ctx->wait_time % 1000);

        } else if (!ctx->control) {
            p = ngx_sprintf(p, "%ud", (unsigned) ctx->port);
        }

        value.len = p - value.data;
        break;
    }

    v->data = value.data;
    v->len = value.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/*
 * Whose request it is: by the key on the API, by the sandbox's name on a
 * preview, where the prefix stands for a tenant that the zone doesn't know.
 * Requests for the API itself have them too.
 */

static ngx_int_t
ngx_http_sandbox_caller_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_int_t                      rc;
    ngx_str_t                      value;
    ngx_http_sandbox_ctx_t        *ctx;
    ngx_http_sandbox_main_conf_t  *smcf;

    ctx = ngx_http_sandbox_ctx(r);
    v->not_found = 1;

    if (ctx == NULL) {
        return NGX_OK;
    }

    if (ctx->caller) {
        value = data == sandbox_var_key ? ctx->caller->name
                                        : ctx->caller->tenant;

    } else {
        if (data == sandbox_var_key || !ctx->authorised
            || !sandbox_id_reserved((char *) ctx->id.data, ctx->id.len))
        {
            return NGX_OK;
        }

        smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);
        rc = ngx_http_sandbox_zone_tenant(smcf->zone, ctx->id.data, r->pool,
                                          &value);
        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc != NGX_OK) {
            value.data = ctx->id.data;
            value.len = SANDBOX_PREFIX_LEN;
        }
    }

    v->data = value.data;
    v->len = value.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


ngx_int_t
ngx_http_sandbox_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_sandbox_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}
