/* The store's queue and its writer thread; see store.h. */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "sandboxd/store_db.h"

#define STORE_RETRY_MS     200
#define STORE_GIVE_UP_MS   5000
#define STORE_LOG_EVERY    25       /* failed tries between two log lines */


struct store {
    store_db         *db;
    uv_loop_t        *loop;
    store_committed   cb;
    void             *data;
    uint64_t          reported;
    bool              running;
    pthread_t         thread;
    uv_async_t        async;

    /* Shared by both threads. */
    pthread_mutex_t   lock;
    pthread_cond_t    wake;
    store_op         *first;
    store_op        **last;
    size_t            queued;       /* in the queue and in the open batch */
    uint64_t          committed;
    uint64_t          seq_limit;
    uint32_t          slot_limit;
    bool              stop;
    bool              held;         /* more belongs to the batch */
    int               failing;      /* 0, or the status to answer with */
};


store *
store_open(const char *dir, store_meta *meta, error **err)
{
    store              *s;
    store_db           *db;
    pthread_condattr_t  attr;

    db = store_db_open(dir, meta, err);
    if (db == NULL) {
        return NULL;
    }

    s = calloc(1, sizeof(store));
    if (s == NULL) {
        abort();
    }

    s->db = db;
    s->last = &s->first;
    s->committed = meta->seq;
    s->reported = meta->seq;
    s->seq_limit = meta->seq_limit;
    s->slot_limit = meta->slot_limit;

    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);

    return s;
}


int
store_begin(store *s, store_meta *meta, uint64_t seq_limit,
    uint32_t slot_limit, error **err)
{
    store_op  reserve = { .kind = STORE_RESERVE };
    store_op  boot = { .kind = STORE_BOOT, .next = &reserve };

    reserve.seq_limit = seq_limit;
    reserve.slot = slot_limit;
    boot.boot = meta->boot + 1;
    boot.born = meta->seq;
    boot.seq_limit = meta->seq_limit;

    if (store_db_write(s->db, &boot, err) < 0) {
        return -1;
    }

    meta->boot++;
    s->seq_limit = seq_limit;
    s->slot_limit = slot_limit;

    return 0;
}


int
store_load(store *s, const store_rows *rows, void *data, error **err)
{
    return store_db_load(s->db, rows, data, err);
}


/* New changes don't cut the pause short: a disk that fails is not tried once
 * for each of them. */
static void
store_pause(store *s, unsigned ms)
{
    int              rc;
    struct timespec  until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long) ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;

    do {
        rc = pthread_cond_timedwait(&s->wake, &s->lock, &until);
    } while (rc == 0 && !s->stop);
}


/* Commits one batch, however often that takes; false if it was given up. */
static bool
store_commit(store *s, store_op *batch)
{
    int        status;
    bool       done;
    unsigned   tries, tries_at_stop;
    error     *err;

    tries = 0;
    tries_at_stop = 0;

    for ( ;; ) {
        err = NULL;
        done = store_db_write(s->db, batch, &err) == 0;
        status = done ? 0 : err->status;

        if (!done && tries % STORE_LOG_EVERY == 0) {
            log_error("records can't be written, trying again: %s",
                      err->message);
        }

        error_free(err);

        pthread_mutex_lock(&s->lock);
        s->failing = status;

        if (!done) {
            tries++;
            tries_at_stop += s->stop;

            if (tries_at_stop > STORE_GIVE_UP_MS / STORE_RETRY_MS) {
                pthread_mutex_unlock(&s->lock);
                return false;
            }

            store_pause(s, STORE_RETRY_MS);
        }

        pthread_mutex_unlock(&s->lock);

        if (done) {
            if (tries > 0) {
                log_info("records are written again");
            }

            return true;
        }
    }
}


static void
store_batch_done(store *s, store_op *batch)
{
    store_op  *op, *next;

    pthread_mutex_lock(&s->lock);

    for (op = batch; op != NULL; op = next) {
        next = op->next;

        if (op->kind == STORE_RESERVE) {
            s->seq_limit = op->seq_limit;
            s->slot_limit = op->slot;
        }

        if (op->seq > s->committed) {
            s->committed = op->seq;
        }

        s->queued--;
        store_op_free(op);
    }

    pthread_mutex_unlock(&s->lock);

    uv_async_send(&s->async);
}


static void *
store_thread(void *data)
{
    store     *s;
    store_op  *batch;

    s = data;

    for ( ;; ) {
        pthread_mutex_lock(&s->lock);

        while ((s->first == NULL || s->held) && !s->stop) {
            pthread_cond_wait(&s->wake, &s->lock);
        }

        batch = s->first;
        s->first = NULL;
        s->last = &s->first;

        pthread_mutex_unlock(&s->lock);

        if (batch == NULL) {
            return NULL;
        }

        if (!store_commit(s, batch)) {
            log_error("the last changes were not written");
            store_ops_free(batch);
            return NULL;
        }

        store_batch_done(s, batch);
    }
}


static void
store_on_async(uv_async_t *async)
{
    store     *s;
    uint64_t   committed;

    s = async->data;

    pthread_mutex_lock(&s->lock);
    committed = s->committed;
    pthread_mutex_unlock(&s->lock);

    if (committed > s->reported) {
        s->reported = committed;
        s->cb(s->data, committed);
    }
}


int
store_run(store *s, uv_loop_t *loop, store_committed cb, void *data,
    error **err)
{
    s->loop = loop;
    s->cb = cb;
    s->data = data;

    if (uv_async_init(loop, &s->async, store_on_async) != 0) {
        return error_set(err, 500, "internal", "no async handle");
    }

    s->async.data = s;

    if (pthread_create(&s->thread, NULL, store_thread, s) != 0) {
        uv_close((uv_handle_t *) &s->async, NULL);
        return error_set(err, 500, "internal", "no thread for the records");
    }

    s->running = true;

    return 0;
}


void
store_close(store *s)
{
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);

    if (s->running) {
        pthread_join(s->thread, NULL);
        uv_close((uv_handle_t *) &s->async, NULL);
    }

    store_ops_free(s->first);
    s->first = NULL;
    s->last = &s->first;
    store_db_close(s->db);
}


void
store_free(store *s)
{
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    free(s);
}


int
store_check(store *s, error **err)
{
    int  failing;

    pthread_mutex_lock(&s->lock);
    failing = s->failing;
    pthread_mutex_unlock(&s->lock);

    if (failing == 507) {
        return error_set(err, 507, "insufficient_storage",
                         "the disk that holds the records is full");
    }

    if (failing != 0) {
        return error_set(err, 503, "storage_failed",
                         "records can't be written at the moment");
    }

    return store_room(s, err);
}


int
store_room(store *s, error **err)
{
    size_t  queued;

    pthread_mutex_lock(&s->lock);
    queued = s->queued;
    pthread_mutex_unlock(&s->lock);

    if (queued > STORE_QUEUE_MAX) {
        return error_set_field(err, 503, "busy", "", STORE_QUEUE_MAX,
                               "more than %d changes wait to be written",
                               STORE_QUEUE_MAX);
    }

    return 0;
}


static void
store_push(store *s, store_op *op)
{
    bool  late;

    pthread_mutex_lock(&s->lock);
    late = s->stop;

    if (!late) {
        op->next = NULL;
        *s->last = op;
        s->last = &op->next;
        s->queued++;
        pthread_cond_signal(&s->wake);
    }

    pthread_mutex_unlock(&s->lock);

    if (late) {
        store_op_free(op);
    }
}


void
store_put_tenant(store *s, const store_tenant *row)
{
    store_push(s, store_op_tenant(row));
}


void
store_hold(store *s)
{
    pthread_mutex_lock(&s->lock);
    s->held = true;
    pthread_mutex_unlock(&s->lock);
}


void
store_release(store *s)
{
    pthread_mutex_lock(&s->lock);
    s->held = false;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}


int
store_load_answers(store *s,
    int (*row)(void *data, const store_answer *row, error **err), void *data,
    error **err)
{
    return store_db_load_answers(s->db, row, data, err);
}


void
store_put_answer(store *s, const store_answer *row)
{
    store_push(s, store_op_answer(STORE_PUT_ANSWER, row));
}


void
store_delete_answer(store *s, const char *key)
{
    store_answer  row = { .key = key };

    store_push(s, store_op_answer(STORE_DELETE_ANSWER, &row));
}


void
store_put_domain(store *s, const store_domain *row)
{
    store_push(s, store_op_domain(row));
}


void
store_delete_domain(store *s, const store_tombstone *row)
{
    store_op  *op;

    op = store_op_tombstone(row);
    op->kind = STORE_DELETE_DOMAIN;
    store_push(s, op);
}


void
store_put_sandbox(store *s, const store_sandbox *row)
{
    store_push(s, store_op_sandbox(STORE_PUT_SANDBOX, row));
}


void
store_put_state(store *s, const store_sandbox *row)
{
    store_push(s, store_op_sandbox(STORE_PUT_STATE, row));
}


void
store_delete_sandbox(store *s, const store_tombstone *row)
{
    store_push(s, store_op_tombstone(row));
}


void
store_put_exposure(store *s, const store_exposure *row)
{
    store_push(s, store_op_exposure(row));
}


void
store_delete_exposure(store *s, const store_tombstone *row)
{
    store_push(s, store_op_tombstone(row));
}


void
store_drop_tombstones(store *s, uint64_t floor)
{
    store_op  *op;

    op = store_op_new(STORE_DROP_TOMBSTONES);
    op->seq_limit = floor;
    store_push(s, op);
}


void
store_reserve(store *s, uint64_t seq_limit, uint32_t slot_limit)
{
    store_op  *op;

    op = store_op_new(STORE_RESERVE);
    op->seq_limit = seq_limit;
    op->slot = slot_limit;
    store_push(s, op);
}


void
store_reserved(store *s, uint64_t *seq_limit, uint32_t *slot_limit)
{
    pthread_mutex_lock(&s->lock);
    *seq_limit = s->seq_limit;
    *slot_limit = s->slot_limit;
    pthread_mutex_unlock(&s->lock);
}
