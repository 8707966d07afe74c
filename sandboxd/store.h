/*
 * The records on disk: one SQLite file, written by one thread of its own.
 *
 * Operations are queued in the order of their sequence numbers and committed
 * in that order, as many at once as are waiting (one fsync for all of them).
 * The loop's thread learns through the callback up to which number everything
 * is durable.  A commit that fails is tried again until it succeeds; meanwhile
 * store_check() refuses new changes.  Nothing here knows what records mean.
 */

#ifndef SANDBOXD_STORE_H
#define SANDBOXD_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "common/error.h"

#define STORE_INCARNATION_LEN  32
#define STORE_DIGEST_LEN       64       /* hex digits of SHA-256 */
#define STORE_QUEUE_MAX        16384    /* changes refused above */

typedef struct store  store;

typedef struct {
    char      incarnation[STORE_INCARNATION_LEN + 1];
    uint64_t  seq;              /* everything up to here is durable */
    uint64_t  seq_limit;        /* numbers up to here may have been used */
    uint32_t  slot_limit;       /* the same for slots */
    uint64_t  tombstone_floor;  /* tombstones up to here were dropped */
    uint32_t  boot;             /* counts the starts of sandboxd */
} store_meta;

typedef struct {
    uint32_t     slot;
    const char  *id;
    uint64_t     seq;
    uint64_t     born;          /* seq of its creation, orders the list */
    int          state;
    bool         forked;
    uint32_t     epoch;         /* of the last run */
    uint32_t     epoch_used;    /* no epoch up to here is free */
    uint32_t     boot;          /* in which this was written */
    int64_t      created_at;    /* ms since 1970 */
    int64_t      started_at;
    const char  *reason;        /* of the last stop or failure, or NULL */
    const char  *spec;          /* JSON */
    char        *kills;         /* JSON (registry_kills.c), or NULL */
} store_sandbox;

typedef struct {
    uint32_t     slot;
    uint64_t     seq;
    unsigned     port;
    const char  *label;
    const char  *token;         /* or NULL */
    const char  *name;          /* or NULL */
    int          access;
    uint32_t     gen;
    bool         host_public;
    bool         wake_off;
    unsigned     wakes;
    bool         by_admin;      /* of a host name */
    int64_t      created_at;
    const char  *limits;        /* JSON, or NULL */
} store_exposure;

typedef struct {
    uint64_t     seq;
    uint32_t     slot;
    bool         exposure;      /* else a sandbox */
    const char  *name;          /* label or id */
} store_tombstone;

typedef struct {
    uint64_t     seq;
    const char  *name;
    const char  *prefix;
} store_tenant;

typedef struct {
    uint64_t     seq;
    const char  *name;          /* with a dot before it */
    const char  *tenant;        /* NULL: everybody's */
    int64_t      created_at;
} store_domain;

/* Numbers above `above` up to `upto` were given, or could have been, by a
 * sandboxd that did not get them onto the disk. */
typedef struct {
    uint64_t     above;
    uint64_t     upto;
} store_gap;

/* What a creation answered; see idempotency.h. */
typedef struct {
    const char  *key;
    const char  *request;
    const char  *tenant;
    const char  *answer;
    int64_t      at;            /* ms since 1970 */
} store_answer;

/* Called for each row while loading; a row that makes no sense is an error. */
typedef struct {
    int  (*tenant)(void *data, const store_tenant *row, error **err);
    int  (*domain)(void *data, const store_domain *row, error **err);
    int  (*sandbox)(void *data, const store_sandbox *row, error **err);
    int  (*exposure)(void *data, const store_exposure *row, error **err);
    int  (*tombstone)(void *data, const store_tombstone *row, error **err);
    int  (*gap)(void *data, const store_gap *row, error **err);
} store_rows;

typedef void (*store_committed)(void *data, uint64_t seq);

/* Opens or makes <dir>/sandboxd.db; the thread starts with store_run(). */
store *store_open(const char *dir, store_meta *meta, error **err);

/* Before store_load(): counts this start, reserves numbers for it, and notes
 * the gap before them. */
int store_begin(store *s, store_meta *meta, uint64_t seq_limit,
    uint32_t slot_limit, error **err);
int store_load(store *s, const store_rows *rows, void *data, error **err);
int store_run(store *s, uv_loop_t *loop, store_committed cb, void *data,
    error **err);

/* Commits what is queued (for at most 5 s if that fails) and closes: what is
 * changed from then on is not written.  store_free() comes when the loop has
 * closed its handles, and nobody has it any more. */
void store_close(store *s);
void store_free(store *s);

/* Whether changes can be taken now: 503 `busy`, 503 `storage_failed` or 507
 * `insufficient_storage` if not. */
int store_check(store *s, error **err);

/* The same for changes that don't wait for the disk: `busy` alone. */
int store_room(store *s, error **err);

int store_load_answers(store *s,
    int (*row)(void *data, const store_answer *row, error **err), void *data,
    error **err);

/* What is put between the two is committed together. */
void store_hold(store *s);
void store_release(store *s);

/* All of these copy what they are given. */
void store_put_tenant(store *s, const store_tenant *row);
void store_put_domain(store *s, const store_domain *row);
void store_delete_domain(store *s, const store_tombstone *row);
void store_put_sandbox(store *s, const store_sandbox *row);
void store_put_state(store *s, const store_sandbox *row);   /* no id, spec */
void store_delete_sandbox(store *s, const store_tombstone *row);
void store_put_exposure(store *s, const store_exposure *row);
void store_delete_exposure(store *s, const store_tombstone *row);
void store_put_answer(store *s, const store_answer *row);
void store_delete_answer(store *s, const char *key);
void store_drop_tombstones(store *s, uint64_t floor);   /* and gaps */

/* Raises the limits of numbers that may be used. */
void store_reserve(store *s, uint64_t seq_limit, uint32_t slot_limit);

/* The limits that are durable. */
void store_reserved(store *s, uint64_t *seq_limit, uint32_t *slot_limit);

#endif
