/*
 * Copies of what a sandbox has.  One that doesn't run isn't started before its
 * files are copied: who wants that waits.  See lifecycle.h.
 */

#include <stdlib.h>

#include "common/log.h"
#include "sandboxd/lifecycle_part.h"

typedef struct {
    lifecycle         *lc;
    sandbox           *sb;          /* holds a reference */
    lifecycle_forked   cb;
    void              *data;
} fork_errand;


static void
on_cloned(void *data, bool memory, error *err)
{
    sandbox      *sb;
    lifecycle    *lc;
    fork_errand  *e;

    e = data;
    sb = e->sb;
    lc = e->lc;
    sb->run.forks--;
    lc->forks--;

    /* Nobody could write its record any more. */
    if (lc->closing && lc->closed == NULL && err == NULL) {
        error_set(&err, 503, "shutting_down", "sandboxd is being stopped");
    }

    if (sb->run.forks == 0 && sb->run.state == RUN_NONE
        && sb->run.waiters.first != NULL && !sb->gone && !lc->closing)
    {
        lifecycle_enter(lc, sb, RUN_QUEUED);
        queue_add(&lc->starts, sb);
        lifecycle_pump(lc);
    }

    e->cb(e->data, memory, err);
    item_unref(&sb->item);
    free(e);
    lifecycle_close_check(lc);
}


bool
fork_unrun(const sandbox *sb)
{
    return sb->forked && sb->started_at == 0;
}


void
lifecycle_fork(lifecycle *lc, sandbox *sb, uint32_t slot, lifecycle_forked cb,
    void *data)
{
    driver       *d;
    fork_errand  *e;

    e = calloc(1, sizeof(fork_errand));
    if (e == NULL) {
        abort();
    }

    e->lc = lc;
    e->sb = sb;
    e->cb = cb;
    e->data = data;
    item_ref(&sb->item);
    sb->run.forks++;
    lc->forks++;

    d = lifecycle_driver(lc, sb);
    d->clone(d, sb->slot, slot, on_cloned, e);
}
