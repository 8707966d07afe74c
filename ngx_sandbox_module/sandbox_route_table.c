/* The routes of the control API; see sandbox_route.h. */

#include "sandbox_route_part.h"


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

#define SANDBOX  "/v1/sandbox/{id}"


const sandbox_route_entry  sandbox_routes[] = {

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
    { SANDBOX "/persist", POST, READ, AGENT, SANDBOX_OP_NONE, "/bridge" },
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
    { SANDBOX "/api/process/{name}/wait", POST, READ, AGENT, SANDBOX_OP_NONE,
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

    { NULL, 0, 0, LOCAL, SANDBOX_OP_NONE, NULL }
};

#define ROUTES  (sizeof(sandbox_routes) / sizeof(sandbox_routes[0]) - 1)


const char *
sandbox_route_nth(size_t n, unsigned *methods, sandbox_route_kind *kind,
    sandbox_route_op *op)
{
    if (n >= ROUTES) {
        return NULL;
    }

    *methods = sandbox_routes[n].methods;
    *kind = sandbox_routes[n].kind;
    *op = sandbox_routes[n].op;

    return sandbox_routes[n].pattern;
}


unsigned
sandbox_route_nth_scope(size_t n)
{
    return n < ROUTES ? sandbox_routes[n].scope : 0;
}


const char *
sandbox_scope_name(unsigned scope)
{
    return scope == ADMIN ? "admin" : scope == MANAGE ? "manage"
           : scope == EXEC ? "exec" : "read";
}
