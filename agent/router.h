/*
 * The table of routes.  A pattern is a path whose segments are literal, {name}
 * (exactly one segment, possibly empty) or, last of all, {name...} (the rest
 * of the path).  Patterns are compared with the path as it was sent: a literal
 * segment matches only its own unescaped spelling, so `%61pi` is not `api` and
 * `..%2f` never leaves its segment.  The first route that matches wins;
 * register literal routes before those with wildcards.
 *
 * Pure: knows neither libuv nor sockets.  Every area exports one function
 * `void <area>_routes(router *t)` and main.c calls them all once.
 */

#ifndef AGENT_ROUTER_H
#define AGENT_ROUTER_H

#include <stddef.h>

#define ROUTER_MAX  128

enum {
    METHOD_GET     = 1,
    METHOD_HEAD    = 2,     /* served by GET routes, the body left out */
    METHOD_POST    = 4,
    METHOD_PUT     = 8,
    METHOD_DELETE  = 16,
    METHOD_OPTIONS = 32,
    METHOD_OTHER   = 64
};

typedef struct http_request http_request;
typedef void (*http_handler)(http_request *r);

typedef struct {
    const char    *pattern;
    unsigned       methods;
    http_handler   handler;
    const char    *members;     /* of the body, with blanks; NULL: unsaid */
} route;

typedef struct {
    route    routes[ROUTER_MAX];
    size_t   count;
} router;

typedef struct {
    const route  *route;        /* NULL: nothing matched path and method */
    unsigned      allowed;      /* methods of the routes that match the path */
    const char   *param;        /* what the last wildcard matched, as sent */
    size_t        param_len;
} router_match;

/* Both the pattern and the handler must live as long as the router.  More
 * than ROUTER_MAX routes is a mistake in the program and ends it. */
void router_add(router *t, unsigned methods, const char *pattern,
    http_handler handler);

/* For the route that was added last: members of a request's JSON that are not
 * among these are named in the answer's warnings. */
void router_members(router *t, const char *members);

/* The same handler under another name: what `from` leads to by this method,
 * which has to be there already; members as above, or NULL. */
void router_alias(router *t, unsigned method, const char *pattern,
    const char *from, const char *members);

void router_find(const router *t, unsigned method, const char *path,
    size_t len, router_match *m);

/* Writes "GET, HEAD, POST" for an Allow header; size at least 64. */
void router_allow(unsigned methods, char *out, size_t size);

#endif
