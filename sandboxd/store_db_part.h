/*
 * Shared by store_db.c and store_db_load.c; the contract is store_db.h.
 */

#ifndef SANDBOXD_STORE_DB_PART_H
#define SANDBOXD_STORE_DB_PART_H

#include <sqlite3.h>

#include "sandboxd/store_db.h"

typedef enum {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_PUT_SANDBOX,
    SQL_PUT_STATE,
    SQL_PUT_EXPOSURE,
    SQL_DELETE_SANDBOX,
    SQL_DELETE_EXPOSURE,
    SQL_PUT_TOMBSTONE,
    SQL_PUT_ANSWER,
    SQL_DELETE_ANSWER,
    SQL_DROP_TOMBSTONES,
    SQL_DROP_GAPS,
    SQL_PUT_GAP,
    SQL_PUT_META,
    SQL_PUT_TENANT,
    SQL_PUT_DOMAIN,
    SQL_DELETE_DOMAIN,
    SQL_COUNT
} sql_kind;


struct store_db {
    sqlite3       *db;
    sqlite3_stmt  *sql[SQL_COUNT];
};

/* Says in *err what SQLite complains of; -1. */
int db_error(store_db *db, const char *what, error **err);

const char *column_text(sqlite3_stmt *st, int n);
uint64_t column_int(sqlite3_stmt *st, int n);

#endif
