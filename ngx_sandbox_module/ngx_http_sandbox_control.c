/*
 * The gate of the API: whose host, which route, who asks; what the agent
 * answers becomes the sandbox's request.  See _gate.c.
 */

#include "ngx_http_sandbox_api.h"
#include "ngx_http_sandbox_gate.h"
#include "ngx_http_sandbox_zone.h"

#include "sandbox_label.h"
#include "sandbox_key.h"
#include "sandbox_route.h"


static ngx_int_t ngx_http_sandbox_caller(ngx_http_request_t *r,
    sandbox_route *route);
static ngx_int_t ngx_http_sandbox_other_tenant(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t *caller, sandbox_route *route);
static ngx_int_t ngx_http_sandbox_browser(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx, sandbox_route *route);
static ngx_int_t ngx_http_sandbox_agent(ngx_http_request_t *r,
    sandbox_route *route);
static ngx_int_t ngx_http_sandbox_proxy(ngx_http_request_t *r,
    sandbox_route *route);
static ngx_uint_t ngx_http_sandbox_api_host(ngx_http_request_t *r,
    ngx_http_sandbox_srv_conf_t *sscf);


ngx_int_t
ngx_http_sandbox_control(ngx_http_request_t *r,
    ngx_http_sandbox_srv_conf_t *sscf)
{
    ngx_int_t                rc;
    sandbox_route            route;
    ngx_http_sandbox_ctx_t  *ctx;

    ctx = ngx_http_sandbox_ctx(r);

    if (ctx && ctx->authorised) {
        return NGX_DECLINED;
    }

    if (!ngx_http_sandbox_api_host(r, sscf)) {
        return ngx_http_sandbox_reject(r, NGX_HTTP_MISDIRECTED_REQUEST,
                                       "misdirected_request", "The API does "
                                       "not answer on this host", 0);
    }

    rc = ngx_http_sandbox_cors_preflight(r, sscf);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    sandbox_route_parse(r->method, (char *) r->unparsed_uri.data,
                        r->unparsed_uri.len, &route);

    if (!sandbox_route_is_private((char *) r->unparsed_uri.data,
                                  r->unparsed_uri.len))
    {
        r->content_handler = ngx_http_sandbox_api_handler;
        return NGX_DECLINED;
    }

    rc = ngx_http_sandbox_caller(r, &route);

    if (rc != NGX_OK) {
        return rc;
    }

    if (route.kind == SANDBOX_ROUTE_PROXY) {
        return ngx_http_sandbox_proxy(r, &route);
    }

    if (route.kind != SANDBOX_ROUTE_AGENT) {
        r->content_handler = ngx_http_sandbox_api_handler;
        return NGX_DECLINED;
    }

    return ngx_http_sandbox_agent(r, &route);
}


/* Who asks, and whether that is allowed. */

static ngx_int_t
ngx_http_sandbox_caller(ngx_http_request_t *r, sandbox_route *route)
{
    char                     message[64];
    ngx_int_t                rc;
    ngx_http_sandbox_ctx_t  *ctx;

    ctx = ngx_http_sandbox_ctx(r);

    if (ctx == NULL) {
        ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_sandbox_ctx_t));
        if (ctx == NULL) {
            return NGX_ERROR;
        }

        ngx_http_set_ctx(r, ctx, ngx_http_sandbox_module);
    }

    if (ctx->caller) {

        /* sandboxd was asked for the tenant's prefix */

        return ngx_http_sandbox_find_prefix(r, ctx->caller);
    }

    if (ngx_http_sandbox_browser(r, ctx, route) != NGX_OK
        || ngx_http_sandbox_audit(r, ctx, route) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_sandbox_authenticate(r, &ctx->caller);

    if (rc == NGX_DECLINED) {
        rc = ngx_http_sandbox_ticket(r, route, &ctx->ticket, &ctx->caller);
    }

    if (rc == NGX_DONE) {
        return rc;
    }

    if (rc != NGX_OK) {
        return ngx_http_sandbox_reject_caller(r, rc);
    }

    ngx_http_sandbox_audit_caller(ctx);

    if ((ctx->caller->scopes & route->scope) != route->scope) {
        (void) snprintf(message, sizeof(message),
                        "This key lacks the scope \"%s\"",
                        sandbox_scope_name(route->scope));

        return ngx_http_sandbox_reject(r, NGX_HTTP_FORBIDDEN, "forbidden",
                                       message, 0);
    }

    rc = ngx_http_sandbox_other_tenant(r, ctx->caller, route);

    return rc == NGX_OK ? ngx_http_sandbox_find_prefix(r, ctx->caller) : rc;
}


/*
 * `?tenant=` of an administrator: another tenant's sandboxes, for what is
 * answered here.  Nothing inside is done in another's name.
 */

static ngx_int_t
ngx_http_sandbox_other_tenant(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t *caller, sandbox_route *route)
{
    ngx_str_t  tenant;

    /* a port's query is its app's */

    if (route->kind == SANDBOX_ROUTE_PROXY || r->args.len == 0
        || ngx_http_sandbox_api_arg(r, "tenant", &tenant) != NGX_OK)
    {
        return NGX_OK;
    }

    if (!(caller->scopes & SANDBOX_SCOPE_ADMIN)) {
        return ngx_http_sandbox_reject(r, NGX_HTTP_FORBIDDEN, "forbidden",
                                       "This key lacks the scope \"admin\", "
                                       "which tenant takes", 0);
    }

    if (route->kind == SANDBOX_ROUTE_AGENT) {
        return ngx_http_sandbox_reject(r, NGX_HTTP_BAD_REQUEST,
                                       "invalid_request", "tenant: nothing "
                                       "inside a sandbox is done in another "
                                       "tenant's name", 0);
    }

    if (tenant.len == 1 && tenant.data[0] == '*'
        && route->op == SANDBOX_OP_LIST)
    {
        caller->everybody = 1;
        return NGX_OK;
    }

    if (tenant.len
        && !sandbox_tenant_valid((char *) tenant.data, tenant.len))
    {
        return ngx_http_sandbox_reject(r, NGX_HTTP_BAD_REQUEST,
                                       "invalid_request", "tenant must be a "
                                       "tenant's name: 1 to 64 of A-Z, a-z, "
                                       "0-9 and ._@+-", 0);
    }

    caller->tenant = tenant;
    caller->named = 1;

    return NGX_OK;
}


/*
 * What browsers bring where they can't set a header: a ticket, or a key in the
 * address.  Both leave the request, whether they count or not.
 */

static ngx_int_t
ngx_http_sandbox_browser(ngx_http_request_t *r, ngx_http_sandbox_ctx_t *ctx,
    sandbox_route *route)
{
    u_char                       *dst, *src;
    ngx_str_t                    *arg;
    ngx_uint_t                    i;
    ngx_list_part_t              *part;
    ngx_table_elt_t              *h;
    ngx_http_sandbox_srv_conf_t  *sscf;

    static const u_char  name[] = "sec-websocket-protocol";

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        while (i >= part->nelts && part->next != NULL) {
            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (i >= part->nelts) {
            break;
        }

        if (h[i].key.len == sizeof(name) - 1
            && ngx_memcmp(h[i].lowcase_key, name, sizeof(name) - 1) == 0
            && ngx_http_sandbox_ticket_cut(r, &h[i], &ctx->ticket) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_sandbox_module);
    arg = ngx_http_sandbox_scrubbed(r);

    if (arg == NULL || !sscf->api_query_auth
        || r->headers_in.authorization != NULL
        || route->kind != SANDBOX_ROUTE_AGENT
        || route->path_len != sizeof("/bridge/pty") - 1
        || ngx_memcmp(route->path, "/bridge/pty", route->path_len) != 0)
    {
        return NGX_OK;
    }

    ctx->credential.data = ngx_pnalloc(r->pool, arg->len + 1);
    if (ctx->credential.data == NULL) {
        return NGX_ERROR;
    }

    dst = ctx->credential.data;
    src = arg->data;

    ngx_unescape_uri(&dst, &src, arg->len, 0);

    ctx->credential.len = dst - ctx->credential.data;

    return NGX_OK;
}


/* What the agent answers: from here on the request is the sandbox's. */

static ngx_int_t
ngx_http_sandbox_agent(ngx_http_request_t *r, sandbox_route *route)
{
    ngx_str_t                id;
    ngx_http_sandbox_ctx_t  *ctx;

    ctx = ngx_http_sandbox_ctx(r);

    id.data = (u_char *) route->id;
    id.len = route->id_len;

    r->uri.len = route->path_len;
    r->uri.data = ngx_pnalloc(r->pool, route->path_len);

    if (r->uri.data == NULL
        || ngx_http_sandbox_qualify(r->pool, ctx->caller, &id, &ctx->id)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(r->uri.data, route->path, route->path_len);

    /* the agent gets this path, escaped anew, and nothing else */

    r->valid_unparsed_uri = 0;
    r->quoted_uri = 1;

    ctx->host = r->headers_in.server;
    ctx->api = 1;
    ctx->control = 1;

    /*
     * What it names can't be in a sandbox that isn't there, and a stream that
     * is taken up again after a destruction must not make another one.
     */

    ctx->create = ctx->caller->create && !route->inside;
    ctx->inside = route->inside;

    if (ngx_http_sandbox_request_headers(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->authorised = 1;

    return NGX_DECLINED;
}


/* What the agent would say, which clients know. */

void
ngx_http_sandbox_inside_error(ngx_http_request_t *r,
    ngx_http_sandbox_error_t *err)
{
    ngx_uint_t  i;

    static const struct {
        ngx_str_t  path;
        ngx_str_t  code;
    } things[] = {
        { ngx_string("/api/process/"), ngx_string("PROCESS_NOT_FOUND") },
        { ngx_string("/api/contexts/"), ngx_string("CONTEXT_NOT_FOUND") },
        { ngx_string("/bridge/process/"), ngx_string("process_not_found") },
        { ngx_string("/bridge/contexts/"), ngx_string("context_not_found") }
    };

    for (i = 0; i < sizeof(things) / sizeof(things[0]); i++) {
        if (r->uri.len > things[i].path.len
            && ngx_memcmp(r->uri.data, things[i].path.data,
                          things[i].path.len)
               == 0)
        {
            err->code = things[i].code;
            return;
        }
    }
}


/*
 * A port inside, for who has a key: nothing is exposed.  The app gets what is
 * behind the port in the path, as it was spelled, and is answered where it is
 * asked: its redirects lead to this same path.
 */

static ngx_int_t
ngx_http_sandbox_proxy(ngx_http_request_t *r, sandbox_route *route)
{
    size_t                   prefix;
    u_char                  *p;
    unsigned                 port;
    ngx_str_t                id;
    ngx_http_sandbox_ctx_t  *ctx;

    ctx = ngx_http_sandbox_ctx(r);

    id.data = (u_char *) route->id;
    id.len = route->id_len;

    ctx->port = (uint16_t) route->port;
    ctx->api = 1;
    ctx->proxied = 1;
    ctx->create = ctx->caller->create;

    if (!ngx_http_sandbox_host(r, &port)
        || ngx_http_sandbox_origin(r, ctx, port) != NGX_OK
        || ngx_http_sandbox_qualify(r->pool, ctx->caller, &id, &ctx->id)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    prefix = (u_char *) route->rest - r->unparsed_uri.data;

    p = ngx_pnalloc(r->pool, ctx->origin.len + prefix);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ngx_cpymem(p, ctx->origin.data, ctx->origin.len),
               r->unparsed_uri.data, prefix);

    ctx->origin.data = p;
    ctx->origin.len += prefix;

    if (route->rest_len) {
        r->uri.data = (u_char *) route->rest;
        r->uri.len = route->rest_len;

    } else {
        ngx_str_set(&r->uri, "/");
    }

    /* proxy_pass sends this path as it is */

    r->valid_unparsed_uri = 0;
    r->quoted_uri = 0;

    if (ngx_http_sandbox_request_headers(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->authorised = 1;

    return NGX_DECLINED;
}


/*
 * The host has to be one of the server's names, letter by letter: what nginx
 * brings here as the default server, or through a wildcard, is somebody else's
 * name, such as one that a web page has pointed at this address.
 */

static ngx_uint_t
ngx_http_sandbox_api_host(ngx_http_request_t *r,
    ngx_http_sandbox_srv_conf_t *sscf)
{
    unsigned     port;
    ngx_str_t   *name, *server;
    ngx_uint_t   i;

    server = &r->headers_in.server;

    if (!ngx_http_sandbox_host(r, &port)) {
        return 0;
    }

    name = sscf->api_hosts->elts;

    for (i = 0; i < sscf->api_hosts->nelts; i++) {
        if (name[i].len == server->len
            && ngx_memcmp(name[i].data, server->data, server->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}
