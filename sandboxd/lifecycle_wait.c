/* Who waits: sandboxes for a start, callers for a sandbox; see lifecycle.h. */

#include <stdlib.h>

#include "sandboxd/lifecycle_part.h"


void
queue_init(sandbox_queue *q)
{
    q->first = NULL;
    q->last = &q->first;
    q->count = 0;
}


void
queue_add(sandbox_queue *q, sandbox *sb)
{
    sb->run.next = NULL;
    *q->last = sb;
    q->last = &sb->run.next;
    q->count++;
}


void
queue_remove(sandbox_queue *q, sandbox *sb)
{
    sandbox  **p;

    for (p = &q->first; *p != NULL; p = &(*p)->run.next) {
        if (*p == sb) {
            *p = sb->run.next;
            q->count--;

            if (*p == NULL) {
                q->last = p;
            }

            return;
        }
    }
}


sandbox *
queue_shift(sandbox_queue *q)
{
    sandbox  *sb;

    sb = q->first;

    if (sb != NULL) {
        queue_remove(q, sb);
    }

    return sb;
}


/* Each waiter gets an error of its own. */
void
waiters_fail(sandbox *sb, const error *why)
{
    error         *err;
    start_waiter  *w;

    while (sb->run.waiters != NULL) {
        w = sb->run.waiters;
        sb->run.waiters = w->next;
        sb->run.waiter_count--;

        err = NULL;
        error_set_field(&err, why->status, why->code, why->field, why->limit,
                        "%s", why->message);
        err->retry_after = why->retry_after;

        w->cb(w->data, sb, err);
        free(w);
    }
}


void
waiters_refuse(sandbox *sb, int status, const char *code, int retry_after,
    const char *message)
{
    error  *err;

    err = NULL;
    error_set(&err, status, code, "%s", message);
    err->retry_after = retry_after;
    waiters_fail(sb, err);
    error_free(err);
}


int
waiters_add(sandbox *sb, lifecycle_started cb, void *data, error **err)
{
    start_waiter  *w, **p;

    if (sb->run.waiter_count >= START_WAITERS_MAX) {
        error_set_field(err, 503, "busy", "", START_WAITERS_MAX,
                        "%d callers wait for this sandbox to start already",
                        START_WAITERS_MAX);
        (*err)->retry_after = 3;
        return -1;
    }

    w = calloc(1, sizeof(start_waiter));
    if (w == NULL) {
        abort();
    }

    w->cb = cb;
    w->data = data;

    for (p = &sb->run.waiters; *p != NULL; p = &(*p)->next) {
        /* void */
    }

    *p = w;
    sb->run.waiter_count++;

    return 0;
}


/* The waiters of a start that went well, until its record is published. */
typedef struct {
    sandbox       *sb;
    start_waiter  *waiters;
} start_group;


static void
start_group_done(void *data)
{
    start_group   *g;
    start_waiter  *w;

    g = data;

    while (g->waiters != NULL) {
        w = g->waiters;
        g->waiters = w->next;
        w->cb(w->data, g->sb, NULL);
        free(w);
    }

    item_unref(&g->sb->item);
    free(g);
}


void
waiters_succeed(lifecycle *lc, sandbox *sb)
{
    start_group  *g;

    if (sb->run.waiters == NULL) {
        return;
    }

    g = calloc(1, sizeof(start_group));
    if (g == NULL) {
        abort();
    }

    g->sb = sb;
    g->waiters = sb->run.waiters;
    item_ref(&sb->item);
    sb->run.waiters = NULL;
    sb->run.waiter_count = 0;

    registry_wait(lc->r, sb->seq, start_group_done, g);
}
