/*
 * What runs: turns "start", "destroy" and the death of a sandbox into calls
 * of the driver and changes of the records.
 *
 *   RUN_NONE -> QUEUED -> STARTING -> UP <-> SLEEPING -> STOPPING -> NONE
 *                            `-> STOPPING (failed)
 *   any of them -> CLEANUP, once the record is destroyed and the driver is at
 *   nothing else
 *
 * One start per sandbox at a time: who comes later joins it.  `starts_max`
 * starts are made at the same time, not counting those that take long (then
 * STARTS_WITH_DRIVER_MAX is the limit); at most STARTS_QUEUED_MAX wait.
 * A start that fails is not tried again before a pause that doubles.
 * Who isn't used goes to sleep: lifecycle_idle.c and lifecycle_sleep.c.  Whose
 * agent doesn't answer stays up, but nobody is led to it: lifecycle_silent.c.
 * Those that others run are another matter: lifecycle_external.c.
 * Event loop's thread only.
 */

#ifndef SANDBOXD_LIFECYCLE_H
#define SANDBOXD_LIFECYCLE_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "sandboxd/driver.h"
#include "sandboxd/net.h"
#include "sandboxd/registry.h"
#include "sandboxd/server_poll.h"
#include "sandboxd/starts.h"

#define STARTS_WITH_DRIVER_MAX 256
#define STARTS_QUEUED_MAX     4096
#define WAITERS_MAX           4096      /* of one sandbox, for each thing */
#define LIFECYCLE_DRIVERS_MAX    3
#define CLEANUPS_MAX            16      /* with the driver at once */
#define BACKOFF_FIRST_MS      1000
#define BACKOFF_MAX_MS       30000

typedef struct lifecycle  lifecycle;

/* err is set (and the callee's) if the sandbox doesn't run.  May be called
 * before lifecycle_start() returns. */
typedef void (*lifecycle_started)(void *data, sandbox *sb, error *err);

struct waiter {
    waiter             *next;
    lifecycle_started   cb;
    void               *data;
};

typedef struct {
    sandbox   *first;
    sandbox  **last;
    size_t     count;
} sandbox_queue;

struct lifecycle {
    registry       *r;
    driver         *driver;         /* the default one */
    driver         *drivers[LIFECYCLE_DRIVERS_MAX];
    unsigned        driver_count;
    net            *net;            /* NULL: sandboxes have none */
    const net_rules  *network;
    driver         *external;       /* of those that others run, or NULL */
    unsigned        looks;          /* at agents, under way */
    uv_loop_t      *loop;
    uv_timer_t      tick;
    int             run_dir;        /* of the run files */
    driver_limits   defaults;
    unsigned        starts_max;
    uint64_t        memory_budget;  /* bytes for all that run; 0: no bound */
    uint64_t        memory_floor;   /* of the host's that starts leave */

    unsigned        up;             /* sandboxes that run */
    uint64_t        promised;       /* memory, to those that run, by limits */
    start_counts    counts;

    /* What runs and is nobody's: its memory, what of it is in this slot (and is
     * counted with its sandbox from now on, if that is taken), and who ends
     * some of it.  NULL: nobody. */
    uint64_t        spare;
    uint64_t      (*spare_of)(void *data, uint32_t slot, bool take);
    void          (*spare_yield)(void *data, uint64_t memory);
    void           *spare_data;

    sandbox_queue   starts;
    sandbox_queue   starting;       /* with the driver */
    unsigned        slow;           /* of them, for a long time */
    sandbox_queue   cleanups;
    unsigned        cleaning;
    unsigned        stopping;
    unsigned        forks;          /* being copied */

    const char     *run_path;       /* agents' sockets are in <run_path>/s */
    deadlines       idle;           /* of those that run */
    deadlines       ttls;           /* wall clock */
    uv_timer_t      ttl_timer;
    uv_timer_t      idle_timer;
    void          (*poll)(void *data, const poll_answer *about, size_t n,
                          poll_done cb, void *cb_data);
    void           *poll_data;      /* server_poll() and the server */

    bool            closing;
    bool            stop_all;
    uint64_t        close_by;       /* loop time */
    void          (*closed)(void *data);
    void           *closed_data;
};

/* The driver is set by the caller before anything else is called; its
 * exited() must be lifecycle_on_exited() with the lifecycle as data, and its
 * killed() lifecycle_on_killed(). */
lifecycle *lifecycle_create(registry *r, uv_loop_t *loop, int run_dir,
    unsigned starts_max);
void lifecycle_free(lifecycle *lc);

/* Takes over what an earlier sandboxd left running, sweeps away the rest. */
int lifecycle_adopt(lifecycle *lc, error **err);

void lifecycle_start(lifecycle *lc, sandbox *sb, lifecycle_started cb,
    void *data);

/* Somebody has asked its run of this epoch for something, and got no answer: if
 * that still runs, it is looked at before the next start of it is answered. */
void lifecycle_tried(lifecycle *lc, sandbox *sb, uint32_t epoch);

/* Puts it to sleep; calls back once it is asleep, or as it never ran. */
void lifecycle_sleep(lifecycle *lc, sandbox *sb, lifecycle_started cb,
    void *data);

/* Makes the files of a slot that no record has yet from those of a sandbox;
 * then calls back, later than now: with its memory, or only with its disk; with
 * an error if the lifecycle was closed meanwhile and didn't wait. */
typedef void (*lifecycle_forked)(void *data, bool memory, error *err);

void lifecycle_fork(lifecycle *lc, sandbox *sb, uint32_t slot,
    lifecycle_forked cb, void *data);

/* Looks at one that others run, whatever happened before; calls back with an
 * error if it isn't reached. */
void lifecycle_look(lifecycle *lc, sandbox *sb, lifecycle_started cb,
    void *data);

/* Its endpoint or its key is about to become another: nobody is led to the one
 * of before from now on. */
void lifecycle_withdraw(lifecycle *lc, sandbox *sb);

/* Whose driver is it?  The default one where its own is not among ours. */
driver *lifecycle_driver(lifecycle *lc, const sandbox *sb);

/* It was used, as far as sandboxd sees itself. */
void lifecycle_used(lifecycle *lc, sandbox *sb);

/* It is new, or its options are others now. */
void lifecycle_options(lifecycle *lc, sandbox *sb);

/* A running sandbox gets its environment anew; calls back when it has it, at
 * once if it doesn't run.  cb may be NULL. */
void lifecycle_tell_env(lifecycle *lc, sandbox *sb, lifecycle_started cb,
    void *data);

/* The same of its network. */
void lifecycle_tell_network(lifecycle *lc, sandbox *sb, lifecycle_started cb,
    void *data);

/* For net_open(). */
void lifecycle_network_changed(void *data, uint32_t slot);

/* The record is destroyed for good: ends and deletes what there is of it. */
void lifecycle_destroy(lifecycle *lc, sandbox *sb);

/* For what runs and is nobody's; data is the lifecycle.  -1: there is no memory
 * left for it. */
int lifecycle_spare(void *data, uint64_t memory, error **err);
void lifecycle_spare_end(void *data, uint64_t memory);

/* The disk of a sandbox of this driver that asks for none; 0: it has none of
 * its own. */
uint64_t lifecycle_disk_default(lifecycle *lc, const driver *d);

void lifecycle_on_exited(void *data, uint32_t slot, int status,
    const char *why);
void lifecycle_on_killed(void *data, uint32_t slot, const driver_kills *kills);

/* Takes no more starts, lets those under way come to an end, with stop_all
 * ends all sandboxes; then calls back, after limit_ms at the latest. */
void lifecycle_close(lifecycle *lc, bool stop_all, uint64_t limit_ms,
    void (*closed)(void *data), void *data);

#endif
