/* The records in memory; see registry.h.  Exposures are in registry_expose.c,
 * numbering and publishing in changes.c, loading is in registry_load.c. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandboxd/record.h"
#include "sandboxd/registry.h"
#include "sandboxd/tenant.h"

#define SLOT_BLOCK   65536

/* Starts of one sandbox that may be ahead of the disk: after a restart this
 * many epochs are left out. */
#define EPOCH_BLOCK  64


sandbox *
registry_find(registry *r, const char *id)
{
    table_node  *node;

    node = table_find(&r->by_id, id, strlen(id));

    return node ? container_of(node, sandbox, by_id) : NULL;
}


sandbox *
registry_find_slot(registry *r, uint32_t slot)
{
    table_node  *node;

    node = table_find(&r->by_slot, &slot, sizeof(slot));

    return node ? container_of(node, sandbox, by_slot) : NULL;
}


exposure *
registry_find_label(registry *r, const char *label)
{
    table_node  *node;

    node = table_find(&r->by_label, label, strlen(label));

    return node ? container_of(node, exposure, by_label) : NULL;
}


/* Slots go round all 32 bits before one comes back; 0 is none. */
int
registry_slot(registry *r, uint32_t *slot, error **err)
{
    uint64_t  seq_limit;
    uint32_t  durable;

    do {
        r->next_slot++;
    } while (r->next_slot == 0
             || registry_find_slot(r, r->next_slot) != NULL);

    if (r->slot_limit - r->next_slot < SLOT_BLOCK / 2
        || r->slot_limit - r->next_slot > UINT32_MAX / 2)
    {
        r->slot_limit = r->next_slot + SLOT_BLOCK;
        store_reserve(r->store, r->seq_limit, r->slot_limit);
    }

    store_reserved(r->store, &seq_limit, &durable);

    if (durable - r->next_slot > UINT32_MAX / 2) {
        return error_set(err, 503, "busy", "too many new sandboxes wait to "
                         "be written");
    }

    *slot = r->next_slot;

    return 0;
}


/* The caller frees what it has of kills. */
static void
sandbox_row(registry *r, const sandbox *sb, store_sandbox *row)
{
    memset(row, 0, sizeof(*row));

    row->slot = sb->slot;
    row->id = sb->id;
    row->seq = sb->seq;
    row->born = sb->born;
    row->state = (int) sb->now.state;
    row->forked = sb->forked;
    row->epoch = sb->now.epoch;
    row->epoch_used = sb->epoch_used;
    row->boot = r->boot;
    row->created_at = sb->created_at;
    row->started_at = sb->started_at;
    row->reason = sb->reason[0] ? sb->reason : NULL;
    row->kills = kills_text(sb->kills);
}


static change *
sandbox_changed(registry *r, sandbox *sb, bool durable)
{
    change  *c;

    c = change_add(r, &sb->item, durable);
    c->view = sb->now;
    sb->seq = c->seq;

    return c;
}


/* A spec is replaced, never changed, and most sandboxes have the same one. */
json_t *
spec_share(registry *r, json_t *spec)
{
    if (r->common_spec == NULL) {
        r->common_spec = json_incref(spec);

    } else if (json_equal(r->common_spec, spec)) {
        json_decref(spec);
        return json_incref(r->common_spec);
    }

    return spec;
}


/* Changes the count of what all have together, but not what a disk is that is
 * there: with that, resources.disk doesn't change any more. */
static int
disk_update(registry *r, sandbox *sb, json_t *spec, error **err)
{
    uint64_t       disk;
    driver_limits  old, new;

    spec_limits(sb->spec, &old);
    spec_limits(spec, &new);

    if (old.disk == new.disk || r->disk_of == NULL) {
        return 0;
    }

    disk = r->disk_of(r->disk_data, spec);

    if (disks_check(&r->disks, sb->disk, disk, err) < 0) {
        return -1;
    }

    disks_take(&r->disks, &sb->disk, disk);

    return 0;
}


/* slot 0: any, for one that is no fork. */
static sandbox *
sandbox_add(registry *r, const char *name, json_t *spec, uint32_t slot,
    uint64_t disk, error **err)
{
    bool           forked;
    char           *text;
    tenant         *t;
    sandbox        *sb;
    store_sandbox   row;

    if (store_check(r->store, err) < 0) {
        return NULL;
    }

    t = tenant_of_name(r, name);
    if (t == NULL) {
        error_set(err, 404, "not_found", "the sandbox's tenant is unknown");
        return NULL;
    }

    if (r->by_slot.count >= SANDBOXES_MAX) {
        error_set_field(err, 503, "capacity_exceeded", "", SANDBOXES_MAX,
                        "this host has %d sandboxes, the most it takes",
                        SANDBOXES_MAX);
        return NULL;
    }

    text = json_dumps(spec, JSON_COMPACT);
    sb = calloc(1, sizeof(sandbox));
    if (sb == NULL || text == NULL || (sb->id = strdup(name)) == NULL) {
        abort();
    }

    forked = slot != 0;

    if (slot == 0 && r->slot_source != NULL) {
        slot = r->slot_source(r->slot_data, spec);
    }

    if (slot == 0 && registry_slot(r, &slot, err) < 0) {
        free(sb->id);
        free(sb);
        free(text);
        return NULL;
    }

    sb->item.kind = ITEM_SANDBOX;
    sb->refs = 1;
    sb->slot = slot;
    sb->forked = forked;
    sb->tenant = t;
    sb->tenant->count++;
    sb->spec = spec_share(r, json_incref(spec));
    sb->created_at = wall_ms();
    disks_take(&r->disks, &sb->disk, disk);

    sandbox_changed(r, sb, true);
    sb->born = sb->seq;

    table_add(&r->by_id, &sb->by_id, sb->id, strlen(sb->id));
    table_add(&r->by_slot, &sb->by_slot, &sb->slot, sizeof(sb->slot));

    sandbox_row(r, sb, &row);
    row.spec = text;
    store_put_sandbox(r->store, &row);
    free(row.kills);
    free(text);

    return sb;
}


sandbox *
registry_add(registry *r, const char *name, json_t *spec, error **err)
{
    uint64_t  disk;

    disk = r->disk_of != NULL ? r->disk_of(r->disk_data, spec) : 0;

    return disks_check(&r->disks, 0, disk, err) < 0
           ? NULL : sandbox_add(r, name, spec, 0, disk, err);
}


sandbox *
registry_add_fork(registry *r, const char *name, json_t *spec, uint32_t slot,
    uint64_t disk, error **err)
{
    return sandbox_add(r, name, spec, slot, disk, err);
}


int
registry_update(registry *r, sandbox *sb, json_t *spec, error **err)
{
    char           *text;
    store_sandbox   row;

    if (store_check(r->store, err) < 0 || disk_update(r, sb, spec, err) < 0) {
        json_decref(spec);
        return -1;
    }

    text = json_dumps(spec, JSON_COMPACT);
    if (text == NULL) {
        abort();
    }

    json_decref(sb->spec);
    sb->spec = spec_share(r, spec);

    sandbox_changed(r, sb, true);
    sandbox_row(r, sb, &row);
    row.spec = text;
    store_put_sandbox(r->store, &row);
    free(row.kills);
    free(text);

    return 0;
}


/* Reasons end up in JSON: plain ASCII, whatever a driver says. */
static void
reason_set(sandbox *sb, const char *reason)
{
    char  *p;

    snprintf(sb->reason, sizeof(sb->reason), "%s", reason);

    for (p = sb->reason; *p != '\0'; p++) {
        if (*p < 0x20 || *p > 0x7e) {
            *p = '?';
        }
    }
}


void
registry_set_state(registry *r, sandbox *sb, sandbox_state state,
    const char *reason)
{
    store_sandbox  row;

    sb->now.state = state;

    /* Until it is asleep it may be taken back; one of ours whose agent doesn't
     * answer may do so again. */
    if (state != STATE_RUNNING && state != STATE_STARTING
        && state != STATE_SLEEPING
        && (state != STATE_UNREACHABLE || spec_external(sb->spec)))
    {
        sb->now.key[0] = '\0';
    }

    if (reason != NULL) {
        reason_set(sb, reason);
    }

    if (sb->gone) {
        return;
    }

    sandbox_changed(r, sb, false);

    if (sb->epoch_mark == 0 && sb->epoch_used > sb->epoch_durable) {
        sb->epoch_mark = sb->epoch_used;
        sb->epoch_mark_seq = sb->seq;
    }

    sandbox_row(r, sb, &row);
    store_put_state(r->store, &row);
    free(row.kills);
    registry_pump(r);
}


int
registry_next_run(registry *r, sandbox *sb, error **err)
{
    char  key[KEY_LEN + 1];

    if (sb->epoch_mark != 0 && r->committed >= sb->epoch_mark_seq) {
        sb->epoch_durable = sb->epoch_mark;
        sb->epoch_mark = 0;
    }

    if (sb->epoch_used - sb->epoch_durable >= EPOCH_BLOCK - 1) {
        return error_set(err, 503, "busy", "the last %d starts of this "
                         "sandbox are not written yet", EPOCH_BLOCK - 1);
    }

    if (store_room(r->store, err) < 0
        || random_hex(key, KEY_LEN / 2, err) < 0)
    {
        return -1;
    }

    strcpy(sb->now.key, key);
    sb->epoch_used++;
    sb->now.epoch = sb->epoch_used;

    return 0;
}


uint64_t
registry_remove(registry *r, sandbox *sb)
{
    change           *c;
    tombstone        *t;
    store_tombstone   row;

    while (sb->exposures != NULL) {
        exposure_end(r, sb->exposures);
    }

    t = calloc(1, sizeof(tombstone) + strlen(sb->id) + 1);
    if (t == NULL) {
        abort();
    }

    t->item.kind = ITEM_TOMBSTONE;
    t->slot = sb->slot;
    strcpy(t->name, sb->id);

    c = change_add(r, &sb->item, true);
    c->ack = true;
    c->gone = t;

    sb->gone = true;
    sb->tenant->count--;
    sb->seq = c->seq;
    sb->now.state = STATE_DESTROYING;
    table_remove(&r->by_id, &sb->by_id);

    row.seq = c->seq;
    row.slot = sb->slot;
    row.exposure = false;
    row.name = sb->id;
    store_delete_sandbox(r->store, &row);

    return c->seq;
}


void
registry_release(registry *r, sandbox *sb)
{
    disks_take(&r->disks, &sb->disk, 0);
    table_remove(&r->by_slot, &sb->by_slot);
    item_unref(&sb->item);
}


/* Whether a number may stand for a change that the disk never saw. */
static bool
seq_in_gap(const registry *r, uint64_t seq)
{
    size_t  low, high, mid;

    low = 0;
    high = r->gap_count;

    while (low < high) {
        mid = low + (high - low) / 2;

        if (r->gaps[mid].upto < seq) {
            low = mid + 1;

        } else {
            high = mid;
        }
    }

    return low < r->gap_count && r->gaps[low].above < seq;
}


json_t *
registry_page(registry *r, uint64_t from, bool full, uint64_t *next,
    error **err)
{
    item          *it;
    json_t        *records;
    uint64_t       at;
    journal_node  *node;

    if (!full && (from < r->tombstone_floor || from > r->seq
                  || seq_in_gap(r, from)))
    {
        error_set(err, 409, "resync", "the changes since %llu are not known "
                  "any more", (unsigned long long) from);
        return NULL;
    }

    *next = 0;
    at = from;
    records = json_array();

    while ((node = journal_next(&r->changed, at)) != NULL) {

        if (json_array_size(records) >= PAGE_MAX) {
            *next = at;
            break;
        }

        at = node->seq;
        it = container_of(node, item, node);

        if (!full || it->kind != ITEM_TOMBSTONE) {
            json_array_append_new(records, record_item(it));
        }
    }

    return records;
}
