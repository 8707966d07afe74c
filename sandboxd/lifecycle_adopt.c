/* Taking over what an earlier sandboxd left; see lifecycle.h. */

#include <string.h>

#include "common/log.h"
#include "sandboxd/lifecycle_part.h"
#include "sandboxd/runfile.h"


static void
adopt_found(void *data, const runfile *run)
{
    bool        same;
    driver     *d;
    sandbox    *sb;
    lifecycle  *lc;

    lc = data;
    sb = registry_find_slot(lc->r, run->slot);
    d = sb != NULL ? lifecycle_driver(lc, sb) : NULL;

    /* Only those that others run have no process of ours. */
    if (d == NULL || (run->handle.pid == 0) != (d == lc->external)
        || (d == lc->external && !external_same(sb, run))
        || !d->adopt(d, run->slot, &run->handle))
    {
        runfile_remove(lc->run_dir, run->slot);
        return;
    }

    same = sb->now.state == STATE_RUNNING && sb->now.epoch == run->epoch;

    sb->run.handle = run->handle;
    sb->started_at = run->started_at;
    sb->now.epoch = run->epoch;
    memcpy(sb->now.key, run->key, sizeof(sb->now.key));

    run_at(lc, sb);

    if (d != lc->external) {
        network_adopt(lc, sb);
    }

    lifecycle_enter(lc, sb, RUN_UP);
    lifecycle_used(lc, sb);

    /* It may have changed a moment before sandboxd was killed. */
    lifecycle_tell_env(lc, sb, NULL, NULL);

    if (same) {
        sb->shown = sb->now;

    } else {
        registry_set_state(lc->r, sb, STATE_RUNNING, "");
    }

    log_info("%s: taken over, slot %08x, epoch %u, pid %d", sb->id, sb->slot,
             sb->now.epoch, (int) run->handle.pid);
}


typedef struct {
    lifecycle  *lc;
    driver     *d;
} sweep;


/* What is another driver's is that one's to sweep.  One that sleeps by its
 * record, or was about to, may be writing its memory yet. */
static slot_use
sweep_use(void *data, uint32_t slot)
{
    sweep    *s;
    sandbox  *sb;

    s = data;
    sb = registry_find_slot(s->lc->r, slot);

    if (sb == NULL) {
        return SLOT_NOBODYS;
    }

    if (sb->run.state == RUN_UP
        || (!spec_external(sb->spec)
            && lifecycle_driver(s->lc, sb) != s->d))
    {
        return SLOT_RUNS;
    }

    if (spec_ephemeral(sb->spec) && !fork_unrun(sb)) {
        return SLOT_NOBODYS;
    }

    return sb->now.state == STATE_ASLEEP && !sb->run.lost ? SLOT_ENDING
                                                          : SLOT_IDLE;
}


static void
driver_sweep(lifecycle *lc, driver *d)
{
    sweep  s;

    if (d != NULL) {
        s.lc = lc;
        s.d = d;
        d->sweep(d, sweep_use, &s);
    }
}


int
lifecycle_adopt(lifecycle *lc, error **err)
{
    sandbox       *sb;
    unsigned       i;
    journal_node  *node;

    lc->r->disk_of = disk_of;
    lc->r->disk_data = lc;

    if (runfile_each(lc->run_dir, adopt_found, lc, err) < 0) {
        return -1;
    }

    for (node = journal_next(&lc->r->aged, 0); node != NULL;
         node = journal_next(&lc->r->aged, node->seq))
    {
        sb = container_of(node, sandbox, age);
        expire_schedule(lc, sb);
        disk_adopt(lc, sb);

        if (spec_external(sb->spec)) {
            external_adopted(lc, sb);
            continue;
        }

        if (sb->run.state == RUN_UP || sb->now.state == STATE_CREATED
            || sb->now.state == STATE_ASLEEP)
        {
            continue;
        }

        log_info("%s: did not live on", sb->id);
        sb->run.lost = sb->now.state != STATE_SLEEPING;
        registry_set_state(lc->r, sb,
                           sb->started_at != 0 || sb->forked
                           ? STATE_ASLEEP : STATE_CREATED,
                           "it ended while sandboxd was away");
    }

    driver_sweep(lc, lc->driver);

    for (i = 0; i < lc->driver_count; i++) {
        if (lc->drivers[i] != lc->driver) {
            driver_sweep(lc, lc->drivers[i]);
        }
    }

    driver_sweep(lc, lc->external);

    if (lc->net != NULL) {
        net_sweep(lc->net);
    }

    return 0;
}
