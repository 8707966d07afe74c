/* Exposures among the records; see registry.h. */

#include <stdlib.h>
#include <string.h>

#include "sandboxd/domain.h"
#include "sandboxd/registry.h"

/* What an exposure is to become. */
typedef struct {
    exposure_view  view;
    int64_t        created_at;
    char           token[TOKEN_MAX + 1];
    char           name[EXPOSURE_NAME_MAX + 1];
    char           label[LABEL_MAX + 1];
} exposure_plan;


uint64_t
exposure_end(registry *r, exposure *ex)
{
    change           *c;
    exposure        **p;
    tombstone        *t;
    store_tombstone   row;

    if (ex->of != NULL) {
        host_unlink(r, ex);

    } else {
        while (ex->hosts != NULL) {
            exposure_end(r, ex->hosts);
        }

        for (p = &ex->owner->exposures; *p != ex; p = &(*p)->next) {
            /* void */
        }

        *p = ex->next;
        ex->owner->exposure_count--;
    }

    t = calloc(1, sizeof(tombstone) + strlen(ex->label) + 1);
    if (t == NULL) {
        abort();
    }

    t->item.kind = ITEM_TOMBSTONE;
    t->exposure = true;
    t->slot = ex->owner->slot;
    strcpy(t->name, ex->label);

    c = change_add(r, &ex->item, true);
    c->ack = true;
    c->gone = t;

    row.seq = c->seq;
    row.slot = t->slot;
    row.exposure = true;
    row.name = t->name;
    store_delete_exposure(r->store, &row);

    return c->seq;
}


exposure *
exposure_of_port(const sandbox *sb, unsigned port)
{
    exposure  *ex;

    for (ex = sb->exposures; ex != NULL; ex = ex->next) {
        if (ex->port == port) {
            return ex;
        }
    }

    return NULL;
}


uint64_t
exposure_put(registry *r, exposure *ex, bool ack)
{
    json_t          *value;
    change          *c;
    store_exposure   row;

    c = change_add(r, &ex->item, true);
    c->ack = ack;
    c->exposure = ex->now;

    row.slot = ex->owner->slot;
    row.seq = c->seq;
    row.port = ex->port;
    row.label = ex->label;
    row.token = ex->token[0] ? ex->token : NULL;
    row.name = ex->name[0] ? ex->name : NULL;
    row.access = (int) ex->now.access;
    row.gen = ex->now.gen;
    row.host_public = ex->now.host_public;
    row.wake_off = ex->now.wake_off;
    row.wakes = ex->now.wakes;
    row.by_admin = ex->by_admin;
    row.created_at = ex->created_at;

    value = limits_json(&ex->now.limits);
    row.limits = value ? json_dumps(value, JSON_COMPACT) : NULL;
    store_put_exposure(r->store, &row);

    free((char *) row.limits);
    json_decref(value);

    return c->seq;
}


exposure *
exposure_new(registry *r, sandbox *sb, unsigned port, const char *label)
{
    size_t     len;
    exposure  *ex;

    len = strlen(label);
    ex = calloc(1, sizeof(exposure) + len + 1);
    if (ex == NULL) {
        abort();
    }

    ex->item.kind = ITEM_EXPOSURE;
    ex->refs = 1;
    ex->owner = sb;
    ex->port = port;
    memcpy(ex->label, label, len);

    item_ref(&sb->item);
    table_add(&r->by_label, &ex->by_label, ex->label, len);

    return ex;
}


exposure *
exposure_add(registry *r, sandbox *sb, unsigned port, const char *label)
{
    exposure  *ex, **p;

    ex = exposure_new(r, sb, port, label);

    for (p = &sb->exposures; *p != NULL && (*p)->port < port;
         p = &(*p)->next)
    {
        /* void */
    }

    ex->next = *p;
    *p = ex;
    sb->exposure_count++;

    return ex;
}


/* What the exposure is to be: what is asked for, over what there is. */
static int
exposure_decide(sandbox *sb, const expose_options *o, const exposure *old,
    exposure_plan *plan, error **err)
{
    memset(plan, 0, sizeof(*plan));

    plan->created_at = old ? old->created_at : wall_ms();
    plan->view.access = o->has_access ? o->access
                        : old && !o->token[0] ? old->now.access
                                              : ACCESS_TOKEN;
    plan->view.host_public = o->has_host ? o->host_public
                             : old ? old->now.host_public : false;
    plan->view.wake_off = o->has_wake ? o->wake_off
                          : old ? old->now.wake_off : false;
    plan->view.wakes = o->has_wakes ? o->wakes
                       : old ? old->now.wakes : WAKES_DEFAULT;
    strcpy(plan->name, o->patch && !o->has_name ? old->name : o->name);

    if (o->has_limits) {
        plan->view.limits = o->limits;

    } else if (old) {
        plan->view.limits = old->now.limits;
    }

    if (o->rotate && plan->view.access == ACCESS_PUBLIC) {
        return error_set_field(err, 400, "invalid_request", "rotate", 0,
                               "a public exposure has nothing to rotate");
    }

    if (plan->view.access == ACCESS_TOKEN) {
        if (o->token[0]) {
            strcpy(plan->token, o->token);

        } else if (old && old->token[0] && !o->rotate) {
            strcpy(plan->token, old->token);

        } else if (token_generate(plan->token, err) < 0) {
            return -1;
        }
    }

    if (label_build(plan->label, o->port, sb->id,
                    plan->token[0] ? plan->token : NULL, err)
        < 0)
    {
        return -1;
    }

    if (old && !o->rotate && old->now.access == plan->view.access
        && strcmp(old->label, plan->label) == 0)
    {
        plan->view.gen = old->now.gen;
        return 0;
    }

    return generation_make(&plan->view.gen, old ? old->now.gen : 0, err);
}


static int
exposure_clash(registry *r, sandbox *sb, const exposure_plan *plan,
    const exposure *old, error **err)
{
    exposure  *ex;

    for (ex = sb->exposures; ex != NULL; ex = ex->next) {
        if (ex != old && plan->token[0]
            && strcmp(ex->token, plan->token) == 0)
        {
            return error_set_field(err, 409, "token_in_use", "token", 0,
                                   "the token is already in use by port %u",
                                   ex->port);
        }
    }

    ex = registry_find_label(r, plan->label);

    if (ex != NULL && ex != old) {
        return error_set_field(err, 409, "label_taken", "token", 0,
                               "the host label %s is taken", plan->label);
    }

    if (old == NULL && sb->exposure_count >= EXPOSURES_MAX) {
        return error_set_field(err, 409, "too_many_ports", "port",
                               EXPOSURES_MAX, "a sandbox exposes at most %d "
                               "ports", EXPOSURES_MAX);
    }

    return 0;
}


exposure *
registry_expose(registry *r, sandbox *sb, const expose_options *o,
    uint64_t *revoked, error **err)
{
    bool            again;
    uint64_t        seq;
    exposure       *old, *ex;
    exposure_plan   plan;

    *revoked = 0;
    old = exposure_of_port(sb, o->port);

    if (old == NULL && o->patch) {
        error_set(err, 404, "port_not_exposed", "this port is not exposed");
        return NULL;
    }

    if (store_check(r->store, err) < 0
        || exposure_decide(sb, o, old, &plan, err) < 0
        || exposure_clash(r, sb, &plan, old, err) < 0
        || hosts_check(r, sb, old, o, plan.view.access, err) < 0)
    {
        return NULL;
    }

    again = old != NULL && old->now.gen != plan.view.gen;

    /* The exposure and its host names are one commit. */
    store_hold(r->store);

    if (old != NULL && strcmp(old->label, plan.label) == 0) {
        ex = old;
        strcpy(ex->name, plan.name);
        ex->now = plan.view;
        seq = exposure_put(r, ex, again);
        *revoked = again ? seq : 0;

    } else {
        ex = exposure_add(r, sb, o->port, plan.label);
        ex->now = plan.view;
        ex->created_at = plan.created_at;

        if (old != NULL) {
            ex->woken = old->woken;
            hosts_move(ex, old);
            *revoked = exposure_end(r, old);
        }

        strcpy(ex->token, plan.token);
        strcpy(ex->name, plan.name);
        exposure_put(r, ex, false);
    }

    hosts_apply(r, ex, o, again, revoked);
    store_release(r->store);

    return ex;
}


uint64_t
registry_unexpose(registry *r, sandbox *sb, unsigned port)
{
    exposure  *ex;

    ex = exposure_of_port(sb, port);

    return ex != NULL ? exposure_end(r, ex) : 0;
}
