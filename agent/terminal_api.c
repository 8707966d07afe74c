/* /ws/pty and the bridge's /pty. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/params.h"
#include "agent/pty.h"
#include "agent/session.h"
#include "agent/terminal_internal.h"
#include "common/utf8.h"

typedef struct {
    const char  *shell;             /* NULL: bash */
    unsigned     cols, rows;
} terminal_params;


void
terminal_answer_error(http_request *r, error *err)
{
    if (!r->bridge) {
        api_error(r, err);
        return;
    }

    if (err->status == 400) {
        strcpy(err->code, "invalid_request");

    } else if (err->status == 503) {
        strcpy(err->code, "capacity_exceeded");

    } else {
        err->status = 502;
        strcpy(err->code, "exec_transport_error");
    }

    bridge_error(r, err);
}


/* One side of the terminal: absent or empty is the default. */

static int
terminal_side(http_request *r, const char *name, unsigned *out, error **err)
{
    char         *end;
    long          n;
    const char   *v;

    v = http_query(r, name, NULL);
    if (v == NULL || v[0] == '\0') {
        return 0;
    }

    n = strtol(v, &end, 10);
    if (strlen(v) > 10 || *end != '\0' || v[strspn(v, "-0123456789")] != '\0')
    {
        return error_set_field(err, 400, "validation_failed", name, 0,
                               "cols and rows must be valid numbers");
    }

    if (n < 1 || n > PTY_SIDE_MAX) {
        return error_set_field(err, 400, "validation_failed", name,
                               PTY_SIDE_MAX, "Invalid dimensions: cols and "
                               "rows must be between 1 and %d", PTY_SIDE_MAX);
    }

    *out = (unsigned) n;

    return 0;
}


static int
terminal_params_read(http_request *r, terminal_params *p, error **err)
{
    p->cols = 80;
    p->rows = 24;

    if (terminal_side(r, "cols", &p->cols, err) != 0
        || terminal_side(r, "rows", &p->rows, err) != 0)
    {
        return -1;
    }

    p->shell = http_query(r, "shell", NULL);
    if (p->shell == NULL || p->shell[0] == '\0') {
        p->shell = NULL;
        return 0;
    }

    if (strlen(p->shell) > 1024
        || (p->shell[0] != '/' && strchr(p->shell, '/') != NULL))
    {
        return error_set_field(err, 400, "validation_failed", "shell", 1024,
                               "shell must be the name of a program or an "
                               "absolute path of at most 1024 bytes");
    }

    return 0;
}


static void
terminal_connect(http_request *r, const char *sid)
{
    error            *err;
    terminal         *t;
    terminal_params   p;

    err = NULL;

    if (terminal_params_read(r, &p, &err) != 0) {
        terminal_answer_error(r, err);
        return;
    }

    t = terminal_find(sid);

    if (t != NULL && t->state == TERMINAL_LIVE) {
        terminal_view(t, r);
        return;
    }

    if (t != NULL) {
        terminal_wait(t, r);
        return;
    }

    t = terminal_new(sid, p.shell, p.cols, p.rows, &err);
    if (t == NULL) {
        terminal_answer_error(r, err);
        return;
    }

    terminal_wait(t, r);
    terminal_ask(t);
}


static void
terminal_handler_api(http_request *r)
{
    error       *err;
    const char  *id;

    id = http_query(r, "sessionId", NULL);

    if (id == NULL || id[strspn(id, " \t\r\n\v\f")] == '\0') {
        http_send(r, 400, "text/plain;charset=utf-8",
                  "sessionId query parameter required", 34);
        return;
    }

    if (ws_check(r) != 0) {
        return;
    }

    err = NULL;

    if (strcmp(id, SESSION_NONE) == 0) {
        error_set_field(&err, 400, "validation_failed", "sessionId", 0,
                        "A terminal belongs to a session: sessionId must not "
                        "be '%s'", SESSION_NONE);

    } else if (utf8_valid(id, strlen(id)) != strlen(id)) {
        error_set_field(&err, 400, "validation_failed", "sessionId", 0,
                        "sessionId must be UTF-8");
    }

    if (err != NULL) {
        api_error(r, err);
        return;
    }

    terminal_connect(r, id);
}


static void
terminal_handler_bridge(http_request *r)
{
    error       *err;
    const char  *id;

    if (ws_check(r) != 0) {
        return;
    }

    id = http_query(r, "session", NULL);
    if (id == NULL || id[0] == '\0') {
        id = http_header(r, "session-id");
    }
    if (id == NULL || id[0] == '\0') {
        id = "default";
    }

    if (!params_session_valid(id)) {
        err = NULL;
        error_set_field(&err, 400, "invalid_request", "session", 128,
                        "Invalid session ID format");
        bridge_error(r, err);
        return;
    }

    terminal_connect(r, id);
}


void
terminal_routes(router *t)
{
    router_add(t, METHOD_GET, "/ws/pty", terminal_handler_api);
    router_add(t, METHOD_GET, "/bridge/pty", terminal_handler_bridge);
}
