/* What is in the database when sandboxd starts; see store_db.h. */

#include "sandboxd/store_db_part.h"


const char *
column_text(sqlite3_stmt *st, int n)
{
    return (const char *) sqlite3_column_text(st, n);
}


uint64_t
column_int(sqlite3_stmt *st, int n)
{
    return (uint64_t) sqlite3_column_int64(st, n);
}


static int
row_tenant(sqlite3_stmt *st, const store_rows *rows, void *data, error **err)
{
    store_tenant  row;

    row.name = column_text(st, 0);
    row.prefix = column_text(st, 1);
    row.seq = column_int(st, 2);

    return rows->tenant(data, &row, err);
}


static int
row_domain(sqlite3_stmt *st, const store_rows *rows, void *data, error **err)
{
    store_domain  row;

    row.name = column_text(st, 0);
    row.tenant = column_text(st, 1);
    row.seq = column_int(st, 2);
    row.created_at = sqlite3_column_int64(st, 3);

    return rows->domain(data, &row, err);
}


static int
row_sandbox(sqlite3_stmt *st, const store_rows *rows, void *data, error **err)
{
    store_sandbox  row;

    row.slot = (uint32_t) column_int(st, 0);
    row.id = column_text(st, 1);
    row.seq = column_int(st, 2);
    row.born = column_int(st, 3);
    row.state = (int) column_int(st, 4);
    row.epoch = (uint32_t) column_int(st, 5);
    row.epoch_used = (uint32_t) column_int(st, 6);
    row.boot = (uint32_t) column_int(st, 7);
    row.created_at = sqlite3_column_int64(st, 8);
    row.started_at = sqlite3_column_int64(st, 9);
    row.reason = column_text(st, 10);
    row.spec = column_text(st, 11);
    row.kills = (char *) column_text(st, 12);
    row.forked = column_int(st, 13) != 0;

    return rows->sandbox(data, &row, err);
}


static int
row_exposure(sqlite3_stmt *st, const store_rows *rows, void *data,
    error **err)
{
    store_exposure  row;

    row.label = column_text(st, 0);
    row.slot = (uint32_t) column_int(st, 1);
    row.seq = column_int(st, 2);
    row.port = (unsigned) column_int(st, 3);
    row.token = column_text(st, 4);
    row.name = column_text(st, 5);
    row.access = (int) column_int(st, 6);
    row.host_public = column_int(st, 7) != 0;
    row.created_at = sqlite3_column_int64(st, 8);
    row.gen = (uint32_t) column_int(st, 9);
    row.limits = column_text(st, 10);
    row.wake_off = column_int(st, 11) != 0;
    row.wakes = (unsigned) column_int(st, 12);
    row.by_admin = column_int(st, 13) != 0;

    return rows->exposure(data, &row, err);
}


static int
row_tombstone(sqlite3_stmt *st, const store_rows *rows, void *data,
    error **err)
{
    store_tombstone  row;

    row.seq = column_int(st, 0);
    row.slot = (uint32_t) column_int(st, 1);
    row.exposure = column_int(st, 2) != 0;
    row.name = column_text(st, 3);

    return rows->tombstone(data, &row, err);
}


static int
row_gap(sqlite3_stmt *st, const store_rows *rows, void *data, error **err)
{
    store_gap  row;

    row.above = column_int(st, 0);
    row.upto = column_int(st, 1);

    return rows->gap(data, &row, err);
}


static int
rows_load(store_db *db, const char *sql, const store_rows *rows, void *data,
    int (*row)(sqlite3_stmt *, const store_rows *, void *, error **),
    error **err)
{
    int            rc;
    sqlite3_stmt  *st;

    if (sqlite3_prepare_v2(db->db, sql, -1, &st, NULL) != SQLITE_OK) {
        return db_error(db, "records", err);
    }

    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        if (row(st, rows, data, err) < 0) {
            sqlite3_finalize(st);
            return -1;
        }
    }

    sqlite3_finalize(st);

    return rc == SQLITE_DONE ? 0 : db_error(db, "records", err);
}


int
store_db_load(store_db *db, const store_rows *rows, void *data, error **err)
{
    if (rows_load(db, "SELECT name, prefix, seq FROM tenants ORDER BY seq",
                  rows, data, row_tenant, err) < 0
        || rows_load(db, "SELECT name, tenant, seq, created_at FROM domains"
                     " ORDER BY seq", rows, data, row_domain, err) < 0
        || rows_load(db, "SELECT slot, id, seq, born, state, epoch,"
                  " epoch_used, boot, created_at, started_at, reason, spec,"
                  " kills, forked FROM sandboxes"
                  " ORDER BY born", rows, data, row_sandbox, err) < 0
        || rows_load(db, "SELECT label, slot, seq, port, token, name, access,"
                     " host_public, created_at, gen, limits, wake_off, wakes,"
                     " by_admin FROM exposures"
                     " ORDER BY instr(label, '.') > 0, seq",
                     rows, data, row_exposure, err) < 0
        || rows_load(db, "SELECT seq, slot, exposure, name FROM tombstones"
                     " ORDER BY seq", rows, data, row_tombstone, err) < 0
        || rows_load(db, "SELECT above, upto FROM gaps ORDER BY above", rows,
                     data, row_gap, err) < 0)
    {
        return -1;
    }

    return 0;
}


int
store_db_load_answers(store_db *db,
    int (*row)(void *data, const store_answer *row, error **err), void *data,
    error **err)
{
    int            rc;
    sqlite3_stmt  *st;
    store_answer   answer;

    if (sqlite3_prepare_v2(db->db, "SELECT key, request, tenant, answer, at"
                           " FROM answers ORDER BY at", -1, &st, NULL)
        != SQLITE_OK)
    {
        return db_error(db, "records", err);
    }

    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        answer.key = column_text(st, 0);
        answer.request = column_text(st, 1);
        answer.tenant = column_text(st, 2);
        answer.answer = column_text(st, 3);
        answer.at = sqlite3_column_int64(st, 4);

        if (row(data, &answer, err) < 0) {
            break;
        }
    }

    sqlite3_finalize(st);

    return rc == SQLITE_DONE ? 0 : rc == SQLITE_ROW ? -1
                                 : db_error(db, "records", err);
}
