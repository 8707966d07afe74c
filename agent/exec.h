/*
 * What the shapes of "run this" share: which session is meant, and how errors
 * of a run look in the container API.
 */

#ifndef AGENT_EXEC_H
#define AGENT_EXEC_H

#include "agent/http.h"
#include "agent/params.h"
#include "agent/process.h"
#include "agent/session.h"

/* The session that a request of the container API means: the body's, else
 * (if headers are looked at) those of the other places, else "default". */
const char *exec_session_name(http_request *r, const char *from_body,
    int headers);

/* Takes a failed run's error and answers with it. */
void exec_answer_failure(http_request *r, const run *of, const char *sid);

/* A run as asked for; not started. */
run *exec_run(const exec_params *p, int foreground);

/* Starts it in its session (made if need be) or without one.  -1: error set,
 * nothing was started. */
int exec_start(run *of, const char *sid, error **err);

/* Starts a background process, enters it in the table, and answers with its
 * id: the same for /api/process/start and /api/execute with background. */
void exec_start_process(http_request *r, const exec_params *p,
    const char *sid);

#endif
