/*
 * Records of the zone: how they are found, applied, and forgotten.
 *
 * A record counts only if its mark is the zone's.  A new full list gives the
 * zone a new mark, which makes everything in it unknown at one stroke without
 * touching a record.  A worker that dies half way leaves its mark in the zone,
 * which is then filled anew (_zone.c).
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_node.h"

#include "sandbox_label.h"


/* What sandbox_zone is sized for. */

_Static_assert(offsetof(ngx_http_sandbox_node_t, id)
               + NGX_HTTP_SANDBOX_ID_MAX <= 192, "a sandbox is too large");
_Static_assert(offsetof(ngx_http_sandbox_node_t, id)
               + NGX_HTTP_SANDBOX_EXTERNAL_MAX
               + sizeof(ngx_http_sandbox_ref_t) <= 192,
               "a sandbox that others run is too large");


static sandbox_address *ngx_http_sandbox_get_address(
    ngx_http_sandbox_shctx_t *sh, ngx_http_sandbox_node_t *node);
static ngx_int_t ngx_http_sandbox_set_address(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_node_t *node, sandbox_address *address);
static ngx_int_t ngx_http_sandbox_unsure_node(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *node);
static void ngx_http_sandbox_set_state(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *node, ngx_uint_t state);
static void ngx_http_sandbox_unlink_id(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *node);
static void ngx_http_sandbox_unlink_slot(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *node);


void
ngx_http_sandbox_copy_info(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_info_t *info, ngx_http_sandbox_node_t *node)
{
    sandbox_address  *address;

    info->seq = node->seq;
    info->slot = node->slot;
    info->epoch = node->epoch;
    info->state = node->state;
    info->id_len = node->id_len;

    ngx_memcpy(info->key, node->key, NGX_HTTP_SANDBOX_KEY_LEN);
    ngx_memcpy(info->id, node->id, node->id_len);

    info->address.kind = SANDBOX_ADDRESS_NONE;

    if (node->external) {
        address = ngx_http_sandbox_get_address(sh, node);

        if (address) {
            info->address = *address;
        }
    }
}


static sandbox_address *
ngx_http_sandbox_get_address(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *node)
{
    ngx_http_sandbox_ref_t  ref;

    ngx_memcpy(&ref, node->id + node->id_len, sizeof(ref));

    return ngx_http_sandbox_at(sh, ref);
}


/* NULL, or one of no kind: none. */

static ngx_int_t
ngx_http_sandbox_set_address(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_node_t *node, sandbox_address *address)
{
    sandbox_address         *old;
    ngx_http_sandbox_ref_t   ref;

    if (!node->external) {
        return NGX_OK;
    }

    old = ngx_http_sandbox_get_address(zone->sh, node);

    if (address && address->kind != SANDBOX_ADDRESS_NONE) {

        if (old == NULL) {
            old = ngx_slab_alloc_locked(zone->shpool, sizeof(sandbox_address));

            if (old == NULL) {
                return NGX_ERROR;
            }

            ref = ngx_http_sandbox_ref(zone->sh, old);
            ngx_memcpy(node->id + node->id_len, &ref, sizeof(ref));
        }

        *old = *address;

    } else if (old) {
        ngx_memzero(node->id + node->id_len, sizeof(ref));
        ngx_slab_free_locked(zone->shpool, old);
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_sandbox_hash(ngx_http_sandbox_shctx_t *sh, u_char *data,
    size_t len)
{
    return (ngx_uint_t) sandbox_label_hash(sh->hash_key, data, len);
}


ngx_http_sandbox_node_t *
ngx_http_sandbox_find_id(ngx_http_sandbox_shctx_t *sh, ngx_str_t *id)
{
    ngx_uint_t                i;
    ngx_http_sandbox_node_t  *node;

    i = ngx_http_sandbox_hash(sh, id->data, id->len) & sh->node_mask;

    for (node = ngx_http_sandbox_at(sh, sh->ids[i]);
         node;
         node = ngx_http_sandbox_at(sh, node->next_id))
    {
        if (node->id_len == id->len
            && ngx_memcmp(node->id, id->data, id->len) == 0)
        {
            return node;
        }
    }

    return NULL;
}


ngx_http_sandbox_node_t *
ngx_http_sandbox_find_slot(ngx_http_sandbox_shctx_t *sh, uint32_t slot)
{
    ngx_http_sandbox_node_t  *node;

    /* sandboxd hands slots out one after another: they spread by themselves */

    for (node = ngx_http_sandbox_at(sh, sh->slots[slot & sh->node_mask]);
         node;
         node = ngx_http_sandbox_at(sh, node->next_slot))
    {
        if (node->slot == slot) {
            return node;
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_sandbox_apply_node(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_record_t *rec)
{
    ngx_http_sandbox_node_t   *node, *old;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;
    node = ngx_http_sandbox_find_slot(sh, rec->slot);

    if (node && node->mark == sh->mark) {
        if (rec->seq <= node->seq) {
            return NGX_OK;
        }

    } else if (rec->seq <= sh->seq) {
        return NGX_OK;
    }

    if (rec->gone) {

        if (node == NULL) {
            node = ngx_http_sandbox_add_node(zone, rec->slot, NULL, 0);
            if (node == NULL) {
                return NGX_ERROR;
            }
        }

        ngx_http_sandbox_drop_entries(zone, node);
        ngx_http_sandbox_usage_drop(zone, node);
        (void) ngx_http_sandbox_set_address(zone, node, NULL);
        node->external = 0;
        ngx_http_sandbox_set_state(sh, node, 0);

        if (!node->gone) {
            if (node->id_len) {
                ngx_http_sandbox_unlink_id(sh, node);
                sh->sandboxes--;
                node->id_len = 0;
            }

            node->gone = 1;
            node->next_id = sh->gone_nodes;
            sh->gone_nodes = ngx_http_sandbox_ref(sh, node);
            sh->tombstones++;
        }

        node->seq = rec->seq;
        node->mark = sh->mark;

        return NGX_OK;
    }

    if (node && node->gone) {

        /* slots rest for long, so this is another database's tombstone */

        return NGX_OK;
    }

    old = ngx_http_sandbox_find_id(sh, &rec->name);

    if (old && old != node) {

        if (old->mark == sh->mark && old->seq > rec->seq) {
            return NGX_OK;
        }

        ngx_http_sandbox_drop_node(zone, old);
    }

    if (node == NULL || node->id_len != rec->name.len
        || node->external != rec->external
        || ngx_memcmp(node->id, rec->name.data, rec->name.len) != 0)
    {
        old = node;

        node = ngx_http_sandbox_add_node(zone, rec->slot, &rec->name,
                                         rec->external);
        if (node == NULL) {
            return ngx_http_sandbox_unsure_node(sh, old);
        }

        if (old) {
            ngx_http_sandbox_move_entries(sh, old, node);

            if (old->id_len == 0) {
                node->usage = old->usage;
                node->limited = old->limited;
                old->usage = 0;
                old->limited = 0;
            }

            ngx_http_sandbox_drop_node(zone, old);
        }
    }

    if (ngx_http_sandbox_usage_limits(zone, node, 0,
                                      rec->limited ? &rec->limits : NULL)
        != NGX_OK)
    {
        return ngx_http_sandbox_unsure_node(sh, node);
    }

    if (ngx_http_sandbox_set_address(zone, node, &rec->address) != NGX_OK) {
        return ngx_http_sandbox_unsure_node(sh, node);
    }

    if (node->epoch != rec->epoch || node->seq == 0) {
        node->last = (uint32_t) ngx_current_msec;
    }

    ngx_http_sandbox_set_state(sh, node, rec->state);
    node->epoch = rec->epoch;
    ngx_memcpy(node->key, rec->key, NGX_HTTP_SANDBOX_KEY_LEN);
    node->mark = sh->mark;
    node->seq = rec->seq;

    ngx_http_sandbox_followed(sh, node);

    return NGX_OK;
}


/* Its record had no place; NGX_ERROR. */

static ngx_int_t
ngx_http_sandbox_unsure_node(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *node)
{
    if (node) {
        node->mark = ngx_http_sandbox_mark_unsure(sh);
        ngx_http_sandbox_followed(sh, node);
    }

    return NGX_ERROR;
}


/* 0: of none that counts. */

static void
ngx_http_sandbox_set_state(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *node, ngx_uint_t state)
{
    if (node->state) {
        sh->states[node->state]--;
    }

    if (state) {
        sh->states[state]++;
    }

    node->state = state & 0x0f;
}


ngx_http_sandbox_node_t *
ngx_http_sandbox_add_node(ngx_http_sandbox_zone_t *zone, uint32_t slot,
    ngx_str_t *id, ngx_uint_t external)
{
    size_t                     len;
    ngx_uint_t                 i;
    ngx_http_sandbox_node_t   *node;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;
    len = id ? id->len : 0;

    node = ngx_slab_alloc_locked(zone->shpool,
                                 offsetof(ngx_http_sandbox_node_t, id) + len
                                 + (external ? sizeof(ngx_http_sandbox_ref_t)
                                             : 0));
    if (node == NULL) {
        return NULL;
    }

    ngx_memzero(node, offsetof(ngx_http_sandbox_node_t, id));

    if (external) {
        node->external = 1;
        ngx_memzero(node->id + len, sizeof(ngx_http_sandbox_ref_t));
    }

    node->slot = slot;
    node->mark = sh->mark;
    node->id_len = (u_char) len;

    if (id) {
        ngx_memcpy(node->id, id->data, len);

        i = ngx_http_sandbox_hash(sh, id->data, len) & sh->node_mask;

        node->next_id = sh->ids[i];
        ngx_memory_barrier();
        sh->ids[i] = ngx_http_sandbox_ref(sh, node);

        sh->sandboxes++;
    }

    i = slot & sh->node_mask;

    node->next_slot = sh->slots[i];
    ngx_memory_barrier();
    sh->slots[i] = ngx_http_sandbox_ref(sh, node);

    return node;
}


static void
ngx_http_sandbox_unlink_id(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *node)
{
    ngx_http_sandbox_ref_t   *p;
    ngx_http_sandbox_node_t  *n;

    p = &sh->ids[ngx_http_sandbox_hash(sh, node->id, node->id_len)
                 & sh->node_mask];

    for ( /* void */ ; *p; p = &n->next_id) {
        n = ngx_http_sandbox_at(sh, *p);

        if (n == node) {
            *p = node->next_id;
            return;
        }
    }
}


static void
ngx_http_sandbox_unlink_slot(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *node)
{
    ngx_http_sandbox_ref_t   *p;
    ngx_http_sandbox_node_t  *n;

    for (p = &sh->slots[node->slot & sh->node_mask]; *p; p = &n->next_slot) {
        n = ngx_http_sandbox_at(sh, *p);

        if (n == node) {
            *p = node->next_slot;
            return;
        }
    }
}


/* Forgets a sandbox that is no tombstone, and its exposures. */

void
ngx_http_sandbox_drop_node(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_node_t *node)
{
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    ngx_http_sandbox_drop_entries(zone, node);
    ngx_http_sandbox_usage_drop(zone, node);
    (void) ngx_http_sandbox_set_address(zone, node, NULL);
    ngx_http_sandbox_set_state(sh, node, 0);

    if (node->id_len) {
        ngx_http_sandbox_unlink_id(sh, node);
        sh->sandboxes--;
    }

    ngx_http_sandbox_unlink_slot(sh, node);
    ngx_slab_free_locked(zone->shpool, node);
}


/* Forgets the tombstones that no late record can be older than. */

void
ngx_http_sandbox_purge(ngx_http_sandbox_zone_t *zone)
{
    ngx_http_sandbox_ref_t    *p;
    ngx_http_sandbox_node_t   *node;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    ngx_http_sandbox_purge_entries(zone);

    for (p = &sh->gone_nodes; *p; /* void */) {
        node = ngx_http_sandbox_at(sh, *p);

        if (node->mark == sh->mark && node->seq > sh->seq) {
            p = &node->next_id;
            continue;
        }

        *p = node->next_id;
        sh->tombstones--;
        ngx_http_sandbox_drop_node(zone, node);
    }
}
