/*
 * The URLs that lead to exposures.  Which labels exist is sandboxd's business;
 * here a label gets the domain, scheme and port under which the caller can
 * reach it.
 */


#include "ngx_http_sandbox_api.h"
#include "ngx_http_sandbox_zone.h"


#define NGX_HTTP_SANDBOX_DOMAINS_SHOWN  8


static ngx_uint_t ngx_http_sandbox_ports_domains(ngx_http_request_t *r,
    ngx_str_t *wanted, ngx_str_t *found, ngx_str_t *names);
static ngx_int_t ngx_http_sandbox_ports_hostname(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, ngx_str_t *hostname);
static ngx_int_t ngx_http_sandbox_ports_no_domain(ngx_http_request_t *r,
    ngx_uint_t count, const char *what, ngx_str_t *names);


ngx_int_t
ngx_http_sandbox_ports_url(ngx_http_request_t *r, ngx_http_sandbox_api_t *api,
    ngx_str_t *hostname, ngx_uint_t strict)
{
    ngx_int_t    rc;
    ngx_str_t    names;
    const char  *what;
    ngx_uint_t   count;

    ngx_http_sandbox_main_conf_t  *smcf;

    if (hostname->len) {
        if (ngx_http_sandbox_ports_hostname(r, api, hostname) != NGX_OK) {
            rc = ngx_http_sandbox_send_invalid(r, "hostname", 0, "hostname "
                                               "must be a domain, or a domain "
                                               "and a port");
            return rc == NGX_OK ? NGX_DONE : rc;
        }

        what = "hostname must be one of them";

    } else {
        what = "hostname is required, one of them";
    }

    count = ngx_http_sandbox_ports_domains(r, hostname, &api->domain, &names);

    if (names.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!strict && hostname->len == 0) {
        return NGX_OK;
    }

    if (api->domain.len == 0 && hostname->len && count) {

        smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);

        switch (ngx_http_sandbox_zone_domain(smcf->zone, hostname, &api->id)) {

        case NGX_OK:
            api->domain = *hostname;
            api->host = *hostname;
            return NGX_OK;

        case NGX_AGAIN:
            rc = ngx_http_sandbox_send_error(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                             "unavailable", "Domains are not "
                                             "known yet", 1);
            return rc == NGX_OK ? NGX_DONE : rc;

        default:
            api->host = *hostname;
            return NGX_OK;
        }
    }

    if (api->domain.len == 0 || (hostname->len == 0 && count > 1)) {
        rc = ngx_http_sandbox_ports_no_domain(r, count, what, &names);
        return rc == NGX_OK ? NGX_DONE : rc;
    }

    return NGX_OK;
}


/* "name", "name:port": the port of the URL is then the one named. */

static ngx_int_t
ngx_http_sandbox_ports_hostname(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, ngx_str_t *hostname)
{
    u_char     *p, *colon;
    ngx_int_t   port;

    for (p = hostname->data; p < hostname->data + hostname->len; p++) {
        *p = ngx_tolower(*p);
    }

    colon = ngx_strlchr(hostname->data, hostname->data + hostname->len, ':');

    if (colon != NULL) {
        port = ngx_atoi(colon + 1,
                        hostname->data + hostname->len - (colon + 1));

        if (port < 1 || port > 65535) {
            return NGX_ERROR;
        }

        api->url_port.data = ngx_pnalloc(r->pool, sizeof(":65535") - 1);
        if (api->url_port.data == NULL) {
            return NGX_ERROR;
        }

        api->url_port.len = ngx_sprintf(api->url_port.data, ":%i", port)
                            - api->url_port.data;

        hostname->len = colon - hostname->data;
    }

    return hostname->len ? NGX_OK : NGX_ERROR;
}


/*
 * Goes through the preview domains of all servers.  Returns how many there
 * are, in found the wanted one (or the first, if none is wanted), in names the
 * first few for people.
 */

static ngx_uint_t
ngx_http_sandbox_ports_domains(ngx_http_request_t *r, ngx_str_t *wanted,
    ngx_str_t *found, ngx_str_t *names)
{
    size_t                         size;
    u_char                        *p;
    ngx_str_t                     *domain;
    ngx_str_t                     *seen[NGX_HTTP_SANDBOX_DOMAINS_SHOWN];
    ngx_uint_t                     i, j, k, count;
    ngx_http_core_srv_conf_t     **cscfp;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_sandbox_srv_conf_t   *sscf;

    count = 0;
    size = NGX_HTTP_SANDBOX_DOMAINS_SHOWN
           * (NGX_HTTP_SANDBOX_LABEL_MAX + sizeof(", ") - 1);

    ngx_str_null(found);
    names->len = 0;
    names->data = ngx_pnalloc(r->pool, size);

    if (names->data == NULL) {
        return 0;
    }

    p = names->data;
    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        sscf = cscfp[i]->ctx->srv_conf[ngx_http_sandbox_module.ctx_index];

        if (sscf->domains == NULL) {
            continue;
        }

        domain = sscf->domains->elts;

        for (j = 0; j < sscf->domains->nelts; j++) {

            if (found->len == 0
                && (wanted->len == 0
                    || (wanted->len == domain[j].len
                        && ngx_memcmp(wanted->data, domain[j].data,
                                      wanted->len) == 0)))
            {
                *found = domain[j];
            }

            /* A domain in two servers, with and without TLS, is one. */

            for (k = 0; k < count; k++) {
                if (seen[k]->len == domain[j].len
                    && ngx_memcmp(seen[k]->data, domain[j].data,
                                  domain[j].len) == 0)
                {
                    break;
                }
            }

            if (k < count || count == NGX_HTTP_SANDBOX_DOMAINS_SHOWN) {
                continue;
            }

            p = ngx_slprintf(p, names->data + size, count ? ", %V" : "%V",
                             &domain[j]);
            seen[count++] = &domain[j];
        }
    }

    names->len = p - names->data;

    return count;
}


static ngx_int_t
ngx_http_sandbox_ports_no_domain(ngx_http_request_t *r, ngx_uint_t count,
    const char *what, ngx_str_t *names)
{
    u_char                    *p;
    ngx_http_sandbox_error_t   err;

    if (count == 0) {
        return ngx_http_sandbox_send_error(r, NGX_HTTP_NOT_IMPLEMENTED,
                                           "no_preview_domain", "No preview "
                                           "domain is configured on this "
                                           "server (sandbox_preview)", 0);
    }

    ngx_memzero(&err, sizeof(ngx_http_sandbox_error_t));

    p = ngx_pnalloc(r->pool, names->len + 128);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    err.status = NGX_HTTP_BAD_REQUEST;
    ngx_str_set(&err.code, "invalid_request");
    ngx_str_set(&err.field, "hostname");
    err.message.data = p;
    err.message.len = ngx_sprintf(p, "The preview domains of this server are "
                                  "%V: %s", names, what)
                      - p;

    return ngx_http_sandbox_send_failure(r, &err);
}


ngx_int_t
ngx_http_sandbox_ports_member(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, ngx_str_t *hostname)
{
    json_t     *member;
    ngx_int_t   rc;

    ngx_str_null(hostname);
    member = json_object_get(api->body, "hostname");

    if (member == NULL || json_is_null(member)) {
        return NGX_OK;
    }

    if (!json_is_string(member)) {
        rc = ngx_http_sandbox_send_invalid(r, "hostname", 0,
                                           "hostname must be a string");
        return rc == NGX_OK ? NGX_DONE : rc;
    }

    hostname->len = json_string_length(member);
    hostname->data = ngx_pnalloc(r->pool, hostname->len + 1);

    if (hostname->data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(hostname->data, json_string_value(member), hostname->len);

    return NGX_OK;
}


ngx_int_t
ngx_http_sandbox_ports_no_host(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api)
{
    ngx_str_t   found, names;
    ngx_uint_t  count;

    count = ngx_http_sandbox_ports_domains(r, &api->host, &found, &names);

    if (names.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_sandbox_ports_no_domain(r, count, "hostname must be one "
                                            "of them, or a host name of the "
                                            "port", &names);
}


ngx_uint_t
ngx_http_sandbox_ports_lacks_host(ngx_http_sandbox_api_t *api, json_t *names)
{
    return api->host.len && api->domain.len == 0
           && !ngx_http_sandbox_ports_has_host(api, names);
}


ngx_uint_t
ngx_http_sandbox_ports_has_host(ngx_http_sandbox_api_t *api, json_t *names)
{
    size_t   i;
    json_t  *name;

    if (api->host.len == 0) {
        return 0;
    }

    json_array_foreach(names, i, name) {
        if (json_string_length(name) == api->host.len
            && ngx_memcmp(json_string_value(name), api->host.data,
                          api->host.len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_sandbox_exposure_host(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *exposure, ngx_str_t *host)
{
    json_t  *label;

    if (ngx_http_sandbox_ports_has_host(api, json_object_get(exposure,
                                                             "hostnames")))
    {
        *host = api->host;
        return NGX_OK;
    }

    label = json_object_get(exposure, "label");

    if (!json_is_string(label) || api->domain.len == 0) {
        return NGX_DECLINED;
    }

    host->len = json_string_length(label) + 1 + api->domain.len;
    host->data = ngx_pnalloc(r->pool, host->len);

    if (host->data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_sprintf(host->data, "%s.%V", json_string_value(label),
                       &api->domain);

    return NGX_OK;
}


json_t *
ngx_http_sandbox_exposure_url(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *exposure)
{
    ngx_str_t    host, port;
    const char  *scheme;

    if (ngx_http_sandbox_exposure_host(r, api, exposure, &host) != NGX_OK) {
        return json_null();
    }

    scheme = "http";
    port = api->url_port;

    if (ngx_http_sandbox_https(r)) {
        scheme = "https";

        if (port.len == 4 && ngx_memcmp(port.data, ":443", 4) == 0) {
            port.len = 0;
        }
    }

    if (scheme[4] == '\0' && port.len == 3
        && ngx_memcmp(port.data, ":80", 3) == 0)
    {
        port.len = 0;
    }

    return json_sprintf("%s://%.*s%.*s/", scheme, (int) host.len,
                        (char *) host.data, (int) port.len,
                        (char *) port.data);
}
