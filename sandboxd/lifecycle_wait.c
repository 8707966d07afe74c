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


void
waiters_fail(sandbox *sb, waiter_list *list, const error *why)
{
    error   *err;
    waiter  *w;

    while ((w = list->first) != NULL) {
        list->first = w->next;
        list->count--;

        err = NULL;
        error_set_field(&err, why->status, why->code, why->field, why->limit,
                        "%s", why->message);
        err->retry_after = why->retry_after;

        w->cb(w->data, sb, err);
        free(w);
    }
}


void
waiters_refuse(sandbox *sb, waiter_list *list, int status, const char *code,
    int retry_after, const char *message)
{
    error  *err;

    if (list->first == NULL) {
        return;
    }

    err = NULL;
    error_set(&err, status, code, "%s", message);
    err->retry_after = retry_after;
    waiters_fail(sb, list, err);
    error_free(err);
}


int
waiters_add(waiter_list *list, lifecycle_started cb, void *data, error **err)
{
    waiter  *w, **p;

    if (list->count >= WAITERS_MAX) {
        error_set_field(err, 503, "busy", "", WAITERS_MAX,
                        "%d callers wait for this sandbox already",
                        WAITERS_MAX);
        (*err)->retry_after = 3;
        return -1;
    }

    w = calloc(1, sizeof(waiter));
    if (w == NULL) {
        abort();
    }

    w->cb = cb;
    w->data = data;

    for (p = &list->first; *p != NULL; p = &(*p)->next) {
        /* void */
    }

    *p = w;
    list->count++;

    return 0;
}


/* Those whose wait went well, until the record is published. */
typedef struct {
    sandbox  *sb;
    waiter   *waiters;
} waiter_group;


static void
group_done(void *data)
{
    waiter        *w;
    waiter_group  *g;

    g = data;

    while ((w = g->waiters) != NULL) {
        g->waiters = w->next;
        w->cb(w->data, g->sb, NULL);
        free(w);
    }

    item_unref(&g->sb->item);
    free(g);
}


void
waiters_succeed(lifecycle *lc, sandbox *sb, waiter_list *list)
{
    waiter_group  *g;

    if (list->first == NULL) {
        return;
    }

    g = calloc(1, sizeof(waiter_group));
    if (g == NULL) {
        abort();
    }

    g->sb = sb;
    g->waiters = list->first;
    item_ref(&sb->item);
    list->first = NULL;
    list->count = 0;

    registry_wait(lc->r, sb->seq, group_done, g);
}
