/* Making a registry from the store; see registry.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/rand.h>

#include "common/log.h"
#include "sandboxd/domain.h"
#include "sandboxd/tenant.h"

#define SEQ_FIRST_BLOCK   (1u << 20)
#define SLOT_FIRST_BLOCK  65536
#define EPOCHS_LEFT_OUT   64


/* Everything that was loaded, to be put in order of its last change. */
typedef struct {
    uint64_t  seq;
    item     *it;
} loaded_item;

typedef struct {
    registry     *r;
    loaded_item  *items;
    size_t        count;
    size_t        size;
} loader;


static void
loader_add(loader *l, uint64_t seq, item *it)
{
    if (l->count == l->size) {
        l->size = l->size ? l->size * 2 : 256;
        l->items = realloc(l->items, l->size * sizeof(loaded_item));
        if (l->items == NULL) {
            abort();
        }
    }

    l->items[l->count].seq = seq;
    l->items[l->count].it = it;
    l->count++;
}


static int
load_tenant(void *data, const store_tenant *row, error **err)
{
    loader  *l;
    tenant  *t;

    l = data;

    if (row->name == NULL || row->prefix == NULL
        || tenant_check(row->name, NULL) < 0
        || strlen(row->prefix) != PREFIX_LEN
        || tenant_find(l->r, row->name) != NULL)
    {
        return error_set(err, 500, "internal", "the record of tenant \"%s\" "
                         "is damaged", row->name ? row->name : "");
    }

    t = tenant_add(l->r, row->name, row->prefix);
    t->seq = row->seq;
    loader_add(l, row->seq, &t->item);

    return 0;
}


static int
load_domain(void *data, const store_domain *row, error **err)
{
    loader  *l;
    domain  *d;
    tenant  *t;

    l = data;
    t = row->tenant != NULL ? tenant_find(l->r, row->tenant) : NULL;

    if (row->name == NULL || row->name[0] != '.'
        || strlen(row->name) > DOMAIN_MAX + 1
        || domain_find(l->r, row->name) != NULL
        || (row->tenant != NULL && t == NULL))
    {
        return error_set(err, 500, "internal", "the record of domain \"%s\" "
                         "is damaged", row->name ? row->name : "");
    }

    d = domain_add(l->r, row->name, t);
    d->created_at = row->created_at;
    loader_add(l, row->seq, &d->item);

    return 0;
}


static int
load_sandbox(void *data, const store_sandbox *row, error **err)
{
    loader    *l;
    json_t    *spec;
    sandbox   *sb;
    registry  *r;

    l = data;
    r = l->r;

    spec = json_loads(row->spec ? row->spec : "", 0, NULL);

    if (spec == NULL || row->id == NULL || row->state < STATE_CREATED
        || row->state > STATE_UNREACHABLE || row->slot == 0
        || registry_find(r, row->id) != NULL
        || tenant_of_name(r, row->id) == NULL)
    {
        json_decref(spec);
        return error_set(err, 500, "internal", "the record of sandbox \"%s\" "
                         "(slot %u) is damaged", row->id ? row->id : "",
                         row->slot);
    }

    sb = calloc(1, sizeof(sandbox));
    if (sb == NULL || (sb->id = strdup(row->id)) == NULL) {
        abort();
    }

    sb->item.kind = ITEM_SANDBOX;
    sb->refs = 1;
    sb->slot = row->slot;
    sb->seq = row->seq;
    sb->born = row->born;
    sb->spec = spec_share(r, spec);
    sb->created_at = row->created_at;
    sb->started_at = row->started_at;
    sb->forked = row->forked;
    snprintf(sb->reason, sizeof(sb->reason), "%s",
             row->reason ? row->reason : "");

    if (kills_load(sb, row->kills) != 0) {
        log_warn("%s: how many of its processes were ended for want of memory "
                 "is not known any more", sb->id);
    }

    sb->now.state = (sandbox_state) row->state;
    sb->now.epoch = row->epoch;
    sb->shown = sb->now;

    sb->epoch_used = row->epoch_used
                     + EPOCHS_LEFT_OUT * (r->boot - row->boot);
    sb->epoch_durable = sb->epoch_used;

    table_add(&r->by_id, &sb->by_id, sb->id, strlen(sb->id));
    table_add(&r->by_slot, &sb->by_slot, &sb->slot, sizeof(sb->slot));
    sb->tenant = tenant_of_name(r, sb->id);
    sb->tenant->count++;
    journal_put(&r->aged, &sb->age, sb->born);
    journal_put(&sb->tenant->aged, &sb->tenant_age, sb->born);
    loader_add(l, row->seq, &sb->item);

    return 0;
}


static int
load_limits(traffic_limits *dst, const store_exposure *row, error **err)
{
    int      rc;
    json_t  *json;

    json = row->limits != NULL ? json_loads(row->limits, 0, NULL) : NULL;

    if (row->limits != NULL && json == NULL) {
        return error_set(err, 500, "internal", "the limits of exposure "
                         "\"%s\" are damaged", row->label);
    }

    rc = limits_parse(dst, json, err);
    json_decref(json);

    return rc;
}


static int
load_exposure(void *data, const store_exposure *row, error **err)
{
    loader     *l;
    sandbox    *sb;
    exposure   *ex;

    l = data;
    sb = registry_find_slot(l->r, row->slot);

    if (sb == NULL || row->label == NULL
        || strlen(row->label) > HOST_LABEL_MAX
        || (row->token && strlen(row->token) > TOKEN_MAX)
        || (row->name && strlen(row->name) > EXPOSURE_NAME_MAX)
        || row->access < ACCESS_TOKEN || row->access > ACCESS_PRIVATE)
    {
        return error_set(err, 500, "internal", "the record of exposure "
                         "\"%s\" is damaged", row->label ? row->label : "");
    }

    /* Host names come behind the exposures that they are of. */
    ex = exposure_of_port(sb, row->port);

    if ((strchr(row->label, '.') != NULL) != (ex != NULL)) {
        return error_set(err, 500, "internal", "the record of exposure "
                         "\"%s\" is one too many, or alone", row->label);
    }

    if (ex != NULL) {
        ex = host_add(l->r, ex, row->label);
        ex->by_admin = row->by_admin;

    } else {
        ex = exposure_add(l->r, sb, row->port, row->label);
    }

    ex->now.access = (access_kind) row->access;
    ex->now.gen = row->gen;
    ex->now.host_public = row->host_public;
    ex->now.wake_off = row->wake_off;
    ex->now.wakes = row->wakes;
    ex->created_at = row->created_at;
    strcpy(ex->token, row->token ? row->token : "");
    strcpy(ex->name, row->name ? row->name : "");

    if (load_limits(&ex->now.limits, row, err) < 0) {
        return -1;
    }

    ex->shown = ex->now;
    loader_add(l, row->seq, &ex->item);

    return 0;
}


static int
load_tombstone(void *data, const store_tombstone *row, error **err)
{
    loader     *l;
    size_t      len;
    tombstone  *t;

    l = data;
    len = row->name ? strlen(row->name) : 0;

    t = calloc(1, sizeof(tombstone) + len + 1);
    if (t == NULL) {
        abort();
    }

    t->item.kind = ITEM_TOMBSTONE;
    t->slot = row->slot;
    t->exposure = row->exposure;
    memcpy(t->name, row->name ? row->name : "", len);

    loader_add(l, row->seq, &t->item);

    return 0;
}


static int
load_gap(void *data, const store_gap *row, error **err)
{
    registry  *r;

    r = ((loader *) data)->r;

    if ((r->gap_count & (r->gap_count - 1)) == 0) {
        r->gaps = realloc(r->gaps, (r->gap_count ? 2 * r->gap_count : 1)
                                   * sizeof(store_gap));
        if (r->gaps == NULL) {
            abort();
        }
    }

    r->gaps[r->gap_count++] = *row;

    return 0;
}


/* A gap for each start of sandboxd: the oldest ones go, and with them what
 * is known of the time before. */
static void
gaps_trim(registry *r)
{
    size_t  n;

    if (r->gap_count <= GAPS_MAX) {
        return;
    }

    n = r->gap_count - GAPS_MAX / 2;

    if (r->gaps[n - 1].upto > r->tombstone_floor) {
        r->tombstone_floor = r->gaps[n - 1].upto;
        tombstones_drop(r);
    }

    r->gap_count -= n;
    memmove(r->gaps, r->gaps + n, r->gap_count * sizeof(store_gap));
}


static int
loaded_compare(const void *a, const void *b)
{
    uint64_t  x, y;

    x = ((const loaded_item *) a)->seq;
    y = ((const loaded_item *) b)->seq;

    return x < y ? -1 : x > y;
}


static void
loader_order(loader *l)
{
    size_t     i;
    item      *it;
    registry  *r;

    r = l->r;

    if (l->count > 0) {
        qsort(l->items, l->count, sizeof(loaded_item), loaded_compare);
    }

    for (i = 0; i < l->count; i++) {
        it = l->items[i].it;

        if (it->kind == ITEM_TOMBSTONE) {
            tombstone_keep(r, (tombstone *) it, l->items[i].seq);

        } else {
            journal_put(&r->changed, &it->node, l->items[i].seq);
        }
    }
}


static registry *
registry_new(store *s, const store_meta *meta, uint64_t seed)
{
    registry  *r;

    r = calloc(1, sizeof(registry));
    if (r == NULL) {
        abort();
    }

    r->store = s;
    strcpy(r->incarnation, meta->incarnation);
    table_init(&r->by_id, seed);
    table_init(&r->by_slot, seed);
    table_init(&r->by_label, seed);
    table_init(&r->domains, seed);
    tenants_init(r, seed);
    r->tombstones_last = &r->tombstones;
    r->changes_last = &r->changes;
    r->waiters_last = &r->waiters;

    r->boot = meta->boot;
    r->next_slot = meta->slot_limit;
    r->slot_limit = meta->slot_limit + SLOT_FIRST_BLOCK;
    r->seq = meta->seq_limit;
    r->seq_limit = meta->seq_limit + SEQ_FIRST_BLOCK;
    r->committed = meta->seq;
    r->published = meta->seq;
    r->tombstone_floor = meta->tombstone_floor;

    return r;
}


registry *
registry_create(store *s, const store_meta *found, error **err)
{
    int                      rc;
    loader                   l;
    uint64_t                 seed;
    store_meta               meta;
    static const store_rows  rows = { load_tenant, load_domain, load_sandbox,
                                      load_exposure, load_tombstone,
                                      load_gap };

    if (RAND_bytes((unsigned char *) &seed, sizeof(seed)) != 1) {
        error_set(err, 500, "internal", "no random numbers");
        return NULL;
    }

    meta = *found;

    if (store_begin(s, &meta, found->seq_limit + SEQ_FIRST_BLOCK,
                    found->slot_limit + SLOT_FIRST_BLOCK, err)
        < 0)
    {
        return NULL;
    }

    memset(&l, 0, sizeof(l));
    l.r = registry_new(s, &meta, seed);

    rc = store_load(s, &rows, &l, err);
    loader_order(&l);
    free(l.items);

    if (rc < 0) {
        registry_free(l.r);
        return NULL;
    }

    tombstones_trim(l.r);
    gaps_trim(l.r);

    log_info("%zu sandboxes, %zu exposures, %zu tombstones",
             l.r->by_id.count, l.r->by_label.count, l.r->tombstone_count);

    return l.r;
}


void
registry_free(registry *r)
{
    size_t       i;
    sandbox     *sb;
    exposure    *ex;
    table_node  *node, *next;
    tombstone   *t;

    changes_free(r);

    for (i = 0; i <= r->by_label.mask; i++) {
        for (node = r->by_label.buckets[i]; node != NULL; node = next) {
            next = node->next;
            ex = container_of(node, exposure, by_label);
            item_unref(&ex->item);
        }
    }

    for (i = 0; i <= r->by_slot.mask; i++) {
        for (node = r->by_slot.buckets[i]; node != NULL; node = next) {
            next = node->next;
            sb = container_of(node, sandbox, by_slot);
            item_unref(&sb->item);
        }
    }

    while ((t = r->tombstones) != NULL) {
        r->tombstones = t->next;
        free(t);
    }

    free(r->gaps);
    json_decref(r->common_spec);
    table_free(&r->by_id);
    table_free(&r->by_slot);
    table_free(&r->by_label);
    journal_free(&r->changed);
    journal_free(&r->aged);
    domains_free(r);
    tenants_free(r);
    free(r);
}
