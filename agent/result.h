/*
 * JSON answers that carry a run's whole output: short ones in one piece, long
 * ones streamed, so that the agent's memory stays small whatever a command
 * printed.
 */

#ifndef AGENT_RESULT_H
#define AGENT_RESULT_H

#include "agent/http.h"
#include "agent/run.h"

/*
 * Sends head, "stdout":"...","stderr":"...", tail.  head and tail are the
 * JSON text around the two members, without commas next to them; both are
 * copied.  With strip, one line feed at the end of each output is left out.
 * Of longer outputs than most (0: no limit) only the end is sent.
 */
void result_send(http_request *r, run *of, int status, const char *head,
    const char *tail, int strip, uint64_t most);

/* Sends [from[0], to[0]) of the output and [from[1], to[1]) of the error
 * output, all of which has to be kept. */
void result_send_range(http_request *r, run *of, const char *head,
    const char *tail, const uint64_t from[2], const uint64_t to[2]);

#endif
