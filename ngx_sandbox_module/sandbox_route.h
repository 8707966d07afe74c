/*
 * The router of the control API: from a method and the path as the client
 * spelled it to what is to be done.  Pure: no nginx, no allocation, no I/O.
 * The gate calls it once per request; what it answers is the only reading of
 * the path that anybody acts upon, so the path that was authorised and the
 * path that the agent sees can't differ.  It never decides whether a sandbox
 * exists or whether the caller may touch it.
 */

#ifndef SANDBOX_ROUTE_H
#define SANDBOX_ROUTE_H

#include <stddef.h>

/* Methods are bits with the values that nginx gives them. */
#define SANDBOX_ROUTE_GET      0x0002
#define SANDBOX_ROUTE_HEAD     0x0004
#define SANDBOX_ROUTE_POST     0x0008
#define SANDBOX_ROUTE_PUT      0x0010
#define SANDBOX_ROUTE_DELETE   0x0020
#define SANDBOX_ROUTE_OPTIONS  0x0200
#define SANDBOX_ROUTE_PATCH    0x4000
#define SANDBOX_ROUTE_ANY      0x7fff   /* all but TRACE and CONNECT */

/* What a key may do.  Each is a bit of its own: none holds another. */
#define SANDBOX_SCOPE_READ     0x1
#define SANDBOX_SCOPE_EXEC     0x2
#define SANDBOX_SCOPE_MANAGE   0x4
#define SANDBOX_SCOPE_ADMIN    0x8

#define SANDBOX_ROUTE_PATH_MAX  4096    /* bytes of an agent path */
#define SANDBOX_ROUTE_ALLOW_MAX 64      /* bytes of an Allow header and a NUL */

#define SANDBOX_ID_MAX          128     /* bytes; ours have at most 40 */
#define SANDBOX_PREFIX_LEN        6     /* of a tenant: "tabcde" */

typedef enum {
    SANDBOX_ROUTE_LOCAL = 0,        /* op says what; id, port where named */
    SANDBOX_ROUTE_AGENT,            /* id, path: goes to the agent */
    SANDBOX_ROUTE_PROXY,            /* id, port, rest: goes to a port inside */
    SANDBOX_ROUTE_NOT_IMPLEMENTED,  /* a route that is known, and not built */
    SANDBOX_ROUTE_NOT_FOUND,        /* no such route */
    SANDBOX_ROUTE_METHOD,           /* the route has other methods: allow */
    SANDBOX_ROUTE_BAD_ID,           /* id is no sandbox id */
    SANDBOX_ROUTE_RESERVED_ID,      /* id begins like a tenant's prefix */
    SANDBOX_ROUTE_BAD_PORT,         /* no port that can be exposed */
    SANDBOX_ROUTE_BAD_PATH,         /* message says what is wrong */
    SANDBOX_ROUTE_FORBIDDEN         /* a file outside /workspace */
} sandbox_route_kind;

typedef enum {
    SANDBOX_OP_NONE = 0,
    SANDBOX_OP_HEALTH,
    SANDBOX_OP_OPENAPI,
    SANDBOX_OP_OPENAPI_HTML,
    SANDBOX_OP_OPENAPI_EITHER,
    SANDBOX_OP_EVENTS,
    SANDBOX_OP_CREATE,
    SANDBOX_OP_FORK,
    SANDBOX_OP_LIST,
    SANDBOX_OP_GET,
    SANDBOX_OP_DESTROY,
    SANDBOX_OP_RUNNING,
    SANDBOX_OP_UPDATE,
    SANDBOX_OP_ENV,
    SANDBOX_OP_ENV_PATCH,
    SANDBOX_OP_SLEEP,
    SANDBOX_OP_WAKE,
    SANDBOX_OP_EXPOSE,
    SANDBOX_OP_PORTS,
    SANDBOX_OP_PORT_GET,
    SANDBOX_OP_PORT_PUT,
    SANDBOX_OP_PORT_PATCH,
    SANDBOX_OP_UNEXPOSE,
    SANDBOX_OP_LINK,
    SANDBOX_OP_TICKET,
    SANDBOX_OP_STATS,
    SANDBOX_OP_EXTERNAL,
    SANDBOX_OP_EXTERNAL_PUT,
    SANDBOX_OP_POOL_STATS,
    SANDBOX_OP_POOL_PRIME,
    SANDBOX_OP_POOL_SHUTDOWN,
    SANDBOX_OP_DOMAINS,
    SANDBOX_OP_DOMAIN_PUT,
    SANDBOX_OP_DOMAIN_DELETE
} sandbox_route_op;

typedef struct sandbox_route_s {
    sandbox_route_kind  kind;
    sandbox_route_op    op;
    unsigned            allow;      /* method bits of this path */
    unsigned            port;       /* 0: the route names none */

    const char         *id;         /* points into the path that was parsed */
    size_t              id_len;

    const char         *name;       /* with LOCAL: `{name}`, as it was */
    size_t              name_len;   /* spelled; points into the path */
    int                 inside;     /* with AGENT: it names what is there */

    const char         *pattern;    /* of the route; NULL: NOT_FOUND, METHOD */
    unsigned            scope;      /* that it needs; 0: any key will do */

    const char         *rest;       /* with PROXY: "" or from a slash on, as */
    size_t              rest_len;   /* it was sent; points into the path */

    const char         *message;    /* with BAD_PATH; static */

    size_t              path_len;   /* with AGENT: decoded, no dot segments */
    char                path[SANDBOX_ROUTE_PATH_MAX];
} sandbox_route;

/*
 * Parses the raw path (percent-escapes as sent; what follows a `?` or `#` is
 * not looked at).  method is one bit, or 0 for a method that we don't know.
 */
void sandbox_route_parse(unsigned method, const char *uri, size_t len,
    sandbox_route *route);

/* Whether a path needs a key even to learn that it doesn't exist. */
int sandbox_route_is_private(const char *uri, size_t len);

/* Writes "GET, HEAD" for method bits; the length without the NUL. */
size_t sandbox_route_allow(unsigned methods,
    char dst[SANDBOX_ROUTE_ALLOW_MAX]);

/* `[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?` or `[a-z2-7]{1,128}`. */
int sandbox_id_valid(const char *id, size_t len);

/* `^t[a-z2-7]{5}-`: begins like a tenant's prefix in a host label. */
int sandbox_id_reserved(const char *id, size_t len);

/* Decimal, 1024 to 65535 and not 3000, no sign, no leading zero; else 0. */
unsigned sandbox_port_parse(const char *s, size_t len);

/*
 * For documentation and tests: the n-th route as its pattern, one method bit
 * set and kind; NULL after the last one.
 */
const char *sandbox_route_nth(size_t n, unsigned *methods,
    sandbox_route_kind *kind, sandbox_route_op *op);
unsigned sandbox_route_nth_scope(size_t n);

/* "read", "exec", "manage" or "admin". */
const char *sandbox_scope_name(unsigned scope);

#endif
