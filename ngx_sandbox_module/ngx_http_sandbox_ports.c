/*
 * Exposures: what the control API says of them.  Which there are is sandboxd's
 * business.
 */


#include "ngx_http_sandbox_api.h"


static void ngx_http_sandbox_ports_expose(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);
static ngx_int_t ngx_http_sandbox_ports_names(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *options);
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

    if (rc == NGX_OK) {
        rc = ngx_http_sandbox_ports_names(r, api, options);
    }

    if (rc != NGX_OK) {
        rc = rc == NGX_DONE ? NGX_OK : rc;
        goto failed;
    }

    request = json_pack("{s:s, s:s%, s:o}", "op", "expose", "sandbox",
                        api->id.data, api->id.len, "options", options);

    if (api->op == SANDBOX_OP_PORT_PATCH) {
        json_object_set_new(request, "patch", json_true());
    }

    if (api->caller->scopes & SANDBOX_SCOPE_ADMIN) {
        json_object_set_new(request, "admin", json_true());
    }

    ngx_http_sandbox_api_call(r, api, request, NGX_HTTP_SANDBOX_SLOW_TIMEOUT,
                              ngx_http_sandbox_ports_exposed);
    return;

failed:

    json_decref(options);
    ngx_http_finalize_request(r, rc);
}


/*
 * The member `hostnames`: none of them may be a name of this configuration, and
 * the one that the URL shall have is among them.  NGX_DONE: answered.
 */

static ngx_int_t
ngx_http_sandbox_ports_names(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *options)
{
    size_t      i;
    json_t     *names, *value;
    ngx_int_t   rc;
    ngx_str_t   name;

    names = json_object_get(options, "hostnames");

    json_array_foreach(names, i, value) {
        name.data = (u_char *) json_string_value(value);
        name.len = json_string_length(value);

        if (name.len && ngx_http_sandbox_name_reserved(r, &name)) {
            rc = ngx_http_sandbox_send_invalid(r, "hostnames", 0, "hostnames "
                                               "must not be names of the "
                                               "API's, nor of the configured "
                                               "preview domains");
            return rc == NGX_OK ? NGX_DONE : rc;
        }
    }

    if (ngx_http_sandbox_ports_lacks_host(api, names)) {
        rc = ngx_http_sandbox_ports_no_host(r, api);
        return rc == NGX_OK ? NGX_DONE : rc;
    }

    return NGX_OK;
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
    size_t      i;
    json_t     *ports, *exposure, *json;
    ngx_uint_t  found;

    found = 0;
    ports = json_array();

    json_array_foreach(json_object_get(result, "exposures"), i, exposure) {
        json = ngx_http_sandbox_exposure_json(r, api, exposure);

        if (json == NULL) {
            json_decref(ports);
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }

        found |= ngx_http_sandbox_ports_has_host(api,
                                 json_object_get(exposure, "hostnames"));

        json_object_set_new(json, "status", json_string("active"));
        json_array_append_new(ports, json);
    }

    if (!found && ngx_http_sandbox_ports_lacks_host(api, NULL)) {
        json_decref(ports);
        ngx_http_finalize_request(r, ngx_http_sandbox_ports_no_host(r, api));
        return;
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

        if (ngx_http_sandbox_ports_lacks_host(api,
                                 json_object_get(exposure, "hostnames")))
        {
            ngx_http_finalize_request(r,
                                  ngx_http_sandbox_ports_no_host(r, api));
            return;
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


/* {url, port, token, name, access, host, …}, without what isn't there. */

static json_t *
ngx_http_sandbox_exposure_json(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *exposure)
{
    json_t      *json, *member;
    ngx_uint_t   i;

    static const char  *names[] = { "port", "token", "name", "access",
                                    "host", "wake", "wakesPerMinute",
                                    "hostnames", "limits", NULL };

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
