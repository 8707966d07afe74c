/*
 * What the files of the control API share among themselves; the rest of the
 * module sees ngx_http_sandbox.h only.
 *
 *   _api.c       the check, and the operations that sandboxd answers
 *   _api_conf.c  checks of the configuration
 *   _list.c      lists
 *   _lifecycle.c options, environment, sleep and wake
 *   _ports.c     exposures        _url.c  their URLs
 *   _domains.c   domains
 *   _host.c      what the host has: the pool, what sandboxes use
 *   _external.c  sandboxes that others run
 *   _link.c      links to private ones
 *   _ticket.c    tickets for WebSockets
 *   _json.c      JSON bodies, in and out
 *   _health.c    whether all is well
 *   _openapi.c   the API's description
 */

#ifndef _NGX_HTTP_SANDBOX_API_H_INCLUDED_
#define _NGX_HTTP_SANDBOX_API_H_INCLUDED_


#include "ngx_http_sandbox.h"
#include "sandbox_route.h"


#define NGX_HTTP_SANDBOX_BODY_MAX      (64 * 1024)

/* sandboxd waits for every zone, and for the sandbox's processes to end. */
#define NGX_HTTP_SANDBOX_SLOW_TIMEOUT  60000


/* One control request while it is answered; from the request's pool. */

typedef struct {
    sandbox_route_op              op;
    ngx_uint_t                    port;         /* 0: the route has none */
    ngx_str_t                     id;           /* the qualified name */
    ngx_http_sandbox_caller_t    *caller;       /* NULL where none is asked */

    ngx_str_t                     name;         /* in the route, or "" */
    ngx_str_t                     domain;       /* of the URLs answered, */
    ngx_str_t                     host;         /* or a host name for them */
    ngx_str_t                     url_port;     /* ":8080" or "" */

    json_t                       *body;         /* NULL: there was none */
    void                         *data;         /* the operation's own */
} ngx_http_sandbox_api_t;


/* _json.c */

/*
 * Reads the request's body, at most NGX_HTTP_SANDBOX_BODY_MAX bytes, and calls
 * the handler with it in api->body: an object, or NULL if it was empty.
 * Anything else is answered with an error and the handler is not called.  The
 * return value is the content handler's; the handler has to finalize.
 */

typedef void (*ngx_http_sandbox_body_pt)(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);

ngx_int_t ngx_http_sandbox_read_body(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, ngx_http_sandbox_body_pt handler);

/*
 * Answers with JSON and takes it over.  The result is for
 * ngx_http_finalize_request().
 */
ngx_int_t ngx_http_sandbox_send_json(ngx_http_request_t *r, ngx_uint_t status,
    json_t *json);

/* The same with a text that lives as long as the request, and of any type. */
ngx_int_t ngx_http_sandbox_send_typed(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *type, ngx_str_t *text);
ngx_int_t ngx_http_sandbox_send_text(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *text);

/* 204, without a body. */
ngx_int_t ngx_http_sandbox_send_none(ngx_http_request_t *r);

ngx_int_t ngx_http_sandbox_add_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);
ngx_table_elt_t *ngx_http_sandbox_push_header(ngx_http_request_t *r,
    const char *name, ngx_str_t *value);

/* A JSON string of bytes, with what is no UTF-8 replaced. */
json_t *ngx_http_sandbox_json_string(ngx_str_t *s);

/* This moment, as the API's answers spell it. */
json_t *ngx_http_sandbox_json_now(void);

/* Adds `warnings` to an answer: the members of the body that nobody knows. */
void ngx_http_sandbox_json_unknown(json_t *answer, json_t *body,
    const char *const *known);

/* A number of seconds, or like "90s", "10m", "2h", "7d"; -1: none of them. */
time_t ngx_http_sandbox_json_seconds(json_t *json);


/* _api.c */

/* 400 invalid_request, naming the member and its limit (0: none). */
ngx_int_t ngx_http_sandbox_send_invalid(ngx_http_request_t *r,
    const char *field, json_int_t limit, const char *message);

/*
 * Calls sandboxd for a request whose life is already counted; an error of
 * sandboxd's ends it, a result goes to the handler, which finalizes.
 */

typedef void (*ngx_http_sandbox_result_pt)(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);

void ngx_http_sandbox_api_call(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *request, ngx_msec_t timeout,
    ngx_http_sandbox_result_pt handler);

/* An argument of the query, unescaped; NGX_OK or NGX_DECLINED. */
ngx_int_t ngx_http_sandbox_api_arg(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);


/* _list.c: SANDBOX_OP_LIST */

ngx_int_t ngx_http_sandbox_list_handler(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);


/* _ports.c: SANDBOX_OP_EXPOSE, _PORTS, _PORT_GET, _PORT_PUT, _PORT_PATCH,
 * _UNEXPOSE */

ngx_int_t ngx_http_sandbox_ports_handler(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);


/* _url.c */

/*
 * The member `hostname` of the body, copied; "" if there is none.  NGX_DONE:
 * it is no string, and the answer says so.
 */
ngx_int_t ngx_http_sandbox_ports_member(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, ngx_str_t *hostname);

/*
 * Finds the domain and port of the URLs to answer with.  NGX_DONE: there is
 * none, and the answer says so.  A list is not strict: it can do with the
 * first domain, or with none, since nothing comes of it.  What is no domain of
 * the configuration may be a host name of an exposure: it is in api->host then,
 * and whoever has the exposure says so with ngx_http_sandbox_ports_no_host() if
 * it lacks it.
 */
ngx_int_t ngx_http_sandbox_ports_url(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, ngx_str_t *hostname, ngx_uint_t strict);

ngx_int_t ngx_http_sandbox_ports_no_host(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);

/* Whether a list of names has api->host in it, and whether it would need to:
 * where that is a domain, too, there is a URL without it. */
ngx_uint_t ngx_http_sandbox_ports_lacks_host(ngx_http_sandbox_api_t *api,
    json_t *names);
ngx_uint_t ngx_http_sandbox_ports_has_host(ngx_http_sandbox_api_t *api,
    json_t *names);

/* The host name of an exposure's URL; NGX_DECLINED: there is none. */
ngx_int_t ngx_http_sandbox_exposure_host(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *exposure, ngx_str_t *host);

/* null where there is no domain to put the label below. */
json_t *ngx_http_sandbox_exposure_url(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *exposure);


/* _domains.c: SANDBOX_OP_DOMAINS, _DOMAIN_PUT, _DOMAIN_DELETE */

ngx_int_t ngx_http_sandbox_domains_handler(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);

/*
 * Whether a name is the API's, or that of a preview domain of the
 * configuration or below it: what the API can't give away.
 */
ngx_uint_t ngx_http_sandbox_name_reserved(ngx_http_request_t *r,
    ngx_str_t *name);


/* _api_conf.c: the host of the API that shares its domain with a name: to
 * browsers they are one site.  NULL: none does. */
ngx_str_t *ngx_http_sandbox_api_shares(ngx_http_request_t *r,
    ngx_str_t *name);


/* _link.c: SANDBOX_OP_LINK */

ngx_int_t ngx_http_sandbox_link_handler(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);


/* _ticket.c: SANDBOX_OP_TICKET */

ngx_int_t ngx_http_sandbox_ticket_handler(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);


/* _host.c: SANDBOX_OP_STATS, _POOL_* */

ngx_int_t ngx_http_sandbox_host_handler(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);


/* _external.c: SANDBOX_OP_EXTERNAL, _EXTERNAL_PUT */

ngx_int_t ngx_http_sandbox_external_handler(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);


/* _lifecycle.c: SANDBOX_OP_UPDATE, _ENV, _ENV_PATCH, _SLEEP, _WAKE */

ngx_int_t ngx_http_sandbox_lifecycle_handler(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api);

/* Passes If-Match on with a call that changes something. */
void ngx_http_sandbox_api_match(ngx_http_request_t *r, json_t *request);

/* Answers with JSON, which it takes over, and with the entity tag of the
 * record that sandboxd's result holds. */
ngx_int_t ngx_http_sandbox_send_record(ngx_http_request_t *r, json_t *answer,
    json_t *result);


/* _health.c: SANDBOX_OP_HEALTH */

ngx_int_t ngx_http_sandbox_health_handler(ngx_http_request_t *r);


/* _openapi.c */

/* SANDBOX_OP_OPENAPI, _OPENAPI_HTML, _OPENAPI_EITHER */
ngx_int_t ngx_http_sandbox_openapi_handler(ngx_http_request_t *r,
    sandbox_route_op op);


#endif /* _NGX_HTTP_SANDBOX_API_H_INCLUDED_ */
