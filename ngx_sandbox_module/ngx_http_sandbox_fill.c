/*
 * The zone as a whole: who fills it, when it is complete, and when it has to
 * begin anew; see ngx_http_sandbox_zone.h.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_node.h"


static void ngx_http_sandbox_zone_reset(ngx_http_sandbox_zone_t *zone);


ngx_uint_t
ngx_http_sandbox_zone_synced(ngx_http_sandbox_zone_t *zone, uint64_t seq,
    ngx_uint_t whole)
{
    ngx_uint_t                 complete;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;

    ngx_http_sandbox_zone_lock(zone);

    if (!ngx_http_sandbox_zone_same(zone)) {
        ngx_shmtx_unlock(&zone->shpool->mutex);
        return 1;
    }

    /*
     * A zone that has begun anew while the list was taken up holds the end of
     * it at most; the lease has gone with the rest.
     */

    whole = whole && sh->lease_pid == ngx_pid;

    if (whole || sh->complete) {

        if (seq > sh->seq) {
            sh->seq = seq;
        }

        sh->complete = 1;

        ngx_http_sandbox_zone_change(sh);
        ngx_http_sandbox_purge(zone);
        ngx_http_sandbox_zone_changed(sh);
    }

    complete = sh->complete;

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return complete;
}


ngx_uint_t
ngx_http_sandbox_zone_sweep(ngx_http_sandbox_zone_t *zone,
    ngx_uint_t *position)
{
    ngx_uint_t                 n, more;
    ngx_http_sandbox_node_t   *node, *next_node;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;
    more = 1;

    ngx_http_sandbox_zone_lock(zone);
    ngx_http_sandbox_zone_change(sh);

    for (n = 0; n < 1024 && more; n++, (*position)++) {

        more = ngx_http_sandbox_sweep_entries(zone, *position);

        if (*position > sh->node_mask) {
            continue;
        }

        more = 1;

        for (node = ngx_http_sandbox_at(sh, sh->slots[*position]);
             node;
             node = next_node)
        {
            next_node = ngx_http_sandbox_at(sh, node->next_slot);

            if (node->mark != sh->mark && !node->gone) {
                ngx_http_sandbox_drop_node(zone, node);
            }
        }
    }

    ngx_http_sandbox_zone_changed(sh);
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

    ngx_http_sandbox_zone_lock(zone);

    if (!ngx_http_sandbox_zone_same(zone)) {

        /* it has become another database's */

    } else if (sh->lease_pid == ngx_pid) {
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
    ngx_http_sandbox_zone_lock(zone);

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

    ngx_memcpy(zone->incarnation, incarnation, NGX_HTTP_SANDBOX_ZONE_ID_LEN);

    ngx_http_sandbox_zone_lock(zone);

    if (gap == NGX_HTTP_SANDBOX_NO_SEQ && !ngx_http_sandbox_zone_same(zone)) {
        sh->lease_pid = 0;

        ngx_http_sandbox_zone_change(sh);
        ngx_http_sandbox_tenants_clear(zone);
        ngx_http_sandbox_zone_changed(sh);

        ngx_http_sandbox_zone_reset(zone);

        /* the last step: who dies before it leaves all of them to others */

        ngx_memcpy(sh->incarnation, incarnation, NGX_HTTP_SANDBOX_ZONE_ID_LEN);

    } else if (ngx_http_sandbox_zone_same(zone)
               && sh->complete && sh->seq == gap)
    {
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

    /* of what had it before it went round, nothing has been left by sweeps */

    sh->mark = (sh->mark + 1) & 0xffff;

    ngx_http_sandbox_zone_change(sh);
    ngx_http_sandbox_purge(zone);
    ngx_http_sandbox_zone_changed(sh);
}
