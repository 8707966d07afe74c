/* Domains, and host names of exposures; see domain.h. */

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "sandboxd/domain.h"
#include "sandboxd/record.h"
#include "sandboxd/tenant.h"


domain *
domain_add(registry *r, const char *name, const tenant *of)
{
    size_t   len;
    domain  *d;

    len = strlen(name);
    d = calloc(1, sizeof(domain) + len + 1);
    if (d == NULL) {
        abort();
    }

    d->item.kind = ITEM_DOMAIN;
    d->refs = 1;
    d->of = of;
    d->shown = of;
    memcpy(d->name, name, len);

    table_add(&r->domains, &d->by_name, d->name, len);

    return d;
}


void
domains_free(registry *r)
{
    size_t       i;
    domain      *d;
    table_node  *node;

    for (i = 0; i <= r->domains.mask; i++) {
        while ((node = r->domains.buckets[i]) != NULL) {
            table_remove(&r->domains, node);
            d = container_of(node, domain, by_name);
            item_unref(&d->item);
        }
    }

    table_free(&r->domains);
}


domain *
domain_find(registry *r, const char *name)
{
    table_node  *node;

    node = table_find(&r->domains, name, strlen(name));

    return node ? container_of(node, domain, by_name) : NULL;
}


static bool
domain_is_of(const domain *d, const tenant *t)
{
    return d->of == NULL || d->of == t;
}


/*
 * Whether a tenant may use a host name: the longest domain that it is below is
 * the tenant's, or everybody's.  A domain's own name is for whom it belongs to
 * alone, and below everybody's there is one label only: a site can give its
 * cookies to all names below its own, so those must not be another tenant's.
 */
static bool
host_allowed(registry *r, const char *host, const tenant *t)
{
    char         dotted[HOST_LABEL_MAX + 2];
    domain      *d;
    const char  *p;

    dotted[0] = '.';
    strcpy(dotted + 1, host);

    d = domain_find(r, dotted);
    if (d != NULL) {
        return d->of == t;
    }

    for (p = strchr(host, '.'); p != NULL; p = strchr(p + 1, '.')) {
        d = domain_find(r, p);

        if (d != NULL) {
            return d->of != NULL ? d->of == t : p == strchr(host, '.');
        }
    }

    return false;
}


/* Ends the names that a change of the domains has left without a right. */
static uint64_t
hosts_recheck(registry *r)
{
    uint64_t   seq;
    exposure  *host, *next;

    seq = 0;

    for (host = r->hosts; host != NULL; host = next) {
        next = host->next_host;

        if (!host->by_admin
            && !host_allowed(r, host->label, host->owner->tenant))
        {
            log_info("%s: the host name %s is not its tenant's any more",
                     host->owner->id, host->label);
            seq = exposure_end(r, host);
        }
    }

    return seq;
}


domain *
domain_put(registry *r, const char *name, const tenant *of,
    uint64_t *revoked, error **err)
{
    bool           again;
    change        *c;
    domain        *d;
    uint64_t       seq;
    store_domain   row;

    *revoked = 0;
    d = domain_find(r, name);

    if (store_check(r->store, err) < 0) {
        return NULL;
    }

    if (d == NULL && r->domains.count >= DOMAINS_MAX) {
        error_set_field(err, 409, "too_many_domains", "name", DOMAINS_MAX,
                        "there are %d domains, the most that there may be",
                        DOMAINS_MAX);
        return NULL;
    }

    again = d != NULL && d->of != of;

    if (d == NULL) {
        d = domain_add(r, name, of);
        d->created_at = wall_ms();
    }

    d->of = of;

    store_hold(r->store);

    c = change_add(r, &d->item, true);
    c->ack = again;
    c->domain_of = of;

    row.seq = c->seq;
    row.name = d->name;
    row.tenant = of ? of->name : NULL;
    row.created_at = d->created_at;
    store_put_domain(r->store, &row);

    *revoked = again ? c->seq : 0;

    /* A longer name takes what a shorter one gave. */
    seq = hosts_recheck(r);
    if (seq != 0) {
        *revoked = seq;
    }

    store_release(r->store);

    return d;
}


uint64_t
domain_delete(registry *r, domain *d)
{
    change           *c;
    uint64_t          seq, last;
    tombstone        *t;
    store_tombstone   row;

    t = calloc(1, sizeof(tombstone) + strlen(d->name) + 1);
    if (t == NULL) {
        abort();
    }

    t->item.kind = ITEM_TOMBSTONE;
    t->exposure = true;
    strcpy(t->name, d->name);

    table_remove(&r->domains, &d->by_name);

    store_hold(r->store);

    c = change_add(r, &d->item, true);
    c->ack = true;
    c->gone = t;
    seq = c->seq;

    row.seq = seq;
    row.slot = 0;
    row.exposure = true;
    row.name = t->name;
    store_delete_domain(r->store, &row);

    last = hosts_recheck(r);

    store_release(r->store);
    item_unref(&d->item);

    return last ? last : seq;
}


json_t *
domain_record(const domain *d)
{
    return json_pack("{s:s, s:s, s:o}", "name", d->name + 1, "tenant",
                     d->of ? d->of->name : "*", "createdAt",
                     record_time(d->created_at));
}


static int
domains_compare(const void *a, const void *b)
{
    const domain *const  *x = a;
    const domain *const  *y = b;

    return strcmp((*x)->name, (*y)->name);
}


json_t *
domain_records(registry *r, const tenant *of, bool all)
{
    size_t        i, n;
    domain       *d;
    json_t       *records;
    domain      **found;
    table_node   *node;

    found = calloc(r->domains.count + 1, sizeof(domain *));
    if (found == NULL) {
        abort();
    }

    n = 0;

    for (i = 0; i <= r->domains.mask; i++) {
        for (node = r->domains.buckets[i]; node != NULL; node = node->next) {
            d = container_of(node, domain, by_name);

            if (all || d->of == NULL || d->of == of) {
                found[n++] = d;
            }
        }
    }

    qsort(found, n, sizeof(domain *), domains_compare);

    records = json_array();

    for (i = 0; i < n; i++) {

        /* What is not durable doesn't exist. */
        if (found[i]->item.node.seq != 0) {
            json_array_append_new(records, domain_record(found[i]));
        }
    }

    free(found);

    return records;
}


exposure *
host_find(registry *r, const char *host)
{
    char         label[HOST_LABEL_MAX + 1];
    size_t       len;
    domain      *d;
    exposure    *ex;
    const char  *dot;

    ex = registry_find_label(r, host);
    dot = strchr(host, '.');

    if (ex == NULL && dot != NULL && strlen(host) <= HOST_LABEL_MAX) {
        d = domain_find(r, dot);
        len = (size_t) (dot - host);

        memcpy(label, host, len);
        label[len] = '\0';

        if (d != NULL && d->item.node.seq != 0) {
            ex = registry_find_label(r, label);
        }

        if (ex != NULL && !domain_is_of(d, ex->owner->tenant)) {
            ex = NULL;
        }
    }

    return ex != NULL && ex->item.node.seq != 0 ? ex : NULL;
}


exposure *
host_add(registry *r, exposure *of, const char *name)
{
    exposure  *host, **p;

    host = exposure_new(r, of->owner, of->port, name);
    host->of = of;

    for (p = &of->hosts; *p != NULL && strcmp((*p)->label, name) < 0;
         p = &(*p)->next)
    {
        /* void */
    }

    host->next = *p;
    *p = host;

    host->next_host = r->hosts;
    host->link_host = &r->hosts;

    if (r->hosts != NULL) {
        r->hosts->link_host = &host->next_host;
    }

    r->hosts = host;
    r->host_count++;

    return host;
}


void
host_unlink(registry *r, exposure *host)
{
    exposure  **p;

    for (p = &host->of->hosts; *p != host; p = &(*p)->next) {
        /* void */
    }

    *p = host->next;
    host->of = NULL;

    *host->link_host = host->next_host;

    if (host->next_host != NULL) {
        host->next_host->link_host = host->link_host;
    }

    r->host_count--;
}


void
hosts_move(exposure *to, exposure *from)
{
    exposure  *host;

    to->hosts = from->hosts;
    from->hosts = NULL;

    for (host = to->hosts; host != NULL; host = host->next) {
        host->of = to;
    }
}


static exposure *
host_of(const exposure *ex, const char *name)
{
    exposure  *host;

    for (host = ex ? ex->hosts : NULL; host != NULL; host = host->next) {
        if (strcmp(host->label, name) == 0) {
            return host;
        }
    }

    return NULL;
}


static bool
host_named(const expose_options *o, const char *name)
{
    unsigned  i;

    for (i = 0; i < o->hostname_count; i++) {
        if (strcmp(o->hostnames[i], name) == 0) {
            return true;
        }
    }

    return false;
}


int
hosts_check(registry *r, sandbox *sb, const exposure *old,
    const expose_options *o, access_kind access, error **err)
{
    unsigned     i;
    const char  *name;

    if (access == ACCESS_TOKEN
        && (o->has_hostnames ? o->hostname_count != 0
                             : old != NULL && old->hosts != NULL))
    {
        return error_set_field(err, 400, "invalid_request", "hostnames", 0,
                               "a host name has no token in it: access must "
                               "be \"public\" or \"private\"");
    }

    for (i = 0; i < o->hostname_count; i++) {
        name = o->hostnames[i];

        if (host_of(old, name) != NULL) {
            continue;
        }

        /* Whether a name is taken is not for everybody to know. */
        if (!o->by_admin && !host_allowed(r, name, sb->tenant)) {
            return error_set_field(err, 403, "hostname_not_allowed",
                                   "hostnames", 0, "%s is below no domain "
                                   "that belongs to the sandbox's tenant",
                                   name);
        }

        if (registry_find_label(r, name) != NULL) {
            return error_set_field(err, 409, "hostname_taken", "hostnames", 0,
                                   "the host name %s is taken", name);
        }
    }

    if (r->host_count + o->hostname_count > HOSTNAMES_MAX) {
        return error_set_field(err, 503, "capacity_exceeded", "hostnames",
                               HOSTNAMES_MAX, "this host has %d host names, "
                               "the most it takes", HOSTNAMES_MAX);
    }

    return 0;
}


void
hosts_apply(registry *r, exposure *ex, const expose_options *o, bool again,
    uint64_t *revoked)
{
    uint64_t   seq;
    unsigned   i;
    exposure  *host, *next;

    for (host = ex->hosts; host != NULL; host = next) {
        next = host->next;

        if (o->has_hostnames && !host_named(o, host->label)) {
            *revoked = exposure_end(r, host);
            continue;
        }

        host->now = ex->now;
        seq = exposure_put(r, host, again);
        *revoked = again ? seq : *revoked;
    }

    for (i = 0; i < o->hostname_count; i++) {
        if (host_of(ex, o->hostnames[i]) == NULL) {
            host = host_add(r, ex, o->hostnames[i]);
            host->now = ex->now;
            host->created_at = wall_ms();
            host->by_admin = o->by_admin;
            exposure_put(r, host, false);
        }
    }
}
