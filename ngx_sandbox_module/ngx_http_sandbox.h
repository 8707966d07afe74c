/*
 * What the files of the module share: configuration, the context of a request,
 * and every function that one file calls in another.
 *
 *   _module.c    directives, configuration, start of a worker
 *   _variables.c $sandbox_...
 *   _zone.c      the shared cache of sandboxd's records  _fill.c  all of them
 *   _node.c      the records in it               _entry.c  those of exposures
 *   _table.c     the table of these
 *   _domain.c    host names, and domains that the API has added
 *   _daemon.c    the worker's connection to sandboxd: hello and frames
 *   _call.c      calls over it
 *   _sync.c      keeps the zone up to date over that connection
 *   _gate.c      access phase: looks up, authorises
 *   _control.c   the same for the API
 *   _private.c   who may see a private preview       _link.c  its links
 *   _scrub.c     credentials in a request's address
 *   _park.c      pre-content phase: requests that wait for a start
 *   _wake.c      the starts that they wait for   _refusal.c  nobody asks for
 *   _activity.c  who is used, for sandboxd to judge who may sleep
 *   _limit.c     pre-content phase, before it: limits of requests
 *   _pace.c      limits of bytes in a second
 *   _usage.c     what limits and counters of a sandbox need, in the zone
 *   _count.c     counters of the workers          _metrics.c  for Prometheus
 *   _upstream.c  balancer
 *   _connect.c   connections to agents
 *   _handshake.c first line, and what comes back behind it
 *   _interrupt.c the end of answers that break off
 *   _headers.c   what is taken out of, and put into, requests
 *   _headers_out.c  the same of responses
 *   _auth.c      who asks
 *   _keys.c _jwt.c _watch.c _failures.c              its parts
 *   _events.c    the stream of state changes       _events_out.c  its clients'
 *   _tenant.c    tenants, and what their sandboxes are called inside
 *   _cors.c      pages of other origins that use the API
 *   _audit.c     the log of what was done by whom
 *   _api.c       the control API's own answers
 *   _error.c     answers that report a failure       _openapi.c  its document
 *   _page.c      the same for a person in a browser
 */

#ifndef _NGX_HTTP_SANDBOX_H_INCLUDED_
#define _NGX_HTTP_SANDBOX_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include <jansson.h>

#include "sandbox_address.h"
#include "sandbox_browser.h"
#include "sandbox_sign.h"


/* Lengths of what is copied out of the zone. */

#define NGX_HTTP_SANDBOX_ID_MAX        135     /* a qualified name */
#define NGX_HTTP_SANDBOX_EXTERNAL_MAX  127     /* of one that others run */
#define NGX_HTTP_SANDBOX_TENANT_MAX    64
#define NGX_HTTP_SANDBOX_KEY_LEN       16      /* bytes; 32 hex digits */
#define NGX_HTTP_SANDBOX_LABEL_MAX     253     /* a custom host name */

#define NGX_HTTP_SANDBOX_PATH_MAX      90      /* of an agent's socket */


/* States of a sandbox, as sandboxd names them. */

#define NGX_HTTP_SANDBOX_CREATED       1
#define NGX_HTTP_SANDBOX_STARTING      2
#define NGX_HTTP_SANDBOX_RUNNING       3
#define NGX_HTTP_SANDBOX_SLEEPING      4
#define NGX_HTTP_SANDBOX_ASLEEP        5
#define NGX_HTTP_SANDBOX_DESTROYING    6
#define NGX_HTTP_SANDBOX_UNREACHABLE   7       /* its agent doesn't answer */

#define NGX_HTTP_SANDBOX_PUBLIC        1       /* access of an exposure */
#define NGX_HTTP_SANDBOX_TOKEN         2
#define NGX_HTTP_SANDBOX_PRIVATE       3

#define NGX_HTTP_SANDBOX_HOST_LOCAL    1       /* Host that the app sees */
#define NGX_HTTP_SANDBOX_HOST_PUBLIC   2


#define NGX_HTTP_SANDBOX_SCHEME_AUTO   0       /* sandbox_scheme */
#define NGX_HTTP_SANDBOX_SCHEME_HTTP   1
#define NGX_HTTP_SANDBOX_SCHEME_HTTPS  2


/* Why the way to a sandbox failed; ctx->failure. */

typedef enum {
    NGX_HTTP_SANDBOX_OK = 0,
    NGX_HTTP_SANDBOX_FAIL_REFUSED,      /* nothing listens on the port */
    NGX_HTTP_SANDBOX_FAIL_LIMIT,        /* the agent has no room left */
    NGX_HTTP_SANDBOX_FAIL_KEY,          /* the agent doesn't take our key */
    NGX_HTTP_SANDBOX_FAIL_LINE,         /* the agent's answer is none */
    NGX_HTTP_SANDBOX_FAIL_CONNECT,      /* the agent can't be reached */
    NGX_HTTP_SANDBOX_FAIL_CLOSED,       /* closed before the first line */
    NGX_HTTP_SANDBOX_FAIL_PROTOCOL,     /* the app doesn't speak HTTP */
    NGX_HTTP_SANDBOX_FAIL_DESTROYED,    /* the sandbox, under way */
    NGX_HTTP_SANDBOX_FAIL_BROKEN,       /* perhaps since it has ended */
    NGX_HTTP_SANDBOX_FAIL_ENDED         /* it has; ctx->error says why */
} ngx_http_sandbox_failure_e;


/* An error of sandboxd, or of the way to it.  Valid during the callback. */

typedef struct {
    ngx_uint_t                    status;      /* HTTP */
    ngx_uint_t                    retry_after; /* seconds; 0: none */
    json_int_t                    limit;       /* 0: none */
    ngx_str_t                     code;        /* snake_case */
    ngx_str_t                     message;
    ngx_str_t                     field;       /* "": none */
} ngx_http_sandbox_error_t;


typedef struct ngx_http_sandbox_zone_s    ngx_http_sandbox_zone_t;
typedef struct ngx_http_sandbox_daemon_s  ngx_http_sandbox_daemon_t;
typedef struct ngx_http_sandbox_call_s    ngx_http_sandbox_call_t;
typedef struct ngx_http_sandbox_jwt_s     ngx_http_sandbox_jwt_t;
typedef struct ngx_http_sandbox_keepalive_s  ngx_http_sandbox_keepalive_t;
typedef struct ngx_http_sandbox_audit_s   ngx_http_sandbox_audit_t;
typedef struct ngx_http_sandbox_audit_log_s  ngx_http_sandbox_audit_log_t;

struct sandbox_route_s;
struct ngx_http_sandbox_watch_s;


typedef struct {
    ngx_shm_zone_t               *shm_zone;
    ngx_http_sandbox_zone_t      *zone;

    struct sockaddr              *daemon_sockaddr;
    socklen_t                     daemon_socklen;
    ngx_str_t                     daemon_name;
    ngx_str_t                     daemon_secret;
    ngx_str_t                     agent_dir;    /* "<run dir>/s/" */

    u_char                        sign_key[SANDBOX_SIGN_KEY];
    sandbox_signer               *signer;       /* with it */

    ngx_msec_t                    call_timeout;
    ngx_uint_t                    waiters;          /* per sandbox, worker */
    ngx_uint_t                    waiters_total;    /* per worker */

    ngx_array_t                  *watches;     /* files of keys; _watch.c */
    ngx_http_sandbox_keepalive_t  *keepalives;  /* of all upstreams */
} ngx_http_sandbox_main_conf_t;


typedef struct {
    ngx_array_t                  *domains;      /* of ngx_str_t, lower case */
    ngx_uint_t                    scheme;       /* of the public origin */

    /* upstream {}: set by `sandbox` */
    ngx_uint_t                    upstream;
    ngx_http_upstream_init_peer_pt  original_init_peer;
    ngx_http_sandbox_keepalive_t  *keepalive;

    /* Control API: _auth.c, _jwt.c, _audit.c */
    ngx_flag_t                    api;
    ngx_array_t                  *api_hosts;    /* of ngx_str_t, lower case */
    struct ngx_http_sandbox_watch_s  *api_keys;
    ngx_array_t                  *api_jwt;      /* of ..._jwt_t * */
    ngx_uint_t                    auth_rate;    /* thousandths a second */
    ngx_uint_t                    auth_burst;
    ngx_http_sandbox_audit_log_t  *audit;
    ngx_flag_t                    api_query_auth;
    ngx_array_t                  *api_cors;     /* of ngx_str_t; _cors.c */
} ngx_http_sandbox_srv_conf_t;


/*
 * Limits of a sandbox or of one of its exposures; 0: none.  In a location they
 * hold for each sandbox, below whatever its own are.
 */

typedef struct {
    uint32_t                      requests;    /* in a second */
    uint32_t                      burst;       /* at once, beyond that */
    uint32_t                      connections;
    uint32_t                      out;         /* bytes in a second */
    uint32_t                      in;
    uint64_t                      body;        /* bytes of a request's body */
} ngx_http_sandbox_limits_t;


#define NGX_HTTP_SANDBOX_METRICS_ALL   1
#define NGX_HTTP_SANDBOX_METRICS_EACH  2       /* with each sandbox's */


typedef struct {
    ngx_flag_t                    wake;
    ngx_msec_t                    wake_timeout;
    ngx_http_sandbox_limits_t     limits;      /* as they were merged */
    ngx_uint_t                    limited;     /* whether there is any */
    ngx_uint_t                    metrics;     /* NGX_HTTP_SANDBOX_METRICS_… */
} ngx_http_sandbox_loc_conf_t;


/*
 * Who asks, and what may be done; from the request's pool, so that it outlives
 * a change of the keys.  A sandbox is known inside by its qualified name:
 * `<prefix>-<id>`, or the id alone for the default tenant, whose name and
 * prefix are empty.
 */

typedef struct {
    ngx_str_t                     tenant;
    ngx_str_t                     prefix;       /* known: see _tenant.c */
    ngx_str_t                     name;         /* of the key */
    ngx_uint_t                    scopes;       /* SANDBOX_SCOPE_... */
    ngx_uint_t                    sandboxes;    /* of the tenant; 0: any */
    ngx_uint_t                    starts;       /* a minute; 0: any */
    unsigned                      create:1;     /* by first use */
    unsigned                      everybody:1;  /* a list of all tenants' */
    unsigned                      named:1;      /* tenant, by ?tenant= */
} ngx_http_sandbox_caller_t;


/* A sandbox or an exposure, copied out of the zone or out of a frame. */

typedef struct {
    uint64_t                      seq;         /* 0: by a label */
    uint32_t                      slot;
    uint32_t                      epoch;
    u_char                        state;
    u_char                        id_len;
    u_char                        key[NGX_HTTP_SANDBOX_KEY_LEN];
    sandbox_address               address;     /* others run it there */
    u_char                        id[NGX_HTTP_SANDBOX_ID_MAX];
} ngx_http_sandbox_info_t;


typedef struct {
    uint64_t                      seq;
    uint32_t                      slot;
    uint32_t                      gen;         /* of what is signed for it */
    uint16_t                      port;
    u_char                        access;
    u_char                        host;
    u_char                        wake_off;    /* its visitors wake nothing */
    u_char                        limited;     /* it, or its sandbox */
} ngx_http_sandbox_exposure_t;


/*
 * The context of a request for a preview or the control API, made by the gate.
 * It holds no pointer into the zone.  `authorised` and what belongs to a
 * sandbox is for requests that go to one; those that are answered here have
 * the caller alone.
 */

typedef struct {
    ngx_str_t                     id;           /* the qualified name */
    ngx_http_sandbox_caller_t    *caller;       /* control API; else NULL */
    ngx_http_sandbox_audit_t     *audit;        /* NULL: nothing is logged */
    ngx_str_t                     label;        /* preview: as in the zone */
    ngx_str_t                     origin;       /* preview: public origin */
    ngx_str_t                     host;         /* Host that goes upstream */
    ngx_str_t                     ticket;       /* that came, or "" */
    ngx_str_t                     credential;   /* of the address, or "" */

    u_char                        key[NGX_HTTP_SANDBOX_KEY_LEN];
    sandbox_address               address;      /* NONE: its slot's socket */
    uint32_t                      slot;
    uint32_t                      epoch;
    uint32_t                      gen;          /* preview: see _private.c */
    uint16_t                      port;         /* 0: control */

    unsigned                      authorised:1;
    unsigned                      api:1;        /* a route of the API */
    unsigned                      control:1;    /* to the agent's API */
    unsigned                      proxied:1;    /* to a port, by the API */
    unsigned                      create:1;     /* may be made by a start */
    unsigned                      inside:1;     /* of something that is there */
    unsigned                      known:1;      /* slot is valid */
    unsigned                      ready:1;      /* key and epoch are valid */
    unsigned                      public_host:1;
    unsigned                      private:1;    /* no shared cache keeps it */
    unsigned                      host_used:1;  /* $sandbox_host was asked */
    unsigned                      websocket:1;
    unsigned                      restarted:1;  /* second trip to the gate */
    unsigned                      waited:1;
    unsigned                      limited:1;    /* has limits of its own */
    unsigned                      wake_off:1;   /* preview: wakes nothing */
    unsigned                      whole:1;      /* label is a host name */

    u_char                        state;        /* as it was found; 0 */
    u_char                        tries;        /* of a run out of reach */

    ngx_http_sandbox_failure_e    failure;
    ngx_http_sandbox_error_t     *error;        /* of ours, for its page */

    ngx_msec_t                    wait_time;    /* for a start */

    void                         *grant;        /* _limit.c */
    void                         *waiter;       /* _park.c */
    void                         *activity;     /* _activity.c */
    void                         *peer;         /* _upstream.c */
} ngx_http_sandbox_ctx_t;


/* _module.c */

extern ngx_module_t  ngx_http_sandbox_module;

/* _variables.c */

/* Names of the states; the first one is empty. */
extern ngx_str_t  ngx_http_sandbox_states[];

ngx_int_t ngx_http_sandbox_add_variables(ngx_conf_t *cf);

#define ngx_http_sandbox_ctx(r)                                               \
    ((ngx_http_sandbox_ctx_t *)                                               \
        ngx_http_get_module_ctx(r, ngx_http_sandbox_module))


/*
 * _call.c
 *
 * ngx_http_sandbox_call() sends one request of docs/protocol.md, section 1.2
 * (`id` is added), for a client's request.  It takes over `request`, also when
 * it fails.  Unless it returns NGX_OK, the handler will not be called.
 *
 * The handler is called once, from the event loop, with either a result or an
 * error (both end with the callback); it has to finalize the request or run
 * its phases, and posted requests are run behind it.  If the request ends
 * before, the handler is not called any more.  The caller counts the request
 * (r->main->count++) as its phase requires.
 */

typedef void (*ngx_http_sandbox_call_pt)(ngx_http_request_t *r, void *data,
    json_t *result, ngx_http_sandbox_error_t *err);

ngx_int_t ngx_http_sandbox_call(ngx_http_request_t *r, json_t *request,
    ngx_msec_t timeout, ngx_http_sandbox_call_pt handler, void *data);

/* The same without a client; returns NULL if there can be no call. */

typedef void (*ngx_http_sandbox_reply_pt)(void *data, json_t *result,
    ngx_http_sandbox_error_t *err);

ngx_http_sandbox_call_t *ngx_http_sandbox_daemon_call(json_t *request,
    ngx_msec_t timeout, ngx_http_sandbox_reply_pt handler, void *data);
void ngx_http_sandbox_daemon_cancel(ngx_http_sandbox_call_t *call);

ngx_int_t ngx_http_sandbox_daemon_init(ngx_cycle_t *cycle);
void ngx_http_sandbox_daemon_exit(ngx_cycle_t *cycle);

/* For health checks: whether this worker's hello has been answered. */
ngx_uint_t ngx_http_sandbox_daemon_connected(void);

/* For _sync.c: tells sandboxd that the zone holds a change. */
void ngx_http_sandbox_daemon_ack(uint64_t seq, ngx_uint_t all);


/* _gate.c */

ngx_int_t ngx_http_sandbox_access_handler(ngx_http_request_t *r);

/* Whether clients speak TLS: to this nginx, or to a proxy before it. */
ngx_uint_t ngx_http_sandbox_https(ngx_http_request_t *r);

/*
 * Ends a request in a phase handler with an error of ours; its return value
 * (NGX_DONE) is the phase handler's.
 */
ngx_int_t ngx_http_sandbox_reject(ngx_http_request_t *r, ngx_uint_t status,
    const char *code, const char *message, ngx_uint_t retry_after);


/* Makes the sandbox's current run that of the request. */
void ngx_http_sandbox_take(ngx_http_sandbox_ctx_t *ctx,
    ngx_http_sandbox_info_t *info);


/* _private.c */

#define NGX_HTTP_SANDBOX_COOKIE    "__Host-sandbox"
#define NGX_HTTP_SANDBOX_LINK_ARG  "sandbox_link"

/*
 * Whether a request may see a private exposure of a sandbox: NGX_OK,
 * NGX_DECLINED (to be told the same as of an unknown name), NGX_DONE (it has
 * been answered) or NGX_ERROR.  With NULL for a name that isn't known it takes
 * as long, and never says NGX_OK.
 */
ngx_int_t ngx_http_sandbox_private(ngx_http_request_t *r,
    ngx_http_sandbox_exposure_t *exposure, ngx_str_t *id);

/* Redirects to the request's own address, which was scrubbed: NGX_DONE. */
ngx_int_t ngx_http_sandbox_private_redirect(ngx_http_request_t *r);

/* Takes our cookies out of a Cookie header; its value may be empty then. */
ngx_int_t ngx_http_sandbox_cookie_cut(ngx_http_request_t *r,
    ngx_table_elt_t *h, sandbox_taken *taken);


/* _scrub.c */

ngx_int_t ngx_http_sandbox_scrub_init(ngx_conf_t *cf);

/* The credential that the request's address held, or NULL. */
ngx_str_t *ngx_http_sandbox_scrubbed(ngx_http_request_t *r);


/* _park.c */

ngx_int_t ngx_http_sandbox_park_init(ngx_cycle_t *cycle);
ngx_int_t ngx_http_sandbox_park_handler(ngx_http_request_t *r);

/*
 * Makes the request wait until its sandbox runs.  Returns NGX_OK if it runs
 * already (ctx is filled), NGX_AGAIN if `resume` will be called from the event
 * loop, or NGX_ERROR (err is filled).  With `again`, a run that the request
 * knows already isn't enough: sandboxd is asked.  resume gets an error or
 * NULL; it is not called after the request has ended.
 */
typedef void (*ngx_http_sandbox_resume_pt)(ngx_http_request_t *r,
    ngx_http_sandbox_error_t *err);

ngx_int_t ngx_http_sandbox_park(ngx_http_request_t *r, ngx_uint_t again,
    ngx_http_sandbox_resume_pt resume, ngx_http_sandbox_error_t *err);

/* A request that was let go has reached its sandbox. */
void ngx_http_sandbox_park_done(ngx_http_request_t *r);

/* A request doesn't wait any more, nor is it on its way; for any request. */
void ngx_http_sandbox_park_leave(ngx_http_sandbox_ctx_t *ctx);

/*
 * Answers with sandboxd's error; a preview that is gone gets the answer of
 * every unknown name.  For ngx_http_finalize_request().
 */
ngx_int_t ngx_http_sandbox_end(ngx_http_request_t *r,
    ngx_http_sandbox_error_t *err);


/*
 * _activity.c
 *
 * The request is on its way to its sandbox's current run (ctx->ready) and uses
 * it until it ends.  If that run is about to end, ctx->ready is taken back and
 * the request has to wait.  May be called again, for another run.
 */
ngx_int_t ngx_http_sandbox_activity(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx);

/* How many requests are in flight in this worker. */
ngx_uint_t ngx_http_sandbox_activity_count(void);

/* sandboxd's event `idle`. */
void ngx_http_sandbox_activity_event(json_t *frame);
void ngx_http_sandbox_activity_init(ngx_http_sandbox_zone_t *zone);


/* _metrics.c: the handler of `sandbox_metrics`. */

char *ngx_http_sandbox_metrics(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/* _limit.c */

/* Before the park handler: lets a request in within the limits, or doesn't. */
ngx_int_t ngx_http_sandbox_limit_handler(ngx_http_request_t *r);

char *ngx_http_sandbox_limit_requests(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_sandbox_limit_connections(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_sandbox_limit_bandwidth(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_sandbox_limit_body(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
void ngx_http_sandbox_limit_create(ngx_http_sandbox_loc_conf_t *slcf);
void ngx_http_sandbox_limit_merge(ngx_http_sandbox_loc_conf_t *prev,
    ngx_http_sandbox_loc_conf_t *conf);


/* _upstream.c */

char *ngx_http_sandbox_upstream(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_int_t ngx_http_sandbox_upstream_init(ngx_conf_t *cf);

/* _keepalive.c */

char *ngx_http_sandbox_keepalive_conf(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/* _headers.c */

ngx_int_t ngx_http_sandbox_request_headers(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx);
ngx_int_t ngx_http_sandbox_headers_init(ngx_conf_t *cf);


/* _headers_out.c */

void ngx_http_sandbox_headers_out_init(void);


/* _auth.c */

/* The handlers of `sandbox_api_keys`, `sandbox_auth_limit` and, in _jwt.c,
 * `sandbox_api_jwt`. */
char *ngx_http_sandbox_api_keys(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_sandbox_auth_limit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_sandbox_api_jwt(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Checks `Authorization: Bearer <key>` against the server's keys, in constant
 * time, and the server's tokens.  NGX_OK and the caller, whose prefix isn't
 * filled in; NGX_DECLINED: no key, or a wrong one; NGX_BUSY: too many wrong
 * ones from this address; or NGX_ERROR.  The second one is for a value that
 * came in another way.
 */
ngx_int_t ngx_http_sandbox_authenticate(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t **caller);
ngx_int_t ngx_http_sandbox_authenticate_value(ngx_http_request_t *r,
    ngx_str_t *value, ngx_http_sandbox_caller_t **caller);

/* Whether the request's credential still is what it was: NGX_OK, or
 * NGX_DECLINED. */
ngx_int_t ngx_http_sandbox_authenticate_again(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t *was);

/* Ends a request that ngx_http_sandbox_authenticate() has not taken: 401, or
 * 429; the phase handler's result. */
ngx_int_t ngx_http_sandbox_reject_caller(ngx_http_request_t *r, ngx_int_t rc);

/* The same against the keys of every API server, for a private preview. */
ngx_int_t ngx_http_sandbox_bearer(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t **caller);


/* _cors.c */

char *ngx_http_sandbox_cors_conf(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_int_t ngx_http_sandbox_cors_init(void);

/* Before anybody is asked for a key: NGX_DONE if the request was the question
 * whether a page may ask, and was answered; NGX_DECLINED or NGX_ERROR. */
ngx_int_t ngx_http_sandbox_cors_preflight(ngx_http_request_t *r,
    ngx_http_sandbox_srv_conf_t *sscf);


/* _ticket.c */

struct sandbox_route_s;

/* Takes tickets out of a Sec-WebSocket-Protocol header, whose value may be
 * empty then; the first one goes to an empty entry. */
ngx_int_t ngx_http_sandbox_ticket_cut(ngx_http_request_t *r,
    ngx_table_elt_t *h, ngx_str_t *entry);

/*
 * Whether the entry is a ticket for this request, which is used up then:
 * NGX_OK and the caller, NGX_DECLINED, NGX_DONE (answered) or NGX_ERROR.
 */
ngx_int_t ngx_http_sandbox_ticket(ngx_http_request_t *r,
    struct sandbox_route_s *route, ngx_str_t *entry,
    ngx_http_sandbox_caller_t **caller);


/* _tenant.c */

/* Whether a qualified name is that of a sandbox of the caller's tenant. */
ngx_uint_t ngx_http_sandbox_owns(ngx_http_sandbox_caller_t *caller,
    ngx_str_t *name);

/* The qualified name of the caller's sandbox; NGX_ERROR: no memory.  There is
 * room for ":control" behind it. */
ngx_int_t ngx_http_sandbox_qualify(ngx_pool_t *pool,
    ngx_http_sandbox_caller_t *caller, ngx_str_t *id, ngx_str_t *name);

/* The id in a qualified name. */
ngx_str_t ngx_http_sandbox_local_id(ngx_str_t *name);

/*
 * Fills in the prefix of the request's caller.  NGX_OK; NGX_AGAIN: sandboxd is
 * asked, and the request's phases run again; else the phase handler's result.
 */
ngx_int_t ngx_http_sandbox_find_prefix(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t *caller);

/* The member `caller` of docs/protocol.md, section 1.2; null for nobody. */
json_t *ngx_http_sandbox_caller_json(ngx_http_sandbox_caller_t *caller);

/* Whether an Authorization header's value is a key of any API server of this
 * nginx, or a token for one, and so has to stay outside. */
ngx_uint_t ngx_http_sandbox_is_our_key(ngx_http_request_t *r,
    ngx_str_t *value);


/*
 * _audit.c
 *
 * ngx_http_sandbox_audit() begins the record of a request of the API, the
 * others add to it: who asks, that a sandbox was made (by which id, NULL: the
 * route's), with which code it failed.  They do nothing where there is no log.
 */

ngx_int_t ngx_http_sandbox_audit(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx, struct sandbox_route_s *route);
void ngx_http_sandbox_audit_caller(ngx_http_sandbox_ctx_t *ctx);
void ngx_http_sandbox_audit_created(ngx_http_request_t *r, const char *id);
void ngx_http_sandbox_audit_error(ngx_http_request_t *r,
    const ngx_str_t *code);

ngx_int_t ngx_http_sandbox_audit_init(ngx_conf_t *cf);
char *ngx_http_sandbox_audit_conf(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/*
 * _api.c
 *
 * The content handler of what the agent doesn't answer.  The gate sets it,
 * after it has put who asks into the request's context.
 */

ngx_int_t ngx_http_sandbox_api_handler(ngx_http_request_t *r);

/*
 * _api_conf.c, called from postconfiguration: fills api_hosts, refuses
 * `sandbox_api on` without keys or exact names, and warns of an API that
 * shares a domain with previews.
 */
ngx_int_t ngx_http_sandbox_api_init(ngx_conf_t *cf);


/* _error.c */

/*
 * Answers {"error": message, "code": code}, with Retry-After if it isn't 0,
 * and discards the request's body.  For a preview it only notes the error and
 * leaves the answer to nginx, where error_page goes first.  Its result is for
 * ngx_http_finalize_request().
 */
ngx_int_t ngx_http_sandbox_send_error(ngx_http_request_t *r, ngx_uint_t status,
    const char *code, const char *message, ngx_uint_t retry_after);

/* The same for an error of sandboxd, with its "field" and "limit" if any. */
ngx_int_t ngx_http_sandbox_send_failure(ngx_http_request_t *r,
    const ngx_http_sandbox_error_t *err);

/*
 * Called from postconfiguration: installs the filters that replace nginx's own
 * error page where the way to a sandbox has failed (ctx->failure, ctx->port).
 */
ngx_int_t ngx_http_sandbox_error_init(ngx_conf_t *cf);


/* _headers.c: the one after the last one, of any list; each of a name in lower
 * case; and, in _headers_out.c, each of the response's that is to be sent.
 * `at` is zero at first.  Or the value of the first of a name.  NULL: there is
 * none. */

typedef struct {
    ngx_list_part_t              *part;
    ngx_uint_t                    i;
} ngx_http_sandbox_header_t;

ngx_table_elt_t *ngx_http_sandbox_list_header(ngx_list_t *headers,
    ngx_http_sandbox_header_t *at);
ngx_table_elt_t *ngx_http_sandbox_each_header(ngx_http_request_t *r,
    ngx_http_sandbox_header_t *at, const char *name, size_t len);
ngx_table_elt_t *ngx_http_sandbox_each_out(ngx_http_request_t *r,
    ngx_http_sandbox_header_t *at);
ngx_str_t *ngx_http_sandbox_request_header(ngx_http_request_t *r,
    const char *name, size_t len);


/* _control.c: the code of a 404, of a route that names something inside. */
void ngx_http_sandbox_inside_error(ngx_http_request_t *r,
    ngx_http_sandbox_error_t *err);


/* _interrupt.c, for _error.c: NGX_DONE if the answer is given later. */
ngx_int_t ngx_http_sandbox_interrupt_answer(ngx_http_request_t *r);

/* The status and the code of what a sandbox's end has left without answer. */
void ngx_http_sandbox_interrupt_error(ngx_http_sandbox_ctx_t *ctx,
    ngx_http_sandbox_error_t *err);


/* _page.c */

/* Whether an error is for a person's eyes. */
ngx_uint_t ngx_http_sandbox_page_wanted(ngx_http_request_t *r);
ngx_int_t ngx_http_sandbox_page_make(ngx_http_request_t *r,
    const ngx_http_sandbox_error_t *err, ngx_str_t *text);
void ngx_http_sandbox_page_headers(ngx_http_request_t *r);
ngx_int_t ngx_http_sandbox_page_init(void);


#endif /* _NGX_HTTP_SANDBOX_H_INCLUDED_ */
