/*
 * Exposures: what the control API says of them, and the URLs that lead to
 * them.  Which labels exist is sandboxd's business; here a label gets the
 * domain, scheme and port under which the caller can reach it.
 */


#include "ngx_http_sandbox_api.h"


#define NGX_HTTP_SANDBOX_DOMAINS_SHOWN  8


static ngx_uint_t ngx_http_sandbox_ports_domains(ngx_http_request_t *r,
    ngx_str_t *wanted, ngx_str_t *found, ngx_str_t *names);
static ngx_int_t ngx_http_sandbox_ports_hostname(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, ngx_str_t *hostname);
static ngx_int_t ngx_http_sandbox_ports_no_domain(ngx_http_request_t *r,
    ngx_uint_t count, const char *what, ngx_str_t *names);

static void ngx_http_sandbox_ports_expose(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);
static void ngx_http_sandbox_ports_exposed(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);
static void ngx_http_sandbox_ports_listed(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);
static void ngx_http_sandbox_ports_one(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);
static void ngx_http_sandbox_ports_unexposed(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);
static json_t *ngx_http_sandbox_exposure_json(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *exposure);


ngx_int_t
ngx_http_sandbox_ports_handler(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api)
{
    json_t     *request;
    ngx_int_t   rc;
    ngx_str_t   hostname;

    if (api->op == SANDBOX_OP_EXPOSE || api->op == SANDBOX_OP_PORT_PUT
        || api->op == SANDBOX_OP_PORT_PATCH)
    {
        return ngx_http_sandbox_read_body(r, api,
                                          ngx_http_sandbox_ports_expose);
    }

    if (api->op == SANDBOX_OP_UNEXPOSE) {
        request = json_pack("{s:s, s:s%, s:i}", "op", "unexpose",
                            "sandbox", api->id.data, api->id.len,
                            "port", (int) api->port);

        r->main->count++;
        ngx_http_sandbox_api_call(r, api, request,
                                  NGX_HTTP_SANDBOX_SLOW_TIMEOUT,
                                  ngx_http_sandbox_ports_unexposed);
        return NGX_DONE;
    }

    if (ngx_http_sandbox_api_arg(r, "hostname", &hostname) != NGX_OK) {
        ngx_str_null(&hostname);
    }

    rc = ngx_http_sandbox_ports_url(r, api, &hostname, 0);
    if (rc != NGX_OK) {
        return rc == NGX_DONE ? NGX_OK : rc;
    }

    request = json_pack("{s:s, s:s%}", "op", "ports", "sandbox", api->id.data,
                        api->id.len);

    r->main->count++;
    ngx_http_sandbox_api_call(r, api, request, 0,
                              api->op == SANDBOX_OP_PORT_GET
                              ? ngx_http_sandbox_ports_one
                              : ngx_http_sandbox_ports_listed);

    return NGX_DONE;
}


ngx_int_t
ngx_http_sandbox_ports_url(ngx_http_request_t *r, ngx_http_sandbox_api_t *api,
    ngx_str_t *hostname, ngx_uint_t strict)
{
    ngx_int_t    rc;
    ngx_str_t    names;
    const char  *what;
    ngx_uint_t   count;

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


static void
ngx_http_sandbox_ports_expose(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api)
{
    json_t     *options, *member, *request;
    ngx_int_t   rc;
    ngx_str_t   hostname;

    options = api->body != NULL ? json_copy(api->body) : json_object();

    if (options == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    rc = ngx_http_sandbox_ports_member(r, api, &hostname);

    if (rc != NGX_OK) {
        rc = rc == NGX_DONE ? NGX_OK : rc;
        goto failed;
    }

    json_object_del(options, "hostname");

    if (api->port) {
        member = json_object_get(options, "port");

        if (member != NULL
            && json_integer_value(member) != (json_int_t) api->port)
        {
            rc = ngx_http_sandbox_send_invalid(r, "port", 0, "port must be "
                                               "the one in the path, or be "
                                               "left out");
            goto failed;
        }

        json_object_set_new(options, "port", json_integer(api->port));
    }

    rc = ngx_http_sandbox_ports_url(r, api, &hostname, 1);

    if (rc != NGX_OK) {
        rc = rc == NGX_DONE ? NGX_OK : rc;
        goto failed;
    }

    request = json_pack("{s:s, s:s%, s:o}", "op", "expose", "sandbox",
                        api->id.data, api->id.len, "options", options);

    if (api->op == SANDBOX_OP_PORT_PATCH) {
        json_object_set_new(request, "patch", json_true());
    }

    ngx_http_sandbox_api_call(r, api, request, NGX_HTTP_SANDBOX_SLOW_TIMEOUT,
                              ngx_http_sandbox_ports_exposed);
    return;

failed:

    json_decref(options);
    ngx_http_finalize_request(r, rc);
}


static void
ngx_http_sandbox_ports_exposed(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result)
{
    json_t  *answer, *warnings;

    answer = ngx_http_sandbox_exposure_json(r, api,
                                            json_object_get(result,
                                                            "exposure"));
    warnings = json_object_get(result, "warnings");

    if (answer != NULL && json_array_size(warnings)) {
        json_object_set(answer, "warnings", warnings);
    }

    ngx_http_finalize_request(r, ngx_http_sandbox_send_json(r, NGX_HTTP_OK,
                                                            answer));
}


static void
ngx_http_sandbox_ports_listed(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result)
{
    size_t   i;
    json_t  *ports, *exposure, *json;

    ports = json_array();

    json_array_foreach(json_object_get(result, "exposures"), i, exposure) {
        json = ngx_http_sandbox_exposure_json(r, api, exposure);

        if (json == NULL) {
            json_decref(ports);
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }

        json_object_set_new(json, "status", json_string("active"));
        json_array_append_new(ports, json);
    }

    ngx_http_finalize_request(r, ngx_http_sandbox_send_json(r, NGX_HTTP_OK,
                                              json_pack("{s:o}", "ports",
                                                        ports)));
}


static void
ngx_http_sandbox_ports_one(ngx_http_request_t *r, ngx_http_sandbox_api_t *api,
    json_t *result)
{
    size_t      i;
    json_t     *exposure, *json;
    ngx_int_t   rc;

    json_array_foreach(json_object_get(result, "exposures"), i, exposure) {

        if (json_integer_value(json_object_get(exposure, "port"))
            != (json_int_t) api->port)
        {
            continue;
        }

        json = ngx_http_sandbox_exposure_json(r, api, exposure);

        if (json != NULL) {
            json_object_set_new(json, "status", json_string("active"));
        }

        ngx_http_finalize_request(r, ngx_http_sandbox_send_json(r, NGX_HTTP_OK,
                                                                json));
        return;
    }

    rc = ngx_http_sandbox_send_error(r, NGX_HTTP_NOT_FOUND, "port_not_exposed",
                                     "This port is not exposed", 0);

    ngx_http_finalize_request(r, rc);
}


static void
ngx_http_sandbox_ports_unexposed(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result)
{
    ngx_http_finalize_request(r, ngx_http_sandbox_send_none(r));
}


/* {url, port, token, name, access, host}, without what isn't there. */

static json_t *
ngx_http_sandbox_exposure_json(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *exposure)
{
    json_t      *json, *member;
    ngx_uint_t   i;

    static const char  *names[] = { "port", "token", "name", "access",
                                    "host", "wake", "wakesPerMinute",
                                    "limits", NULL };

    json = json_object();

    if (json == NULL || !json_is_object(exposure)) {
        json_decref(json);
        return NULL;
    }

    json_object_set_new(json, "url",
                        ngx_http_sandbox_exposure_url(r, api, exposure));

    for (i = 0; names[i]; i++) {
        member = json_object_get(exposure, names[i]);

        if (member == NULL || json_is_null(member)
            || (json_is_string(member) && json_string_length(member) == 0))
        {
            continue;
        }

        json_object_set(json, names[i], member);
    }

    return json;
}


json_t *
ngx_http_sandbox_exposure_url(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *exposure)
{
    ngx_str_t    port;
    const char  *label, *scheme;

    label = json_string_value(json_object_get(exposure, "label"));

    if (label == NULL) {
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

    if (strchr(label, '.') != NULL) {
        return json_sprintf("%s://%s%.*s/", scheme, label, (int) port.len,
                            port.data);
    }

    if (api->domain.len == 0) {
        return json_null();
    }

    return json_sprintf("%s://%s.%.*s%.*s/", scheme, label,
                        (int) api->domain.len, api->domain.data,
                        (int) port.len, port.data);
}
