/*
 * One request to the agent of a sandbox that runs, on a connection of its own.
 * For what only sandboxd may ask: its routes lead nowhere from outside.
 */

#ifndef SANDBOXD_AGENT_CALL_H
#define SANDBOXD_AGENT_CALL_H

#include <stdint.h>

#include <jansson.h>
#include <uv.h>

#define AGENT_CALL_MS      3000
#define AGENT_ANSWER_MAX  65536

/* status 0: no answer.  result is a JSON object or NULL, borrowed.  Called
 * once, never before agent_call() returns. */
typedef void (*agent_called)(void *data, int status, json_t *result);

/* body may be NULL; borrowed. */
void agent_call(uv_loop_t *loop, const char *path, const char *key,
    const char *method, const char *target, json_t *body, agent_called cb,
    void *data);
/* The same with another time than AGENT_CALL_MS. */
void agent_call_within(uv_loop_t *loop, uint64_t ms, const char *path,
    const char *key, const char *method, const char *target, json_t *body,
    agent_called cb, void *data);

#endif
