/*
 * The JSON of requests that run commands: checked and taken apart.  Knows
 * neither sockets nor the loop; fuzzed.
 */

#ifndef AGENT_PARAMS_H
#define AGENT_PARAMS_H

#include <jansson.h>
#include <stdint.h>

#include "common/error.h"

#define PARAMS_TIMEOUT_MAX  (30LL * 24 * 3600 * 1000)   /* milliseconds */

#define PARAMS_INPUT_OPEN_MAX  (1024 * 1024)

/* Pointers go into the object. */
typedef struct {
    const char    *command;
    size_t         command_len;
    const char    *session;         /* NULL: none was given */
    const char    *cwd;
    const char    *process_id;
    const char    *input;           /* NULL: none */
    size_t         input_len;
    const json_t  *env;
    uint64_t       timeout_ms;      /* 0: none */
    int            background;
    int            input_open;      /* more of it can come */
} exec_params;

/* Of /api/execute, /api/execute/stream, /api/process/start.  Unknown members
 * are left alone, null is as good as absent; a wrong type is an error that
 * names the member.  Environment names are not checked here. */
int params_exec(const json_t *o, exec_params *p, error **err);

typedef struct {
    const json_t  *argv;            /* strings without NUL, at least one */
    const char    *cwd;
    const char    *input;
    size_t         input_len;
    const json_t  *env;
    uint64_t       timeout_ms;
} bridge_exec_params;

int params_bridge_exec(const json_t *o, bridge_exec_params *p, error **err);

/* One member each; absent leaves *out as it was. */
int params_string(const json_t *o, const char *name, const char **out,
    size_t *len, error **err);
int params_bool(const json_t *o, const char *name, int *out, error **err);
/* A number of bytes, up to 2^53. */
int params_offset(const json_t *o, const char *name, uint64_t *out,
    error **err);
int params_ms(const json_t *o, const char *name, uint64_t *out, error **err);

/* ^[a-zA-Z0-9._-]{1,128}$ without ".." */
int params_session_valid(const char *id);

#endif
