/*
 * Domains that were added through the API, and host names of exposures.
 *
 * Below a domain the labels of exposures are routed as they are below those of
 * nginx's configuration: of all sandboxes, or of one tenant's.  A tenant may
 * give its exposures host names below its domains; the longest domain that a
 * name is below decides whose it is.
 *
 * A host name is an exposure with `of`: the zones know it by the whole name,
 * in all else it is what the exposure is that it belongs to.  It goes with
 * that one, and, unless an administrator has given it, with the right to the
 * domain.
 */

#ifndef SANDBOXD_DOMAIN_H
#define SANDBOXD_DOMAIN_H

#include "sandboxd/registry.h"

#define DOMAINS_MAX       1024
#define HOSTNAMES_MAX   100000      /* of this host */

typedef struct domain  domain;

struct domain {
    item            item;       /* zones are told of it */
    table_node      by_name;
    unsigned        refs;
    const tenant   *of;         /* NULL: everybody's */
    const tenant   *shown;      /* as published */
    int64_t         created_at;
    char            name[];     /* with a dot before it: ".a.example" */
};

/* For registry_load.c: a domain in its place. */
domain *domain_add(registry *r, const char *name, const tenant *of);
void domains_free(registry *r);

/* By its name behind a dot, as published or not; or NULL. */
domain *domain_find(registry *r, const char *name);

/*
 * Makes a domain, or gives it to somebody else.  *revoked is the sequence of
 * the last change that takes something away, or 0; the change itself is the
 * registry's last one then, or before it.
 */
domain *domain_put(registry *r, const char *name, const tenant *of,
    uint64_t *revoked, error **err);

/* The sequence of the last change. */
uint64_t domain_delete(registry *r, domain *d);

/* {name, tenant, createdAt}; the tenant is "*" where it is everybody's. */
json_t *domain_record(const domain *d);

/* By name all of them, or those of a tenant, which may be NULL, and those that
 * are everybody's. */
json_t *domain_records(registry *r, const tenant *of, bool all);

/* The exposure that a whole host name leads to, be it by its label below a
 * domain; only what is published.  Or NULL. */
exposure *host_find(registry *r, const char *host);

/*
 * Whether an exposure may have these names: 400, 403 `hostname_not_allowed`,
 * 409 `hostname_taken`, with the field "hostnames".  old: the exposure as it
 * is, or NULL.
 */
int hosts_check(registry *r, sandbox *sb, const exposure *old,
    const expose_options *o, access_kind access, error **err);

/* Gives an exposure its names, and takes others away; *revoked rises to the
 * sequence of the last change that takes something away. */
void hosts_apply(registry *r, exposure *ex, const expose_options *o,
    bool again, uint64_t *revoked);

/* The names of an exposure go over to the one that takes its place. */
void hosts_move(exposure *to, exposure *from);

/* For registry_load.c and registry_expose.c: a host name in its places, and
 * out of the lists that it is in. */
exposure *host_add(registry *r, exposure *of, const char *name);
void host_unlink(registry *r, exposure *host);

#endif
