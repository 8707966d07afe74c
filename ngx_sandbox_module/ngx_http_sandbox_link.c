/*
 * POST /v1/sandbox/{id}/ports/{port}/link: an address of a private preview
 * that opens it in a browser, for as long as was asked for.  The link and the
 * cookie that it is exchanged for end at the same time, or when the exposure
 * is rotated.
 */


#include "ngx_http_sandbox_api.h"


#define NGX_HTTP_SANDBOX_LINK_DEFAULT  3600
#define NGX_HTTP_SANDBOX_LINK_MAX      (30 * 24 * 3600)
#define NGX_HTTP_SANDBOX_LINK_PATH     2048


typedef struct {
    time_t                        seconds;
    ngx_uint_t                    embed;
    ngx_str_t                     path;
} ngx_http_sandbox_link_t;


static void ngx_http_sandbox_link_asked(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);
static ngx_int_t ngx_http_sandbox_link_read(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, ngx_http_sandbox_link_t *link);
static ngx_int_t ngx_http_sandbox_link_invalid(ngx_http_request_t *r,
    const char *field, json_int_t limit, const char *message);
static void ngx_http_sandbox_link_found(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);
static json_t *ngx_http_sandbox_link_answer(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *exposure);
static json_t *ngx_http_sandbox_link_url(ngx_http_sandbox_link_t *link,
    const char *url, const char *pass);


ngx_int_t
ngx_http_sandbox_link_handler(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api)
{
    return ngx_http_sandbox_read_body(r, api, ngx_http_sandbox_link_asked);
}


static void
ngx_http_sandbox_link_asked(ngx_http_request_t *r, ngx_http_sandbox_api_t *api)
{
    json_t                   *request;
    ngx_int_t                 rc;
    ngx_str_t                 hostname;
    ngx_http_sandbox_link_t  *link;

    link = ngx_pcalloc(r->pool, sizeof(ngx_http_sandbox_link_t));
    if (link == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    api->data = link;

    rc = ngx_http_sandbox_link_read(r, api, link);

    if (rc == NGX_OK) {
        rc = ngx_http_sandbox_ports_member(r, api, &hostname);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_sandbox_ports_url(r, api, &hostname, 1);
    }

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, rc == NGX_DONE ? NGX_OK : rc);
        return;
    }

    request = json_pack("{s:s, s:s%}", "op", "ports", "sandbox", api->id.data,
                        api->id.len);

    ngx_http_sandbox_api_call(r, api, request, 0, ngx_http_sandbox_link_found);
}


/* NGX_DONE: something is wrong, and has been answered. */

static ngx_int_t
ngx_http_sandbox_link_read(ngx_http_request_t *r, ngx_http_sandbox_api_t *api,
    ngx_http_sandbox_link_t *link)
{
    json_t  *member;

    link->seconds = NGX_HTTP_SANDBOX_LINK_DEFAULT;
    ngx_str_set(&link->path, "/");

    member = json_object_get(api->body, "expires");

    if (member != NULL && !json_is_null(member)) {
        link->seconds = ngx_http_sandbox_json_seconds(member);

        if (link->seconds < 1 || link->seconds > NGX_HTTP_SANDBOX_LINK_MAX) {
            return ngx_http_sandbox_link_invalid(r, "expires",
                                                 NGX_HTTP_SANDBOX_LINK_MAX,
                                                 "expires must be 1 second to "
                                                 "30 days: seconds, or like "
                                                 "\"90s\", \"10m\", \"2h\", "
                                                 "\"7d\"");
        }
    }

    member = json_object_get(api->body, "embed");

    if (member != NULL && !json_is_null(member)) {
        if (!json_is_boolean(member)) {
            return ngx_http_sandbox_link_invalid(r, "embed", 0,
                                                 "embed must be a boolean");
        }

        link->embed = json_is_true(member);
    }

    member = json_object_get(api->body, "path");

    if (member == NULL || json_is_null(member)) {
        return NGX_OK;
    }

    link->path.data = (u_char *) json_string_value(member);
    link->path.len = json_string_length(member);

    if (link->path.data == NULL || link->path.len > NGX_HTTP_SANDBOX_LINK_PATH
        || !sandbox_path_local((char *) link->path.data, link->path.len))
    {
        return ngx_http_sandbox_link_invalid(r, "path",
                                             NGX_HTTP_SANDBOX_LINK_PATH,
                                             "path must begin with one slash, "
                                             "have no blanks, and at most "
                                             "2048 bytes");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sandbox_link_invalid(ngx_http_request_t *r, const char *field,
    json_int_t limit, const char *message)
{
    ngx_int_t  rc;

    rc = ngx_http_sandbox_send_invalid(r, field, limit, message);

    return rc == NGX_OK ? NGX_DONE : rc;
}


static void
ngx_http_sandbox_link_found(ngx_http_request_t *r, ngx_http_sandbox_api_t *api,
    json_t *result)
{
    size_t       i;
    json_t      *exposure;
    ngx_int_t    rc;
    const char  *access;

    json_array_foreach(json_object_get(result, "exposures"), i, exposure) {

        if (json_integer_value(json_object_get(exposure, "port"))
            != (json_int_t) api->port)
        {
            continue;
        }

        access = json_string_value(json_object_get(exposure, "access"));

        if (access == NULL || ngx_strcmp(access, "private") != 0) {
            rc = ngx_http_sandbox_send_error(r, NGX_HTTP_CONFLICT,
                                             "not_private", "This port is not "
                                             "exposed with access \"private\":"
                                             " it needs no link", 0);

        } else if (ngx_http_sandbox_ports_lacks_host(api,
                                   json_object_get(exposure, "hostnames")))
        {
            rc = ngx_http_sandbox_ports_no_host(r, api);

        } else {
            rc = ngx_http_sandbox_send_json(r, NGX_HTTP_OK,
                                       ngx_http_sandbox_link_answer(r, api,
                                                                  exposure));
        }

        ngx_http_finalize_request(r, rc);
        return;
    }

    rc = ngx_http_sandbox_send_error(r, NGX_HTTP_NOT_FOUND, "port_not_exposed",
                                     "This port is not exposed", 0);

    ngx_http_finalize_request(r, rc);
}


/* {url, port, path, embed, expiresAt}, or NULL. */

static json_t *
ngx_http_sandbox_link_answer(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *exposure)
{
    char                           text[SANDBOX_PASS_TEXT + 1];
    json_t                        *url, *link_url, *answer;
    ngx_tm_t                       tm;
    ngx_str_t                      host;
    sandbox_pass                   pass;
    sandbox_pass_bound             bound;
    ngx_http_sandbox_link_t       *link;
    ngx_http_sandbox_main_conf_t  *smcf;

    static const char *const  known[] = { "expires", "path", "embed",
                                          "hostname", NULL };

    link = api->data;
    url = ngx_http_sandbox_exposure_url(r, api, exposure);

    if (!json_is_string(url)
        || ngx_http_sandbox_exposure_host(r, api, exposure, &host) != NGX_OK)
    {
        json_decref(url);
        return NULL;
    }

    /* the name that browsers will ask for, with which the cookie is signed */

    bound.host = (char *) host.data;
    bound.host_len = host.len;
    bound.slot = (uint32_t) json_integer_value(json_object_get(exposure,
                                                               "slot"));
    bound.port = api->port;

    pass.kind = SANDBOX_PASS_LINK;
    pass.embed = (int) link->embed;
    pass.gen = (uint32_t) json_integer_value(json_object_get(exposure, "gen"));
    pass.expires = (uint64_t) (ngx_time() + link->seconds);

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);

    if (pass.gen == 0
        || sandbox_pass_sign(text, smcf->signer, &pass, &bound) != 0)
    {
        json_decref(url);
        return NULL;
    }

    text[SANDBOX_PASS_TEXT] = '\0';
    link_url = ngx_http_sandbox_link_url(link, json_string_value(url), text);
    json_decref(url);

    ngx_gmtime((time_t) pass.expires, &tm);

    answer = json_pack("{s:o, s:i, s:s%, s:b, s:o}", "url", link_url,
                       "port", (int) api->port,
                       "path", (char *) link->path.data, link->path.len,
                       "embed", (int) link->embed, "expiresAt",
                       json_sprintf("%04d-%02d-%02dT%02d:%02d:%02d.000Z",
                                    tm.ngx_tm_year, tm.ngx_tm_mon,
                                    tm.ngx_tm_mday, tm.ngx_tm_hour,
                                    tm.ngx_tm_min, tm.ngx_tm_sec));

    ngx_http_sandbox_json_unknown(answer, api->body, known);

    return answer;
}


/* The argument goes in front of a fragment, behind other arguments. */

static json_t *
ngx_http_sandbox_link_url(ngx_http_sandbox_link_t *link, const char *url,
    const char *pass)
{
    size_t   len;
    u_char  *hash, *last;

    last = link->path.data + link->path.len;
    hash = ngx_strlchr(link->path.data, last, '#');

    if (hash == NULL) {
        hash = last;
    }

    len = hash - link->path.data;

    /* the URL ends with the slash that the path begins with */

    return json_sprintf("%s%.*s%c" NGX_HTTP_SANDBOX_LINK_ARG "=%s%.*s", url,
                        (int) len - 1, (char *) link->path.data + 1,
                        ngx_strlchr(link->path.data, hash, '?') ? '&' : '?',
                        pass, (int) (last - hash), (char *) hash);
}
