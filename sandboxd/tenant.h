/*
 * Tenants: who owns sandboxes, how many there are, and how fast they start.
 *
 * A tenant is made the first time that somebody names it, and stays: its
 * prefix is in host labels that people have kept.  Which limits it has is said
 * with every request (they stand with nginx's keys); what they are compared
 * with is counted here.  How many starts there were lately is in memory only:
 * a restart of sandboxd forgives them.
 */

#ifndef SANDBOXD_TENANT_H
#define SANDBOXD_TENANT_H

#include "sandboxd/bucket.h"
#include "sandboxd/op.h"
#include "sandboxd/registry.h"

#define TENANTS_MAX  65536

struct tenant {
    item        item;           /* zones are told of it */
    table_node  by_name;
    table_node  by_prefix;
    journal     aged;           /* its sandboxes, by birth */
    size_t      count;          /* those of them that exist, */
    size_t      coming;         /* and copies of them that are being made */
    bucket      starts;
    uint64_t    seq;            /* of its creation */
    char        prefix[PREFIX_LEN + 1];     /* "": the default tenant */
    char        name[TENANT_MAX + 1];
};

/* For registry_load.c and registry.c. */
void tenants_init(registry *r, uint64_t seed);
void tenants_free(registry *r);
tenant *tenant_add(registry *r, const char *name, const char *prefix);

/* The tenant of that name, made if need be; NULL with an error.  A new one is
 * durable with the change tenant->seq. */
tenant *tenant_get(registry *r, const char *name, error **err);

/* The tenant of that name, or NULL. */
tenant *tenant_find(registry *r, const char *name);

/* Whose a qualified name is; NULL if nobody has the prefix. */
tenant *tenant_of_name(registry *r, const char *name);

/* `<prefix>-<id>`, or the id alone. */
void tenant_qualify(const tenant *t, const char *id,
    char name[QUALIFIED_MAX + 1]);

/* Whether the caller may have one more sandbox than there are and than are
 * being made: 403 `quota_exceeded`. */
int tenant_check_count(const tenant *t, const op_caller *caller, error **err);

/* Counts a start, or says when the next one may be: 429 `quota_exceeded`. */
int tenant_count_start(tenant *t, const op_caller *caller, uint64_t now,
    error **err);

#endif
