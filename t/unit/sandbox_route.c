/* sources: ngx_sandbox_module/sandbox_route.c ngx_sandbox_module/sandbox_route_table.c ngx_sandbox_module/sandbox_route_path.c ngx_sandbox_module/sandbox_id.c */

/* What the control API's router promises, path by path. */

#include <stdlib.h>
#include <string.h>

#include "ngx_sandbox_module/sandbox_route.h"
#include "t/unit/tap.h"


static sandbox_route  route;


/* The path is copied to its exact size, so that reading over it is seen. */
static sandbox_route_kind
parse(unsigned method, const char *uri)
{
    char   *copy;
    size_t  len;

    len = strlen(uri);
    copy = malloc(len ? len : 1);
    memcpy(copy, uri, len);

    sandbox_route_parse(method, copy, len, &route);

    free(copy);
    route.id = NULL;

    return route.kind;
}


static int
agent(unsigned method, const char *uri, const char *path)
{
    return parse(method, uri) == SANDBOX_ROUTE_AGENT
           && route.path_len == strlen(path)
           && memcmp(route.path, path, route.path_len) == 0;
}


static int
local(unsigned method, const char *uri, sandbox_route_op op)
{
    return parse(method, uri) == SANDBOX_ROUTE_LOCAL && route.op == op;
}


static void
test_local(void)
{
    ok(local(SANDBOX_ROUTE_GET, "/health", SANDBOX_OP_HEALTH), "health");
    ok(local(SANDBOX_ROUTE_HEAD, "/health?x=/", SANDBOX_OP_HEALTH),
       "arguments are not the path");
    ok(local(SANDBOX_ROUTE_GET, "/v1/openapi.json", SANDBOX_OP_OPENAPI),
       "openapi");
    ok(local(SANDBOX_ROUTE_POST, "/v1/sandbox", SANDBOX_OP_CREATE), "create");
    ok(local(SANDBOX_ROUTE_GET, "/v1/sandbox", SANDBOX_OP_LIST), "list");
    ok(local(SANDBOX_ROUTE_GET, "/v1/sandbox/demo", SANDBOX_OP_GET), "get");
    ok(local(SANDBOX_ROUTE_DELETE, "/v1/sandbox/demo", SANDBOX_OP_DESTROY),
       "destroy");
    ok(local(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/running",
             SANDBOX_OP_RUNNING), "running");
    ok(local(SANDBOX_ROUTE_POST, "/v1/sandbox/demo/ports",
             SANDBOX_OP_EXPOSE), "expose");
    ok(local(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/ports", SANDBOX_OP_PORTS),
       "ports");
    ok(local(SANDBOX_ROUTE_DELETE, "/v1/sandbox/demo/ports/8000",
             SANDBOX_OP_UNEXPOSE) && route.port == 8000, "unexpose");
    ok(local(SANDBOX_ROUTE_PUT, "/v1/sandbox/demo/ports/65535",
             SANDBOX_OP_PORT_PUT) && route.port == 65535, "put a port");
    ok(local(SANDBOX_ROUTE_GET, "/v1/domains", SANDBOX_OP_DOMAINS)
       && route.scope == SANDBOX_SCOPE_READ && route.name_len == 0,
       "domains");
    ok(local(SANDBOX_ROUTE_PUT, "/v1/domains/a.b?x", SANDBOX_OP_DOMAIN_PUT)
       && route.scope == SANDBOX_SCOPE_ADMIN && route.name_len == 3,
       "a domain, by its name");
    ok(local(SANDBOX_ROUTE_DELETE, "/v1/domains/a.b", SANDBOX_OP_DOMAIN_DELETE)
       && route.scope == SANDBOX_SCOPE_ADMIN, "no domain");
    ok(parse(SANDBOX_ROUTE_PUT, "/v1/domains/a/b")
       == SANDBOX_ROUTE_NOT_FOUND, "none in two parts");
    ok(local(SANDBOX_ROUTE_PATCH, "/v1/sandbox/demo/ports/1024",
             SANDBOX_OP_PORT_PATCH) && route.port == 1024, "patch a port");
}


static void
test_agent(void)
{
    ok(agent(SANDBOX_ROUTE_POST, "/v1/sandbox/demo/exec", "/bridge/exec"),
       "exec");
    ok(agent(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/file/workspace/a.txt",
             "/bridge/file/workspace/a.txt"), "a file");
    ok(agent(SANDBOX_ROUTE_PUT,
             "/v1/sandbox/demo/file/workspace/%3F%23%25%20%C3%A9",
             "/bridge/file/workspace/?#% \xc3\xa9"),
       "a file's name is decoded fully, once");
    ok(agent(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/file/workspace/%252e%252e",
             "/bridge/file/workspace/%2e%2e"), "and not twice");
    ok(agent(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/file//workspace//a/./b/../c",
             "/bridge/file/workspace/a/c"), "dot and empty segments are gone");
    ok(agent(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/file/x/..%2fworkspace%2fa",
             "/bridge/file/workspace/a"), "escaped ones too");
    ok(agent(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/file/workspace/dir/",
             "/bridge/file/workspace/dir/"), "a final slash stays");
    ok(agent(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/file/workspace",
             "/bridge/file/workspace"), "the workspace itself");
    ok(agent(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/file/workspace/...",
             "/bridge/file/workspace/..."), "three dots are a name");
    ok(agent(SANDBOX_ROUTE_POST, "/v1/sandbox/demo/session",
             "/bridge/session"), "session");
    ok(agent(SANDBOX_ROUTE_DELETE, "/v1/sandbox/demo/session/a%2Eb",
             "/bridge/session/a.b"), "session by name");
    ok(agent(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/pty?cols=9", "/bridge/pty"),
       "the bridge's terminal");
    ok(agent(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/ws/pty", "/ws/pty"),
       "the container API's");
    ok(agent(SANDBOX_ROUTE_POST, "/v1/sandbox/demo/api/execute?x=1#y",
             "/api/execute"), "the container API, without arguments");
    ok(agent(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/api/process/p%201/logs",
             "/api/process/p 1/logs"), "a name in the middle");
    ok(agent(SANDBOX_ROUTE_DELETE, "/v1/sandbox/demo/api/process/kill-all",
             "/api/process/kill-all"), "literal before named");
}


static void
test_refused_paths(void)
{
    static const char  *not_found[] = {
        "", "/", "v1/sandbox", "*", "/v1", "/v1/", "/v1/sandbox/",
        "//v1/sandbox", "/v1//sandbox", "/V1/sandbox", "/v1/%73andbox",
        "/v1/sandbox/demo/", "/v1/sandbox/demo//exec",
        "/v1/sandbox//exec", "/v1/sandbox/demo/exec/",
        "/v1/sandbox/demo/%65xec", "/v1/sandbox/demo/./exec",
        "/v1/sandbox/demo/x/../exec", "/v1/sandbox/demo/api",
        "/v1/sandbox/demo/api/", "/v1/sandbox/demo/api/nonsense",
        "/v1/sandbox/demo/api/../bridge/exec", "/v1/sandbox/demo/file",
        "/v1/sandbox/demo/bridge/exec", "/v1/sandbox/demo/api%2fexecute",
        "/v1/sandbox/demo%2fapi/execute", "/healthy", "/health/",
        "/v1/sandbox/demo/session/a/b", "/v1/sandbox/demo/ports/8000/x"
    };
    size_t  i;

    for (i = 0; i < sizeof(not_found) / sizeof(char *); i++) {
        ok(parse(SANDBOX_ROUTE_POST, not_found[i]) == SANDBOX_ROUTE_NOT_FOUND,
           "no route: \"%s\"", not_found[i]);
    }

    ok(parse(SANDBOX_ROUTE_GET,
             "/v1/sandbox/demo/file/..%2f..%2fapi/execute")
       == SANDBOX_ROUTE_FORBIDDEN, "a file is no way to another route");
    ok(parse(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/file/etc/passwd")
       == SANDBOX_ROUTE_FORBIDDEN, "a file outside the workspace");
    ok(parse(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/file/workspace/../etc")
       == SANDBOX_ROUTE_FORBIDDEN, "and by way of it");
    ok(parse(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/file/workspaces/a")
       == SANDBOX_ROUTE_FORBIDDEN, "a name that only begins like it");
    ok(parse(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/file/")
       == SANDBOX_ROUTE_BAD_PATH, "an empty file path");
    ok(parse(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/file/workspace/a%00b")
       == SANDBOX_ROUTE_BAD_PATH, "NUL in a path");
    ok(parse(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/file/workspace/a%4")
       == SANDBOX_ROUTE_BAD_PATH, "a cut escape");
    ok(parse(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/file/workspace/a%zz")
       == SANDBOX_ROUTE_BAD_PATH, "an escape that is none");
    ok(parse(SANDBOX_ROUTE_DELETE, "/v1/sandbox/demo/session/..")
       == SANDBOX_ROUTE_BAD_PATH, "a dot segment as a name");
    ok(parse(SANDBOX_ROUTE_DELETE, "/v1/sandbox/demo/session/%2e%2e")
       == SANDBOX_ROUTE_BAD_PATH, "an escaped one");
    ok(parse(SANDBOX_ROUTE_DELETE, "/v1/sandbox/demo/api/process/a%2fb")
       == SANDBOX_ROUTE_BAD_PATH, "a slash in a name");
}


static void
test_long_path(void)
{
    char    uri[SANDBOX_ROUTE_PATH_MAX + 64];
    size_t  len;

    len = sprintf(uri, "/v1/sandbox/demo/file/workspace/");
    memset(uri + len, 'a', sizeof(uri) - len - 1);
    uri[sizeof(uri) - 1] = '\0';

    ok(parse(SANDBOX_ROUTE_GET, uri) == SANDBOX_ROUTE_BAD_PATH,
       "a path over the limit");

    uri[len + SANDBOX_ROUTE_PATH_MAX - strlen("/bridge/file/workspace/")]
        = '\0';

    ok(parse(SANDBOX_ROUTE_GET, uri) == SANDBOX_ROUTE_AGENT
       && route.path_len == SANDBOX_ROUTE_PATH_MAX, "a path of the limit");
}


static void
test_methods(void)
{
    char  allow[SANDBOX_ROUTE_ALLOW_MAX];

    ok(parse(SANDBOX_ROUTE_PUT, "/v1/sandbox") == SANDBOX_ROUTE_METHOD,
       "wrong method");
    sandbox_route_allow(route.allow, allow);
    ok(strcmp(allow, "GET, HEAD, POST") == 0, "allow of the collection");

    ok(parse(0, "/v1/sandbox/demo/ports/8000") == SANDBOX_ROUTE_METHOD,
       "a method that nobody knows");
    ok(sandbox_route_allow(route.allow, allow)
       == strlen("GET, HEAD, PUT, DELETE, PATCH"), "allow of a port");

    ok(parse(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/exec")
       == SANDBOX_ROUTE_METHOD && route.allow == SANDBOX_ROUTE_POST,
       "exec is POST");
    ok(parse(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/api/process/kill-all")
       == SANDBOX_ROUTE_METHOD && route.allow == SANDBOX_ROUTE_DELETE,
       "the literal route's methods alone");

    sandbox_route_allow(~0u, allow);
    ok(strcmp(allow, "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH") == 0,
       "all methods fit");
}


static void
test_ids(void)
{
    static const char  *good[] = {
        "a", "0", "demo", "a-b", "8-8", "a--b",
        "0123456789012345678901234567890123456789",
        "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwxyz234567"
        "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwxyz234567"
    };
    static const char  *bad[] = {
        "", "-", "-a", "a-", "A", "Demo", "a.b", "a_b", "a b", "d%65mo",
        "01234567890123456789012345678901234567890",
        "abcdefghijklmnopqrstuvwxyz-abcdefghijklmno",
        "\xc3\xa9", "..", "aabcdefghijklmnopqrstuvwxyz234567abcdefghijklm"
        "nopqrstuvwxyz234567abcdefghijklmnopqrstuvwxyz234567abcdefghijklm"
        "nopqrstuvwxyz234567"
    };
    size_t  i;

    for (i = 0; i < sizeof(good) / sizeof(char *); i++) {
        ok(sandbox_id_valid(good[i], strlen(good[i])), "id %s", good[i]);
    }

    for (i = 0; i < sizeof(bad) / sizeof(char *); i++) {
        ok(!sandbox_id_valid(bad[i], strlen(bad[i])), "no id: %s", bad[i]);
    }

    ok(sandbox_id_reserved("tabc23-x", 8), "a tenant's prefix");
    ok(!sandbox_id_reserved("tabc2-x", 7), "four characters are none");
    ok(!sandbox_id_reserved("tabc18-x", 8), "nor are 1 and 8");
    ok(!sandbox_id_reserved("tabc234", 7), "nor one without a hyphen");

    ok(parse(SANDBOX_ROUTE_GET, "/v1/sandbox/Demo") == SANDBOX_ROUTE_BAD_ID,
       "a malformed id");
    ok(parse(SANDBOX_ROUTE_GET, "/v1/sandbox/d%65mo") == SANDBOX_ROUTE_BAD_ID,
       "an escape in an id");
    ok(parse(SANDBOX_ROUTE_POST, "/v1/sandbox/tabcde-x/exec")
       == SANDBOX_ROUTE_RESERVED_ID, "a reserved id");
    ok(parse(SANDBOX_ROUTE_POST, "/v1/sandbox/../exec")
       == SANDBOX_ROUTE_BAD_ID, "a dot segment for an id");
}


static void
test_ports(void)
{
    static const char  *bad[] = {
        "", "0", "80", "1023", "01024", "08000", "+8000", "8000x", "3000",
        "65536", "70000", "99999", "100000", "8 00", "-800"
    };
    size_t  i;

    ok(sandbox_port_parse("1024", 4) == 1024, "the lowest port");
    ok(sandbox_port_parse("65535", 5) == 65535, "the highest port");

    for (i = 0; i < sizeof(bad) / sizeof(char *); i++) {
        ok(sandbox_port_parse(bad[i], strlen(bad[i])) == 0,
           "no port: \"%s\"", bad[i]);
    }

    ok(parse(SANDBOX_ROUTE_DELETE, "/v1/sandbox/demo/ports/08000")
       == SANDBOX_ROUTE_BAD_PORT, "a bad port in a path");
}


static void
test_later(void)
{
    static const char  *paths[] = {
        "/v1/sandbox/demo/mount", "/v1/sandbox/demo/unmount",
        "/v1/sandbox/demo/tunnel/8000"
    };
    size_t  i;

    for (i = 0; i < sizeof(paths) / sizeof(char *); i++) {
        ok(parse(SANDBOX_ROUTE_POST, paths[i])
           == SANDBOX_ROUTE_NOT_IMPLEMENTED, "not built: %s", paths[i]);
    }

}


static void
test_private(void)
{
    ok(sandbox_route_is_private("/v1", 3), "/v1 needs a key");
    ok(sandbox_route_is_private("/v1/nonsense", 12), "unknown routes too");
    ok(sandbox_route_is_private("/v1?x", 5), "and with arguments");
    ok(!sandbox_route_is_private("/v12", 4), "/v12 is another name");
    ok(!sandbox_route_is_private("/health", 7), "health needs none");
    ok(!sandbox_route_is_private("", 0), "nor does nothing");
}


#define SANDBOX  "/v1/sandbox/{id}"


static unsigned
scope(unsigned method, const char *uri)
{
    parse(method, uri);

    return route.scope;
}


static void
test_scopes(void)
{
    size_t               n;
    unsigned             methods, needs;
    const char          *pattern;
    sandbox_route_op     op;
    sandbox_route_kind   kind;

    ok(scope(SANDBOX_ROUTE_GET, "/health") == 0
       && scope(SANDBOX_ROUTE_GET, "/v1/openapi.json") == 0,
       "documents need no scope");
    ok(scope(SANDBOX_ROUTE_GET, "/v1/sandbox/demo") == SANDBOX_SCOPE_READ,
       "a record is read");
    ok(scope(SANDBOX_ROUTE_DELETE, "/v1/sandbox/demo")
       == SANDBOX_SCOPE_MANAGE, "a destruction is managed");
    ok(scope(SANDBOX_ROUTE_POST, "/v1/sandbox/demo/exec")
       == SANDBOX_SCOPE_EXEC, "exec is exec");
    ok(scope(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/file/workspace/a")
       == SANDBOX_SCOPE_READ, "a file is read");
    ok(scope(SANDBOX_ROUTE_PUT, "/v1/sandbox/demo/file/workspace/a")
       == SANDBOX_SCOPE_EXEC, "and written");

    for (n = 0; ; n++) {
        pattern = sandbox_route_nth(n, &methods, &kind, &op);

        if (pattern == NULL) {
            break;
        }

        needs = sandbox_route_nth_scope(n);

        if (strstr(pattern, "{id}") != NULL
            && needs != SANDBOX_SCOPE_READ && needs != SANDBOX_SCOPE_EXEC
            && needs != SANDBOX_SCOPE_MANAGE && needs != SANDBOX_SCOPE_ADMIN)
        {
            ok(0, "%s needs exactly one scope", pattern);
        }

        if (needs == SANDBOX_SCOPE_READ && (methods
            & (SANDBOX_ROUTE_PUT | SANDBOX_ROUTE_DELETE)))
        {
            ok(0, "%s changes something for those who may only read",
               pattern);
        }
    }
}


/* Of a route below /api whose twin isn't: 0 if there is none. */
static unsigned
twin_scope(const char *rest, unsigned method)
{
    size_t               n;
    unsigned             methods;
    const char          *pattern;
    sandbox_route_op     op;
    sandbox_route_kind   kind;

    for (n = 0; ; n++) {
        pattern = sandbox_route_nth(n, &methods, &kind, &op);

        if (pattern == NULL) {
            return 0;
        }

        if (strncmp(pattern, SANDBOX, sizeof(SANDBOX) - 1) == 0
            && strcmp(pattern + sizeof(SANDBOX) - 1, rest) == 0
            && (methods & method))
        {
            return sandbox_route_nth_scope(n);
        }
    }
}


/* What is there in both shapes needs the same in both. */
static void
test_twins(void)
{
    size_t               n, twins;
    unsigned             methods, needs;
    const char          *pattern;
    sandbox_route_op     op;
    sandbox_route_kind   kind;

    for (n = twins = 0; ; n++) {
        pattern = sandbox_route_nth(n, &methods, &kind, &op);

        if (pattern == NULL) {
            break;
        }

        if (strncmp(pattern, SANDBOX "/api/", sizeof(SANDBOX) + 4) != 0) {
            continue;
        }

        needs = twin_scope(pattern + sizeof(SANDBOX) + 3, methods);
        twins += needs != 0;

        if (needs != 0 && needs != sandbox_route_nth_scope(n)) {
            ok(0, "%s needs another scope than its twin", pattern);
        }
    }

    ok(twins >= 10, "routes of both shapes need the same scopes");
    ok(scope(SANDBOX_ROUTE_POST, "/v1/sandbox/demo/persist")
       == scope(SANDBOX_ROUTE_GET, "/v1/sandbox/demo/api/archive"),
       "and so do both ways to an archive");
}


/* A method of one path can't be two things at once. */
static void
test_table(void)
{
    size_t               n, k;
    unsigned             methods, other;
    const char          *pattern, *p;
    sandbox_route_op     op;
    sandbox_route_kind   kind;

    for (n = 0; ; n++) {
        pattern = sandbox_route_nth(n, &methods, &kind, &op);

        if (pattern == NULL) {
            break;
        }

        for (k = 0; k < n; k++) {
            p = sandbox_route_nth(k, &other, &kind, &op);

            if (strcmp(p, pattern) == 0 && (methods & other) != 0) {
                ok(0, "%s has a method twice", pattern);
            }
        }
    }

    ok(n > 40, "the table has %zu routes", n);
}


int
main(void)
{
    test_local();
    test_agent();
    test_refused_paths();
    test_long_path();
    test_methods();
    test_scopes();
    test_twins();
    test_ids();
    test_ports();
    test_later();
    test_private();
    test_table();

    return done_testing();
}
