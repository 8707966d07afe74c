/*
 * A pool of executors, as interpreter_pool.c keeps it and interpreter_warm.c
 * prepares it for a machine that goes on as another one.
 */

#ifndef AGENT_INTERPRETER_POOL_H
#define AGENT_INTERPRETER_POOL_H

#include "agent/interpreter.h"

#define POOL_COUNT  2

typedef struct {
    const char  *names[3];              /* of the program */
    int          node;
    executor     idle;                  /* ring: ready or starting */
    unsigned     count;
    unsigned     wanted;
    unsigned     min;
    unsigned     failed;                /* in a row, of those not asked for */
    uint64_t     start_ms;              /* what the last start took */
    int          kept;                  /* one, until it is known for whom */
    uint64_t     last_use;
    uv_timer_t   fill;
    uv_timer_t   sweep;
    int          begun;
} pool;

extern pool  pools[POOL_COUNT];

void pool_begin(pool *p);
void pool_configure(pool *p);
void pool_fill(pool *p);
void pool_plan(pool *p, uint64_t ms);
void pool_unlink(pool *p, executor *x);
void pool_refill(pool *p);
void pool_end_idle(pool *p);
int pool_program(const pool *p, char *const *env, char *out, size_t size);
uint64_t pool_start_ms(void);

/* Is there something in it that an interpreter only reads when it starts? */
int pool_needs_own(const json_t *env_vars);

/* An idle one is ready, or has ended. */
void warm_look(void);

/* Somebody gets it, who waits until it has taken what it has to. */
void warm_give(executor *x);

#endif
