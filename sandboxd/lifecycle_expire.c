/* Sandboxes whose time to live is over are destroyed. */

#include <stdlib.h>

#include "common/log.h"
#include "sandboxd/lifecycle_part.h"

#define EXPIRE_AGAIN_MS   5000      /* while records can't be written */
#define EXPIRE_TIMER_MAX  (24 * 3600 * 1000)
#define EXPIRE_STEP_MS    20


typedef struct {
    lifecycle  *lc;
    sandbox    *sb;             /* holds a reference */
} expiry;


static void on_expire_timer(uv_timer_t *timer);


static void
expire_arm(lifecycle *lc)
{
    uint64_t   now, wait;
    deadline  *first;

    first = deadline_first(&lc->ttls);

    if (first == NULL || lc->closing) {
        uv_timer_stop(&lc->ttl_timer);
        return;
    }

    /* The wall clock may be set meanwhile: looked at once a day at least. */
    now = (uint64_t) wall_ms();
    wait = first->at > now + EXPIRE_STEP_MS ? first->at - now : EXPIRE_STEP_MS;
    uv_timer_start(&lc->ttl_timer, on_expire_timer,
                   wait < EXPIRE_TIMER_MAX ? wait : EXPIRE_TIMER_MAX, 0);
}


void
expire_schedule(lifecycle *lc, sandbox *sb)
{
    uint64_t  ttl;

    ttl = spec_ttl(sb->spec);

    if (ttl == 0 || sb->gone) {
        deadline_clear(&lc->ttls, &sb->run.ttl);
        return;
    }

    deadline_set(&lc->ttls, &sb->run.ttl, (uint64_t) sb->created_at + ttl);
    expire_arm(lc);
}


static void
on_expiry_durable(void *data)
{
    expiry  *x;

    x = data;
    lifecycle_destroy(x->lc, x->sb);
    item_unref(&x->sb->item);
    free(x);
}


static void
expire(lifecycle *lc, sandbox *sb)
{
    error   *err;
    expiry  *x;

    err = NULL;

    if (store_check(lc->r->store, &err) < 0) {
        error_free(err);
        deadline_set(&lc->ttls, &sb->run.ttl,
                     (uint64_t) wall_ms() + EXPIRE_AGAIN_MS);
        return;
    }

    x = calloc(1, sizeof(expiry));
    if (x == NULL) {
        abort();
    }

    log_info("%s: its time to live is over, slot %08x", sb->id, sb->slot);

    deadline_clear(&lc->ttls, &sb->run.ttl);
    x->lc = lc;
    x->sb = sb;
    item_ref(&sb->item);
    registry_wait(lc->r, registry_remove(lc->r, sb), on_expiry_durable, x);
}


static void
on_expire_timer(uv_timer_t *timer)
{
    sandbox    *sb;
    uint64_t    now;
    deadline   *first;
    lifecycle  *lc;

    lc = timer->data;
    now = (uint64_t) wall_ms();

    while ((first = deadline_first(&lc->ttls)) != NULL && first->at <= now) {
        sb = container_of(first, sandbox, run.ttl);

        if (sb->gone) {
            deadline_clear(&lc->ttls, first);

        } else {
            expire(lc, sb);
        }
    }

    expire_arm(lc);
}


void
expire_init(lifecycle *lc)
{
    uv_timer_init(lc->loop, &lc->ttl_timer);
    lc->ttl_timer.data = lc;
}
