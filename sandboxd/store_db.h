/*
 * The SQLite side of the store: schema, loading, and writing one batch in one
 * transaction.  Only store.c uses it; after loading, only from its thread.
 */

#ifndef SANDBOXD_STORE_DB_H
#define SANDBOXD_STORE_DB_H

#include "sandboxd/store.h"

typedef struct store_db  store_db;
typedef struct store_op  store_op;

typedef enum {
    STORE_PUT_TENANT,
    STORE_PUT_DOMAIN,
    STORE_PUT_SANDBOX,
    STORE_PUT_STATE,
    STORE_PUT_EXPOSURE,
    STORE_DELETE,               /* and leaves a tombstone */
    STORE_DELETE_DOMAIN,        /* the same */
    STORE_PUT_ANSWER,
    STORE_DELETE_ANSWER,
    STORE_DROP_TOMBSTONES,
    STORE_RESERVE,
    STORE_BOOT
} store_op_kind;

/* One row to write; which members count depends on the kind. */
struct store_op {
    store_op       *next;
    store_op_kind   kind;
    uint64_t        seq;        /* 0: has none */
    uint64_t        born;       /* of a gap: `above` */
    uint64_t        seq_limit;  /* of a gap: `upto` */
    uint32_t        slot;
    uint32_t        epoch;
    uint32_t        epoch_used;
    uint32_t        boot;
    int             state;
    unsigned        port;
    int             access;
    uint32_t        gen;
    bool            host_public;
    bool            wake_off;
    unsigned        wakes;
    bool            by_admin;
    bool            exposure;
    bool            forked;
    int64_t         created_at;
    int64_t         started_at;
    char           *name;       /* id, label or tenant */
    char           *text;       /* spec, token or prefix */
    char           *title;      /* reason or name */
    char           *limits;
    char           *kills;
    char           *tenant;     /* of an answer, or a domain's */
};

store_db *store_db_open(const char *dir, store_meta *meta, error **err);
int store_db_load(store_db *db, const store_rows *rows, void *data,
    error **err);
int store_db_load_answers(store_db *db,
    int (*row)(void *data, const store_answer *row, error **err), void *data,
    error **err);
int store_db_write(store_db *db, const store_op *batch, error **err);
void store_db_close(store_db *db);

store_op *store_op_new(store_op_kind kind);
store_op *store_op_tenant(const store_tenant *row);
store_op *store_op_domain(const store_domain *row);
store_op *store_op_sandbox(store_op_kind kind, const store_sandbox *row);
store_op *store_op_exposure(const store_exposure *row);
store_op *store_op_tombstone(const store_tombstone *row);
store_op *store_op_answer(store_op_kind kind, const store_answer *row);
void store_op_free(store_op *op);
void store_ops_free(store_op *op);

#endif
