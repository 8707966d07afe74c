/*
 * Sequence numbers, and the queue of changes that are not yet published; see
 * registry.h.
 */

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "sandboxd/domain.h"
#include "sandboxd/record.h"
#include "sandboxd/registry.h"
#include "sandboxd/tenant.h"

/* Numbers are reserved in blocks, so that none is given twice after a crash.
 * The queue of the store is far shorter than half a block. */
#define SEQ_BLOCK  (1u << 20)

#define TOMBSTONES_AT_ONCE  1024


struct waiter {
    waiter           *next;
    uint64_t          seq;
    registry_waited   cb;
    void             *data;
};


int64_t
wall_ms(void)
{
    return (int64_t) clock_ms(CLOCK_REALTIME);
}


void
item_ref(item *it)
{
    switch (it->kind) {

    case ITEM_SANDBOX:
        ((sandbox *) it)->refs++;
        break;

    case ITEM_EXPOSURE:
        ((exposure *) it)->refs++;
        break;

    case ITEM_DOMAIN:
        ((domain *) it)->refs++;
        break;

    case ITEM_TENANT:
    case ITEM_TOMBSTONE:
        break;
    }
}


void
item_unref(item *it)
{
    domain    *d;
    sandbox   *sb;
    exposure  *ex;

    switch (it->kind) {

    case ITEM_SANDBOX:
        sb = (sandbox *) it;

        if (--sb->refs == 0) {
            json_decref(sb->spec);
            json_decref(sb->run.env);
            json_decref(sb->run.where);
            free(sb->kills);
            free(sb->id);
            free(sb);
        }

        break;

    case ITEM_EXPOSURE:
        ex = (exposure *) it;

        if (--ex->refs == 0) {
            item_unref(&ex->owner->item);
            free(ex);
        }

        break;

    case ITEM_DOMAIN:
        d = (domain *) it;

        if (--d->refs == 0) {
            free(d);
        }

        break;

    case ITEM_TENANT:
    case ITEM_TOMBSTONE:
        break;
    }
}


static uint64_t
seq_next(registry *r)
{
    r->seq++;

    if (r->seq + SEQ_BLOCK / 2 > r->seq_limit) {
        r->seq_limit = r->seq + SEQ_BLOCK;
        store_reserve(r->store, r->seq_limit, r->slot_limit);
    }

    return r->seq;
}


change *
change_add(registry *r, item *it, bool durable)
{
    change  *c;

    c = calloc(1, sizeof(change));
    if (c == NULL) {
        abort();
    }

    c->seq = seq_next(r);
    c->durable = durable;
    c->item = it;
    item_ref(it);

    *r->changes_last = c;
    r->changes_last = &c->next;

    return c;
}


void
tombstone_keep(registry *r, tombstone *t, uint64_t seq)
{
    journal_put(&r->changed, &t->item.node, seq);

    t->next = NULL;
    *r->tombstones_last = t;
    r->tombstones_last = &t->next;
    r->tombstone_count++;
}


/* Forgets the tombstones up to the floor; who is behind it has to start
 * over. */
void
tombstones_drop(registry *r)
{
    tombstone  *t;

    while ((t = r->tombstones) != NULL
           && t->item.node.seq <= r->tombstone_floor)
    {
        r->tombstones = t->next;
        r->tombstone_count--;
        journal_remove(&r->changed, &t->item.node);
        free(t);
    }

    if (r->tombstones == NULL) {
        r->tombstones_last = &r->tombstones;
    }

    store_drop_tombstones(r->store, r->tombstone_floor);
}


void
tombstones_trim(registry *r)
{
    unsigned    i;
    tombstone  *t;

    if (r->tombstone_count <= TOMBSTONES_MAX + TOMBSTONES_AT_ONCE) {
        return;
    }

    for (i = 1, t = r->tombstones; i < TOMBSTONES_AT_ONCE; i++) {
        t = t->next;
    }

    r->tombstone_floor = t->item.node.seq;
    tombstones_drop(r);
}


static void
publish_gone(registry *r, change *c)
{
    sandbox   *sb;
    exposure  *ex;

    journal_remove(&r->changed, &c->item->node);

    if (c->item->kind == ITEM_SANDBOX) {
        sb = (sandbox *) c->item;
        journal_remove(&r->aged, &sb->age);
        journal_remove(&sb->tenant->aged, &sb->tenant_age);

    } else if (c->item->kind == ITEM_EXPOSURE) {
        ex = (exposure *) c->item;
        table_remove(&r->by_label, &ex->by_label);
        item_unref(&ex->item);
    }

    tombstone_keep(r, c->gone, c->seq);
}


static void
publish_item(registry *r, change *c)
{
    sandbox   *sb;
    exposure  *ex;

    journal_put(&r->changed, &c->item->node, c->seq);

    if (c->item->kind == ITEM_SANDBOX) {
        sb = (sandbox *) c->item;
        sb->shown = c->view;

        if (sb->age.seq == 0) {
            journal_put(&r->aged, &sb->age, sb->born);
            journal_put(&sb->tenant->aged, &sb->tenant_age, sb->born);
        }

    } else if (c->item->kind == ITEM_EXPOSURE) {
        ex = (exposure *) c->item;
        ex->shown = c->exposure;

    } else if (c->item->kind == ITEM_DOMAIN) {
        ((domain *) c->item)->shown = c->domain_of;
    }
}


static void
change_publish(registry *r, change *c)
{
    json_t   *record;
    sandbox  *sb;

    if (c->gone != NULL) {
        publish_gone(r, c);
        record = record_item(&c->gone->item);

    } else {
        publish_item(r, c);
        record = record_item(c->item);
    }

    r->published = c->seq;

    /* For those who look on: when, whose, and why. */
    json_object_set_new(record, "at", json_integer(wall_ms()));

    if (c->item->kind == ITEM_SANDBOX) {
        sb = (sandbox *) c->item;

        if (sb->tenant->name[0] != '\0') {
            json_object_set_new(record, "tenant",
                                json_string(sb->tenant->name));
        }

        if (c->gone == NULL && sb->reason[0] != '\0') {
            json_object_set_new(record, "reason", json_string(sb->reason));
        }

        if (c->gone == NULL && sb->kills != NULL) {
            json_object_set_new(record, "oomKills", json_integer(
                                (json_int_t) sb->kills->total));
        }
    }

    if (r->publish != NULL) {
        r->publish(r->publish_data, c->seq, c->ack, record);
    }

    json_decref(record);
    item_unref(c->item);
    free(c);

    tombstones_trim(r);
}


static void
waiters_run(registry *r)
{
    waiter  *w;

    while (r->waiters != NULL && r->waiters->seq <= r->published) {
        w = r->waiters;
        r->waiters = w->next;

        if (r->waiters == NULL) {
            r->waiters_last = &r->waiters;
        }

        w->cb(w->data);
        free(w);
    }
}


/* A callback may add changes: they are taken up by the loop that runs. */
void
registry_pump(registry *r)
{
    change  *c;

    if (r->pumping) {
        return;
    }

    r->pumping = true;

    for ( ;; ) {
        waiters_run(r);

        c = r->changes;
        if (c == NULL || (c->durable && c->seq > r->committed)) {
            break;
        }

        r->changes = c->next;
        if (r->changes == NULL) {
            r->changes_last = &r->changes;
        }

        change_publish(r, c);
    }

    r->pumping = false;
}


void
registry_on_committed(void *data, uint64_t seq)
{
    registry  *r;

    r = data;
    r->committed = seq;

    registry_pump(r);
}


void
registry_wait(registry *r, uint64_t seq, registry_waited cb, void *data)
{
    waiter  *w, **p;

    /* With no change left there is nothing to wait for, even if no change has
     * this number: numbers are left out when sandboxd starts. */
    if (seq <= r->published || r->changes == NULL) {
        cb(data);
        return;
    }

    w = calloc(1, sizeof(waiter));
    if (w == NULL) {
        abort();
    }

    w->seq = seq;
    w->cb = cb;
    w->data = data;

    /* Nearly always the newest; a joined caller may wait for less. */
    p = r->waiters_last;

    if (r->waiters != NULL
        && container_of(r->waiters_last, waiter, next)->seq > seq)
    {
        for (p = &r->waiters; (*p)->seq <= seq; p = &(*p)->next) {
            /* void */
        }
    }

    w->next = *p;
    *p = w;

    if (w->next == NULL) {
        r->waiters_last = &w->next;
    }
}


void
changes_free(registry *r)
{
    change  *c;
    waiter  *w;

    while (r->changes != NULL) {
        c = r->changes;
        r->changes = c->next;
        item_unref(c->item);
        free(c->gone);
        free(c);
    }

    while (r->waiters != NULL) {
        w = r->waiters;
        r->waiters = w->next;
        free(w);
    }
}
