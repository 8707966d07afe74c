/*
 * Tenants: who is known inside by which prefix.  Outside of this file and of
 * sandboxd's records nobody puts a prefix before an id or takes one away.
 *
 * The zone knows all tenants, since sandboxd tells of them as it does of
 * sandboxes.  One that is named for the first time is asked of sandboxd.
 */


#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_node.h"

#include "sandbox_label.h"
#include "sandbox_route.h"


#define NGX_HTTP_SANDBOX_NAME_ROOM     (sizeof(":control") - 1)
#define NGX_HTTP_SANDBOX_TENANT_MASK   0x3ff


typedef struct ngx_http_sandbox_tenant_s  ngx_http_sandbox_tenant_t;


struct ngx_http_sandbox_tenant_s {
    ngx_http_sandbox_tenant_t    *next_name;
    ngx_http_sandbox_tenant_t    *next_prefix;
    u_char                        prefix[SANDBOX_PREFIX_LEN];
    u_char                        name_len;
    u_char                        name[1];
};


struct ngx_http_sandbox_tenants_s {
    ngx_http_sandbox_tenant_t
        *names[NGX_HTTP_SANDBOX_TENANT_MASK + 1];
    ngx_http_sandbox_tenant_t
        *prefixes[NGX_HTTP_SANDBOX_TENANT_MASK + 1];
};


static ngx_http_sandbox_tenant_t *ngx_http_sandbox_tenant_find(
    ngx_http_sandbox_shctx_t *sh, ngx_str_t *name,
    ngx_http_sandbox_tenant_t ***bucket);
static void ngx_http_sandbox_prefix_told(ngx_http_request_t *r, void *data,
    json_t *result, ngx_http_sandbox_error_t *err);


/* Names */


ngx_int_t
ngx_http_sandbox_qualify(ngx_pool_t *pool, ngx_http_sandbox_caller_t *caller,
    ngx_str_t *id, ngx_str_t *name)
{
    u_char  *p;

    name->data = ngx_pnalloc(pool, caller->prefix.len + 1 + id->len
                                   + NGX_HTTP_SANDBOX_NAME_ROOM);
    if (name->data == NULL) {
        return NGX_ERROR;
    }

    p = name->data;

    if (caller->prefix.len) {
        p = ngx_cpymem(p, caller->prefix.data, caller->prefix.len);
        *p++ = '-';
    }

    name->len = ngx_cpymem(p, id->data, id->len) - name->data;

    return NGX_OK;
}


ngx_str_t
ngx_http_sandbox_local_id(ngx_str_t *name)
{
    ngx_str_t  id;

    id = *name;

    if (sandbox_id_reserved((char *) id.data, id.len)) {
        id.data += SANDBOX_PREFIX_LEN + 1;
        id.len -= SANDBOX_PREFIX_LEN + 1;
    }

    return id;
}


json_t *
ngx_http_sandbox_caller_json(ngx_http_sandbox_caller_t *caller)
{
    if (caller == NULL) {
        return json_null();
    }

    return json_pack("{s:s%, s:s%, s:b, s:{s:i, s:i}}",
                     "tenant", (char *) caller->tenant.data,
                     caller->tenant.len, "key", (char *) caller->name.data,
                     caller->name.len, "create", (int) caller->create,
                     "limits", "sandboxes", (int) caller->sandboxes,
                     "startsPerMinute", (int) caller->starts);
}


ngx_uint_t
ngx_http_sandbox_owns(ngx_http_sandbox_caller_t *caller, ngx_str_t *name)
{
    if (caller->tenant.len == 0) {
        return !sandbox_id_reserved((char *) name->data, name->len);
    }

    return caller->prefix.len && name->len > caller->prefix.len
           && name->data[caller->prefix.len] == '-'
           && ngx_memcmp(name->data, caller->prefix.data, caller->prefix.len)
              == 0;
}


/* A request whose tenant's prefix has to be found out */


ngx_int_t
ngx_http_sandbox_find_prefix(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t *caller)
{
    u_char                        *p;
    ngx_http_sandbox_main_conf_t  *smcf;

    if (caller->tenant.len == 0 || caller->prefix.len != 0) {
        return NGX_OK;
    }

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);

    p = ngx_pnalloc(r->pool, SANDBOX_PREFIX_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_sandbox_zone_prefix(smcf->zone, &caller->tenant, p) == NGX_OK)
    {
        caller->prefix.data = p;
        caller->prefix.len = SANDBOX_PREFIX_LEN;
        return NGX_OK;
    }

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_sandbox_call(r, json_pack("{s:s,s:s%}", "op", "tenant",
                                           "name",
                                           (char *) caller->tenant.data,
                                           caller->tenant.len),
                              smcf->call_timeout,
                              ngx_http_sandbox_prefix_told, caller)
        != NGX_OK)
    {
        return ngx_http_sandbox_reject(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                       "unavailable",
                                       "Too many requests wait for sandboxd",
                                       3);
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    return NGX_AGAIN;
}


static void
ngx_http_sandbox_prefix_told(ngx_http_request_t *r, void *data, json_t *result,
    ngx_http_sandbox_error_t *err)
{
    ngx_http_sandbox_caller_t *caller = data;

    json_t  *prefix;

    if (err) {
        ngx_http_finalize_request(r, ngx_http_sandbox_send_failure(r, err));
        return;
    }

    prefix = json_object_get(result, "prefix");

    if (json_string_length(prefix) != SANDBOX_PREFIX_LEN) {
        ngx_http_finalize_request(r, ngx_http_sandbox_send_error(r,
                                         NGX_HTTP_BAD_GATEWAY,
                                         "internal_error",
                                         "sandboxd's answer names no prefix",
                                         0));
        return;
    }

    caller->prefix.len = SANDBOX_PREFIX_LEN;
    caller->prefix.data = ngx_pnalloc(r->pool, SANDBOX_PREFIX_LEN);

    if (caller->prefix.data == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_memcpy(caller->prefix.data, json_string_value(prefix),
               SANDBOX_PREFIX_LEN);

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
}


/* The zone's table */


ngx_http_sandbox_tenants_t *
ngx_http_sandbox_tenants_init(ngx_slab_pool_t *shpool)
{
    return ngx_slab_calloc_locked(shpool, sizeof(ngx_http_sandbox_tenants_t));
}


static ngx_http_sandbox_tenant_t *
ngx_http_sandbox_tenant_find(ngx_http_sandbox_shctx_t *sh, ngx_str_t *name,
    ngx_http_sandbox_tenant_t ***bucket)
{
    ngx_http_sandbox_tenant_t  *t;

    *bucket = &sh->tenants->names[sandbox_label_hash(sh->hash_key, name->data,
                                                     name->len)
                                  & NGX_HTTP_SANDBOX_TENANT_MASK];

    for (t = **bucket; t; t = t->next_name) {
        if (t->name_len == name->len
            && ngx_memcmp(t->name, name->data, name->len) == 0)
        {
            return t;
        }
    }

    return NULL;
}


static ngx_http_sandbox_tenant_t **
ngx_http_sandbox_prefix_bucket(ngx_http_sandbox_shctx_t *sh, u_char *prefix)
{
    return &sh->tenants->prefixes[sandbox_label_hash(sh->hash_key, prefix,
                                                     SANDBOX_PREFIX_LEN)
                                  & NGX_HTTP_SANDBOX_TENANT_MASK];
}


/* Without a place for it, sandboxd is asked each time. */

void
ngx_http_sandbox_apply_tenant(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_record_t *rec)
{
    ngx_http_sandbox_tenant_t  *t, **names, **prefixes;

    if (ngx_http_sandbox_tenant_find(zone->sh, &rec->name, &names)) {
        return;
    }

    t = ngx_slab_alloc_locked(zone->shpool,
                              offsetof(ngx_http_sandbox_tenant_t, name)
                              + rec->name.len);
    if (t == NULL) {
        return;
    }

    t->name_len = (u_char) rec->name.len;
    ngx_memcpy(t->name, rec->name.data, rec->name.len);
    ngx_memcpy(t->prefix, rec->prefix.data, SANDBOX_PREFIX_LEN);

    t->next_name = *names;
    *names = t;

    prefixes = ngx_http_sandbox_prefix_bucket(zone->sh, t->prefix);
    t->next_prefix = *prefixes;
    *prefixes = t;
}


void
ngx_http_sandbox_tenants_clear(ngx_http_sandbox_zone_t *zone)
{
    ngx_uint_t                   i;
    ngx_http_sandbox_tenant_t   *t, *next;
    ngx_http_sandbox_tenants_t  *tenants;

    tenants = zone->sh->tenants;

    for (i = 0; i <= NGX_HTTP_SANDBOX_TENANT_MASK; i++) {
        for (t = tenants->names[i]; t; t = next) {
            next = t->next_name;
            ngx_slab_free_locked(zone->shpool, t);
        }
    }

    ngx_memzero(tenants, sizeof(ngx_http_sandbox_tenants_t));
}


ngx_int_t
ngx_http_sandbox_zone_prefix(ngx_http_sandbox_zone_t *zone, ngx_str_t *tenant,
    u_char *prefix)
{
    ngx_http_sandbox_tenant_t  *t, **bucket;

    ngx_http_sandbox_zone_lock(zone);

    t = ngx_http_sandbox_tenant_find(zone->sh, tenant, &bucket);

    if (t) {
        ngx_memcpy(prefix, t->prefix, SANDBOX_PREFIX_LEN);
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return t ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_http_sandbox_zone_tenant(ngx_http_sandbox_zone_t *zone, u_char *prefix,
    ngx_pool_t *pool, ngx_str_t *tenant)
{
    u_char                      name[NGX_HTTP_SANDBOX_TENANT_MAX];
    ngx_http_sandbox_tenant_t  *t;

    tenant->len = 0;

    ngx_http_sandbox_zone_lock(zone);

    for (t = *ngx_http_sandbox_prefix_bucket(zone->sh, prefix); t;
         t = t->next_prefix)
    {
        if (ngx_memcmp(t->prefix, prefix, SANDBOX_PREFIX_LEN) == 0) {
            tenant->len = t->name_len;
            ngx_memcpy(name, t->name, t->name_len);
            break;
        }
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (tenant->len == 0) {
        return NGX_DECLINED;
    }

    tenant->data = ngx_pnalloc(pool, tenant->len);
    if (tenant->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(tenant->data, name, tenant->len);

    return NGX_OK;
}
