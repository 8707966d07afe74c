/*
 * Registry, store and lifecycle with a driver that does as it is told: what
 * can't be had from a real one on demand.
 */

#ifndef T_UNIT_LIB_LIFECYCLE_H
#define T_UNIT_LIB_LIFECYCLE_H

#include "sandboxd/lifecycle.h"

#define SLOTS      256
#define EPHEMERAL  "{\"image\":\"x\",\"env\":{},\"ephemeral\":true}"


typedef struct {
    uv_timer_t      timer;
    driver_started  started;
    driver_done     done;
    void           *data;
    uint32_t        slot;
} fake_call;

/* Answers each call after `delay`, and counts. */
typedef struct {
    driver     d;
    uv_loop_t *loop;
    unsigned   delay;
    bool       fail;
    bool       hang;            /* starts are held back */
    unsigned   starts, stops, destroys;
    uint64_t   grace;           /* of the last stop */
    unsigned   at_once, most_at_once;
    bool       up[SLOTS];
    slot_use   use[SLOTS];      /* as the last sweep was told */
    fake_call  held;            /* the last one that hangs */
} fake_driver;

extern fake_driver  fake;

typedef struct {
    uv_loop_t    loop;
    char         dir[64];
    int          run_dir;
    store       *store;
    registry    *r;
    lifecycle   *lc;
    unsigned     published;
} fixture;

/* Of fake.hang: answers a start that was held; and of a clone, which always
 * is. */
void fake_later(uint32_t slot, driver_started started, driver_done done,
    void *data);
void fake_cloned(unsigned i);

void fixture_open(fixture *f, unsigned starts_max);
void fixture_close(fixture *f);
/* As sandboxd does it where a driver is late; that may come then. */
void fixture_give_up(fixture *f);
void fixture_given_up(fixture *f);
/* Each in a directory of its own; how many of those could not be removed. */
int fixtures_run(void (*const tests[])(fixture *f), size_t count);

void run_for(fixture *f, unsigned ms);

/* Runs the loop until something holds, for at most ten seconds. */
#define run_until(f, cond)                                                   \
    do {                                                                     \
        int  turns_ = 0;                                                     \
                                                                             \
        while (!(cond) && turns_++ < 5000) {                                 \
            run_for(f, 2);                                                   \
        }                                                                    \
    } while (0)

typedef struct {
    unsigned  good, bad;
    int       status, retry_after;
    char      code[32];
} outcome;

void on_outcome(void *data, sandbox *sb, error *err);
/* Counts in an int. */
void on_closed(void *data);
/* spec NULL: nothing but an image. */
sandbox *sandbox_new(fixture *f, const char *id, const char *spec);

#endif
