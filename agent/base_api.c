/* The routes that say that the agent is there, and which one. */

#include <string.h>

#include "agent/agent.h"
#include "agent/http.h"


static void
base_hello(http_request *r)
{
    static const char  text[] = "Hello from sandbox-agent!\n";

    http_send(r, 200, "text/plain; charset=utf-8", text, sizeof(text) - 1);
}


static void
base_ping(http_request *r)
{
    char  ts[32];

    http_timestamp(ts, sizeof(ts));
    http_send_json(r, 200, json_pack("{s:b, s:s, s:s, s:s}", "success", 1,
                   "status", "healthy", "message", "pong", "timestamp", ts));
}


static void
base_version(http_request *r)
{
    char  ts[32];

    http_timestamp(ts, sizeof(ts));
    http_send_json(r, 200, json_pack("{s:b, s:s, s:s}", "success", 1,
                   "version", agent.version, "timestamp", ts));
}


static void
base_commands(http_request *r)
{
    char  ts[32];

    http_timestamp(ts, sizeof(ts));
    http_send_json(r, 200, json_pack("{s:b, s:[], s:i, s:s}", "success", 1,
                   "availableCommands", "count", 0, "timestamp", ts));
}


void
base_routes(router *t)
{
    router_add(t, METHOD_GET, "/", base_hello);
    router_add(t, METHOD_GET, "/api/ping", base_ping);
    router_add(t, METHOD_GET, "/api/version", base_version);
    router_add(t, METHOD_GET, "/api/commands", base_commands);
}
