/*
 * The shared-memory zone: lookups, filling, and its directive; see the header.
 * The records themselves are in _node.c.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_node.h"

#include <openssl/rand.h>


#define NGX_HTTP_SANDBOX_WALK          4096    /* buckets at once */

#define NGX_HTTP_SANDBOX_ZONE_MAGIC    0x73627831
#define NGX_HTTP_SANDBOX_ZONE_LAYOUT   13

/* Of the header: see _node.h. */
#define NGX_HTTP_SANDBOX_ZONE_STAYS                                           \
    offsetof(ngx_http_sandbox_shctx_t, worker_generation)
#define NGX_HTTP_SANDBOX_ZONE_ANEW                                            \
    offsetof(ngx_http_sandbox_shctx_t, layout)


static void ngx_http_sandbox_zone_mend(ngx_http_sandbox_zone_t *zone);
static ngx_int_t ngx_http_sandbox_zone_init(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_http_sandbox_shctx_t *ngx_http_sandbox_zone_build(
    ngx_slab_pool_t *shpool, size_t size);
static ngx_int_t ngx_http_sandbox_zone_random(u_char *hex);
static ngx_int_t ngx_http_sandbox_zone_full(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_record_t *rec);


/* The lock */


/*
 * A worker that dies with the lock leaves it to the master, and perhaps a
 * change half made: then its mark is still there.
 */

void
ngx_http_sandbox_zone_lock(ngx_http_sandbox_zone_t *zone)
{
    ngx_shmtx_lock(&zone->shpool->mutex);

    if (zone->sh->changing) {
        ngx_http_sandbox_zone_mend(zone);
    }
}


/*
 * Neither the chains nor the pool's own lists can be trusted.  The zone is a
 * cache: it begins anew, at the same addresses, since the same is allocated in
 * the same order, and is filled again.  The blocks of the workers are where
 * they were, with what is in them; what requests hold of the old usages doesn't
 * fit new ones.
 *
 * Who dies in here leaves the mark, too, and has lost nothing that stays.
 */

static void
ngx_http_sandbox_zone_mend(ngx_http_sandbox_zone_t *zone)
{
    ngx_http_sandbox_shctx_t  *sh;

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "sandbox zone \"%V\": a worker has died while it changed "
                  "the zone, which is filled again",
                  &zone->shm_zone->shm.name);

    zone->sh->tickets_from = ngx_time() + NGX_HTTP_SANDBOX_TICKET_SECS;

    ngx_slab_init(zone->shpool);

    sh = ngx_http_sandbox_zone_build(zone->shpool, zone->shm_zone->shm.size);

    if (sh != zone->sh) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "sandbox zone \"%V\" can't be built again",
                      &zone->shm_zone->shm.name);
        ngx_abort();
    }

    ngx_http_sandbox_sync_restart();
}


/* Lookups */


ngx_int_t
ngx_http_sandbox_zone_label(ngx_http_sandbox_zone_t *zone, ngx_str_t *label,
    ngx_http_sandbox_exposure_t *exposure, ngx_http_sandbox_info_t *info)
{
    ngx_int_t                  rc;
    ngx_http_sandbox_hash_t    hash;
    ngx_http_sandbox_entry_t  *entry;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    ngx_http_sandbox_hash_label(sh, label, &hash);

    ngx_http_sandbox_zone_lock(zone);

    entry = ngx_http_sandbox_find_entry(sh, &hash);

    if (entry == NULL || entry->mark != sh->mark) {
        rc = sh->complete && !sh->full ? NGX_DECLINED : NGX_AGAIN;

    } else if (!entry->linked) {
        rc = NGX_DECLINED;

    } else {
        rc = ngx_http_sandbox_copy_entry(sh, entry, label, exposure, info);
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

    ngx_http_sandbox_zone_lock(zone);

    node = ngx_http_sandbox_find_id(sh, id);

    if (node && node->mark == sh->mark) {
        ngx_http_sandbox_copy_info(sh, info, node);
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

    ngx_http_sandbox_zone_lock(zone);

    node = ngx_http_sandbox_find_slot(sh, slot);

    if (node && node->mark == sh->mark && node->gone) {
        rc = NGX_DECLINED;

    } else if (node && node->mark == sh->mark && node->id_len) {
        ngx_http_sandbox_copy_info(sh, info, node);
        rc = NGX_OK;

    } else {
        rc = sh->complete && !sh->full ? NGX_DECLINED : NGX_AGAIN;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return rc;
}


/* Activity */


ngx_int_t
ngx_http_sandbox_zone_touch(ngx_http_sandbox_zone_t *zone, uint32_t slot,
    uint32_t epoch)
{
    ngx_int_t                  rc;
    ngx_http_sandbox_node_t   *node;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    ngx_http_sandbox_zone_lock(zone);

    node = ngx_http_sandbox_find_slot(sh, slot);

    if (node == NULL || node->mark != sh->mark
        || (node->id_len == 0 && !node->gone))
    {
        rc = NGX_AGAIN;

    } else if (node->gone || node->epoch != epoch
               || node->state != NGX_HTTP_SANDBOX_RUNNING)
    {
        rc = NGX_DECLINED;

    } else {
        rc = NGX_OK;
    }

    /* what is in flight still counts when the sandbox is to go to sleep */

    if (node && node->epoch == epoch
        && node->last != (uint32_t) ngx_current_msec)
    {
        node->last = (uint32_t) ngx_current_msec;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return rc;
}


ngx_int_t
ngx_http_sandbox_zone_idle(ngx_http_sandbox_zone_t *zone, uint32_t slot,
    uint32_t *epoch, ngx_msec_t *idle)
{
    ngx_int_t                  rc;
    ngx_http_sandbox_node_t   *node;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;
    rc = NGX_DECLINED;

    ngx_http_sandbox_zone_lock(zone);

    node = ngx_http_sandbox_find_slot(sh, slot);

    if (node && node->mark == sh->mark && !node->gone && node->id_len) {
        *epoch = node->epoch;
        *idle = (uint32_t) ngx_current_msec - node->last;

        /* another worker's clock may be ahead */

        if (*idle > NGX_MAX_INT32_VALUE) {
            *idle = 0;
        }

        rc = NGX_OK;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return rc;
}


/* Changes */


ngx_int_t
ngx_http_sandbox_zone_apply(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_record_t *rec)
{
    ngx_int_t  rc;

    ngx_http_sandbox_zone_lock(zone);

    if (!ngx_http_sandbox_zone_same(zone)) {
        ngx_shmtx_unlock(&zone->shpool->mutex);
        return NGX_OK;
    }

    ngx_http_sandbox_zone_change(zone->sh);

    if (rec->tenant) {
        ngx_http_sandbox_apply_tenant(zone, rec);
        rc = NGX_OK;

    } else if (rec->exposure) {
        rc = ngx_http_sandbox_apply_entry(zone, rec);

    } else {
        rc = ngx_http_sandbox_apply_node(zone, rec);
    }

    if (rc == NGX_ERROR) {
        zone->sh->refused++;
        zone->sh->full = 1;
    }

    ngx_http_sandbox_zone_changed(zone->sh);
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


/* All of them */


/*
 * A place in the walk is a bucket of the slots' table, since records come and
 * go between two steps.  Buckets hold a few records each; one that is fuller
 * than a whole step is cut.
 */

ngx_uint_t
ngx_http_sandbox_zone_walk(ngx_http_sandbox_zone_t *zone,
    ngx_uint_t *position, ngx_http_sandbox_item_t *items, ngx_uint_t max,
    ngx_uint_t *n)
{
    ngx_uint_t                 i, begin, more;
    ngx_http_sandbox_node_t   *node;
    ngx_http_sandbox_item_t   *item;
    ngx_http_sandbox_usage_t  *u;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;
    *n = 0;

    ngx_http_sandbox_zone_lock(zone);

    for (i = 0; i < NGX_HTTP_SANDBOX_WALK && *position <= sh->node_mask; i++) {

        begin = *n;

        for (node = ngx_http_sandbox_at(sh, sh->slots[*position]);
             node;
             node = ngx_http_sandbox_at(sh, node->next_slot))
        {
            if (node->gone || node->id_len == 0 || node->mark != sh->mark) {
                continue;
            }

            if (*n == max) {
                break;
            }

            item = &items[(*n)++];
            u = ngx_http_sandbox_usage_find(sh, node, 0);

            item->state = node->state;
            item->id_len = node->id_len;
            ngx_memcpy(item->id, node->id, node->id_len);
            item->used = u != NULL;

            if (u) {
                item->requests = u->requests;
                item->bytes_in = u->bytes_in;
                item->bytes_out = u->bytes_out;
                item->errors = u->errors;
                item->refused = u->refused;
            }
        }

        if (node && begin) {

            /* this one is for the next step */

            *n = begin;
            break;
        }

        (*position)++;
    }

    more = *position <= sh->node_mask;

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return more;
}


void
ngx_http_sandbox_zone_status(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_zone_status_t *status)
{
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    ngx_http_sandbox_zone_lock(zone);

    status->seq = sh->seq;
    status->complete = sh->complete;
    status->sandboxes = sh->sandboxes;
    status->exposures = sh->exposures;
    status->gone_exposures = sh->gone_exposures;
    status->tombstones = sh->tombstones;
    status->refused = sh->refused;
    status->full = sh->full;
    status->size = zone->shm_zone->shm.size;
    status->free = zone->shpool->pfree * ngx_pagesize;

    ngx_memcpy(status->states, sh->states, sizeof(status->states));
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

    sh = ngx_http_sandbox_zone_build(zone->shpool, shm_zone->shm.size);
    if (sh == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero((u_char *) sh + NGX_HTTP_SANDBOX_ZONE_STAYS,
                NGX_HTTP_SANDBOX_ZONE_ANEW - NGX_HTTP_SANDBOX_ZONE_STAYS);
    ngx_memzero(sh->workers,
                sh->nworkers * sizeof(ngx_http_sandbox_worker_t));

    if (ngx_http_sandbox_zone_random(sh->id) != NGX_OK
        || RAND_bytes(sh->hash_key, sizeof(sh->hash_key)) != 1)
    {
        return NGX_ERROR;
    }

    zone->sh = sh;
    zone->shpool->data = sh;

    return NGX_OK;
}


/*
 * All that is allocated for good, always in the same order.  What is allocated
 * later belongs to records, and goes with them.
 */

static ngx_http_sandbox_shctx_t *
ngx_http_sandbox_zone_build(ngx_slab_pool_t *shpool, size_t size)
{
    ngx_uint_t                 n;
    ngx_http_sandbox_shctx_t  *sh;

    /* too little memory is reported by us, with what it means */

    shpool->log_nomem = 0;

    sh = ngx_slab_alloc_locked(shpool, sizeof(ngx_http_sandbox_shctx_t));
    if (sh == NULL) {
        return NULL;
    }

    ngx_http_sandbox_zone_change(sh);

    ngx_memzero((u_char *) sh + NGX_HTTP_SANDBOX_ZONE_ANEW,
                sizeof(ngx_http_sandbox_shctx_t) - NGX_HTTP_SANDBOX_ZONE_ANEW);

    /* as many buckets as there can be records, rounded down */

    for (n = 64; n * 2 <= size / 512; n *= 2) { /* void */ }

    sh->node_mask = n - 1;

    /* it lies in the lowest of the pool's pages, since it came first */

    sh->base = (u_char *) ((uintptr_t) sh & ~((uintptr_t) ngx_pagesize - 1));

    /* not cleared: it survives when the zone is built again */

    sh->nworkers = size < 4 * 1024 * 1024 ? 32 : 256;
    sh->workers = ngx_slab_alloc_locked(shpool, sh->nworkers
                                         * sizeof(ngx_http_sandbox_worker_t));

    sh->ids = ngx_slab_calloc_locked(shpool,
                                     n * sizeof(ngx_http_sandbox_ref_t));
    sh->slots = ngx_slab_calloc_locked(shpool,
                                       n * sizeof(ngx_http_sandbox_ref_t));

    sh->tenants = ngx_http_sandbox_tenants_init(shpool);
    sh->failures = ngx_http_sandbox_failures_init(shpool, size);

    if (sh->workers == NULL || sh->ids == NULL || sh->slots == NULL
        || sh->tenants == NULL || sh->failures == NULL
        || ngx_http_sandbox_entries_init(sh, shpool, size) != NGX_OK
        || ngx_http_sandbox_ticket_init(sh, shpool, size) != NGX_OK)
    {
        return NULL;
    }

    sh->mark = 1;
    sh->node_size = sizeof(ngx_http_sandbox_node_t);
    sh->entry_size = sizeof(ngx_http_sandbox_entry_t);
    sh->layout = NGX_HTTP_SANDBOX_ZONE_LAYOUT;
    sh->magic = NGX_HTTP_SANDBOX_ZONE_MAGIC;

    ngx_http_sandbox_zone_changed(sh);

    return sh;
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

    if ((uint64_t) size > NGX_HTTP_SANDBOX_ZONE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size \"%V\" in \"sandbox_zone\": "
                           "must be at most 32g", &value[2]);
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
