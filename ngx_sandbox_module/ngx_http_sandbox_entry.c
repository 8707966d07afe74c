/*
 * Exposures in the zone: the table that they lie in, how they are applied and
 * forgotten.
 *
 * What a lookup among many costs is the lines of memory that it misses: an
 * exposure is one of them, lies in the table itself, and has beside it what
 * the gate needs of its sandbox.  Its label would not fit in; 96 bits of the
 * label's keyed hash stand for it, more than the tokens in labels have.
 *
 * The table grows by one bucket at a time, of two exposures each (linear
 * hashing); what a bucket has no room for hangs behind it.  Exposures therefore
 * change their places, but only when one is added.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_node.h"

#include "sandbox_label.h"


#define NGX_HTTP_SANDBOX_SEGMENT  128      /* buckets that come at once */

/* A move looks for an exposure that is gone among all of them. */
#define NGX_HTTP_SANDBOX_GONE_MAX  256


_Static_assert(sizeof(ngx_http_sandbox_entry_t) == 64,
               "an exposure is a line of memory");


static ngx_http_sandbox_entry_t *ngx_http_sandbox_add_entry(
    ngx_http_sandbox_zone_t *zone, ngx_http_sandbox_hash_t *hash);
static void ngx_http_sandbox_grow(ngx_http_sandbox_zone_t *zone);
static void ngx_http_sandbox_split(ngx_http_sandbox_zone_t *zone,
    ngx_uint_t from, ngx_uint_t to);
static void ngx_http_sandbox_pull(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_entry_t *bucket);
static void ngx_http_sandbox_move_entry(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_entry_t *from, ngx_http_sandbox_entry_t *to);
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
static void ngx_http_sandbox_drop_entry(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_entry_t *entry);
static void ngx_http_sandbox_follow(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_entry_t *entry, ngx_http_sandbox_node_t *node);
static void ngx_http_sandbox_name_entry(ngx_http_sandbox_entry_t *entry,
    ngx_http_sandbox_node_t *node, ngx_str_t *label);


/* The table */


ngx_int_t
ngx_http_sandbox_entries_init(ngx_http_sandbox_shctx_t *sh,
    ngx_slab_pool_t *shpool, size_t size)
{
    u_char  *first;

    sh->buckets = NGX_HTTP_SANDBOX_SEGMENT;
    sh->bucket_mask = NGX_HTTP_SANDBOX_SEGMENT - 1;

    sh->nsegments = size / (2 * sizeof(ngx_http_sandbox_entry_t)
                            * NGX_HTTP_SANDBOX_SEGMENT) + 1;

    sh->segments = ngx_slab_calloc_locked(shpool,
                             sh->nsegments * sizeof(ngx_http_sandbox_ref_t));
    first = ngx_slab_calloc_locked(shpool, NGX_HTTP_SANDBOX_SEGMENT * 2
                                   * sizeof(ngx_http_sandbox_entry_t));

    if (sh->segments == NULL || first == NULL) {
        return NGX_ERROR;
    }

    sh->segments[0] = ngx_http_sandbox_ref(sh, first);

    return NGX_OK;
}


static ngx_inline ngx_uint_t
ngx_http_sandbox_bucket_of(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_hash_t *hash)
{
    ngx_uint_t  i;

    i = hash->words[0] & sh->bucket_mask;

    return i < sh->buckets ? i : i & (sh->bucket_mask >> 1);
}


static ngx_inline ngx_http_sandbox_entry_t *
ngx_http_sandbox_bucket(ngx_http_sandbox_shctx_t *sh, ngx_uint_t i)
{
    return (ngx_http_sandbox_entry_t *)
           (sh->base + (size_t) sh->segments[i / NGX_HTTP_SANDBOX_SEGMENT]
                       * NGX_HTTP_SANDBOX_REF_UNIT)
           + i % NGX_HTTP_SANDBOX_SEGMENT * 2;
}


/* The chain of a bucket hangs behind its first place, used or not. */

static ngx_inline ngx_http_sandbox_entry_t *
ngx_http_sandbox_bucket_next(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_entry_t *bucket, ngx_http_sandbox_entry_t *entry)
{
    if (entry == bucket) {
        return bucket + 1;
    }

    if (entry == bucket + 1) {
        entry = bucket;
    }

    return ngx_http_sandbox_at(sh, entry->next);
}


void
ngx_http_sandbox_hash_label(ngx_http_sandbox_shctx_t *sh, ngx_str_t *label,
    ngx_http_sandbox_hash_t *hash)
{
    uint64_t  h[2];

    sandbox_label_hash128(sh->hash_key, label->data, label->len, h);

    hash->words[0] = (uint32_t) h[0];
    hash->words[1] = (uint32_t) (h[0] >> 32);
    hash->words[2] = (uint32_t) h[1];
}


ngx_http_sandbox_entry_t *
ngx_http_sandbox_find_entry(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_hash_t *hash)
{
    ngx_http_sandbox_entry_t  *entry, *bucket;

    bucket = ngx_http_sandbox_bucket(sh, ngx_http_sandbox_bucket_of(sh, hash));

    ngx_http_sandbox_prefetch(&bucket[1]);

    for (entry = bucket;
         entry;
         entry = ngx_http_sandbox_bucket_next(sh, bucket, entry))
    {
        if (entry->hash.words[0] == hash->words[0]
            && entry->hash.words[1] == hash->words[1]
            && entry->hash.words[2] == hash->words[2]
            && entry->used)
        {
            return entry;
        }
    }

    return NULL;
}


static ngx_http_sandbox_entry_t *
ngx_http_sandbox_add_entry(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_hash_t *hash)
{
    ngx_http_sandbox_ref_t     next;
    ngx_http_sandbox_entry_t  *entry, *bucket;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    ngx_http_sandbox_grow(zone);

    bucket = ngx_http_sandbox_bucket(sh, ngx_http_sandbox_bucket_of(sh, hash));

    if (!bucket[0].used) {
        entry = &bucket[0];
        next = entry->next;

    } else if (!bucket[1].used) {
        entry = &bucket[1];
        next = 0;

    } else {
        entry = ngx_slab_alloc_locked(zone->shpool,
                                      sizeof(ngx_http_sandbox_entry_t));
        if (entry == NULL) {
            return NULL;
        }

        next = bucket[0].next;
        bucket[0].next = ngx_http_sandbox_ref(sh, entry);
    }

    ngx_memzero(entry, sizeof(ngx_http_sandbox_entry_t));

    entry->hash = *hash;
    entry->next = next;
    entry->used = 1;

    sh->exposures++;

    return entry;
}


/*
 * Five exposures for four buckets: then six of seven are one miss away, and
 * none costs more than 128 bytes.  Where there is no memory for more buckets
 * the chains become longer.
 */

static void
ngx_http_sandbox_grow(ngx_http_sandbox_zone_t *zone)
{
    u_char                    *segment;
    ngx_uint_t                 i, n;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    for (i = 0; i < 4; i++) {

        if (sh->exposures * 4 < sh->buckets * 5
            || sh->tombstones > NGX_HTTP_SANDBOX_GONE_MAX)
        {
            return;
        }

        n = sh->buckets / NGX_HTTP_SANDBOX_SEGMENT;

        if (n == sh->nsegments) {
            return;
        }

        if (sh->segments[n] == 0) {
            segment = ngx_slab_calloc_locked(zone->shpool,
                                             NGX_HTTP_SANDBOX_SEGMENT * 2
                                          * sizeof(ngx_http_sandbox_entry_t));
            if (segment == NULL) {
                return;
            }

            sh->segments[n] = ngx_http_sandbox_ref(sh, segment);
        }

        if (sh->buckets > sh->bucket_mask) {
            sh->bucket_mask = sh->bucket_mask * 2 + 1;
        }

        n = sh->buckets++;

        ngx_http_sandbox_split(zone, n & (sh->bucket_mask >> 1), n);
    }
}


/* Those of a bucket that are now of a new one, which is empty, go there. */

static void
ngx_http_sandbox_split(ngx_http_sandbox_zone_t *zone, ngx_uint_t from,
    ngx_uint_t to)
{
    ngx_uint_t                 i, n;
    ngx_http_sandbox_ref_t    *p, ref;
    ngx_http_sandbox_entry_t  *a, *b, *entry;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;
    a = ngx_http_sandbox_bucket(sh, from);
    b = ngx_http_sandbox_bucket(sh, to);
    n = 0;

    for (i = 0; i < 2; i++) {
        if (a[i].used && ngx_http_sandbox_bucket_of(sh, &a[i].hash) == to) {
            ngx_http_sandbox_move_entry(sh, &a[i], &b[n++]);
        }
    }

    for (p = &a[0].next; *p; /* void */) {
        ref = *p;
        entry = ngx_http_sandbox_at(sh, ref);

        if (ngx_http_sandbox_bucket_of(sh, &entry->hash) != to) {
            p = &entry->next;
            continue;
        }

        *p = entry->next;
        entry->next = b[0].next;
        b[0].next = ref;
    }

    ngx_http_sandbox_pull(zone, a);
    ngx_http_sandbox_pull(zone, b);
}


/* Fills the two places of a bucket out of its chain. */

static void
ngx_http_sandbox_pull(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_entry_t *bucket)
{
    ngx_uint_t                 i;
    ngx_http_sandbox_entry_t  *entry;

    for (i = 0; i < 2; i++) {

        if (bucket[i].used || bucket[0].next == 0) {
            continue;
        }

        entry = ngx_http_sandbox_at(zone->sh, bucket[0].next);

        bucket[0].next = entry->next;
        ngx_http_sandbox_move_entry(zone->sh, entry, &bucket[i]);
        ngx_slab_free_locked(zone->shpool, entry);
    }
}


/* The chain stays where it is; the list that the exposure is in follows. */

static void
ngx_http_sandbox_move_entry(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_entry_t *from, ngx_http_sandbox_entry_t *to)
{
    ngx_http_sandbox_ref_t    *p, old, next;
    ngx_http_sandbox_node_t   *node;

    next = to->next;
    *to = *from;
    to->next = next;

    from->used = 0;

    old = ngx_http_sandbox_ref(sh, from);
    p = &sh->gone_entries;

    if (to->linked) {
        node = ngx_http_sandbox_find_slot(sh, to->slot);
        p = &node->entries;
    }

    while (*p != old) {
        p = &((ngx_http_sandbox_entry_t *)
              ngx_http_sandbox_at(sh, *p))->sibling;
    }

    *p = ngx_http_sandbox_ref(sh, to);
}


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

    if (rc != NGX_OK) {
        return rc == NGX_DECLINED ? NGX_OK : rc;
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


/* Forgets an exposure that is nobody's, and in no list of those. */

static void
ngx_http_sandbox_drop_entry(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_entry_t *entry)
{
    ngx_http_sandbox_ref_t    *p;
    ngx_http_sandbox_entry_t  *e, *bucket;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;
    sh->exposures--;

    bucket = ngx_http_sandbox_bucket(sh,
                              ngx_http_sandbox_bucket_of(sh, &entry->hash));

    if (entry == &bucket[0] || entry == &bucket[1]) {

        /* nothing takes its place now: others are looking at this bucket */

        entry->used = 0;
        return;
    }

    for (p = &bucket[0].next; *p; p = &e->next) {
        e = ngx_http_sandbox_at(sh, *p);

        if (e == entry) {
            *p = entry->next;
            break;
        }
    }

    ngx_slab_free_locked(zone->shpool, entry);
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
    ngx_http_sandbox_entry_t  *entry, *next, *bucket;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    if (i >= sh->buckets) {
        return 0;
    }

    bucket = ngx_http_sandbox_bucket(sh, i);

    for (entry = bucket; entry; entry = next) {
        next = ngx_http_sandbox_bucket_next(sh, bucket, entry);

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
