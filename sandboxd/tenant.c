/* Tenants, their prefixes and their quotas; see tenant.h. */

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "sandboxd/tenant.h"

#define PREFIX_TRIES  64


static void
tenant_set(tenant *t, const char *name, const char *prefix)
{
    t->item.kind = ITEM_TENANT;
    strcpy(t->name, name);
    strcpy(t->prefix, prefix);
}


void
tenants_init(registry *r, uint64_t seed)
{
    table_init(&r->tenants_by_name, seed);
    table_init(&r->tenants_by_prefix, seed);

    r->nobody = calloc(1, sizeof(tenant));
    if (r->nobody == NULL) {
        abort();
    }

    tenant_set(r->nobody, "", "");
}


static void
tenant_free(tenant *t)
{
    journal_free(&t->aged);
    free(t);
}


void
tenants_free(registry *r)
{
    size_t       i;
    table_node  *node;

    for (i = 0; i <= r->tenants_by_name.mask; i++) {
        while ((node = r->tenants_by_name.buckets[i]) != NULL) {
            table_remove(&r->tenants_by_name, node);
            tenant_free(container_of(node, tenant, by_name));
        }
    }

    table_free(&r->tenants_by_name);
    table_free(&r->tenants_by_prefix);
    tenant_free(r->nobody);
}


tenant *
tenant_add(registry *r, const char *name, const char *prefix)
{
    tenant  *t;

    t = calloc(1, sizeof(tenant));
    if (t == NULL) {
        abort();
    }

    tenant_set(t, name, prefix);
    table_add(&r->tenants_by_name, &t->by_name, t->name, strlen(t->name));
    table_add(&r->tenants_by_prefix, &t->by_prefix, t->prefix, PREFIX_LEN);

    return t;
}


tenant *
tenant_find(registry *r, const char *name)
{
    table_node  *node;

    if (name[0] == '\0') {
        return r->nobody;
    }

    node = table_find(&r->tenants_by_name, name, strlen(name));

    return node ? container_of(node, tenant, by_name) : NULL;
}


tenant *
tenant_of_name(registry *r, const char *name)
{
    table_node  *node;

    if (name_id(name) == name) {
        return r->nobody;
    }

    node = table_find(&r->tenants_by_prefix, name, PREFIX_LEN);

    return node ? container_of(node, tenant, by_prefix) : NULL;
}


/* 25 random bits: with all the tenants that there may be, one try in 500 meets
 * another's. */
static int
prefix_generate(registry *r, char prefix[PREFIX_LEN + 1], error **err)
{
    unsigned  i;

    prefix[0] = 't';

    for (i = 0; i < PREFIX_TRIES; i++) {

        if (base32_generate(prefix + 1, PREFIX_LEN - 1, err) < 0) {
            return -1;
        }

        if (table_find(&r->tenants_by_prefix, prefix, PREFIX_LEN) == NULL) {
            return 0;
        }
    }

    return error_set(err, 503, "busy", "no free prefix was found");
}


tenant *
tenant_get(registry *r, const char *name, error **err)
{
    char           prefix[PREFIX_LEN + 1];
    change        *c;
    tenant        *t;
    store_tenant   row;

    t = tenant_find(r, name);
    if (t != NULL) {
        return t;
    }

    if (r->tenants_by_name.count >= TENANTS_MAX) {
        error_set_field(err, 503, "capacity_exceeded", "tenant", TENANTS_MAX,
                        "this host has %d tenants, the most it takes",
                        TENANTS_MAX);
        return NULL;
    }

    if (store_check(r->store, err) < 0
        || prefix_generate(r, prefix, err) < 0)
    {
        return NULL;
    }

    t = tenant_add(r, name, prefix);

    c = change_add(r, &t->item, true);
    t->seq = c->seq;

    row.seq = t->seq;
    row.name = t->name;
    row.prefix = t->prefix;
    store_put_tenant(r->store, &row);

    log_info("tenant \"%s\" has the prefix %s", t->name, t->prefix);

    return t;
}


void
tenant_qualify(const tenant *t, const char *id, char name[QUALIFIED_MAX + 1])
{
    if (t->prefix[0] != '\0') {
        memcpy(name, t->prefix, PREFIX_LEN);
        name[PREFIX_LEN] = '-';
        name += PREFIX_LEN + 1;
    }

    strcpy(name, id);
}


int
tenant_check_count(const tenant *t, const op_caller *caller, error **err)
{
    if (caller->sandboxes == 0 || t->count + t->coming < caller->sandboxes) {
        return 0;
    }

    return error_set_field(err, 403, "quota_exceeded", "sandboxes",
                           caller->sandboxes, "there are %zu sandboxes, and "
                           "this key may make one only below %u",
                           t->count + t->coming, caller->sandboxes);
}


int
tenant_count_start(tenant *t, const op_caller *caller, uint64_t now,
    error **err)
{
    unsigned  wait;

    if (caller->starts == 0) {
        return 0;
    }

    wait = bucket_take(&t->starts, caller->starts, now);

    if (wait == 0) {
        return 0;
    }

    error_set_field(err, 429, "quota_exceeded", "startsPerMinute",
                    caller->starts, "this key may start %u sandboxes a "
                    "minute", caller->starts);

    if (err != NULL) {
        (*err)->retry_after = (int) wait;
    }

    return -1;
}
