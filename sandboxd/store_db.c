/* SQLite: schema and batches; see store_db.h.  Loading is in
 * store_db_load.c. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandboxd/names.h"
#include "sandboxd/store_db_part.h"

/* One more for each of the migrations below. */
#define SCHEMA_VERSION  11


static const char  schema[] =
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE sandboxes ("
    " slot INTEGER PRIMARY KEY, id TEXT NOT NULL, seq INTEGER NOT NULL,"
    " born INTEGER NOT NULL, state INTEGER NOT NULL,"
    " epoch INTEGER NOT NULL, epoch_used INTEGER NOT NULL,"
    " boot INTEGER NOT NULL, created_at INTEGER NOT NULL,"
    " started_at INTEGER NOT NULL, reason TEXT, spec TEXT NOT NULL);"
    "CREATE TABLE exposures ("
    " label TEXT PRIMARY KEY, slot INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " port INTEGER NOT NULL, token TEXT, name TEXT,"
    " access INTEGER NOT NULL, host_public INTEGER NOT NULL,"
    " created_at INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE tombstones ("
    " seq INTEGER PRIMARY KEY, slot INTEGER NOT NULL,"
    " exposure INTEGER NOT NULL, name TEXT NOT NULL);"
    "CREATE TABLE gaps (above INTEGER PRIMARY KEY, upto INTEGER NOT NULL);";

/* From one version to the next; a new file goes through all of them. */
static const char *const  migrations[SCHEMA_VERSION - 1] = {
    "ALTER TABLE exposures ADD COLUMN gen INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE exposures ADD COLUMN limits TEXT",
    "CREATE TABLE tenants (name TEXT PRIMARY KEY, prefix TEXT NOT NULL UNIQUE,"
    " seq INTEGER NOT NULL) WITHOUT ROWID",
    "ALTER TABLE exposures ADD COLUMN wake_off INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE exposures ADD COLUMN wakes INTEGER NOT NULL DEFAULT 60",

    /* Sandboxes that others run: an earlier sandboxd would start them. */
    "SELECT 1",

    "ALTER TABLE exposures ADD COLUMN by_admin INTEGER NOT NULL DEFAULT 0",
    "CREATE TABLE domains (name TEXT PRIMARY KEY, tenant TEXT,"
    " seq INTEGER NOT NULL, created_at INTEGER NOT NULL) WITHOUT ROWID",
    "ALTER TABLE sandboxes ADD COLUMN kills TEXT",

    /* Nothing else was asleep (4) before its first start. */
    "ALTER TABLE sandboxes ADD COLUMN forked INTEGER NOT NULL DEFAULT 0;"
    " UPDATE sandboxes SET forked = 1 WHERE state = 4 AND started_at = 0"
};

static const char *const  sql_texts[SQL_COUNT] = {
    "BEGIN IMMEDIATE",
    "COMMIT",
    "ROLLBACK",
    "INSERT OR REPLACE INTO sandboxes (slot, id, seq, born, state,"
    " epoch, epoch_used, boot, started_at, reason, kills, created_at,"
    " spec, forked)"
    " VALUES (?1, ?11, ?2, ?12, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?13,"
    " ?10, ?14)",
    "UPDATE sandboxes SET seq = ?2, state = ?3, epoch = ?4, epoch_used = ?5,"
    " boot = ?6, started_at = ?7, reason = ?8, kills = ?9 WHERE slot = ?1",
    "INSERT OR REPLACE INTO exposures (label, slot, seq, port, token, name,"
    " access, host_public, created_at, gen, limits, wake_off, wakes,"
    " by_admin)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    "DELETE FROM sandboxes WHERE slot = ?1",
    "DELETE FROM exposures WHERE label = ?1",
    "INSERT OR REPLACE INTO tombstones (seq, slot, exposure, name)"
    " VALUES (?1, ?2, ?3, ?4)",
    "INSERT OR REPLACE INTO answers (key, request, tenant, answer, at)"
    " VALUES (?1, ?2, ?3, ?4, ?5)",
    "DELETE FROM answers WHERE key = ?1",
    "DELETE FROM tombstones WHERE seq <= ?1",
    "DELETE FROM gaps WHERE upto <= ?1",
    "INSERT OR REPLACE INTO gaps (above, upto) VALUES (?1, ?2)",
    "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)",
    "INSERT OR REPLACE INTO tenants (name, prefix, seq) VALUES (?1, ?2, ?3)",
    "INSERT OR REPLACE INTO domains (name, tenant, seq, created_at)"
    " VALUES (?1, ?2, ?3, ?4)",
    "DELETE FROM domains WHERE name = ?1"
};


int
db_error(store_db *db, const char *what, error **err)
{
    int  code;

    code = sqlite3_errcode(db->db) & 0xff;

    return error_set(err, code == SQLITE_FULL ? 507 : 503,
                     code == SQLITE_FULL ? "insufficient_storage"
                                         : "storage_failed",
                     "%s: %s", what, sqlite3_errmsg(db->db));
}


static int
db_exec(store_db *db, const char *sql, error **err)
{
    if (sqlite3_exec(db->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        return db_error(db, "records", err);
    }

    return 0;
}


static void
bind_text(sqlite3_stmt *st, int n, const char *text)
{
    if (text == NULL) {
        sqlite3_bind_null(st, n);

    } else {
        sqlite3_bind_text(st, n, text, -1, SQLITE_STATIC);
    }
}


static void
bind_int(sqlite3_stmt *st, int n, uint64_t value)
{
    sqlite3_bind_int64(st, n, (sqlite3_int64) value);
}


/* Runs a statement that returns no rows. */
static int
db_run(store_db *db, sql_kind kind, error **err)
{
    int  rc;

    rc = sqlite3_step(db->sql[kind]);

    if (rc != SQLITE_DONE) {
        db_error(db, "records", err);
    }

    sqlite3_reset(db->sql[kind]);
    sqlite3_clear_bindings(db->sql[kind]);

    return rc == SQLITE_DONE ? 0 : -1;
}


static int
meta_put(store_db *db, const char *name, uint64_t value, error **err)
{
    bind_text(db->sql[SQL_PUT_META], 1, name);
    bind_int(db->sql[SQL_PUT_META], 2, value);

    return db_run(db, SQL_PUT_META, err);
}


static int
db_prepare(store_db *db, error **err)
{
    int  i;

    for (i = 0; i < SQL_COUNT; i++) {
        if (sqlite3_prepare_v2(db->db, sql_texts[i], -1, &db->sql[i], NULL)
            != SQLITE_OK)
        {
            return db_error(db, "records", err);
        }
    }

    return 0;
}


/* The version of the schema; 0 for a new file, -1 after an error. */
static int
schema_version(store_db *db, error **err)
{
    int            rc, version;
    sqlite3_stmt  *st;

    version = -1;

    if (sqlite3_prepare_v2(db->db, "PRAGMA user_version", -1, &st, NULL)
        != SQLITE_OK)
    {
        return db_error(db, "records", err);
    }

    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        version = sqlite3_column_int(st, 0);

    } else {
        db_error(db, "records", err);
    }

    sqlite3_finalize(st);

    return version;
}


/* Younger than the schema's version: made where it is missing. */
static const char  schema_answers[] =
    "CREATE TABLE IF NOT EXISTS answers ("
    " key TEXT PRIMARY KEY, request TEXT NOT NULL, tenant TEXT NOT NULL,"
    " answer TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;";


static int
db_make(store_db *db, error **err)
{
    int    rc;
    char   incarnation[STORE_INCARNATION_LEN + 1], sql[1024];

    if (random_hex(incarnation, STORE_INCARNATION_LEN / 2, err) < 0) {
        return -1;
    }

    if (db_exec(db, "BEGIN", err) < 0 || db_exec(db, schema, err) < 0) {
        return -1;
    }

    snprintf(sql, sizeof(sql), "INSERT INTO meta (name, value) VALUES"
             " ('incarnation', '%s'), ('seq', 0), ('seq_limit', 0),"
             " ('slot_limit', 0), ('tombstone_floor', 0);"
             "PRAGMA user_version = 1; COMMIT", incarnation);
    rc = db_exec(db, sql, err);

    return rc;
}


/* Each step is a transaction: what is cut off goes on from where it was. */
static int
db_migrate(store_db *db, int version, error **err)
{
    char  sql[512];

    for ( /* void */ ; version < SCHEMA_VERSION; version++) {
        snprintf(sql, sizeof(sql), "BEGIN; %s; PRAGMA user_version = %d;"
                 " COMMIT", migrations[version - 1], version + 1);

        if (db_exec(db, sql, err) < 0) {
            return -1;
        }
    }

    return 0;
}


static int
meta_load(store_db *db, store_meta *meta, error **err)
{
    int            rc;
    const char    *name, *text;
    sqlite3_stmt  *st;

    memset(meta, 0, sizeof(*meta));

    if (sqlite3_prepare_v2(db->db, "SELECT name, value FROM meta", -1, &st,
                           NULL)
        != SQLITE_OK)
    {
        return db_error(db, "records", err);
    }

    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        name = column_text(st, 0);

        if (strcmp(name, "incarnation") == 0) {
            text = column_text(st, 1);
            snprintf(meta->incarnation, sizeof(meta->incarnation), "%s",
                     text ? text : "");

        } else if (strcmp(name, "seq") == 0) {
            meta->seq = column_int(st, 1);

        } else if (strcmp(name, "seq_limit") == 0) {
            meta->seq_limit = column_int(st, 1);

        } else if (strcmp(name, "slot_limit") == 0) {
            meta->slot_limit = (uint32_t) column_int(st, 1);

        } else if (strcmp(name, "boot") == 0) {
            meta->boot = (uint32_t) column_int(st, 1);

        } else if (strcmp(name, "tombstone_floor") == 0) {
            meta->tombstone_floor = column_int(st, 1);
        }
    }

    sqlite3_finalize(st);

    if (rc != SQLITE_DONE) {
        return db_error(db, "records", err);
    }

    if (strlen(meta->incarnation) != STORE_INCARNATION_LEN) {
        return error_set(err, 500, "internal", "the records have no "
                         "incarnation: the file is damaged");
    }

    return 0;
}


store_db *
store_db_open(const char *dir, store_meta *meta, error **err)
{
    int        fd, version;
    char       path[4096];
    store_db  *db;

    db = calloc(1, sizeof(store_db));
    if (db == NULL) {
        abort();
    }

    snprintf(path, sizeof(path), "%s/sandboxd.db", dir);

    /* SQLite gives its other files the mode of this one. */
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1) {
        error_set(err, 500, "internal", "%s: %s", path, strerror(errno));
        store_db_close(db);
        return NULL;
    }

    close(fd);

    if (sqlite3_open_v2(path, &db->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL)
        != SQLITE_OK)
    {
        db_error(db, path, err);
        store_db_close(db);
        return NULL;
    }

    sqlite3_busy_timeout(db->db, 5000);

    if (db_exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                    "PRAGMA foreign_keys = OFF", err) < 0
        || (version = schema_version(db, err)) < 0)
    {
        error_prefix(err ? *err : NULL, "%s", path);
        store_db_close(db);
        return NULL;
    }

    if (version > SCHEMA_VERSION) {
        error_set(err, 500, "internal", "%s has schema version %d, this "
                  "program knows those up to %d", path, version,
                  SCHEMA_VERSION);
        store_db_close(db);
        return NULL;
    }

    if ((version == 0 && db_make(db, err) < 0)
        || db_migrate(db, version ? version : 1, err) < 0
        || db_exec(db, schema_answers, err) < 0
        || db_prepare(db, err) < 0
        || meta_load(db, meta, err) < 0)
    {
        error_prefix(err ? *err : NULL, "%s", path);
        store_db_close(db);
        return NULL;
    }

    return db;
}


void
store_db_close(store_db *db)
{
    int  i;

    for (i = 0; i < SQL_COUNT; i++) {
        sqlite3_finalize(db->sql[i]);
    }

    sqlite3_close(db->db);
    free(db);
}


static int
write_tenant(store_db *db, const store_op *op, error **err)
{
    sqlite3_stmt  *st;

    st = db->sql[SQL_PUT_TENANT];
    bind_text(st, 1, op->name);
    bind_text(st, 2, op->text);
    bind_int(st, 3, op->seq);

    return db_run(db, SQL_PUT_TENANT, err);
}


static int
write_domain(store_db *db, const store_op *op, error **err)
{
    sqlite3_stmt  *st;

    st = db->sql[SQL_PUT_DOMAIN];
    bind_text(st, 1, op->name);
    bind_text(st, 2, op->tenant);
    bind_int(st, 3, op->seq);
    bind_int(st, 4, (uint64_t) op->created_at);

    return db_run(db, SQL_PUT_DOMAIN, err);
}


static int
write_sandbox(store_db *db, const store_op *op, error **err)
{
    sql_kind       kind;
    sqlite3_stmt  *st;

    kind = op->kind == STORE_PUT_STATE ? SQL_PUT_STATE : SQL_PUT_SANDBOX;
    st = db->sql[kind];

    bind_int(st, 1, op->slot);
    bind_int(st, 2, op->seq);
    bind_int(st, 3, (uint64_t) op->state);
    bind_int(st, 4, op->epoch);
    bind_int(st, 5, op->epoch_used);
    bind_int(st, 6, op->boot);
    bind_int(st, 7, (uint64_t) op->started_at);
    bind_text(st, 8, op->title);
    bind_text(st, 9, op->kills);

    if (kind == SQL_PUT_SANDBOX) {
        bind_text(st, 10, op->text);
        bind_text(st, 11, op->name);
        bind_int(st, 12, op->born);
        bind_int(st, 13, (uint64_t) op->created_at);
        bind_int(st, 14, op->forked);
    }

    return db_run(db, kind, err);
}


static int
write_exposure(store_db *db, const store_op *op, error **err)
{
    sqlite3_stmt  *st;

    st = db->sql[SQL_PUT_EXPOSURE];
    bind_text(st, 1, op->name);
    bind_int(st, 2, op->slot);
    bind_int(st, 3, op->seq);
    bind_int(st, 4, op->port);
    bind_text(st, 5, op->text);
    bind_text(st, 6, op->title);
    bind_int(st, 7, (uint64_t) op->access);
    bind_int(st, 8, op->host_public);
    bind_int(st, 9, (uint64_t) op->created_at);
    bind_int(st, 10, op->gen);
    bind_text(st, 11, op->limits);
    bind_int(st, 12, op->wake_off);
    bind_int(st, 13, op->wakes);
    bind_int(st, 14, op->by_admin);

    return db_run(db, SQL_PUT_EXPOSURE, err);
}


static int
write_delete(store_db *db, const store_op *op, error **err)
{
    sql_kind       kind;
    sqlite3_stmt  *st;

    if (op->exposure) {
        kind = op->kind == STORE_DELETE_DOMAIN ? SQL_DELETE_DOMAIN
                                               : SQL_DELETE_EXPOSURE;
        bind_text(db->sql[kind], 1, op->name);

    } else {
        kind = SQL_DELETE_SANDBOX;
        bind_int(db->sql[kind], 1, op->slot);
    }

    if (db_run(db, kind, err) < 0) {
        return -1;
    }

    st = db->sql[SQL_PUT_TOMBSTONE];
    bind_int(st, 1, op->seq);
    bind_int(st, 2, op->slot);
    bind_int(st, 3, op->exposure);
    bind_text(st, 4, op->name);

    return db_run(db, SQL_PUT_TOMBSTONE, err);
}


static int
write_answer(store_db *db, const store_op *op, error **err)
{
    sql_kind       kind;
    sqlite3_stmt  *st;

    kind = op->kind == STORE_PUT_ANSWER ? SQL_PUT_ANSWER : SQL_DELETE_ANSWER;
    st = db->sql[kind];
    bind_text(st, 1, op->name);

    if (kind == SQL_PUT_ANSWER) {
        bind_text(st, 2, op->title);
        bind_text(st, 3, op->tenant);
        bind_text(st, 4, op->text);
        bind_int(st, 5, (uint64_t) op->created_at);
    }

    return db_run(db, kind, err);
}


static int
write_op(store_db *db, const store_op *op, error **err)
{
    switch (op->kind) {

    case STORE_PUT_TENANT:
        return write_tenant(db, op, err);

    case STORE_PUT_DOMAIN:
        return write_domain(db, op, err);

    case STORE_PUT_SANDBOX:
    case STORE_PUT_STATE:
        return write_sandbox(db, op, err);

    case STORE_PUT_EXPOSURE:
        return write_exposure(db, op, err);

    case STORE_DELETE:
    case STORE_DELETE_DOMAIN:
        return write_delete(db, op, err);

    case STORE_PUT_ANSWER:
    case STORE_DELETE_ANSWER:
        return write_answer(db, op, err);

    case STORE_DROP_TOMBSTONES:
        bind_int(db->sql[SQL_DROP_TOMBSTONES], 1, op->seq_limit);

        bind_int(db->sql[SQL_DROP_GAPS], 1, op->seq_limit);

        if (db_run(db, SQL_DROP_TOMBSTONES, err) < 0
            || db_run(db, SQL_DROP_GAPS, err) < 0)
        {
            return -1;
        }

        return meta_put(db, "tombstone_floor", op->seq_limit, err);

    case STORE_RESERVE:
        if (meta_put(db, "seq_limit", op->seq_limit, err) < 0) {
            return -1;
        }

        return meta_put(db, "slot_limit", op->slot, err);

    case STORE_BOOT:
        bind_int(db->sql[SQL_PUT_GAP], 1, op->born);
        bind_int(db->sql[SQL_PUT_GAP], 2, op->seq_limit);

        if (db_run(db, SQL_PUT_GAP, err) < 0) {
            return -1;
        }

        return meta_put(db, "boot", op->boot, err);
    }

    return 0;
}


int
store_db_write(store_db *db, const store_op *batch, error **err)
{
    uint64_t         seq;
    const store_op  *op;

    if (db_run(db, SQL_BEGIN, err) < 0) {
        return -1;
    }

    seq = 0;

    for (op = batch; op != NULL; op = op->next) {
        if (write_op(db, op, err) < 0) {
            db_run(db, SQL_ROLLBACK, NULL);
            return -1;
        }

        seq = op->seq > seq ? op->seq : seq;
    }

    if ((seq > 0 && meta_put(db, "seq", seq, err) < 0)
        || db_run(db, SQL_COMMIT, err) < 0)
    {
        db_run(db, SQL_ROLLBACK, NULL);
        return -1;
    }

    return 0;
}
