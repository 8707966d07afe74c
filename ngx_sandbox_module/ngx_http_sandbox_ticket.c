/*
 * Tickets: what a browser, which can't add a key to a WebSocket's handshake,
 * brings instead, as an entry of Sec-WebSocket-Protocol.  A ticket is signed
 * for one sandbox, route, scope and Origin, lives for a minute at most, and
 * opens one WebSocket.  That it was used is written down in the zone, in a
 * table of a fixed size, so that it counts once for all workers.
 */


#include "ngx_http_sandbox_api.h"
#include "ngx_http_sandbox_node.h"

#include <openssl/rand.h>


#define NGX_HTTP_SANDBOX_TICKET        "sandbox-ticket."
#define NGX_HTTP_SANDBOX_TICKET_WAYS   16
#define NGX_HTTP_SANDBOX_TICKETS_MIN   256
#define NGX_HTTP_SANDBOX_TICKETS_MAX   8192
#define NGX_HTTP_SANDBOX_TICKET_ROUTE  1024


/* One that was used, until it would have ended by itself. */

typedef struct {
    uint32_t                      expires;     /* 0: free */
    u_char                        nonce[SANDBOX_NONCE_LEN];
} ngx_http_sandbox_used_t;


static ngx_int_t ngx_http_sandbox_ticket_use(ngx_http_request_t *r,
    sandbox_ticket *ticket);
static ngx_int_t ngx_http_sandbox_ticket_caller(ngx_http_request_t *r,
    sandbox_ticket *ticket, ngx_http_sandbox_caller_t **caller);
static void ngx_http_sandbox_ticket_asked(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);
static ngx_int_t ngx_http_sandbox_ticket_read(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, sandbox_ticket_bound *bound,
    sandbox_ticket *ticket, json_t **answer);
static ngx_int_t ngx_http_sandbox_ticket_invalid(ngx_http_request_t *r,
    const char *field, json_int_t limit, const char *message);
static ngx_int_t ngx_http_sandbox_ticket_route(ngx_pool_t *pool,
    sandbox_route *route, ngx_str_t *text);
static ngx_int_t ngx_http_sandbox_ticket_tenant(ngx_pool_t *pool,
    ngx_http_sandbox_caller_t *caller, sandbox_ticket *ticket);


/* The zone's table */


ngx_int_t
ngx_http_sandbox_ticket_init(ngx_http_sandbox_shctx_t *sh,
    ngx_slab_pool_t *shpool, size_t size)
{
    ngx_uint_t  n;

    /* at most a 64th of the zone */

    for (n = NGX_HTTP_SANDBOX_TICKETS_MIN;
         n < NGX_HTTP_SANDBOX_TICKETS_MAX
         && n * 2 * sizeof(ngx_http_sandbox_used_t) * 64 <= size;
         n *= 2)
    {
        /* void */
    }

    sh->tickets = ngx_slab_calloc_locked(shpool,
                                    n * sizeof(ngx_http_sandbox_used_t));
    sh->ticket_mask = n / NGX_HTTP_SANDBOX_TICKET_WAYS - 1;

    return sh->tickets ? NGX_OK : NGX_ERROR;
}


/* NGX_OK for the first one, NGX_DECLINED, or NGX_BUSY without a place. */

static ngx_int_t
ngx_http_sandbox_ticket_use(ngx_http_request_t *r, sandbox_ticket *ticket)
{
    time_t                         now;
    uint32_t                       place;
    ngx_int_t                      rc;
    ngx_uint_t                     i;
    ngx_http_sandbox_used_t       *used, *spare;
    ngx_http_sandbox_shctx_t      *sh;
    ngx_http_sandbox_main_conf_t  *smcf;

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);
    sh = smcf->zone->sh;
    now = ngx_time();
    spare = NULL;
    rc = NGX_OK;

    ngx_memcpy(&place, ticket->nonce, sizeof(uint32_t));

    ngx_http_sandbox_zone_lock(smcf->zone);

    if ((time_t) ticket->expires <= sh->tickets_from) {
        rc = NGX_DECLINED;
    }

    used = (ngx_http_sandbox_used_t *) sh->tickets
           + (place & sh->ticket_mask) * NGX_HTTP_SANDBOX_TICKET_WAYS;

    for (i = 0; i < NGX_HTTP_SANDBOX_TICKET_WAYS; i++) {

        if ((time_t) used[i].expires < now) {
            spare = &used[i];

        } else if (ngx_memcmp(used[i].nonce, ticket->nonce, SANDBOX_NONCE_LEN)
                   == 0)
        {
            rc = NGX_DECLINED;
        }
    }

    if (rc == NGX_OK && spare == NULL) {
        rc = NGX_BUSY;
    }

    if (rc == NGX_OK) {
        ngx_memcpy(spare->nonce, ticket->nonce, SANDBOX_NONCE_LEN);
        ngx_memory_barrier();
        spare->expires = (uint32_t) ticket->expires;
    }

    ngx_shmtx_unlock(&smcf->zone->shpool->mutex);

    return rc;
}


/* At the gate */


ngx_int_t
ngx_http_sandbox_ticket_cut(ngx_http_request_t *r, ngx_table_elt_t *h,
    ngx_str_t *entry)
{
    size_t          len;
    u_char         *p;
    sandbox_taken   taken;

    if (ngx_strnstr(h->value.data, NGX_HTTP_SANDBOX_TICKET, h->value.len)
        == NULL)
    {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, h->value.len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    len = sandbox_protocol_cut((char *) p, (char *) h->value.data,
                               h->value.len, NGX_HTTP_SANDBOX_TICKET,
                               sizeof(NGX_HTTP_SANDBOX_TICKET) - 1, &taken);

    if (taken.count && entry->len == 0) {
        entry->data = (u_char *) taken.span[0].data;
        entry->len = taken.span[0].len;
    }

    p[len] = '\0';
    h->value.data = p;
    h->value.len = len;

    return NGX_OK;
}


ngx_int_t
ngx_http_sandbox_ticket(ngx_http_request_t *r, sandbox_route *route,
    ngx_str_t *entry, ngx_http_sandbox_caller_t **caller)
{
    ngx_int_t                        rc;
    ngx_str_t                       *origin, text;
    u_char                           buf[SANDBOX_TICKET_TEXT];
    sandbox_ticket                   ticket;
    sandbox_ticket_bound             bound;
    ngx_http_sandbox_main_conf_t    *smcf;
    ngx_http_sandbox_zone_status_t   status;

    if (entry->len == 0) {
        return NGX_DECLINED;
    }

    origin = ngx_http_sandbox_request_header(r, "origin", 6);

    if (origin == NULL
        || ngx_http_sandbox_request_header(r, "upgrade", 7) == NULL)
    {
        return NGX_DECLINED;
    }

    if (ngx_http_sandbox_ticket_route(r->pool, route, &text) != NGX_OK) {
        return NGX_DECLINED;
    }

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);
    ngx_http_sandbox_zone_status(smcf->zone, &status);

    bound.zone = (char *) status.id;
    bound.zone_len = NGX_HTTP_SANDBOX_ZONE_ID_LEN;
    bound.id = route->id;
    bound.id_len = route->id_len;
    bound.route = (char *) text.data;
    bound.route_len = text.len;
    bound.origin = (char *) origin->data;
    bound.origin_len = origin->len;

    if (sandbox_ticket_read(&ticket, buf, smcf->signer, (char *) entry->data
                            + sizeof(NGX_HTTP_SANDBOX_TICKET) - 1,
                            entry->len - (sizeof(NGX_HTTP_SANDBOX_TICKET) - 1),
                            &bound)
        != 0
        || ticket.expires <= (uint64_t) ngx_time()
        || ticket.expires > (uint64_t) ngx_time()
                            + NGX_HTTP_SANDBOX_TICKET_SECS)
    {
        return NGX_DECLINED;
    }

    rc = ngx_http_sandbox_ticket_use(r, &ticket);

    if (rc == NGX_BUSY) {
        return ngx_http_sandbox_reject(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                       "busy", "Too many tickets were used "
                                       "within a minute", 10);
    }

    return rc == NGX_OK ? ngx_http_sandbox_ticket_caller(r, &ticket, caller)
                        : rc;
}


/* Whoever asked for the ticket, with its scope alone. */

static ngx_int_t
ngx_http_sandbox_ticket_caller(ngx_http_request_t *r, sandbox_ticket *ticket,
    ngx_http_sandbox_caller_t **caller)
{
    u_char                     *p;
    ngx_http_sandbox_caller_t  *c;

    c = ngx_pcalloc(r->pool, sizeof(ngx_http_sandbox_caller_t));
    p = ngx_pnalloc(r->pool, ticket->tenant_len + ticket->name_len + 1);

    if (c == NULL || p == NULL) {
        return NGX_ERROR;
    }

    c->prefix.data = p;
    c->tenant.data = p;
    c->name.data = p + ticket->tenant_len;
    c->name.len = ticket->name_len;

    if (ticket->tenant_len > SANDBOX_PREFIX_LEN) {
        c->prefix.len = SANDBOX_PREFIX_LEN;
        c->tenant.data = p + SANDBOX_PREFIX_LEN;
        c->tenant.len = ticket->tenant_len - SANDBOX_PREFIX_LEN;
    }

    p = ngx_cpymem(p, ticket->tenant, ticket->tenant_len);
    ngx_memcpy(p, ticket->name, ticket->name_len);

    c->scopes = ticket->scopes;
    *caller = c;

    return NGX_OK;
}


/* The route that a ticket is for, in words that no two of them share. */

static ngx_int_t
ngx_http_sandbox_ticket_route(ngx_pool_t *pool, sandbox_route *route,
    ngx_str_t *text)
{
    if (route->kind == SANDBOX_ROUTE_AGENT) {
        text->data = (u_char *) route->path;
        text->len = route->path_len;

        return (text->len == sizeof("/bridge/pty") - 1
                && ngx_memcmp(text->data, "/bridge/pty", text->len) == 0)
               || (text->len == sizeof("/ws/pty") - 1
                   && ngx_memcmp(text->data, "/ws/pty", text->len) == 0)
               ? NGX_OK : NGX_DECLINED;
    }

    if (route->kind != SANDBOX_ROUTE_PROXY
        || route->rest_len > NGX_HTTP_SANDBOX_TICKET_ROUTE)
    {
        return NGX_DECLINED;
    }

    text->data = ngx_pnalloc(pool, sizeof("proxy 65535 ") + route->rest_len);
    if (text->data == NULL) {
        return NGX_DECLINED;
    }

    text->len = ngx_sprintf(text->data, "proxy %ud %*s", route->port,
                            route->rest_len, route->rest)
                - text->data;

    return NGX_OK;
}


/* POST /v1/sandbox/{id}/ticket */


ngx_int_t
ngx_http_sandbox_ticket_handler(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api)
{
    return ngx_http_sandbox_read_body(r, api, ngx_http_sandbox_ticket_asked);
}


static void
ngx_http_sandbox_ticket_asked(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api)
{
    char                             text[SANDBOX_TICKET_TEXT + 1];
    size_t                           n;
    json_t                          *answer;
    ngx_int_t                        rc;
    sandbox_ticket                   ticket;
    sandbox_ticket_bound             bound;
    ngx_http_sandbox_main_conf_t    *smcf;
    ngx_http_sandbox_zone_status_t   status;

    static const char *const  known[] = { "route", "origin", "scope",
                                          "expires", NULL };

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);
    ngx_http_sandbox_zone_status(smcf->zone, &status);

    bound.zone = (char *) status.id;
    bound.zone_len = NGX_HTTP_SANDBOX_ZONE_ID_LEN;

    rc = ngx_http_sandbox_ticket_read(r, api, &bound, &ticket, &answer);

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, rc == NGX_DONE ? NGX_OK : rc);
        return;
    }

    n = 0;

    if (RAND_bytes(ticket.nonce, SANDBOX_NONCE_LEN) == 1
        && ngx_http_sandbox_ticket_tenant(r->pool, api->caller, &ticket)
           == NGX_OK)
    {
        n = sandbox_ticket_sign(text, smcf->signer, &ticket, &bound);
    }

    if (n == 0) {
        json_decref(answer);
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    text[n] = '\0';
    json_object_set_new(answer, "ticket", json_string(text));
    json_object_set_new(answer, "protocol",
                        json_sprintf(NGX_HTTP_SANDBOX_TICKET "%s", text));
    ngx_http_sandbox_json_unknown(answer, api->body, known);

    ngx_http_finalize_request(r, ngx_http_sandbox_send_json(r, NGX_HTTP_OK,
                                                            answer));
}


/* NGX_DONE: something is wrong, and has been answered. */

static ngx_int_t
ngx_http_sandbox_ticket_read(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, sandbox_ticket_bound *bound,
    sandbox_ticket *ticket, json_t **answer)
{
    u_char         *uri;
    json_t         *member;
    time_t          seconds;
    ngx_str_t       route, id, text, scope;
    const char     *value;
    sandbox_route   parsed;

    ngx_str_set(&route, "/pty");
    ngx_str_set(&scope, "exec");
    seconds = NGX_HTTP_SANDBOX_TICKET_SECS;

    member = json_object_get(api->body, "origin");
    value = json_string_value(member);

    if (value == NULL
        || !sandbox_origin_valid(value, json_string_length(member)))
    {
        return ngx_http_sandbox_ticket_invalid(r, "origin", 0, "origin must "
                                               "be the Origin of the page "
                                               "that will use it, like "
                                               "\"https://app.example.com\"");
    }

    bound->origin = value;
    bound->origin_len = json_string_length(member);

    member = json_object_get(api->body, "expires");

    if (member != NULL && !json_is_null(member)) {
        seconds = ngx_http_sandbox_json_seconds(member);

        if (seconds < 1 || seconds > NGX_HTTP_SANDBOX_TICKET_SECS) {
            return ngx_http_sandbox_ticket_invalid(r, "expires",
                                               NGX_HTTP_SANDBOX_TICKET_SECS,
                                               "expires must be 1 to 60 "
                                               "seconds");
        }
    }

    member = json_object_get(api->body, "scope");

    if (member != NULL && !json_is_null(member)
        && (json_string_value(member) == NULL
            || ngx_strcmp(json_string_value(member), "exec") != 0))
    {
        return ngx_http_sandbox_ticket_invalid(r, "scope", 0, "scope must be "
                                               "\"exec\"");
    }

    if (!(api->caller->scopes & SANDBOX_SCOPE_EXEC)) {
        return ngx_http_sandbox_send_error(r, NGX_HTTP_FORBIDDEN, "forbidden",
                                           "This key lacks the scope \"exec\","
                                           " and can't give it away", 0)
               == NGX_OK ? NGX_DONE : NGX_ERROR;
    }

    member = json_object_get(api->body, "route");

    if (member != NULL && !json_is_null(member)) {
        route.data = (u_char *) json_string_value(member);
        route.len = json_string_length(member);
    }

    /* the router decides what it means, as it will when it is used */

    id = ngx_http_sandbox_local_id(&api->id);
    uri = ngx_pnalloc(r->pool, sizeof("/v1/sandbox/") + id.len + route.len);

    if (uri == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    parsed.kind = SANDBOX_ROUTE_NOT_FOUND;

    if (route.data != NULL
        && ngx_strlchr(route.data, route.data + route.len, '?') == NULL)
    {
        text.data = uri;
        text.len = ngx_sprintf(uri, "/v1/sandbox/%V%V", &id, &route) - uri;

        sandbox_route_parse(SANDBOX_ROUTE_GET, (char *) text.data, text.len,
                            &parsed);
    }

    if ((parsed.kind != SANDBOX_ROUTE_AGENT
         && parsed.kind != SANDBOX_ROUTE_PROXY)
        || ngx_http_sandbox_ticket_route(r->pool, &parsed, &text) != NGX_OK)
    {
        return ngx_http_sandbox_ticket_invalid(r, "route",
                                               NGX_HTTP_SANDBOX_TICKET_ROUTE,
                                               "route must be \"/pty\", "
                                               "\"/ws/pty\" or a path below "
                                               "\"/proxy/{port}\", without a "
                                               "query");
    }

    bound->id = parsed.id;
    bound->id_len = parsed.id_len;

    /* parsed is gone when the ticket is signed */

    bound->route_len = text.len;
    bound->route = (char *) ngx_pstrdup(r->pool, &text);

    if (bound->route == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ticket->scopes = SANDBOX_SCOPE_EXEC;
    ticket->expires = (uint64_t) (ngx_time() + seconds);

    *answer = json_pack("{s:s%, s:s%, s:s%, s:i}",
                        "route", (char *) route.data, route.len,
                        "origin", bound->origin, bound->origin_len,
                        "scope", (char *) scope.data, scope.len,
                        "expiresIn", (int) seconds);

    return *answer ? NGX_OK : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


static ngx_int_t
ngx_http_sandbox_ticket_invalid(ngx_http_request_t *r, const char *field,
    json_int_t limit, const char *message)
{
    ngx_int_t  rc;

    rc = ngx_http_sandbox_send_invalid(r, field, limit, message);

    return rc == NGX_OK ? NGX_DONE : rc;
}


/* A prefix has one length, so that it can stand before its tenant. */

static ngx_int_t
ngx_http_sandbox_ticket_tenant(ngx_pool_t *pool,
    ngx_http_sandbox_caller_t *caller, sandbox_ticket *ticket)
{
    u_char  *p;

    ticket->name = (char *) caller->name.data;
    ticket->name_len = caller->name.len;
    ticket->tenant = "";
    ticket->tenant_len = 0;

    if (caller->prefix.len != SANDBOX_PREFIX_LEN) {
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, caller->prefix.len + caller->tenant.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ticket->tenant = (char *) p;
    p = ngx_cpymem(p, caller->prefix.data, caller->prefix.len);
    p = ngx_cpymem(p, caller->tenant.data, caller->tenant.len);
    ticket->tenant_len = (char *) p - ticket->tenant;

    return NGX_OK;
}
