/*
 * The control API: domains below which previews answer, besides those of the
 * configuration.  sandboxd has them; what this nginx serves as something else
 * is refused here, since sandboxd doesn't know it.
 */


#include "ngx_http_sandbox_api.h"

#include "sandbox_label.h"


static void ngx_http_sandbox_domains_put(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);
static void ngx_http_sandbox_domains_answer(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);
static void ngx_http_sandbox_domains_done(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);
static void ngx_http_sandbox_domains_gone(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);


ngx_int_t
ngx_http_sandbox_domains_handler(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api)
{
    json_t  *request;

    switch (api->op) {

    case SANDBOX_OP_DOMAIN_PUT:
        return ngx_http_sandbox_read_body(r, api,
                                          ngx_http_sandbox_domains_put);

    case SANDBOX_OP_DOMAIN_DELETE:
        request = json_pack("{s:s, s:o}", "op", "domain_delete", "name",
                            ngx_http_sandbox_json_string(&api->name));

        r->main->count++;
        ngx_http_sandbox_api_call(r, api, request,
                                  NGX_HTTP_SANDBOX_SLOW_TIMEOUT,
                                  ngx_http_sandbox_domains_gone);
        return NGX_DONE;

    default: /* SANDBOX_OP_DOMAINS */

        /* others than administrators see what they may use */

        request = json_pack("{s:s, s:b, s:o}", "op", "domains", "all",
                            (int) ((api->caller->scopes & SANDBOX_SCOPE_ADMIN)
                                   != 0),
                            "caller",
                            ngx_http_sandbox_caller_json(api->caller));

        r->main->count++;
        ngx_http_sandbox_api_call(r, api, request, 0,
                                  ngx_http_sandbox_domains_answer);
        return NGX_DONE;
    }
}


/* "tenant": a tenant's name, "" for the default one, "*" for all of them. */

static void
ngx_http_sandbox_domains_put(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api)
{
    json_t      *tenant, *request;
    ngx_int_t    rc;
    const char  *name;

    if (ngx_http_sandbox_name_reserved(r, &api->name)) {
        rc = ngx_http_sandbox_send_invalid(r, "name", 0, "this name is the "
                                           "API's, or that of a configured "
                                           "preview domain or below it");
        ngx_http_finalize_request(r, rc);
        return;
    }

    tenant = json_object_get(api->body, "tenant");
    name = "*";

    if (tenant != NULL && !json_is_null(tenant)) {
        name = json_string_value(tenant);

        if (name == NULL) {
            rc = ngx_http_sandbox_send_invalid(r, "tenant", 0,
                                               "tenant must be a string");
            ngx_http_finalize_request(r, rc);
            return;
        }
    }

    request = json_pack("{s:s, s:o}", "op", "domain_put", "name",
                        ngx_http_sandbox_json_string(&api->name));

    if (ngx_strcmp(name, "*") == 0) {
        json_object_set_new(request, "all", json_true());

    } else {
        json_object_set(request, "tenant", tenant);
    }

    ngx_http_sandbox_api_call(r, api, request, NGX_HTTP_SANDBOX_SLOW_TIMEOUT,
                              ngx_http_sandbox_domains_done);
}


static void
ngx_http_sandbox_domains_done(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result)
{
    json_t     *domain, *warnings;
    ngx_str_t  *host;

    static const char *const  known[] = { "tenant", NULL };

    domain = json_incref(json_object_get(result, "domain"));
    host = ngx_http_sandbox_api_shares(r, &api->name);

    ngx_http_sandbox_json_unknown(domain, api->body, known);

    if (host != NULL) {
        warnings = json_object_get(domain, "warnings");

        if (warnings == NULL) {
            warnings = json_array();
            json_object_set_new(domain, "warnings", warnings);
        }

        json_array_append_new(warnings,
            json_sprintf("to browsers these previews and the API on %.*s are "
                         "one site", (int) host->len, (char *) host->data));
    }

    ngx_http_finalize_request(r, ngx_http_sandbox_send_json(r, NGX_HTTP_OK,
                                                            domain));
}


static void
ngx_http_sandbox_domains_answer(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result)
{
    ngx_http_finalize_request(r, ngx_http_sandbox_send_json(r, NGX_HTTP_OK,
                                                        json_incref(result)));
}


static void
ngx_http_sandbox_domains_gone(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result)
{
    ngx_http_finalize_request(r, ngx_http_sandbox_send_none(r));
}


/*
 * Below a domain of the configuration only labels are served, and only one
 * label: nothing else there would ever be reached.
 */

ngx_uint_t
ngx_http_sandbox_name_reserved(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_str_t                     *own;
    ngx_uint_t                     i, j;
    ngx_http_core_srv_conf_t     **cscfp;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_sandbox_srv_conf_t   *sscf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        sscf = cscfp[i]->ctx->srv_conf[ngx_http_sandbox_module.ctx_index];

        own = sscf->api ? sscf->api_hosts->elts : NULL;

        for (j = 0; own && j < sscf->api_hosts->nelts; j++) {
            if (name->len == own[j].len
                && ngx_memcmp(name->data, own[j].data, name->len) == 0)
            {
                return 1;
            }
        }

        own = sscf->domains ? sscf->domains->elts : NULL;

        for (j = 0; own && j < sscf->domains->nelts; j++) {
            if (name->len < own[j].len
                || ngx_memcmp(name->data + name->len - own[j].len,
                              own[j].data, own[j].len)
                   != 0)
            {
                continue;
            }

            if (name->len == own[j].len
                || name->data[name->len - own[j].len - 1] == '.')
            {
                return 1;
            }
        }
    }

    return 0;
}
