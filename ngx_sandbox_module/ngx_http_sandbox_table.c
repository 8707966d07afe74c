/*
 * The table of the zone's exposures.
 *
 * What a lookup among many costs is the lines of memory that it misses: an
 * exposure is one of them, and lies in the table itself.  Its label would not
 * fit in; 96 bits of the label's keyed hash stand for it, more than the tokens
 * in labels have.
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


static void ngx_http_sandbox_grow(ngx_http_sandbox_zone_t *zone);
static void ngx_http_sandbox_split(ngx_http_sandbox_zone_t *zone,
    ngx_uint_t from, ngx_uint_t to);
static void ngx_http_sandbox_pull(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_entry_t *bucket);
static void ngx_http_sandbox_move_entry(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_entry_t *from, ngx_http_sandbox_entry_t *to);


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


ngx_http_sandbox_entry_t *
ngx_http_sandbox_next_entry(ngx_http_sandbox_shctx_t *sh, ngx_uint_t i,
    ngx_http_sandbox_entry_t *entry)
{
    ngx_http_sandbox_entry_t  *bucket;

    bucket = ngx_http_sandbox_bucket(sh, i);

    return entry ? ngx_http_sandbox_bucket_next(sh, bucket, entry) : bucket;
}


ngx_http_sandbox_entry_t *
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


void
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
