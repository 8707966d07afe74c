/*
 * Exposures in the zone: how they are copied out, applied and forgotten.  They
 * lie in a table of their own (_table.c), and have beside them what the gate
 * needs of their sandboxes.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_node.h"


static ngx_int_t ngx_http_sandbox_entry_node(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_record_t *rec, ngx_http_sandbox_node_t **node);
static ngx_int_t ngx_http_sandbox_bury(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_entry_t *entry, ngx_http_sandbox_hash_t *hash,
    ngx_http_sandbox_record_t *rec);
static void ngx_http_sandbox_unbury(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_entry_t *entry);
static void ngx_http_sandbox_detach_entry(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_entry_t *entry, ngx_http_sandbox_node_t *node,
    ngx_http_sandbox_node_t *next);
static void ngx_http_sandbox_follow(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_entry_t *entry, ngx_http_sandbox_node_t *node);
static void ngx_http_sandbox_name_entry(ngx_http_sandbox_entry_t *entry,
    ngx_http_sandbox_node_t *node, ngx_str_t *label);


/* Lookups */


ngx_int_t
ngx_http_sandbox_copy_entry(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_entry_t *entry, ngx_str_t *label,
    ngx_http_sandbox_exposure_t *exposure, ngx_http_sandbox_info_t *info)
{
    ngx_http_sandbox_node_t  *node;

    if (entry->id_len == 0) {
        return NGX_AGAIN;
    }

    exposure->seq = entry->seq;
    exposure->slot = entry->slot;
    exposure->gen = entry->gen;
    exposure->port = entry->port;
    exposure->access = entry->access;
    exposure->host = entry->host;
    exposure->wake_off = entry->wake_off;
    exposure->limited = entry->limited;

    if (!entry->named) {
        node = ngx_http_sandbox_find_slot(sh, entry->slot);

        ngx_http_sandbox_copy_info(sh, info, node);
        ngx_http_sandbox_name_entry(entry, node, label);

        return NGX_OK;
    }

    info->seq = 0;
    info->slot = entry->slot;
    info->epoch = entry->epoch;
    info->state = entry->state;
    info->id_len = entry->id_len;
    info->address.kind = SANDBOX_ADDRESS_NONE;

    ngx_memcpy(info->key, entry->key, NGX_HTTP_SANDBOX_KEY_LEN);
    ngx_memcpy(info->id, label->data + ngx_http_sandbox_name_offset(entry),
               entry->id_len);

    return NGX_OK;
}


/* Whether the label has its sandbox's name behind the port. */

static void
ngx_http_sandbox_name_entry(ngx_http_sandbox_entry_t *entry,
    ngx_http_sandbox_node_t *node, ngx_str_t *label)
{
    size_t  n;

    n = ngx_http_sandbox_name_offset(entry);

    entry->named = entry->id_len && !entry->external
                   && label->len >= n + entry->id_len
                   && ngx_memcmp(label->data + n, node->id, entry->id_len)
                      == 0;
}


/* Changes */


ngx_int_t
ngx_http_sandbox_apply_entry(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_record_t *rec)
{
    ngx_int_t                  rc;
    ngx_http_sandbox_hash_t    hash;
    ngx_http_sandbox_node_t   *node;
    ngx_http_sandbox_entry_t  *entry;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    ngx_http_sandbox_hash_label(sh, &rec->name, &hash);
    entry = ngx_http_sandbox_find_entry(sh, &hash);

    if (rec->seq <= (entry && entry->mark == sh->mark ? entry->seq : sh->seq))
    {
        return NGX_OK;
    }

    if (rec->gone) {
        return ngx_http_sandbox_bury(zone, entry, &hash, rec);
    }

    rc = ngx_http_sandbox_entry_node(zone, rec, &node);

    if (rc == NGX_DECLINED) {
        return NGX_OK;
    }

    if (rc != NGX_OK) {

        if (entry) {
            entry->mark = ngx_http_sandbox_mark_unsure(sh);
        }

        return rc;
    }

    if (entry == NULL) {
        entry = ngx_http_sandbox_add_entry(zone, &hash);

        if (entry == NULL) {
            return NGX_ERROR;
        }

    } else if (entry->linked) {
        ngx_http_sandbox_detach_entry(zone, entry,
                              ngx_http_sandbox_find_slot(sh, entry->slot),
                              rec->port == entry->port ? node : NULL);

    } else {
        ngx_http_sandbox_unbury(sh, entry);
    }

    entry->port = rec->port;
    entry->gen = rec->gen;
    entry->access = rec->access & 3;
    entry->host = rec->host & 3;
    entry->wake_off = rec->wake_off;
    entry->domain = rec->domain;
    entry->seq = rec->seq;
    entry->mark = sh->mark;
    entry->sibling = node->entries;
    entry->linked = 1;
    node->entries = ngx_http_sandbox_ref(sh, entry);

    sh->domains += rec->domain;

    ngx_http_sandbox_followed(sh, node);
    ngx_http_sandbox_name_entry(entry, node, &rec->name);

    return NGX_OK;
}


/* NGX_DECLINED: the record is older than its sandbox's end. */

static ngx_int_t
ngx_http_sandbox_entry_node(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_record_t *rec, ngx_http_sandbox_node_t **found)
{
    ngx_http_sandbox_node_t  *node;

    node = ngx_http_sandbox_find_slot(zone->sh, rec->slot);

    if (node && node->gone && node->mark == zone->sh->mark) {
        return NGX_DECLINED;
    }

    if (node == NULL) {
        node = ngx_http_sandbox_add_node(zone, rec->slot, NULL, 0);
        if (node == NULL) {
            return NGX_ERROR;
        }
    }

    *found = node;

    if (rec->domain) {

        /* no sandbox's record keeps this slot up */

        node->mark = zone->sh->mark;
        return NGX_OK;
    }

    return ngx_http_sandbox_usage_limits(zone, node, rec->port,
                                         rec->limited ? &rec->limits : NULL);
}


/* An exposure that is gone is kept, for records that come late. */

static ngx_int_t
ngx_http_sandbox_bury(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_entry_t *entry, ngx_http_sandbox_hash_t *hash,
    ngx_http_sandbox_record_t *rec)
{
    ngx_uint_t                 buried;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;
    buried = entry && !entry->linked;

    if (entry == NULL) {
        entry = ngx_http_sandbox_add_entry(zone, hash);

        if (entry == NULL) {
            return NGX_ERROR;
        }

    } else if (entry->linked) {
        ngx_http_sandbox_detach_entry(zone, entry,
                              ngx_http_sandbox_find_slot(sh, entry->slot),
                              NULL);
    }

    entry->seq = rec->seq;
    entry->mark = sh->mark;

    if (!buried) {
        entry->sibling = sh->gone_entries;
        sh->gone_entries = ngx_http_sandbox_ref(sh, entry);
        sh->tombstones++;
        sh->gone_exposures++;
    }

    return NGX_OK;
}


static void
ngx_http_sandbox_unbury(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_entry_t *entry)
{
    ngx_http_sandbox_ref_t    *p, ref;
    ngx_http_sandbox_entry_t  *e;

    ref = ngx_http_sandbox_ref(sh, entry);

    for (p = &sh->gone_entries; *p; p = &e->sibling) {

        if (*p == ref) {
            *p = entry->sibling;
            sh->tombstones--;
            sh->gone_exposures--;
            return;
        }

        e = ngx_http_sandbox_at(sh, *p);
    }
}


/*
 * Takes an exposure from its sandbox.  What is counted of its port goes with
 * the last one of it, unless the exposure will be one of `next` and this port.
 */

static void
ngx_http_sandbox_detach_entry(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_entry_t *entry, ngx_http_sandbox_node_t *node,
    ngx_http_sandbox_node_t *next)
{
    ngx_uint_t                 limited;
    ngx_http_sandbox_ref_t    *p;
    ngx_http_sandbox_entry_t  *e;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    for (p = &node->entries; *p; p = &e->sibling) {
        e = ngx_http_sandbox_at(sh, *p);

        if (e == entry) {
            *p = entry->sibling;
            break;
        }
    }

    entry->linked = 0;
    entry->named = 0;
    entry->id_len = 0;
    entry->sibling = 0;

    if (entry->domain) {
        sh->domains--;
    }

    if (node != next) {
        limited = node->limited;
        ngx_http_sandbox_usage_unport(zone, node, entry->port);

        if (node->limited != limited) {
            ngx_http_sandbox_followed(sh, node);
        }
    }
}


void
ngx_http_sandbox_purge_entries(ngx_http_sandbox_zone_t *zone)
{
    ngx_http_sandbox_ref_t    *p;
    ngx_http_sandbox_entry_t  *entry;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    for (p = &sh->gone_entries; *p; /* void */) {
        entry = ngx_http_sandbox_at(sh, *p);

        if (entry->mark == sh->mark && entry->seq > sh->seq) {
            p = &entry->sibling;
            continue;
        }

        *p = entry->sibling;
        sh->tombstones--;
        sh->gone_exposures--;
        ngx_http_sandbox_drop_entry(zone, entry);
    }
}


/* Those of a bucket that no full list has named; 0: there is no such bucket. */

ngx_uint_t
ngx_http_sandbox_sweep_entries(ngx_http_sandbox_zone_t *zone, ngx_uint_t i)
{
    ngx_http_sandbox_entry_t  *entry, *next;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    if (i >= sh->buckets) {
        return 0;
    }

    for (entry = ngx_http_sandbox_next_entry(sh, i, NULL);
         entry;
         entry = next)
    {
        next = ngx_http_sandbox_next_entry(sh, i, entry);

        if (entry->used && entry->linked && entry->mark != sh->mark) {
            ngx_http_sandbox_detach_entry(zone, entry,
                                  ngx_http_sandbox_find_slot(sh, entry->slot),
                                  NULL);
            ngx_http_sandbox_drop_entry(zone, entry);
        }
    }

    return 1;
}


/* Those of a sandbox */


void
ngx_http_sandbox_drop_entries(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_node_t *node)
{
    ngx_http_sandbox_entry_t  *entry;

    while (node->entries) {
        entry = ngx_http_sandbox_at(zone->sh, node->entries);

        ngx_http_sandbox_detach_entry(zone, entry, node, NULL);
        ngx_http_sandbox_drop_entry(zone, entry);
    }
}


/*
 * A slot may have been known by its exposures alone, or by another database's
 * sandbox: those of its exposures that count move.
 */

void
ngx_http_sandbox_move_entries(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *from, ngx_http_sandbox_node_t *to)
{
    ngx_http_sandbox_ref_t    *p, ref;
    ngx_http_sandbox_entry_t  *entry;

    for (p = &from->entries; *p; /* void */) {
        ref = *p;
        entry = ngx_http_sandbox_at(sh, ref);

        if (entry->mark != sh->mark) {
            p = &entry->sibling;
            continue;
        }

        *p = entry->sibling;

        entry->named = 0;
        entry->sibling = to->entries;
        to->entries = ref;
    }
}


void
ngx_http_sandbox_followed(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *node)
{
    ngx_http_sandbox_entry_t  *entry;

    for (entry = ngx_http_sandbox_at(sh, node->entries);
         entry;
         entry = ngx_http_sandbox_at(sh, entry->sibling))
    {
        ngx_http_sandbox_follow(sh, entry, node);
    }
}


static void
ngx_http_sandbox_follow(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_entry_t *entry, ngx_http_sandbox_node_t *node)
{
    entry->slot = node->slot;
    entry->epoch = node->epoch;
    entry->state = node->state;
    entry->external = node->external;
    entry->limited = node->limited != 0;
    entry->id_len = node->mark == sh->mark ? node->id_len : 0;

    ngx_memcpy(entry->key, node->key, NGX_HTTP_SANDBOX_KEY_LEN);

    if (entry->id_len == 0 || entry->external) {
        entry->named = 0;
    }
}
