/*
 * What the container API can do, below /bridge as well: for routes of the
 * control API that the bridge of the SDK doesn't have.  Requests and answers
 * are the container's, errors the bridge's (see http_error.c), and members
 * that a route doesn't know are told.
 */

#include <stddef.h>

#include "agent/agent.h"


static const struct {
    unsigned     method;
    const char  *pattern;
    const char  *from;
    const char  *members;
} bridge_aliases[] = {

    { METHOD_GET, "/bridge/session", "/api/session/list", NULL },

    { METHOD_POST, "/bridge/process", "/api/process/start",
      "command sessionId processId timeoutMs env cwd encoding autoCleanup "
      "origin stdin stdinOpen" },
    { METHOD_GET, "/bridge/process", "/api/process/list", NULL },
    { METHOD_DELETE, "/bridge/process", "/api/process/kill-all", NULL },
    { METHOD_GET, "/bridge/process/{id}", "/api/process/{id}", NULL },
    { METHOD_DELETE, "/bridge/process/{id}", "/api/process/{id}", NULL },
    { METHOD_GET, "/bridge/process/{id}/logs", "/api/process/{id}/logs",
      NULL },
    { METHOD_GET, "/bridge/process/{id}/stream", "/api/process/{id}/stream",
      NULL },
    { METHOD_POST, "/bridge/process/{id}/stdin", "/api/process/{id}/stdin",
      "data encoding end timeoutMs" },
    { METHOD_POST, "/bridge/process/{id}/signal", "/api/process/{id}/signal",
      "signal tree" },
    { METHOD_POST, "/bridge/process/{id}/wait", "/api/process/{id}/wait",
      "condition pattern regex flags stream stdoutOffset stderrOffset "
      "timeoutMs" },
    { METHOD_POST, "/bridge/port-watch", "/api/port-watch", NULL },

    { METHOD_POST, "/bridge/contexts", "/api/contexts",
      "language cwd env_vars envVars timeout timeoutMs timeout_ms" },
    { METHOD_GET, "/bridge/contexts", "/api/contexts", NULL },
    { METHOD_DELETE, "/bridge/contexts/{id}", "/api/contexts/{id}", NULL },
    { METHOD_POST, "/bridge/contexts/{id}/code", "/api/execute/code", NULL },

    { METHOD_POST, "/bridge/watch", "/api/watch", NULL },
    { METHOD_POST, "/bridge/watch/check", "/api/watch/check",
      "path recursive events include exclude since sessionId" },

    { METHOD_POST, "/bridge/git/checkout", "/api/git/checkout",
      "repoUrl branch targetDir sessionId depth timeoutMs" },

    { METHOD_POST, "/bridge/backup", "/api/backup/create",
      "dir archivePath gitignore excludes compression sessionId" },
    { METHOD_POST, "/bridge/backup/parts", "/api/backup/upload-parts",
      "archivePath parts sessionId" },
    { METHOD_POST, "/bridge/restore", "/api/backup/restore",
      "dir archivePath sessionId" }
};


void
bridge_routes(router *t)
{
    size_t  i;

    for (i = 0; i < sizeof(bridge_aliases) / sizeof(bridge_aliases[0]); i++) {
        router_alias(t, bridge_aliases[i].method, bridge_aliases[i].pattern,
                     bridge_aliases[i].from, bridge_aliases[i].members);
    }
}
