/*
 * What the whole agent shares: its loop, its routes and what the boot channel
 * told.  There is one, in main.c; it is filled before the loop runs and not
 * changed afterwards, but for the environment (internal_api.c).
 */

#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include <jansson.h>
#include <uv.h>

#include "agent/first_line.h"
#include "agent/router.h"
#include "agent/vm_config.h"

typedef struct {
    uv_loop_t  *loop;
    router      routes;
    char        key[KEY_LEN + 1];
    char        id[128];
    char        hostname[65];
    char        cwd[4096];          /* where sessions start */
    char        workspace[4096];    /* what raw file routes are kept in */
    char        backups[4096];      /* where archives of backups are */
    char      **env;                /* NAME=value, NULL-terminated */
    char      **own_env;            /* without what sandboxd told */
    json_t     *told_env;           /* and that; NULL: nothing */
    char      **command;            /* to be run beside; NULL: none */
    unsigned    epoch;
    uint64_t    command_timeout_ms; /* when nothing else says one; 0: none */
    uint64_t    request_ms;         /* for a request's head */
    const char *version;            /* what /api/version says */
    vm_config   vm;                 /* for its init */
    int         stopping;           /* from the first signal to the end */
} agent_state;

extern agent_state  agent;

/* Each area adds its own routes. */
void base_routes(router *t);        /* /, /api/ping, /api/version, ... */
void file_routes(router *t);
void session_routes(router *t);
void exec_routes(router *t);
void process_routes(router *t);
void readiness_routes(router *t);
void bridge_exec_routes(router *t);
void bridge_files_routes(router *t);
void bridge_routes(router *t);          /* the last: the others' again */
void archive_routes(router *t);      /* persist, hydrate, /api/archive */
void git_routes(router *t);
void backup_routes(router *t);
void terminal_routes(router *t);
void watch_routes(router *t);           /* watch, watch/check */
void interpreter_routes(router *t);
void internal_routes(router *t);        /* what only sandboxd asks */

#endif
