/*
 * POST /bridge/exec: a command as a list of words, its output as events.
 * With a session it runs in the session's own shell, so that `cd` and `export`
 * last; without one in a shell of its own.
 */

#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/exec.h"
#include "agent/follow.h"
#include "agent/path.h"
#include "agent/shell_text.h"
#include "common/buffer.h"


static void
bridge_exec_failed(http_request *r, run *of)
{
    error  *err;

    /* Nothing of it ran: an answer with a status can still be given. */
    err = NULL;
    error_set(&err, of->failure->status == 503 ? 503 : 502,
              "exec_transport_error", "exec failed: %s",
              of->failure->message);
    bridge_error(r, err);
}


/* The directory as text; a symbolic link below /workspace leads where it
 * leads, as `cd` in the command would. */

static char *
bridge_exec_cwd(const char *cwd)
{
    char  joined[PATH_ROOM], normal[PATH_ROOM];

    if (path_problem(cwd, strlen(cwd)) != NULL
        || path_join(joined, sizeof(joined), agent.workspace, cwd) != 0
        || path_normalize(normal, sizeof(normal), joined) != 0
        || !path_within(normal, agent.workspace))
    {
        return NULL;
    }

    return strdup(normal);
}


static run *
bridge_exec_run(const bridge_exec_params *p, const char *cwd, int foreground)
{
    run     *of;
    buffer   b;

    memset(&b, 0, sizeof(b));
    shell_words(&b, p->argv);
    of = run_new(buffer_bytes(&b), b.len);
    buffer_free(&b);

    of->foreground = foreground;
    of->timeout_ms = p->timeout_ms != 0 || foreground
                     ? p->timeout_ms : agent.command_timeout_ms;
    of->cwd = cwd == NULL ? NULL : strdup(cwd);
    of->env = p->env == NULL ? NULL : json_deep_copy(p->env);

    if (p->input != NULL) {
        run_set_input(of, p->input, p->input_len);
    }

    return of;
}


static void
bridge_exec_body(http_request *r, char *body, size_t len)
{
    run                 *of;
    char                *cwd;
    json_t              *o;
    error               *err;
    const char          *sid;
    bridge_exec_params   p;

    if (http_json_object(r, body, len, &o) != 0) {
        return;
    }

    err = NULL;
    cwd = NULL;
    sid = http_header(r, "session-id");

    if (sid != NULL && !params_session_valid(sid)) {
        error_set_field(&err, 400, "invalid_request", "Session-Id", 128,
                        "Invalid session ID format");

    } else if (params_bridge_exec(o, &p, &err) == 0 && p.cwd != NULL) {
        cwd = bridge_exec_cwd(p.cwd);
        if (cwd == NULL) {
            error_set_field(&err, 403, "invalid_request", "cwd", 0, "cwd must "
                            "resolve to a location within /workspace");
        }
    }

    if (err == NULL) {
        of = bridge_exec_run(&p, cwd, sid != NULL);
        follow_start(r, of, FOLLOW_BRIDGE, NULL, bridge_exec_failed);

        if (exec_start(of, sid != NULL ? sid : SESSION_NONE, &err) != 0) {
            run_hold(of);
            run_fail(of, err);
        }
        run_release(of);

    } else {
        bridge_error(r, err);
    }

    free(cwd);
    json_decref(o);
}


static void
bridge_exec_handler(http_request *r)
{
    http_read_body(r, HTTP_JSON_LIMIT, bridge_exec_body);
}


void
bridge_exec_routes(router *t)
{
    router_add(t, METHOD_POST, "/bridge/exec", bridge_exec_handler);
}
