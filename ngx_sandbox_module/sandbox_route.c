/*
 * The router of the control API.  See sandbox_route.h.
 *
 * The path is read as the client spelled it, segment by segment: literal
 * segments have to be literal (an escape in them is another name), and only
 * what is meant to be a name is decoded, once.
 */

#include <string.h>

#include "sandbox_route_part.h"


static size_t
path_length(const char *uri, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        if (uri[i] == '?' || uri[i] == '#') {
            break;
        }
    }

    return i;
}


static size_t
segment_length(const char *p, const char *end)
{
    const char  *q;

    q = memchr(p, '/', end - p);

    return (q != NULL ? q : end) - p;
}


/* One segment of the pattern against one of the path; both after a slash. */
static int
match_segment(const char *pat, size_t plen, const char *p, size_t len,
    sandbox_route_match *m)
{
    if (plen < 2 || pat[0] != '{') {
        return plen == len && memcmp(pat, p, len) == 0;
    }

    if (len == 0) {
        return 0;
    }

    if (plen == 4 && memcmp(pat, "{id}", 4) == 0) {
        m->id = p;
        m->id_len = len;
        m->after_id = p + len;

    } else if (plen == 6 && memcmp(pat, "{port}", 6) == 0) {
        m->port = p;
        m->port_len = len;

    } else {
        m->name = p;
        m->name_len = len;
    }

    return 1;
}


static int
match_pattern(const char *pat, const char *p, const char *end,
    sandbox_route_match *m)
{
    size_t       plen, len;
    const char  *pend;

    memset(m, 0, sizeof(sandbox_route_match));
    pend = pat + strlen(pat);

    while (pat < pend) {

        if (p == end || *p != '/') {
            return 0;
        }

        pat++;
        p++;

        if (*pat == '*') {
            m->rest = p;
            m->rest_len = end - p;
            p = end;
            break;
        }

        plen = segment_length(pat, pend);
        len = segment_length(p, end);

        if (!match_segment(pat, plen, p, len, m)) {
            return 0;
        }

        pat += plen;
        p += len;
    }

    if (m->after_id != NULL) {
        m->after_len = end - m->after_id;
    }

    return p == end;
}


/*
 * `process/list` is also a `process/{name}`: the first pattern that fits is
 * the route, and only entries with the same pattern add their methods.
 */
static const sandbox_route_entry *
route_find(unsigned method, const char *p, const char *end,
    sandbox_route *route, sandbox_route_match *m)
{
    const char                 *pattern;
    const sandbox_route_entry  *e, *found;

    found = NULL;
    pattern = NULL;

    for (e = sandbox_routes; e->pattern != NULL; e++) {

        if (pattern != NULL) {
            if (strcmp(e->pattern, pattern) != 0) {
                break;
            }

        } else if (!match_pattern(e->pattern, p, end, m)) {
            continue;
        }

        pattern = e->pattern;
        route->allow |= e->methods;

        if (e->methods & method) {
            found = e;
        }
    }

    return found;
}


void
sandbox_route_parse(unsigned method, const char *uri, size_t len,
    sandbox_route *route)
{
    sandbox_route_match         m;
    const sandbox_route_entry  *e;

    memset(route, 0, offsetof(sandbox_route, path));
    route->kind = SANDBOX_ROUTE_NOT_FOUND;

    len = path_length(uri, len);

    e = route_find(method, uri, uri + len, route, &m);

    if (e == NULL) {
        if (route->allow != 0) {
            route->kind = SANDBOX_ROUTE_METHOD;
        }

        return;
    }

    route->pattern = e->pattern;
    route->scope = e->scope;

    if (m.id != NULL) {
        route->id = m.id;
        route->id_len = m.id_len;

        if (!sandbox_id_valid(m.id, m.id_len)) {
            route->kind = SANDBOX_ROUTE_BAD_ID;
            return;
        }

        if (sandbox_id_reserved(m.id, m.id_len)) {
            route->kind = SANDBOX_ROUTE_RESERVED_ID;
            return;
        }
    }

    if (m.port != NULL) {
        route->port = sandbox_port_parse(m.port, m.port_len);

        if (route->port == 0) {
            route->kind = SANDBOX_ROUTE_BAD_PORT;
            return;
        }
    }

    if (e->kind == SANDBOX_ROUTE_AGENT
        && sandbox_route_agent_path(route, e, &m) != 0)
    {
        route->path_len = 0;
        return;
    }

    route->inside = e->kind == SANDBOX_ROUTE_AGENT && m.name != NULL;

    if (e->kind == SANDBOX_ROUTE_LOCAL) {
        route->name = m.name;
        route->name_len = m.name_len;
    }

    if (e->kind == SANDBOX_ROUTE_PROXY) {
        route->rest = m.port + m.port_len;
        route->rest_len = uri + len - route->rest;
    }

    route->kind = e->kind;
    route->op = e->op;
}


int
sandbox_route_is_private(const char *uri, size_t len)
{
    len = path_length(uri, len);

    return len >= 3 && memcmp(uri, "/v1", 3) == 0
           && (len == 3 || uri[3] == '/');
}


size_t
sandbox_route_allow(unsigned methods, char dst[SANDBOX_ROUTE_ALLOW_MAX])
{
    size_t  i, n;
    char   *p;

    static const struct {
        unsigned     bit;
        const char  *name;
    } names[] = {
        { SANDBOX_ROUTE_GET, "GET" }, { SANDBOX_ROUTE_HEAD, "HEAD" },
        { SANDBOX_ROUTE_POST, "POST" }, { SANDBOX_ROUTE_PUT, "PUT" },
        { SANDBOX_ROUTE_DELETE, "DELETE" },
        { SANDBOX_ROUTE_OPTIONS, "OPTIONS" }, { SANDBOX_ROUTE_PATCH, "PATCH" }
    };

    p = dst;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {

        if (!(methods & names[i].bit)) {
            continue;
        }

        if (p != dst) {
            *p++ = ',';
            *p++ = ' ';
        }

        n = strlen(names[i].name);
        memcpy(p, names[i].name, n);
        p += n;
    }

    *p = '\0';

    return p - dst;
}


