/*
 * The control API's hosts, and what `nginx -t` says of them: that they need
 * keys and exact names, and a domain without previews.
 */


#include "ngx_http_sandbox_api.h"


static ngx_int_t ngx_http_sandbox_api_server(ngx_conf_t *cf,
    ngx_http_core_srv_conf_t *cscf, ngx_http_sandbox_srv_conf_t *sscf);
static ngx_int_t ngx_http_sandbox_api_names(ngx_conf_t *cf,
    ngx_http_core_srv_conf_t *cscf, ngx_http_sandbox_srv_conf_t *sscf);
static void ngx_http_sandbox_api_check_domains(ngx_conf_t *cf,
    ngx_http_core_main_conf_t *cmcf, ngx_str_t *name);
static ngx_str_t ngx_http_sandbox_api_registrable(ngx_str_t *name);


ngx_int_t
ngx_http_sandbox_api_init(ngx_conf_t *cf)
{
    ngx_str_t                     *name;
    ngx_uint_t                     i, j;
    ngx_http_core_srv_conf_t     **cscfp;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_sandbox_srv_conf_t   *sscf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        sscf = cscfp[i]->ctx->srv_conf[ngx_http_sandbox_module.ctx_index];

        if (!sscf->api) {
            continue;
        }

        if (ngx_http_sandbox_api_server(cf, cscfp[i], sscf) != NGX_OK) {
            return NGX_ERROR;
        }

        name = sscf->api_hosts->elts;

        for (j = 0; j < sscf->api_hosts->nelts; j++) {
            ngx_http_sandbox_api_check_domains(cf, cmcf, &name[j]);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sandbox_api_server(ngx_conf_t *cf, ngx_http_core_srv_conf_t *cscf,
    ngx_http_sandbox_srv_conf_t *sscf)
{
    if (sscf->domains != NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"sandbox_api\" and \"sandbox_preview\" in one server "
                      "in %s:%ui: the API must not answer on a preview domain",
                      cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

    if (sscf->api_keys == NULL && sscf->api_jwt == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"sandbox_api\" needs \"sandbox_api_keys\" or "
                      "\"sandbox_api_jwt\" in %s:%ui: there is no API "
                      "without a key", cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

    if (ngx_http_sandbox_api_names(cf, cscf, sscf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (sscf->api_hosts->nelts == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"sandbox_api\" needs an exact \"server_name\" in "
                      "%s:%ui: the API answers on no other host",
                      cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * Copies the exact names, since nginx's own list doesn't outlive the reading
 * of the configuration.  Wildcards and expressions name hosts that nobody has
 * listed.
 */

static ngx_int_t
ngx_http_sandbox_api_names(ngx_conf_t *cf, ngx_http_core_srv_conf_t *cscf,
    ngx_http_sandbox_srv_conf_t *sscf)
{
    ngx_str_t               *host, *name;
    ngx_uint_t               i;
    ngx_http_server_name_t  *sn;

    sscf->api_hosts = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
    if (sscf->api_hosts == NULL) {
        return NGX_ERROR;
    }

    sn = cscf->server_names.elts;

    for (i = 0; i < cscf->server_names.nelts; i++) {
        name = &sn[i].name;

#if (NGX_PCRE)
        if (sn[i].regex != NULL) {
            continue;
        }
#endif

        if (name->len == 0 || name->data[0] == '.'
            || ngx_strlchr(name->data, name->data + name->len, '*') != NULL)
        {
            continue;
        }

        host = ngx_array_push(sscf->api_hosts);
        if (host == NULL) {
            return NGX_ERROR;
        }

        host->len = name->len;
        host->data = ngx_pnalloc(cf->pool, name->len);
        if (host->data == NULL) {
            return NGX_ERROR;
        }

        ngx_strlow(host->data, name->data, name->len);
    }

    return NGX_OK;
}


/*
 * Cookies and same-site rules go by registrable domains.  What is registrable
 * is a long list that changes; here it is the last two labels, which is right
 * for most names and only decides about a warning.
 */

static void
ngx_http_sandbox_api_check_domains(ngx_conf_t *cf,
    ngx_http_core_main_conf_t *cmcf, ngx_str_t *name)
{
    ngx_str_t                      ours, theirs, *domain;
    ngx_uint_t                     i, j, level;
    ngx_http_core_srv_conf_t     **cscfp;
    ngx_http_sandbox_srv_conf_t   *sscf;

    ours = ngx_http_sandbox_api_registrable(name);
    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        sscf = cscfp[i]->ctx->srv_conf[ngx_http_sandbox_module.ctx_index];

        if (sscf->domains == NULL) {
            continue;
        }

        domain = sscf->domains->elts;

        for (j = 0; j < sscf->domains->nelts; j++) {
            theirs = ngx_http_sandbox_api_registrable(&domain[j]);

            if (theirs.len != ours.len
                || ngx_strncasecmp(theirs.data, ours.data, ours.len) != 0)
            {
                continue;
            }

            /* "localhost": on one's own machine that is how it has to be. */

            level = NGX_LOG_NOTICE;

            if (ngx_strlchr(ours.data, ours.data + ours.len, '.') != NULL) {
                level = NGX_LOG_WARN;
            }

            ngx_log_error(level, cf->log, 0,
                          "the API on \"%V\" and the previews below \"%V\" "
                          "share the domain \"%V\": to browsers they are one "
                          "site; give previews a domain of their own", name,
                          &domain[j], &ours);
            return;
        }
    }
}


ngx_str_t *
ngx_http_sandbox_api_shares(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_str_t                      ours, theirs, *host;
    ngx_uint_t                     i, j;
    ngx_http_core_srv_conf_t     **cscfp;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_sandbox_srv_conf_t   *sscf;

    theirs = ngx_http_sandbox_api_registrable(name);

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        sscf = cscfp[i]->ctx->srv_conf[ngx_http_sandbox_module.ctx_index];

        if (!sscf->api) {
            continue;
        }

        host = sscf->api_hosts->elts;

        for (j = 0; j < sscf->api_hosts->nelts; j++) {
            ours = ngx_http_sandbox_api_registrable(&host[j]);

            if (ours.len == theirs.len
                && ngx_memcmp(ours.data, theirs.data, ours.len) == 0)
            {
                return &host[j];
            }
        }
    }

    return NULL;
}


static ngx_str_t
ngx_http_sandbox_api_registrable(ngx_str_t *name)
{
    u_char      *p;
    ngx_str_t    part;
    ngx_uint_t   dots;

    /* An address has no domain above it. */

    if (ngx_inet_addr(name->data, name->len) != INADDR_NONE) {
        return *name;
    }

    dots = 0;

    for (p = name->data + name->len; p > name->data; p--) {
        if (p[-1] == '.' && ++dots == 2) {
            break;
        }
    }

    part.data = p;
    part.len = name->data + name->len - p;

    return part;
}
