/*
 * The shared-memory zone: slab, three hash tables, records; see the header.
 *
 * A record counts only if its mark is the zone's.  A new full list gives the
 * zone a new mark, which makes everything in it unknown at one stroke without
 * touching a record.  Records are filled before they are linked, so that a
 * worker that dies half way leaves at most some memory behind.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_zone.h"

#include "sandbox_label.h"

#include <openssl/rand.h>


#define NGX_HTTP_SANDBOX_ZONE_MAGIC    0x73627831
#define NGX_HTTP_SANDBOX_ZONE_LAYOUT   1


#if (__GNUC__)
#define ngx_http_sandbox_prefetch(p)   __builtin_prefetch(p)
#else
#define ngx_http_sandbox_prefetch(p)
#endif


typedef struct ngx_http_sandbox_node_s   ngx_http_sandbox_node_t;
typedef struct ngx_http_sandbox_entry_s  ngx_http_sandbox_entry_t;


/* A sandbox: 63 bytes and its id, which is empty while only its slot is known */

struct ngx_http_sandbox_node_s {
    ngx_http_sandbox_node_t      *next_id;     /* or the next tombstone */
    ngx_http_sandbox_node_t      *next_slot;
    ngx_http_sandbox_entry_t     *entries;
    uint64_t                      seq;
    uint32_t                      slot;
    uint32_t                      epoch;
    uint32_t                      mark;
    u_char                        state;
    u_char                        id_len;
    u_char                        gone;
    u_char                        key[NGX_HTTP_SANDBOX_KEY_LEN];
    u_char                        id[1];
};


/* An exposure: 41 bytes and its label. */

struct ngx_http_sandbox_entry_s {
    ngx_http_sandbox_entry_t     *next;
    ngx_http_sandbox_entry_t     *sibling;     /* or the next tombstone */
    ngx_http_sandbox_node_t      *node;        /* NULL: gone */
    uint64_t                      seq;
    uint32_t                      mark;
    uint16_t                      port;
    u_char                        access;
    u_char                        host;
    u_char                        label_len;
    u_char                        label[1];
};


typedef struct {
    uint32_t                      magic;
    uint32_t                      layout;
    uint32_t                      node_size;
    uint32_t                      entry_size;

    u_char                        id[NGX_HTTP_SANDBOX_ZONE_ID_LEN];
    u_char                        incarnation[NGX_HTTP_SANDBOX_ZONE_ID_LEN];
    u_char                        hash_key[16];

    uint64_t                      seq;
    uint32_t                      mark;
    uint32_t                      complete;
    uint32_t                      full;

    ngx_pid_t                     lease_pid;
    ngx_msec_t                    lease_until;

    ngx_uint_t                    sandboxes;
    ngx_uint_t                    exposures;
    ngx_uint_t                    tombstones;
    ngx_uint_t                    refused;

    ngx_uint_t                    node_mask;
    ngx_uint_t                    entry_mask;

    ngx_http_sandbox_node_t     **ids;
    ngx_http_sandbox_node_t     **slots;
    ngx_http_sandbox_entry_t    **labels;

    ngx_http_sandbox_node_t      *gone_nodes;
    ngx_http_sandbox_entry_t     *gone_entries;
} ngx_http_sandbox_shctx_t;


struct ngx_http_sandbox_zone_s {
    ngx_http_sandbox_shctx_t     *sh;
    ngx_slab_pool_t              *shpool;
    ngx_shm_zone_t               *shm_zone;
    time_t                        complained;
};


static ngx_int_t ngx_http_sandbox_zone_init(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_int_t ngx_http_sandbox_zone_random(u_char *hex);
static ngx_uint_t ngx_http_sandbox_zone_hash(ngx_http_sandbox_shctx_t *sh,
    u_char *data, size_t len);
static ngx_http_sandbox_node_t *ngx_http_sandbox_find_slot(
    ngx_http_sandbox_shctx_t *sh, uint32_t slot);
static ngx_http_sandbox_node_t *ngx_http_sandbox_find_id(
    ngx_http_sandbox_shctx_t *sh, ngx_str_t *id);
static ngx_http_sandbox_entry_t *ngx_http_sandbox_find_entry(
    ngx_http_sandbox_shctx_t *sh, ngx_str_t *label);
static void ngx_http_sandbox_copy_info(ngx_http_sandbox_info_t *info,
    ngx_http_sandbox_node_t *node);
static ngx_int_t ngx_http_sandbox_apply_node(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_record_t *rec);
static ngx_int_t ngx_http_sandbox_apply_entry(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_record_t *rec);
static ngx_http_sandbox_node_t *ngx_http_sandbox_add_node(
    ngx_http_sandbox_zone_t *zone, uint32_t slot, ngx_str_t *id);
static void ngx_http_sandbox_unlink_id(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *node);
static void ngx_http_sandbox_unlink_slot(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *node);
static void ngx_http_sandbox_drop_node(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_node_t *node);
static void ngx_http_sandbox_drop_entry(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_entry_t *entry);
static void ngx_http_sandbox_detach_entry(ngx_http_sandbox_entry_t *entry);
static void ngx_http_sandbox_move_entries(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *from, ngx_http_sandbox_node_t *to);
static void ngx_http_sandbox_purge(ngx_http_sandbox_zone_t *zone);
static void ngx_http_sandbox_zone_reset(ngx_http_sandbox_zone_t *zone);
static ngx_int_t ngx_http_sandbox_zone_full(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_record_t *rec);


/* Lookups */


ngx_int_t
ngx_http_sandbox_zone_label(ngx_http_sandbox_zone_t *zone, ngx_str_t *label,
    ngx_http_sandbox_exposure_t *exposure, ngx_http_sandbox_info_t *info)
{
    ngx_int_t                  rc;
    ngx_http_sandbox_entry_t  *entry;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    ngx_shmtx_lock(&zone->shpool->mutex);

    entry = ngx_http_sandbox_find_entry(sh, label);

    if (entry && entry->mark == sh->mark) {

        if (entry->node == NULL) {
            rc = NGX_DECLINED;

        } else if (entry->node->id_len == 0 || entry->node->mark != sh->mark) {
            rc = NGX_AGAIN;

        } else {
            exposure->seq = entry->seq;
            exposure->slot = entry->node->slot;
            exposure->port = entry->port;
            exposure->access = entry->access;
            exposure->host = entry->host;

            ngx_http_sandbox_copy_info(info, entry->node);
            rc = NGX_OK;
        }

    } else {
        rc = sh->complete && !sh->full ? NGX_DECLINED : NGX_AGAIN;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return rc;
}


ngx_int_t
ngx_http_sandbox_zone_id(ngx_http_sandbox_zone_t *zone, ngx_str_t *id,
    ngx_http_sandbox_info_t *info)
{
    ngx_int_t                  rc;
    ngx_http_sandbox_node_t   *node;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    ngx_shmtx_lock(&zone->shpool->mutex);

    node = ngx_http_sandbox_find_id(sh, id);

    if (node && node->mark == sh->mark) {
        ngx_http_sandbox_copy_info(info, node);
        rc = NGX_OK;

    } else {
        rc = sh->complete && !sh->full ? NGX_DECLINED : NGX_AGAIN;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return rc;
}


ngx_int_t
ngx_http_sandbox_zone_slot(ngx_http_sandbox_zone_t *zone, uint32_t slot,
    ngx_http_sandbox_info_t *info)
{
    ngx_int_t                  rc;
    ngx_http_sandbox_node_t   *node;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    ngx_shmtx_lock(&zone->shpool->mutex);

    node = ngx_http_sandbox_find_slot(sh, slot);

    if (node && node->mark == sh->mark && node->gone) {
        rc = NGX_DECLINED;

    } else if (node && node->mark == sh->mark && node->id_len) {
        ngx_http_sandbox_copy_info(info, node);
        rc = NGX_OK;

    } else {
        rc = sh->complete && !sh->full ? NGX_DECLINED : NGX_AGAIN;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return rc;
}


static void
ngx_http_sandbox_copy_info(ngx_http_sandbox_info_t *info,
    ngx_http_sandbox_node_t *node)
{
    info->seq = node->seq;
    info->slot = node->slot;
    info->epoch = node->epoch;
    info->state = node->state;
    info->id_len = node->id_len;

    ngx_memcpy(info->key, node->key, NGX_HTTP_SANDBOX_KEY_LEN);
    ngx_memcpy(info->id, node->id, node->id_len);
}


static ngx_uint_t
ngx_http_sandbox_zone_hash(ngx_http_sandbox_shctx_t *sh, u_char *data,
    size_t len)
{
    return (ngx_uint_t) sandbox_label_hash(sh->hash_key, data, len);
}


static ngx_http_sandbox_entry_t *
ngx_http_sandbox_find_entry(ngx_http_sandbox_shctx_t *sh, ngx_str_t *label)
{
    ngx_uint_t                 i;
    ngx_http_sandbox_entry_t  *entry;

    i = ngx_http_sandbox_zone_hash(sh, label->data, label->len)
        & sh->entry_mask;

    for (entry = sh->labels[i]; entry; entry = entry->next) {

        /*
         * Of random names each line of memory is a miss: the label's other
         * half and the sandbox come while this one is compared.
         */

        ngx_http_sandbox_prefetch((u_char *) entry + 64);
        ngx_http_sandbox_prefetch(entry->node);

        if (entry->label_len == label->len
            && ngx_memcmp(entry->label, label->data, label->len) == 0)
        {
            return entry;
        }
    }

    return NULL;
}


static ngx_http_sandbox_node_t *
ngx_http_sandbox_find_id(ngx_http_sandbox_shctx_t *sh, ngx_str_t *id)
{
    ngx_uint_t                i;
    ngx_http_sandbox_node_t  *node;

    i = ngx_http_sandbox_zone_hash(sh, id->data, id->len) & sh->node_mask;

    for (node = sh->ids[i]; node; node = node->next_id) {

        if (node->id_len == id->len
            && ngx_memcmp(node->id, id->data, id->len) == 0)
        {
            return node;
        }
    }

    return NULL;
}


static ngx_http_sandbox_node_t *
ngx_http_sandbox_find_slot(ngx_http_sandbox_shctx_t *sh, uint32_t slot)
{
    ngx_http_sandbox_node_t  *node;

    /* sandboxd hands slots out one after another: they spread by themselves */

    for (node = sh->slots[slot & sh->node_mask]; node; node = node->next_slot)
    {
        if (node->slot == slot) {
            return node;
        }
    }

    return NULL;
}


/* Changes */


ngx_int_t
ngx_http_sandbox_zone_apply(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_record_t *rec)
{
    ngx_int_t  rc;

    ngx_shmtx_lock(&zone->shpool->mutex);

    if (rec->exposure) {
        rc = ngx_http_sandbox_apply_entry(zone, rec);

    } else {
        rc = ngx_http_sandbox_apply_node(zone, rec);
    }

    if (rc == NGX_ERROR) {
        zone->sh->refused++;
        zone->sh->full = 1;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return rc == NGX_ERROR ? ngx_http_sandbox_zone_full(zone, rec) : NGX_OK;
}


static ngx_int_t
ngx_http_sandbox_zone_full(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_record_t *rec)
{
    if (zone->complained != ngx_time()) {
        zone->complained = ngx_time();

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "sandbox zone \"%V\" is full: no place for \"%V\", "
                      "which costs a question to sandboxd with each request; "
                      "give sandbox_zone more than %uz bytes",
                      &zone->shm_zone->shm.name, &rec->name,
                      zone->shm_zone->shm.size);
    }

    return NGX_ERROR;
}


static ngx_int_t
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
            node = ngx_http_sandbox_add_node(zone, rec->slot, NULL);
            if (node == NULL) {
                return NGX_ERROR;
            }
        }

        while (node->entries) {
            ngx_http_sandbox_drop_entry(zone, node->entries);
        }

        if (!node->gone) {
            if (node->id_len) {
                ngx_http_sandbox_unlink_id(sh, node);
                sh->sandboxes--;
                node->id_len = 0;
            }

            node->gone = 1;
            node->next_id = sh->gone_nodes;
            sh->gone_nodes = node;
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
        || ngx_memcmp(node->id, rec->name.data, rec->name.len) != 0)
    {
        old = node;

        node = ngx_http_sandbox_add_node(zone, rec->slot, &rec->name);
        if (node == NULL) {
            return NGX_ERROR;
        }

        if (old) {
            ngx_http_sandbox_move_entries(sh, old, node);
            ngx_http_sandbox_drop_node(zone, old);
        }
    }

    node->state = rec->state;
    node->epoch = rec->epoch;
    ngx_memcpy(node->key, rec->key, NGX_HTTP_SANDBOX_KEY_LEN);
    node->mark = sh->mark;
    node->seq = rec->seq;

    return NGX_OK;
}


/*
 * A slot may have been known by its exposures alone, or by another database's
 * sandbox: those of its exposures that count move.
 */

static void
ngx_http_sandbox_move_entries(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *from, ngx_http_sandbox_node_t *to)
{
    ngx_http_sandbox_entry_t  *entry, **p;

    for (p = &from->entries; *p; /* void */) {
        entry = *p;

        if (entry->mark != sh->mark) {
            p = &entry->sibling;
            continue;
        }

        *p = entry->sibling;

        entry->node = to;
        entry->sibling = to->entries;
        to->entries = entry;
    }
}


static ngx_int_t
ngx_http_sandbox_apply_entry(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_record_t *rec)
{
    ngx_uint_t                 i;
    ngx_http_sandbox_node_t   *node;
    ngx_http_sandbox_entry_t  *entry;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;
    entry = ngx_http_sandbox_find_entry(sh, &rec->name);

    if (entry && entry->mark == sh->mark) {
        if (rec->seq <= entry->seq) {
            return NGX_OK;
        }

    } else if (rec->seq <= sh->seq) {
        return NGX_OK;
    }

    node = NULL;

    if (!rec->gone) {
        node = ngx_http_sandbox_find_slot(sh, rec->slot);

        if (node && node->gone && node->mark == sh->mark) {
            return NGX_OK;
        }

        if (node == NULL) {
            node = ngx_http_sandbox_add_node(zone, rec->slot, NULL);
            if (node == NULL) {
                return NGX_ERROR;
            }
        }
    }

    if (entry == NULL) {
        entry = ngx_slab_alloc_locked(zone->shpool,
                                 offsetof(ngx_http_sandbox_entry_t, label)
                                 + rec->name.len);
        if (entry == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(entry, offsetof(ngx_http_sandbox_entry_t, label));

        entry->label_len = (u_char) rec->name.len;
        ngx_memcpy(entry->label, rec->name.data, rec->name.len);

        /* as a tombstone it is of no use before it is complete */

        entry->seq = rec->seq;
        entry->mark = sh->mark;

        i = ngx_http_sandbox_zone_hash(sh, entry->label, entry->label_len)
            & sh->entry_mask;

        entry->next = sh->labels[i];
        ngx_memory_barrier();
        sh->labels[i] = entry;

        sh->exposures++;

        if (rec->gone) {
            entry->sibling = sh->gone_entries;
            sh->gone_entries = entry;
            sh->tombstones++;
            return NGX_OK;
        }

    } else if (entry->node == NULL) {

        /* a tombstone: it leaves their list, or stays in it */

        ngx_http_sandbox_entry_t  **p;

        if (rec->gone) {
            entry->seq = rec->seq;
            entry->mark = sh->mark;
            return NGX_OK;
        }

        for (p = &sh->gone_entries; *p && *p != entry; p = &(*p)->sibling) {
            /* void */
        }

        if (*p) {
            *p = entry->sibling;
            sh->tombstones--;
        }

    } else {
        ngx_http_sandbox_detach_entry(entry);

        if (rec->gone) {
            entry->seq = rec->seq;
            entry->mark = sh->mark;
            entry->sibling = sh->gone_entries;
            sh->gone_entries = entry;
            sh->tombstones++;
            return NGX_OK;
        }
    }

    entry->port = rec->port;
    entry->access = rec->access;
    entry->host = rec->host;
    entry->seq = rec->seq;
    entry->mark = sh->mark;
    entry->sibling = node->entries;
    entry->node = node;
    node->entries = entry;

    return NGX_OK;
}


static ngx_http_sandbox_node_t *
ngx_http_sandbox_add_node(ngx_http_sandbox_zone_t *zone, uint32_t slot,
    ngx_str_t *id)
{
    size_t                     len;
    ngx_uint_t                 i;
    ngx_http_sandbox_node_t   *node;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;
    len = id ? id->len : 0;

    node = ngx_slab_alloc_locked(zone->shpool,
                                 offsetof(ngx_http_sandbox_node_t, id) + len);
    if (node == NULL) {
        return NULL;
    }

    ngx_memzero(node, offsetof(ngx_http_sandbox_node_t, id));

    node->slot = slot;
    node->mark = sh->mark;
    node->id_len = (u_char) len;

    if (id) {
        ngx_memcpy(node->id, id->data, len);

        i = ngx_http_sandbox_zone_hash(sh, id->data, len) & sh->node_mask;

        node->next_id = sh->ids[i];
        ngx_memory_barrier();
        sh->ids[i] = node;

        sh->sandboxes++;
    }

    i = slot & sh->node_mask;

    node->next_slot = sh->slots[i];
    ngx_memory_barrier();
    sh->slots[i] = node;

    return node;
}


static void
ngx_http_sandbox_unlink_id(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *node)
{
    ngx_http_sandbox_node_t  **p;

    p = &sh->ids[ngx_http_sandbox_zone_hash(sh, node->id, node->id_len)
                 & sh->node_mask];

    for ( /* void */ ; *p; p = &(*p)->next_id) {
        if (*p == node) {
            *p = node->next_id;
            return;
        }
    }
}


static void
ngx_http_sandbox_unlink_slot(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *node)
{
    ngx_http_sandbox_node_t  **p;

    for (p = &sh->slots[node->slot & sh->node_mask]; *p; p = &(*p)->next_slot)
    {
        if (*p == node) {
            *p = node->next_slot;
            return;
        }
    }
}


/* Forgets a sandbox that is no tombstone, and its exposures. */

static void
ngx_http_sandbox_drop_node(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_node_t *node)
{
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    while (node->entries) {
        ngx_http_sandbox_drop_entry(zone, node->entries);
    }

    if (node->id_len) {
        ngx_http_sandbox_unlink_id(sh, node);
        sh->sandboxes--;
    }

    ngx_http_sandbox_unlink_slot(sh, node);
    ngx_slab_free_locked(zone->shpool, node);
}


static void
ngx_http_sandbox_detach_entry(ngx_http_sandbox_entry_t *entry)
{
    ngx_http_sandbox_entry_t  **p;

    for (p = &entry->node->entries; *p; p = &(*p)->sibling) {
        if (*p == entry) {
            *p = entry->sibling;
            break;
        }
    }

    entry->node = NULL;
    entry->sibling = NULL;
}


/* Forgets an exposure, which is no tombstone or out of their list already. */

static void
ngx_http_sandbox_drop_entry(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_entry_t *entry)
{
    ngx_http_sandbox_entry_t  **p;
    ngx_http_sandbox_shctx_t   *sh;

    sh = zone->sh;

    if (entry->node) {
        ngx_http_sandbox_detach_entry(entry);
    }

    p = &sh->labels[ngx_http_sandbox_zone_hash(sh, entry->label,
                                               entry->label_len)
                    & sh->entry_mask];

    for ( /* void */ ; *p; p = &(*p)->next) {
        if (*p == entry) {
            *p = entry->next;
            break;
        }
    }

    sh->exposures--;
    ngx_slab_free_locked(zone->shpool, entry);
}


/* Forgets the tombstones that no late record can be older than. */

static void
ngx_http_sandbox_purge(ngx_http_sandbox_zone_t *zone)
{
    ngx_http_sandbox_node_t   *node, **np;
    ngx_http_sandbox_entry_t  *entry, **ep;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    for (ep = &sh->gone_entries; *ep; /* void */) {
        entry = *ep;

        if (entry->mark == sh->mark && entry->seq > sh->seq) {
            ep = &entry->sibling;
            continue;
        }

        *ep = entry->sibling;
        sh->tombstones--;
        ngx_http_sandbox_drop_entry(zone, entry);
    }

    for (np = &sh->gone_nodes; *np; /* void */) {
        node = *np;

        if (node->mark == sh->mark && node->seq > sh->seq) {
            np = &node->next_id;
            continue;
        }

        *np = node->next_id;
        sh->tombstones--;
        ngx_http_sandbox_drop_node(zone, node);
    }
}


/* Filling */


void
ngx_http_sandbox_zone_synced(ngx_http_sandbox_zone_t *zone, uint64_t seq,
    ngx_uint_t whole)
{
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    ngx_shmtx_lock(&zone->shpool->mutex);

    if (whole) {
        sh->complete = 1;
    }

    if (sh->complete) {

        if (seq > sh->seq) {
            sh->seq = seq;
        }

        ngx_http_sandbox_purge(zone);
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);
}


ngx_uint_t
ngx_http_sandbox_zone_sweep(ngx_http_sandbox_zone_t *zone,
    ngx_uint_t *position)
{
    ngx_uint_t                 n, more;
    ngx_http_sandbox_node_t   *node, *next_node;
    ngx_http_sandbox_entry_t  *entry, *next;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    ngx_shmtx_lock(&zone->shpool->mutex);

    for (n = 0; n < 1024 && *position <= sh->entry_mask; n++, (*position)++) {

        for (entry = sh->labels[*position]; entry; entry = next) {
            next = entry->next;

            if (entry->mark != sh->mark && entry->node) {
                ngx_http_sandbox_drop_entry(zone, entry);
            }
        }

        if (*position > sh->node_mask) {
            continue;
        }

        for (node = sh->slots[*position]; node; node = next_node) {
            next_node = node->next_slot;

            /*
             * The entries of a dropped sandbox may stand in any chain, but
             * not in one that is being walked.
             */

            if (node->mark != sh->mark && !node->gone) {
                ngx_http_sandbox_drop_node(zone, node);
            }
        }
    }

    more = *position <= sh->entry_mask;

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return more;
}


ngx_uint_t
ngx_http_sandbox_zone_lease(ngx_http_sandbox_zone_t *zone, ngx_msec_t msec,
    ngx_uint_t fresh)
{
    ngx_uint_t                 got;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;
    got = 0;

    ngx_shmtx_lock(&zone->shpool->mutex);

    if (sh->lease_pid == ngx_pid) {
        got = !fresh || !sh->complete;

    } else if (fresh && !sh->complete) {
        got = sh->lease_pid == 0
              || (ngx_msec_int_t) (sh->lease_until - ngx_current_msec) <= 0
              || (kill(sh->lease_pid, 0) == -1 && ngx_errno == NGX_ESRCH);
    }

    if (got) {
        sh->lease_pid = ngx_pid;
        sh->lease_until = ngx_current_msec + msec;

        if (fresh) {
            ngx_http_sandbox_zone_reset(zone);
        }
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return got;
}


void
ngx_http_sandbox_zone_release(ngx_http_sandbox_zone_t *zone)
{
    ngx_shmtx_lock(&zone->shpool->mutex);

    if (zone->sh->lease_pid == ngx_pid) {
        zone->sh->lease_pid = 0;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);
}


void
ngx_http_sandbox_zone_stale(ngx_http_sandbox_zone_t *zone, u_char *incarnation,
    uint64_t gap)
{
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    ngx_shmtx_lock(&zone->shpool->mutex);

    if (ngx_memcmp(sh->incarnation, incarnation, NGX_HTTP_SANDBOX_ZONE_ID_LEN)
        != 0)
    {
        ngx_memcpy(sh->incarnation, incarnation, NGX_HTTP_SANDBOX_ZONE_ID_LEN);

        sh->lease_pid = 0;
        ngx_http_sandbox_zone_reset(zone);

    } else if (sh->complete && sh->seq == gap) {
        ngx_http_sandbox_zone_reset(zone);
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);
}


/* Under the lock: all that the zone holds has to be named again. */

static void
ngx_http_sandbox_zone_reset(ngx_http_sandbox_zone_t *zone)
{
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    sh->complete = 0;
    sh->full = 0;
    sh->seq = 0;
    sh->mark++;

    ngx_http_sandbox_purge(zone);
}


void
ngx_http_sandbox_zone_status(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_zone_status_t *status)
{
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    ngx_shmtx_lock(&zone->shpool->mutex);

    status->seq = sh->seq;
    status->complete = sh->complete;
    status->sandboxes = sh->sandboxes;
    status->exposures = sh->exposures;
    status->tombstones = sh->tombstones;
    status->refused = sh->refused;

    ngx_memcpy(status->id, sh->id, NGX_HTTP_SANDBOX_ZONE_ID_LEN);
    ngx_memcpy(status->incarnation, sh->incarnation,
               NGX_HTTP_SANDBOX_ZONE_ID_LEN);

    ngx_shmtx_unlock(&zone->shpool->mutex);
}


/* Configuration */


static ngx_int_t
ngx_http_sandbox_zone_random(u_char *hex)
{
    u_char  raw[NGX_HTTP_SANDBOX_ZONE_ID_LEN / 2];

    if (RAND_bytes(raw, sizeof(raw)) != 1) {
        return NGX_ERROR;
    }

    (void) ngx_hex_dump(hex, raw, sizeof(raw));

    return NGX_OK;
}


static ngx_int_t
ngx_http_sandbox_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_uint_t                 n;
    ngx_http_sandbox_zone_t   *zone, *old;
    ngx_http_sandbox_shctx_t  *sh;

    zone = shm_zone->data;
    old = data;

    zone->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (old || shm_zone->shm.exists) {
        sh = old ? old->sh : zone->shpool->data;

        if (sh->magic != NGX_HTTP_SANDBOX_ZONE_MAGIC
            || sh->layout != NGX_HTTP_SANDBOX_ZONE_LAYOUT
            || sh->node_size != sizeof(ngx_http_sandbox_node_t)
            || sh->entry_size != sizeof(ngx_http_sandbox_entry_t))
        {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "sandbox zone \"%V\" was laid out by another "
                          "version of the module: give it another name or "
                          "size, or restart nginx", &shm_zone->shm.name);
            return NGX_ERROR;
        }

        zone->sh = sh;
        return NGX_OK;
    }

    /* too little memory is reported by us, with what it means */

    zone->shpool->log_nomem = 0;

    sh = ngx_slab_calloc(zone->shpool, sizeof(ngx_http_sandbox_shctx_t));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    /* as many buckets as there can be records, rounded down */

    for (n = 64; n * 2 <= shm_zone->shm.size / 512; n *= 2) { /* void */ }

    sh->node_mask = n - 1;
    sh->entry_mask = n * 4 - 1;

    sh->ids = ngx_slab_calloc(zone->shpool, n * sizeof(void *));
    sh->slots = ngx_slab_calloc(zone->shpool, n * sizeof(void *));
    sh->labels = ngx_slab_calloc(zone->shpool, n * 4 * sizeof(void *));

    if (sh->ids == NULL || sh->slots == NULL || sh->labels == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_sandbox_zone_random(sh->id) != NGX_OK
        || RAND_bytes(sh->hash_key, sizeof(sh->hash_key)) != 1)
    {
        return NGX_ERROR;
    }

    sh->mark = 1;
    sh->node_size = sizeof(ngx_http_sandbox_node_t);
    sh->entry_size = sizeof(ngx_http_sandbox_entry_t);
    sh->layout = NGX_HTTP_SANDBOX_ZONE_LAYOUT;
    sh->magic = NGX_HTTP_SANDBOX_ZONE_MAGIC;

    zone->sh = sh;
    zone->shpool->data = sh;

    return NGX_OK;
}


char *
ngx_http_sandbox_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sandbox_main_conf_t *smcf = conf;

    ssize_t                   size;
    ngx_str_t                *value, name;
    ngx_http_sandbox_zone_t  *zone;

    if (smcf->shm_zone) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len <= 5 || ngx_strncmp(value[1].data, "name=", 5) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"sandbox_zone\": "
                           "must be name=NAME", &value[1]);
        return NGX_CONF_ERROR;
    }

    name.data = value[1].data + 5;
    name.len = value[1].len - 5;

    size = ngx_parse_size(&value[2]);

    if (size < (ssize_t) NGX_HTTP_SANDBOX_ZONE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size \"%V\" in \"sandbox_zone\": "
                           "must be at least %udk", &value[2],
                           NGX_HTTP_SANDBOX_ZONE_MIN / 1024);
        return NGX_CONF_ERROR;
    }

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_http_sandbox_zone_t));
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    smcf->shm_zone = ngx_shared_memory_add(cf, &name, size,
                                           &ngx_http_sandbox_module);
    if (smcf->shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    zone->shm_zone = smcf->shm_zone;

    smcf->shm_zone->init = ngx_http_sandbox_zone_init;
    smcf->shm_zone->data = zone;
    smcf->zone = zone;

    return NGX_CONF_OK;
}
