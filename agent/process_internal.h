/*
 * What the files of /api/process/... share: process_api.c starts and shows,
 * process_wait.c holds requests until something happens, process_kill.c ends
 * and signals, process_input.c writes, process_await.c waits for an end or a
 * line.  Everybody else sees agent/process.h only.
 */

#ifndef AGENT_PROCESS_INTERNAL_H
#define AGENT_PROCESS_INTERNAL_H

#include "agent/http.h"
#include "agent/process.h"

/* The process that the path names, or NULL and a 404 sent. */
process *process_wanted(http_request *r);
process *process_named(http_request *r, const char *id);

typedef void (*process_answer)(http_request *r, const char *id, run *of);

/* Answers when it is told, or when the process has ended; not at all if the
 * client leaves. */
void process_wait_for(http_request *r, run *of, const char *id,
    run_event wanted, process_answer answer);

/* Answers now, or when a young process is over or not young any more. */
void process_wait_young(http_request *r, const process *p,
    process_answer answer);

void process_kill_routes(router *t);
void process_input_routes(router *t);
void process_await_routes(router *t);

#endif
