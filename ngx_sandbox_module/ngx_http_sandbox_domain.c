/*
 * Host names beside those of the configuration: whole ones that lead to an
 * exposure, and domains below which labels do, both changed through the API.
 *
 * No parsing decides who gets a request.  A host name is looked up as it is;
 * one that isn't known is a label below what follows its first dot, if that is
 * a domain.  sandboxd gives no host name that could be such a label.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_node.h"

#include "sandbox_route.h"


#define NGX_HTTP_SANDBOX_OWNER_NONE    0x40000000  /* the default tenant */
#define NGX_HTTP_SANDBOX_OWNER_TENANT  0x80000000


static ngx_http_sandbox_entry_t *ngx_http_sandbox_below(
    ngx_http_sandbox_shctx_t *sh, ngx_str_t *host, ngx_uint_t *unsure);
static ngx_uint_t ngx_http_sandbox_owned(uint32_t owner, u_char *id,
    size_t len);


/* The five characters of [a-z2-7] behind the "t" fit into 25 bits. */

uint32_t
ngx_http_sandbox_owner(ngx_str_t *prefix)
{
    u_char      ch;
    uint32_t    owner;
    ngx_uint_t  i;

    if (prefix->len == 0) {
        return NGX_HTTP_SANDBOX_OWNER_NONE;
    }

    owner = 0;

    for (i = 1; i < SANDBOX_PREFIX_LEN; i++) {
        ch = prefix->data[i];
        owner = owner << 5 | ((ch >= 'a' ? ch - 'a' : ch - '2' + 26) & 31);
    }

    return NGX_HTTP_SANDBOX_OWNER_TENANT | owner;
}


static ngx_uint_t
ngx_http_sandbox_owned(uint32_t owner, u_char *id, size_t len)
{
    ngx_str_t  prefix;

    if (owner == 0) {
        return 1;
    }

    prefix.data = id;
    prefix.len = sandbox_id_reserved((char *) id, len) ? SANDBOX_PREFIX_LEN
                                                       : 0;

    return ngx_http_sandbox_owner(&prefix) == owner;
}


ngx_int_t
ngx_http_sandbox_zone_host(ngx_http_sandbox_zone_t *zone, ngx_str_t *host,
    ngx_http_sandbox_exposure_t *exposure, ngx_http_sandbox_info_t *info)
{
    ngx_int_t                  rc;
    ngx_uint_t                 unsure;
    ngx_http_sandbox_hash_t    hash;
    ngx_http_sandbox_entry_t  *entry;
    ngx_http_sandbox_shctx_t  *sh;

    sh = zone->sh;
    unsure = 0;

    ngx_http_sandbox_hash_label(sh, host, &hash);

    ngx_http_sandbox_zone_lock(zone);

    entry = ngx_http_sandbox_find_entry(sh, &hash);

    if (entry == NULL || entry->mark != sh->mark || !entry->linked) {
        unsure = !sh->complete || sh->full;
        entry = ngx_http_sandbox_below(sh, host, &unsure);
    }

    if (entry == NULL || entry->access == 0) {
        rc = unsure ? NGX_AGAIN : NGX_DECLINED;

    } else {
        rc = ngx_http_sandbox_copy_entry(sh, entry, host, exposure, info);
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return rc;
}


/*
 * The exposure that is one label below a domain, if the domain is its
 * sandbox's.  While the zone is incomplete, what it doesn't hold may be there.
 */

static ngx_http_sandbox_entry_t *
ngx_http_sandbox_below(ngx_http_sandbox_shctx_t *sh, ngx_str_t *host,
    ngx_uint_t *unsure)
{
    u_char                    *dot;
    ngx_str_t                  name;
    ngx_http_sandbox_hash_t    hash;
    ngx_http_sandbox_node_t   *node;
    ngx_http_sandbox_entry_t  *domain, *entry;

    if (sh->domains == 0) {
        return NULL;
    }

    dot = ngx_strlchr(host->data, host->data + host->len, '.');

    if (dot == NULL || dot == host->data) {
        return NULL;
    }

    name.data = dot;
    name.len = host->data + host->len - dot;

    ngx_http_sandbox_hash_label(sh, &name, &hash);
    domain = ngx_http_sandbox_find_entry(sh, &hash);

    if (domain == NULL || domain->mark != sh->mark || !domain->linked) {
        return NULL;
    }

    name.data = host->data;
    name.len = dot - host->data;

    ngx_http_sandbox_hash_label(sh, &name, &hash);
    entry = ngx_http_sandbox_find_entry(sh, &hash);

    if (entry == NULL || entry->mark != sh->mark || !entry->linked) {
        return NULL;
    }

    /* an exposure that is known before its sandbox is asked about */

    node = ngx_http_sandbox_find_slot(sh, entry->slot);

    if (entry->id_len
        && !ngx_http_sandbox_owned(domain->gen, node->id, node->id_len))
    {
        *unsure = 0;
        return NULL;
    }

    return entry;
}


ngx_int_t
ngx_http_sandbox_zone_domain(ngx_http_sandbox_zone_t *zone, ngx_str_t *domain,
    ngx_str_t *id)
{
    u_char                     dotted[NGX_HTTP_SANDBOX_LABEL_MAX];
    ngx_int_t                  rc;
    ngx_str_t                  name;
    ngx_http_sandbox_hash_t    hash;
    ngx_http_sandbox_entry_t  *entry;
    ngx_http_sandbox_shctx_t  *sh;

    if (domain->len >= NGX_HTTP_SANDBOX_LABEL_MAX) {
        return NGX_DECLINED;
    }

    sh = zone->sh;

    dotted[0] = '.';
    ngx_memcpy(dotted + 1, domain->data, domain->len);
    name.data = dotted;
    name.len = domain->len + 1;

    ngx_http_sandbox_hash_label(sh, &name, &hash);

    ngx_http_sandbox_zone_lock(zone);

    entry = ngx_http_sandbox_find_entry(sh, &hash);

    if (entry && entry->mark == sh->mark) {
        rc = entry->linked
             && ngx_http_sandbox_owned(entry->gen, id->data, id->len)
             ? NGX_OK : NGX_DECLINED;

    } else {
        rc = sh->complete && !sh->full ? NGX_DECLINED : NGX_AGAIN;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return rc;
}
