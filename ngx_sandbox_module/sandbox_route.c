/*
 * The router of the control API.  See sandbox_route.h.
 *
 * The path is read as the client spelled it, segment by segment: literal
 * segments have to be literal (an escape in them is another name), and only
 * what is meant to be a name is decoded, once.
 */

#include <string.h>

#include "sandbox_route.h"


#define GET    SANDBOX_ROUTE_GET
#define HEAD   SANDBOX_ROUTE_HEAD
#define POST   SANDBOX_ROUTE_POST
#define PUT    SANDBOX_ROUTE_PUT
#define DELETE SANDBOX_ROUTE_DELETE
#define PATCH  SANDBOX_ROUTE_PATCH
#define ANY    SANDBOX_ROUTE_ANY

#define READ   SANDBOX_SCOPE_READ
#define EXEC   SANDBOX_SCOPE_EXEC
#define MANAGE SANDBOX_SCOPE_MANAGE
#define ADMIN  SANDBOX_SCOPE_ADMIN

#define LOCAL  SANDBOX_ROUTE_LOCAL
#define AGENT  SANDBOX_ROUTE_AGENT
#define PROXY  SANDBOX_ROUTE_PROXY
#define LATER  SANDBOX_ROUTE_NOT_IMPLEMENTED

#define SANDBOX       "/v1/sandbox/{id}"
#define WORKSPACE     "/workspace"
#define CONTROL_PORT  3000      /* of the container API that clients know */


/*
 * `{id}`, `{port}` and `{name}` stand for one segment, a final `*` for the
 * rest.  prefix goes before what follows the id in the agent's path.  Only
 * what stands here can start a sandbox: an unknown route must not.
 *
 * scope is what a key needs: READ for what shows records, files and output,
 * EXEC for what changes something inside, MANAGE for the sandbox itself and
 * the ways to it, ADMIN for what is above tenants, 0 for any key.
 */
typedef struct {
    const char          *pattern;
    unsigned             methods;
    unsigned             scope;
    sandbox_route_kind   kind;
    sandbox_route_op     op;
    const char          *prefix;
} route_entry;


static const route_entry  route_table[] = {

    { "/health", GET|HEAD, 0, LOCAL, SANDBOX_OP_HEALTH, NULL },
    { "/v1/openapi.json", GET|HEAD, 0, LOCAL, SANDBOX_OP_OPENAPI, NULL },
    { "/v1/openapi.html", GET|HEAD, 0, LOCAL, SANDBOX_OP_OPENAPI_HTML, NULL },
    { "/v1/openapi", GET|HEAD, 0, LOCAL, SANDBOX_OP_OPENAPI_EITHER, NULL },
    { "/v1/events", GET, READ, LOCAL, SANDBOX_OP_EVENTS, NULL },
    { "/v1/pool/stats", GET|HEAD, ADMIN, LOCAL, SANDBOX_OP_POOL_STATS, NULL },
    { "/v1/pool/prime", POST, ADMIN, LOCAL, SANDBOX_OP_POOL_PRIME, NULL },
    { "/v1/pool/shutdown-prewarmed", POST, ADMIN, LOCAL,
      SANDBOX_OP_POOL_SHUTDOWN, NULL },
    { "/v1/domains", GET|HEAD, READ, LOCAL, SANDBOX_OP_DOMAINS, NULL },
    { "/v1/domains/{name}", PUT, ADMIN, LOCAL, SANDBOX_OP_DOMAIN_PUT, NULL },
    { "/v1/domains/{name}", DELETE, ADMIN, LOCAL, SANDBOX_OP_DOMAIN_DELETE,
      NULL },

    { "/v1/external/{id}", GET|HEAD, ADMIN, LOCAL, SANDBOX_OP_EXTERNAL, NULL },
    { "/v1/external/{id}", PUT, ADMIN, LOCAL, SANDBOX_OP_EXTERNAL_PUT, NULL },

    { "/v1/sandbox", POST, MANAGE, LOCAL, SANDBOX_OP_CREATE, NULL },
    { "/v1/sandbox", GET|HEAD, READ, LOCAL, SANDBOX_OP_LIST, NULL },
    { SANDBOX, GET|HEAD, READ, LOCAL, SANDBOX_OP_GET, NULL },
    { SANDBOX, PATCH, MANAGE, LOCAL, SANDBOX_OP_UPDATE, NULL },
    { SANDBOX, DELETE, MANAGE, LOCAL, SANDBOX_OP_DESTROY, NULL },
    { SANDBOX "/running", GET|HEAD, READ, LOCAL, SANDBOX_OP_RUNNING, NULL },
    { SANDBOX "/stats", GET|HEAD, READ, LOCAL, SANDBOX_OP_STATS, NULL },
    { SANDBOX "/env", GET|HEAD, READ, LOCAL, SANDBOX_OP_ENV, NULL },
    { SANDBOX "/env", PATCH, MANAGE, LOCAL, SANDBOX_OP_ENV_PATCH, NULL },
    { SANDBOX "/sleep", POST, MANAGE, LOCAL, SANDBOX_OP_SLEEP, NULL },
    { SANDBOX "/wake", POST, MANAGE, LOCAL, SANDBOX_OP_WAKE, NULL },
    { SANDBOX "/ports", GET|HEAD, READ, LOCAL, SANDBOX_OP_PORTS, NULL },
    { SANDBOX "/ports", POST, MANAGE, LOCAL, SANDBOX_OP_EXPOSE, NULL },
    { SANDBOX "/ports/{port}", GET|HEAD, READ, LOCAL, SANDBOX_OP_PORT_GET,
      NULL },
    { SANDBOX "/ports/{port}", PUT, MANAGE, LOCAL, SANDBOX_OP_PORT_PUT, NULL },
    { SANDBOX "/ports/{port}", PATCH, MANAGE, LOCAL, SANDBOX_OP_PORT_PATCH,
      NULL },
    { SANDBOX "/ports/{port}", DELETE, MANAGE, LOCAL, SANDBOX_OP_UNEXPOSE,
      NULL },
    { SANDBOX "/ticket", POST, MANAGE, LOCAL, SANDBOX_OP_TICKET, NULL },
    { SANDBOX "/ports/{port}/link", POST, MANAGE, LOCAL, SANDBOX_OP_LINK,
      NULL },

    { SANDBOX "/exec", POST, EXEC, AGENT, SANDBOX_OP_NONE, "/bridge" },
    { SANDBOX "/file/*", GET|HEAD, READ, AGENT, SANDBOX_OP_NONE, "/bridge" },
    { SANDBOX "/file/*", PUT, EXEC, AGENT, SANDBOX_OP_NONE, "/bridge" },
    { SANDBOX "/files/*", GET|HEAD, READ, AGENT, SANDBOX_OP_NONE, "/bridge" },
    { SANDBOX "/files/*", PUT|POST|DELETE, EXEC, AGENT, SANDBOX_OP_NONE,
      "/bridge" },
    { SANDBOX "/session", GET, READ, AGENT, SANDBOX_OP_NONE, "/bridge" },
    { SANDBOX "/session", POST, EXEC, AGENT, SANDBOX_OP_NONE, "/bridge" },
    { SANDBOX "/session/{name}", DELETE, EXEC, AGENT, SANDBOX_OP_NONE,
      "/bridge" },

    { SANDBOX "/process", GET, READ, AGENT, SANDBOX_OP_NONE, "/bridge" },
    { SANDBOX "/process", POST|DELETE, EXEC, AGENT, SANDBOX_OP_NONE,
      "/bridge" },
    { SANDBOX "/process/{name}", GET, READ, AGENT, SANDBOX_OP_NONE,
      "/bridge" },
    { SANDBOX "/process/{name}", DELETE, EXEC, AGENT, SANDBOX_OP_NONE,
      "/bridge" },
    { SANDBOX "/process/{name}/logs", GET, READ, AGENT, SANDBOX_OP_NONE,
      "/bridge" },
    { SANDBOX "/process/{name}/stream", GET, READ, AGENT, SANDBOX_OP_NONE,
      "/bridge" },
    { SANDBOX "/process/{name}/stdin", POST, EXEC, AGENT, SANDBOX_OP_NONE,
      "/bridge" },
    { SANDBOX "/process/{name}/signal", POST, EXEC, AGENT, SANDBOX_OP_NONE,
      "/bridge" },
    { SANDBOX "/process/{name}/wait", POST, READ, AGENT, SANDBOX_OP_NONE,
      "/bridge" },
    { SANDBOX "/port-watch", POST, READ, AGENT, SANDBOX_OP_NONE, "/bridge" },

    { SANDBOX "/contexts", GET, READ, AGENT, SANDBOX_OP_NONE, "/bridge" },
    { SANDBOX "/contexts", POST, EXEC, AGENT, SANDBOX_OP_NONE, "/bridge" },
    { SANDBOX "/contexts/{name}", DELETE, EXEC, AGENT, SANDBOX_OP_NONE,
      "/bridge" },
    { SANDBOX "/contexts/{name}/code", POST, EXEC, AGENT, SANDBOX_OP_NONE,
      "/bridge" },

    { SANDBOX "/watch", POST, READ, AGENT, SANDBOX_OP_NONE, "/bridge" },
    { SANDBOX "/watch/check", POST, READ, AGENT, SANDBOX_OP_NONE, "/bridge" },
    { SANDBOX "/git/checkout", POST, EXEC, AGENT, SANDBOX_OP_NONE,
      "/bridge" },
    { SANDBOX "/backup", POST, EXEC, AGENT, SANDBOX_OP_NONE, "/bridge" },
    { SANDBOX "/backup/parts", POST, EXEC, AGENT, SANDBOX_OP_NONE,
      "/bridge" },
    { SANDBOX "/restore", POST, EXEC, AGENT, SANDBOX_OP_NONE, "/bridge" },

    { SANDBOX "/proxy/{port}", ANY, EXEC, PROXY, SANDBOX_OP_NONE, NULL },
    { SANDBOX "/proxy/{port}/*", ANY, EXEC, PROXY, SANDBOX_OP_NONE, NULL },

    { SANDBOX "/pty", GET, EXEC, AGENT, SANDBOX_OP_NONE, "/bridge" },
    { SANDBOX "/persist", POST, EXEC, AGENT, SANDBOX_OP_NONE, "/bridge" },
    { SANDBOX "/hydrate", POST, EXEC, AGENT, SANDBOX_OP_NONE, "/bridge" },
    { SANDBOX "/fork", POST, MANAGE, LOCAL, SANDBOX_OP_FORK, NULL },
    { SANDBOX "/mount", POST, MANAGE, LATER, SANDBOX_OP_NONE, NULL },
    { SANDBOX "/unmount", POST, MANAGE, LATER, SANDBOX_OP_NONE, NULL },
    { SANDBOX "/tunnel/{name}", POST|DELETE, MANAGE, LATER, SANDBOX_OP_NONE,
      NULL },
    { SANDBOX "/ws/pty", GET, EXEC, AGENT, SANDBOX_OP_NONE, "" },

    { SANDBOX "/api/ping", GET, READ, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/version", GET, READ, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/commands", GET, READ, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/session/create", POST, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/session/list", GET, READ, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/session/delete", POST, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/execute", POST, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/execute/stream", POST, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/read", POST, READ, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/read/stream", POST, READ, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/write", POST, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/delete", POST, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/rename", POST, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/move", POST, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/mkdir", POST, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/list-files", POST, READ, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/exists", POST, READ, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/file", GET|HEAD, READ, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/file", PUT, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/archive", GET, READ, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/archive", PUT, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/process/start", POST, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/process/list", GET, READ, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/process/kill-all", DELETE, EXEC, AGENT, SANDBOX_OP_NONE,
      "" },
    { SANDBOX "/api/process/{name}", GET, READ, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/process/{name}", DELETE, EXEC, AGENT, SANDBOX_OP_NONE,
      "" },
    { SANDBOX "/api/process/{name}/logs", GET, READ, AGENT, SANDBOX_OP_NONE,
      "" },
    { SANDBOX "/api/process/{name}/stream", GET, READ, AGENT, SANDBOX_OP_NONE,
      "" },
    { SANDBOX "/api/process/{name}/stdin", POST, EXEC, AGENT, SANDBOX_OP_NONE,
      "" },
    { SANDBOX "/api/process/{name}/signal", POST, EXEC, AGENT, SANDBOX_OP_NONE,
      "" },
    { SANDBOX "/api/process/{name}/wait", POST, EXEC, AGENT, SANDBOX_OP_NONE,
      "" },
    { SANDBOX "/api/port-watch", POST, READ, AGENT, SANDBOX_OP_NONE, "" },

    { SANDBOX "/api/git/checkout", POST, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/interpreter/health", GET, READ, AGENT, SANDBOX_OP_NONE,
      "" },
    { SANDBOX "/api/contexts", GET, READ, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/contexts", POST, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/contexts/{name}", DELETE, EXEC, AGENT, SANDBOX_OP_NONE,
      "" },
    { SANDBOX "/api/execute/code", POST, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/backup/create", POST, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/backup/restore", POST, EXEC, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/backup/upload-parts", POST, EXEC, AGENT, SANDBOX_OP_NONE,
      "" },
    { SANDBOX "/api/watch", POST, READ, AGENT, SANDBOX_OP_NONE, "" },
    { SANDBOX "/api/watch/check", POST, READ, AGENT, SANDBOX_OP_NONE, "" },
};

#define ROUTES  (sizeof(route_table) / sizeof(route_table[0]))


/* Where the parts of a path that matched a pattern are. */
typedef struct {
    const char  *id, *port, *name, *rest, *after_id;
    size_t       id_len, port_len, name_len, rest_len, after_len;
} route_match;


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
    route_match *m)
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
match_pattern(const char *pat, const char *p, const char *end, route_match *m)
{
    size_t       plen, len;
    const char  *pend;

    memset(m, 0, sizeof(route_match));
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


static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }

    return -1;
}


/*
 * The next byte of an escaped text, or -1 for NUL and for an escape that is
 * none.  *p is moved behind it.
 */
static int
unescape(const char **p, const char *end)
{
    int          hi, lo;
    const char  *q;

    q = *p;

    if (*q != '%') {
        *p = q + 1;
        return *q != '\0' ? (unsigned char) *q : -1;
    }

    if (end - q < 3) {
        return -1;
    }

    hi = hex_digit(q[1]);
    lo = hex_digit(q[2]);

    if (hi < 0 || lo < 0 || hi + lo == 0) {
        return -1;
    }

    *p = q + 3;

    return hi << 4 | lo;
}


static int
bad_path(sandbox_route *route, const char *message)
{
    route->kind = SANDBOX_ROUTE_BAD_PATH;
    route->message = message;

    return -1;
}


static int
path_append(sandbox_route *route, const char *s, size_t len)
{
    if (len > SANDBOX_ROUTE_PATH_MAX - route->path_len) {
        return bad_path(route, "The path is longer than 4096 bytes");
    }

    memcpy(route->path + route->path_len, s, len);
    route->path_len += len;

    return 0;
}


/*
 * A name is one segment before and after decoding: a slash in it would change
 * what the agent takes for its route.
 */
static int
path_append_name(sandbox_route *route, const char *p, size_t len)
{
    int          ch;
    char         byte;
    size_t       start;
    const char  *end;

    end = p + len;
    start = route->path_len;

    while (p < end) {
        ch = unescape(&p, end);

        if (ch < 0) {
            return bad_path(route, "Invalid escape in the path");
        }

        if (ch == '/') {
            return bad_path(route, "A name in the path contains a slash");
        }

        byte = ch;

        if (path_append(route, &byte, 1) != 0) {
            return -1;
        }
    }

    len = route->path_len - start;
    p = route->path + start;

    if ((len == 1 && p[0] == '.') || (len == 2 && memcmp(p, "..", 2) == 0)) {
        return bad_path(route, "A name in the path is a dot segment");
    }

    return 0;
}


/*
 * Drops the last segment of what was written after base, if there is one:
 * what `..` means.  Above the root there is only the root.
 */
static void
path_pop(sandbox_route *route, size_t base)
{
    while (route->path_len > base) {
        route->path_len--;

        if (route->path[route->path_len] == '/') {
            break;
        }
    }
}


/*
 * Appends a file's path, decoded, without empty and dot segments; each segment
 * is written behind its slash and looked at when it ends.
 */
static int
path_append_file(sandbox_route *route, const char *p, size_t len)
{
    int          ch;
    char         byte;
    size_t       base, seg, n;
    const char  *end;

    end = p + len;
    base = route->path_len;
    ch = '/';

    for ( ;; ) {

        if (path_append(route, "/", 1) != 0) {
            return -1;
        }

        seg = route->path_len;

        while (p < end) {
            ch = unescape(&p, end);

            if (ch < 0) {
                return bad_path(route, "Invalid escape in the path");
            }

            if (ch == '/') {
                break;
            }

            byte = ch;

            if (path_append(route, &byte, 1) != 0) {
                return -1;
            }
        }

        n = route->path_len - seg;

        if (n == 0 || (n == 1 && route->path[seg] == '.')) {
            route->path_len = seg - 1;

        } else if (n == 2 && memcmp(route->path + seg, "..", 2) == 0) {
            route->path_len = seg - 1;
            path_pop(route, base);
        }

        if (p == end) {
            break;
        }
    }

    /* "dir/" is not the same request as "dir". */

    if (ch == '/' && route->path_len > base) {
        return path_append(route, "/", 1);
    }

    return 0;
}


static int
file_path(sandbox_route *route, const route_entry *e, const route_match *m)
{
    size_t       base, len;
    const char  *p;

    if (m->rest_len == 0) {
        return bad_path(route, "file path must not be empty");
    }

    /* "/file" or "/files" */

    if (path_append(route, e->prefix, strlen(e->prefix)) != 0
        || path_append(route, m->after_id, m->rest - 1 - m->after_id) != 0)
    {
        return -1;
    }

    base = route->path_len;

    if (path_append_file(route, m->rest, m->rest_len) != 0) {
        return -1;
    }

    p = route->path + base;
    len = route->path_len - base;

    if (len < sizeof(WORKSPACE) - 1
        || memcmp(p, WORKSPACE, sizeof(WORKSPACE) - 1) != 0
        || (len > sizeof(WORKSPACE) - 1 && p[sizeof(WORKSPACE) - 1] != '/'))
    {
        route->kind = SANDBOX_ROUTE_FORBIDDEN;
        return -1;
    }

    return 0;
}


static int
agent_path(sandbox_route *route, const route_entry *e, const route_match *m)
{
    size_t       len;
    const char  *after;

    if (m->rest != NULL) {
        return file_path(route, e, m);
    }

    if (path_append(route, e->prefix, strlen(e->prefix)) != 0) {
        return -1;
    }

    if (m->name == NULL) {
        return path_append(route, m->after_id, m->after_len);
    }

    after = m->name + m->name_len;
    len = m->after_id + m->after_len - after;

    if (path_append(route, m->after_id, m->name - m->after_id) != 0
        || path_append_name(route, m->name, m->name_len) != 0)
    {
        return -1;
    }

    return path_append(route, after, len);
}


/*
 * `process/list` is also a `process/{name}`: the first pattern that fits is
 * the route, and only entries with the same pattern add their methods.
 */
static const route_entry *
route_find(unsigned method, const char *p, const char *end,
    sandbox_route *route, route_match *m)
{
    size_t              i;
    const char         *pattern;
    const route_entry  *e, *found;

    found = NULL;
    pattern = NULL;

    for (i = 0; i < ROUTES; i++) {
        e = &route_table[i];

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
    route_match         m;
    const route_entry  *e;

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

    if (e->kind == SANDBOX_ROUTE_AGENT && agent_path(route, e, &m) != 0) {
        route->path_len = 0;
        return;
    }

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
        { GET, "GET" }, { HEAD, "HEAD" }, { POST, "POST" },
        { PUT, "PUT" }, { DELETE, "DELETE" },
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


static int
is_base32(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '2' && c <= '7');
}


int
sandbox_id_valid(const char *id, size_t len)
{
    int     base32;
    char    c;
    size_t  i;

    if (len == 0 || len > SANDBOX_ID_MAX) {
        return 0;
    }

    base32 = 1;

    for (i = 0; i < len; i++) {
        c = id[i];

        if (is_base32(c)) {
            continue;
        }

        base32 = 0;

        if (c != '-' && !(c >= '0' && c <= '9')) {
            return 0;
        }
    }

    return base32 || (len <= 40 && id[0] != '-' && id[len - 1] != '-');
}


int
sandbox_id_reserved(const char *id, size_t len)
{
    size_t  i;

    if (len < 7 || id[0] != 't' || id[6] != '-') {
        return 0;
    }

    for (i = 1; i < 6; i++) {
        if (!is_base32(id[i])) {
            return 0;
        }
    }

    return 1;
}


unsigned
sandbox_port_parse(const char *s, size_t len)
{
    size_t    i;
    unsigned  port;

    if (len < 4 || len > 5 || s[0] == '0') {
        return 0;
    }

    port = 0;

    for (i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return 0;
        }

        port = port * 10 + (s[i] - '0');
    }

    return (port < 1024 || port > 65535 || port == CONTROL_PORT) ? 0 : port;
}


const char *
sandbox_route_nth(size_t n, unsigned *methods, sandbox_route_kind *kind,
    sandbox_route_op *op)
{
    if (n >= ROUTES) {
        return NULL;
    }

    *methods = route_table[n].methods;
    *kind = route_table[n].kind;
    *op = route_table[n].op;

    return route_table[n].pattern;
}


unsigned
sandbox_route_nth_scope(size_t n)
{
    return n < ROUTES ? route_table[n].scope : 0;
}


const char *
sandbox_scope_name(unsigned scope)
{
    return scope == ADMIN ? "admin" : scope == MANAGE ? "manage"
           : scope == EXEC ? "exec" : "read";
}
