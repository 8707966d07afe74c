/*
 * The first ping of an agent: connects to its socket, sends the control line
 * and a request, and waits for OK and 200.  Has no deadline of its own.
 */

#ifndef SANDBOXD_AGENT_PROBE_H
#define SANDBOXD_AGENT_PROBE_H

#include <uv.h>

#include "common/error.h"

typedef struct agent_probe  agent_probe;

/* err is NULL if the agent answered; else it is the callee's to free. */
typedef void (*agent_probed)(void *data, error *err);

agent_probe *agent_probe_start(uv_loop_t *loop, const char *path,
    const char *key, agent_probed cb, void *data, error **err);

/* After the callback has run, or instead of it. */
void agent_probe_stop(agent_probe *probe);

#endif
