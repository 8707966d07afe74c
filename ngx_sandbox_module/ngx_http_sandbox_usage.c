/*
 * Limits and counters of sandboxes and their ports, in the zone.  Rates are
 * leaky buckets in the form of GCRA: one number, the time at which the bucket
 * will have run empty.  Bytes may overdraw it, since they are counted when they
 * have gone; the next ones then wait.
 *
 * Connections are counted as shares of workers.  A share counts while the block
 * of its worker has the same generation, so a worker that is killed leaves no
 * count behind.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_node.h"


#define NGX_HTTP_SANDBOX_SLACK         250000  /* us of bytes ahead of time */

/* _zone.c is sized for that. */

_Static_assert(sizeof(ngx_http_sandbox_usage_t) <= 128,
               "a usage is too large");


static ngx_http_sandbox_usage_t *ngx_http_sandbox_usage_get(
    ngx_http_sandbox_zone_t *zone, ngx_http_sandbox_node_t *node,
    ngx_uint_t port);
static ngx_http_sandbox_usage_t *ngx_http_sandbox_usage_serial(
    ngx_http_sandbox_shctx_t *sh, ngx_http_sandbox_grant_t *grant,
    ngx_uint_t i);
static void ngx_http_sandbox_usage_free(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_usage_t *u);
static void ngx_http_sandbox_usage_lower(ngx_http_sandbox_limits_t *l,
    ngx_http_sandbox_limits_t *above);
static ngx_uint_t ngx_http_sandbox_usage_exceeds(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_usage_t *u, ngx_http_sandbox_limits_t *l, off_t length,
    ngx_http_sandbox_excess_t *excess);
static ngx_uint_t ngx_http_sandbox_shares_count(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_usage_t *u);
static ngx_int_t ngx_http_sandbox_share_take(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_usage_t *u);
static void ngx_http_sandbox_share_drop(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_usage_t *u);


/* Usages */


ngx_http_sandbox_usage_t *
ngx_http_sandbox_usage_find(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *node, ngx_uint_t port)
{
    ngx_http_sandbox_usage_t  *u;

    for (u = ngx_http_sandbox_at(sh, node->usage);
         u;
         u = ngx_http_sandbox_at(sh, u->next))
    {
        if (u->port == port) {
            return u;
        }
    }

    return NULL;
}


static ngx_http_sandbox_usage_t *
ngx_http_sandbox_usage_get(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_node_t *node, ngx_uint_t port)
{
    ngx_http_sandbox_usage_t  *u;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;
    u = ngx_http_sandbox_usage_find(sh, node, port);

    if (u) {
        return u;
    }

    u = ngx_slab_calloc_locked(zone->shpool, sizeof(ngx_http_sandbox_usage_t));
    if (u == NULL) {
        return NULL;
    }

    if (++sh->usage_serial == 0) {
        sh->usage_serial = 1;
    }

    u->serial = sh->usage_serial;
    u->port = (uint16_t) port;
    u->next = node->usage;
    ngx_memory_barrier();
    node->usage = ngx_http_sandbox_ref(sh, u);

    return u;
}


/* What a grant speaks of, if it is still there. */

static ngx_http_sandbox_usage_t *
ngx_http_sandbox_usage_serial(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_grant_t *grant, ngx_uint_t i)
{
    ngx_http_sandbox_node_t   *node;
    ngx_http_sandbox_usage_t  *u;

    if (grant->serial[i] == 0) {
        return NULL;
    }

    node = ngx_http_sandbox_find_slot(sh, grant->slot);

    u = node ? ngx_http_sandbox_at(sh, node->usage) : NULL;

    while (u && u->serial != grant->serial[i]) {
        u = ngx_http_sandbox_at(sh, u->next);
    }

    return u;
}


ngx_int_t
ngx_http_sandbox_usage_limits(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_node_t *node, ngx_uint_t port,
    ngx_http_sandbox_limits_t *limits)
{
    ngx_http_sandbox_usage_t  *u;

    if (limits == NULL) {
        u = ngx_http_sandbox_usage_find(zone->sh, node, port);

        if (u && u->limited) {
            u->limited = 0;
            node->limited--;
            ngx_memzero(&u->limits, sizeof(ngx_http_sandbox_limits_t));
        }

        return NGX_OK;
    }

    u = ngx_http_sandbox_usage_get(zone, node, port);
    if (u == NULL) {
        return NGX_ERROR;
    }

    if (!u->limited) {
        u->limited = 1;
        node->limited++;
    }

    if (ngx_memcmp(&u->limits, limits, sizeof(ngx_http_sandbox_limits_t)) != 0)
    {
        u->limits = *limits;

        /* what was owed was owed at other rates */

        u->requests_at = 0;
        u->out_at = 0;
        u->in_at = 0;
    }

    return NGX_OK;
}


static void
ngx_http_sandbox_usage_free(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_usage_t *u)
{
    ngx_http_sandbox_share_t  *share;

    while (u->shares) {
        share = ngx_http_sandbox_at(zone->sh, u->shares);
        u->shares = share->next;
        ngx_slab_free_locked(zone->shpool, share);
    }

    ngx_slab_free_locked(zone->shpool, u);
}


void
ngx_http_sandbox_usage_drop(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_node_t *node)
{
    ngx_http_sandbox_usage_t  *u;

    while (node->usage) {
        u = ngx_http_sandbox_at(zone->sh, node->usage);
        node->usage = u->next;
        ngx_http_sandbox_usage_free(zone, u);
    }

    node->limited = 0;
}


void
ngx_http_sandbox_usage_unport(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_node_t *node, ngx_uint_t port)
{
    ngx_http_sandbox_ref_t    *p;
    ngx_http_sandbox_entry_t  *e;
    ngx_http_sandbox_usage_t  *u;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    if (node->usage == 0) {
        return;
    }

    for (e = ngx_http_sandbox_at(sh, node->entries);
         e;
         e = ngx_http_sandbox_at(sh, e->sibling))
    {
        if (e->port == port) {
            return;
        }
    }

    for (p = &node->usage; *p; p = &u->next) {
        u = ngx_http_sandbox_at(sh, *p);

        if (u->port == port) {
            *p = u->next;
            node->limited -= u->limited;
            ngx_http_sandbox_usage_free(zone, u);
            return;
        }
    }
}


/* Requests */


/* What holds for every sandbox is a bound of what one may have. */

static void
ngx_http_sandbox_usage_lower(ngx_http_sandbox_limits_t *l,
    ngx_http_sandbox_limits_t *above)
{
    if (above->requests
        && (l->requests == 0 || l->requests > above->requests))
    {
        l->requests = above->requests;
        l->burst = above->burst;

    } else if (l->requests == above->requests && l->burst > above->burst) {
        l->burst = above->burst;
    }

    if (above->connections
        && (l->connections == 0 || l->connections > above->connections))
    {
        l->connections = above->connections;
    }

    if (above->out && (l->out == 0 || l->out > above->out)) {
        l->out = above->out;
    }

    if (above->in && (l->in == 0 || l->in > above->in)) {
        l->in = above->in;
    }

    if (above->body && (l->body == 0 || l->body > above->body)) {
        l->body = above->body;
    }
}


ngx_int_t
ngx_http_sandbox_usage_enter(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_ctx_t *ctx, ngx_http_sandbox_limits_t *above,
    off_t length, ngx_http_sandbox_grant_t *grant,
    ngx_http_sandbox_excess_t *excess)
{
    ngx_int_t                   rc;
    uint64_t                    now;
    ngx_uint_t                  i;
    ngx_http_sandbox_node_t    *node;
    ngx_http_sandbox_usage_t   *u[2];
    ngx_http_sandbox_shctx_t   *sh;
    ngx_http_sandbox_limits_t   l[2];

    ngx_memzero(grant, sizeof(ngx_http_sandbox_grant_t));
    ngx_memzero(excess, sizeof(ngx_http_sandbox_excess_t));
    ngx_memzero(l, sizeof(l));

    sh = zone->sh;
    rc = NGX_BUSY;
    now = (uint64_t) ngx_current_msec * 1000;
    grant->slot = ctx->slot;

    ngx_http_sandbox_zone_lock(zone);

    node = ngx_http_sandbox_find_slot(sh, ctx->slot);

    if (node == NULL || node->gone) {
        excess->what = sandbox_excess_room;
        goto done;
    }

    u[0] = ngx_http_sandbox_usage_find(sh, node, 0);
    u[1] = ngx_http_sandbox_usage_find(sh, node, ctx->port);

    for (i = 0; i < 2; i++) {
        if (u[i] && u[i]->limited) {
            l[i] = u[i]->limits;
        }
    }

    if (above) {
        ngx_http_sandbox_usage_lower(&l[0], above);

        if (u[0] == NULL) {
            ngx_http_sandbox_zone_change(sh);
            u[0] = ngx_http_sandbox_usage_get(zone, node, 0);
            ngx_http_sandbox_zone_changed(sh);
        }

        if (u[0] == NULL) {
            excess->what = sandbox_excess_room;
            goto done;
        }

    } else if (node->limited == 0) {

        /* the limits that sandboxd has told of may have found no place */

        if (sh->full) {
            excess->what = sandbox_excess_room;

        } else {
            rc = NGX_DECLINED;
        }

        goto done;
    }

    for (i = 0; i < 2; i++) {
        if (u[i] && ngx_http_sandbox_usage_exceeds(sh, u[i], &l[i], length,
                                                   excess))
        {
            excess->exposure = i;
            u[i]->refused++;
            goto done;
        }
    }

    for (i = 0; i < 2; i++) {
        if (u[i] == NULL) {
            continue;
        }

        grant->serial[i] = u[i]->serial;

        if (l[i].connections) {
            ngx_http_sandbox_zone_change(sh);

            if (ngx_http_sandbox_share_take(zone, u[i]) != NGX_OK) {
                excess->what = sandbox_excess_room;

                if (grant->counted) {
                    ngx_http_sandbox_share_drop(zone, u[0]);
                }

                ngx_http_sandbox_zone_changed(sh);
                goto done;
            }

            ngx_http_sandbox_zone_changed(sh);
            grant->counted |= 1 << i;
        }
    }

    for (i = 0; i < 2; i++) {
        if (u[i] == NULL) {
            continue;
        }

        if (l[i].requests) {
            u[i]->requests_at = ngx_max(u[i]->requests_at, now)
                                + 1000000 / l[i].requests;
        }

        grant->out[i] = l[i].out;
        grant->in[i] = l[i].in;

        if (l[i].body && (grant->body == 0 || grant->body > l[i].body)) {
            grant->body = l[i].body;
        }
    }

    rc = NGX_OK;

done:

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return rc;
}


static ngx_uint_t
ngx_http_sandbox_usage_exceeds(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_usage_t *u, ngx_http_sandbox_limits_t *l, off_t length,
    ngx_http_sandbox_excess_t *excess)
{
    uint64_t  now, allowed;

    if (l->body && length > 0 && (uint64_t) length > l->body) {
        excess->what = sandbox_excess_body;
        excess->limit = l->body;
        return 1;
    }

    if (l->connections
        && ngx_http_sandbox_shares_count(sh, u) >= l->connections)
    {
        /* of a worker that was killed just now, nobody may know yet */

        (void) ngx_http_sandbox_workers_check(sh);

        if (ngx_http_sandbox_shares_count(sh, u) >= l->connections) {
            excess->what = sandbox_excess_connections;
            excess->limit = l->connections;
            excess->retry_after = 1;
            return 1;
        }
    }

    if (l->requests) {
        now = (uint64_t) ngx_current_msec * 1000;
        allowed = now + (uint64_t) l->burst * (1000000 / l->requests);

        if (u->requests_at > allowed) {
            excess->what = sandbox_excess_requests;
            excess->limit = l->requests;
            excess->retry_after = (u->requests_at - allowed + 999999)
                                  / 1000000;
            return 1;
        }
    }

    return 0;
}


void
ngx_http_sandbox_usage_leave(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_grant_t *grant)
{
    ngx_uint_t                 i;
    ngx_http_sandbox_usage_t  *u;

    if (!grant->counted) {
        return;
    }

    ngx_http_sandbox_zone_lock(zone);

    ngx_http_sandbox_zone_change(zone->sh);

    for (i = 0; i < 2; i++) {
        if (!(grant->counted & (1 << i))) {
            continue;
        }

        u = ngx_http_sandbox_usage_serial(zone->sh, grant, i);

        if (u) {
            ngx_http_sandbox_share_drop(zone, u);
        }
    }

    ngx_http_sandbox_zone_changed(zone->sh);

    ngx_shmtx_unlock(&zone->shpool->mutex);

    grant->counted = 0;
}


ngx_msec_t
ngx_http_sandbox_usage_pace(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_grant_t *grant, ngx_uint_t in, size_t bytes)
{
    uint64_t                   now, *at, ahead;
    uint32_t                   rate;
    ngx_uint_t                 i;
    ngx_msec_t                 wait, ms;
    ngx_http_sandbox_usage_t  *u;

    now = (uint64_t) ngx_current_msec * 1000;
    wait = 0;

    ngx_http_sandbox_zone_lock(zone);

    for (i = 0; i < 2; i++) {
        rate = in ? grant->in[i] : grant->out[i];

        if (rate == 0) {
            continue;
        }

        u = ngx_http_sandbox_usage_serial(zone->sh, grant, i);

        if (u == NULL) {
            continue;
        }

        at = in ? &u->in_at : &u->out_at;

        *at = ngx_max(*at, now) + (uint64_t) bytes * 1000000 / rate;
        ahead = *at - now;

        if (ahead > NGX_HTTP_SANDBOX_SLACK) {
            ms = (ngx_msec_t) (ahead - NGX_HTTP_SANDBOX_SLACK) / 1000 + 1;
            wait = ngx_max(wait, ms);
        }
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return wait;
}


void
ngx_http_sandbox_usage_count(ngx_http_request_t *r,
    ngx_http_sandbox_ctx_t *ctx, off_t in, off_t out)
{
    ngx_http_sandbox_node_t       *node;
    ngx_http_sandbox_zone_t       *zone;
    ngx_http_sandbox_usage_t      *u;
    ngx_http_sandbox_main_conf_t  *smcf;

    if (!ctx->authorised || !ctx->known) {
        return;
    }

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);
    zone = smcf->zone;

    ngx_http_sandbox_zone_lock(zone);

    node = ngx_http_sandbox_find_slot(zone->sh, ctx->slot);

    u = node ? ngx_http_sandbox_usage_find(zone->sh, node, 0) : NULL;

    if (u == NULL && node && !node->gone) {
        ngx_http_sandbox_zone_change(zone->sh);
        u = ngx_http_sandbox_usage_get(zone, node, 0);
        ngx_http_sandbox_zone_changed(zone->sh);
    }

    if (u) {
        u->requests++;
        u->bytes_in += in;
        u->bytes_out += out;
        u->errors += r->headers_out.status >= NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);
}


/* Shares */


static ngx_uint_t
ngx_http_sandbox_shares_count(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_usage_t *u)
{
    ngx_uint_t                  n;
    ngx_http_sandbox_share_t   *share;
    ngx_http_sandbox_worker_t  *w;

    n = 0;

    for (share = ngx_http_sandbox_at(sh, u->shares);
         share;
         share = ngx_http_sandbox_at(sh, share->next))
    {
        w = &sh->workers[share->worker];

        if (w->generation == share->generation) {
            n += share->count;
        }
    }

    return n;
}


static ngx_int_t
ngx_http_sandbox_share_take(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_usage_t *u)
{
    ngx_http_sandbox_ref_t     *p;
    ngx_http_sandbox_share_t   *share, *own;
    ngx_http_sandbox_shctx_t   *sh;
    ngx_http_sandbox_worker_t  *w, *self;

    sh = zone->sh;
    self = ngx_http_sandbox_worker();
    own = NULL;

    if (self == NULL) {
        return NGX_ERROR;
    }

    for (p = &u->shares; *p; /* void */) {
        share = ngx_http_sandbox_at(sh, *p);
        w = &sh->workers[share->worker];

        if (w->generation != share->generation) {
            *p = share->next;
            ngx_slab_free_locked(zone->shpool, share);
            continue;
        }

        if (w == self) {
            own = share;
        }

        p = &share->next;
    }

    if (own == NULL) {
        own = ngx_slab_calloc_locked(zone->shpool,
                                     sizeof(ngx_http_sandbox_share_t));
        if (own == NULL) {
            return NGX_ERROR;
        }

        own->worker = (uint32_t) (self - sh->workers);
        own->generation = self->generation;
        own->next = u->shares;
        ngx_memory_barrier();
        u->shares = ngx_http_sandbox_ref(sh, own);
    }

    own->count++;

    return NGX_OK;
}


static void
ngx_http_sandbox_share_drop(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_usage_t *u)
{
    ngx_http_sandbox_ref_t     *p;
    ngx_http_sandbox_share_t   *share;
    ngx_http_sandbox_worker_t  *self;

    self = ngx_http_sandbox_worker();

    if (self == NULL) {
        return;
    }

    for (p = &u->shares; *p; p = &share->next) {
        share = ngx_http_sandbox_at(zone->sh, *p);

        if (share->worker == self - zone->sh->workers
            && share->generation == self->generation)
        {
            if (--share->count == 0) {
                *p = share->next;
                ngx_slab_free_locked(zone->shpool, share);
            }

            return;
        }
    }
}
