/*
 * Networks of those that run: begun when the driver has started one and before
 * anybody hears of it, changed with its options, ended with its run.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "sandboxd/agent_call.h"
#include "sandboxd/lifecycle_part.h"


typedef struct {
    lifecycle          *lc;
    sandbox            *sb;         /* holds a reference */
    uint32_t            epoch;
    bool                start;      /* it goes on with its start then */
    unsigned            calls;
    lifecycle_started   cb;
    void               *data;
} network_errand;


static network_errand *
errand_new(lifecycle *lc, sandbox *sb)
{
    network_errand  *e;

    e = calloc(1, sizeof(network_errand));
    if (e == NULL) {
        abort();
    }

    e->lc = lc;
    e->sb = sb;
    e->epoch = sb->now.epoch;
    item_ref(&sb->item);

    return e;
}


static void
errand_end(network_errand *e, error *err)
{
    if (e->start) {
        e->sb->run.networking = false;

        if (err == NULL && e->sb->run.ended) {
            error_set(&err, 503, "start_failed", "the sandbox ended while its "
                      "network was made");
        }

        lifecycle_run_started(e->lc, e->sb, &e->sb->run.handle, err);

    } else if (e->cb != NULL) {
        e->cb(e->data, e->sb, err);

    } else if (err != NULL) {
        log_error("%s: it has no network any more: %s", e->sb->id,
                  err->message);
        error_free(err);
    }

    item_unref(&e->sb->item);
    free(e);
}


/* Without them it can't reach what it may: nothing that would be unsafe. */
static void
on_file_told(void *data, int status, json_t *result)
{
    network_errand  *e;

    e = data;

    if (status != 200 && e->sb->now.epoch == e->epoch) {
        log_warn("%s: its agent did not write its names: %d", e->sb->id,
                 status);
    }

    if (--e->calls == 0) {
        errand_end(e, NULL);
    }
}


static void
file_tell(network_errand *e, const char *file, const char *text)
{
    char     path[108];
    json_t  *body;

    snprintf(path, sizeof(path), "%s/s/%08x", e->lc->run_path, e->sb->slot);
    body = json_pack("{s:s, s:s}", "path", file, "content", text);
    e->calls++;
    agent_call(e->lc->loop, path, e->sb->now.key, "POST", "/api/write", body,
               on_file_told, e);
    json_decref(body);
}


static void
hosts_tell(network_errand *e, const char *pins)
{
    char    *text;
    FILE    *out;
    size_t   len;

    text = NULL;
    out = open_memstream(&text, &len);

    if (out == NULL) {
        abort();
    }

    fprintf(out, "127.0.0.1\tlocalhost\n"
            "::1\tlocalhost ip6-localhost ip6-loopback\n"
            "127.0.1.1\t%s\n%s", name_id(e->sb->id), pins);
    fclose(out);
    file_tell(e, "/etc/hosts", text);
    free(text);
}


static void
resolvers_tell(network_errand *e, const net_rules *rules)
{
    char      text[32 * NET_RESOLVERS_MAX];
    size_t    len;
    uint32_t  a;
    unsigned  i;

    for (i = 0, len = 0; i < rules->resolver_count; i++) {
        a = rules->resolvers[i];
        len += (size_t) snprintf(text + len, sizeof(text) - len,
                                 "nameserver %u.%u.%u.%u\n", a >> 24,
                                 a >> 16 & 255, a >> 8 & 255, a & 255);
    }

    if (len > 0) {
        file_tell(e, "/etc/resolv.conf", text);
    }
}


/* The names of an allow-list are in its /etc/hosts, with the addresses that
 * the rules let through: a resolver would be a way out for anything.  Those
 * that may connect to everything have the host's resolvers. */
static void
names_tell(network_errand *e)
{
    char  *pins;

    e->calls = 1;
    pins = net_hosts(e->lc->net, e->sb->slot);

    if (pins != NULL) {
        hosts_tell(e, pins);
        free(pins);

    } else if (json_is_string(json_object_get(e->sb->run.network,
                                              "outbound")))
    {
        resolvers_tell(e, e->lc->network);
    }

    if (--e->calls == 0) {
        errand_end(e, NULL);
    }
}


static void
on_attached(void *data, error *err)
{
    network_errand  *e;

    e = data;

    if (err != NULL || e->sb->gone || (e->start && e->sb->run.ended)) {
        errand_end(e, err);
    } else {
        names_tell(e);
    }
}


static void
network_note(sandbox *sb)
{
    json_decref(sb->run.network);
    sb->run.network = json_incref(spec_network(sb->spec));
}


bool
network_is(sandbox *sb)
{
    json_t  *network;

    network = spec_network(sb->spec);

    return network == NULL || sb->run.network == NULL
           ? network == sb->run.network
           : json_equal(network, sb->run.network);
}


static bool
network_machine(lifecycle *lc, sandbox *sb)
{
    return lifecycle_driver(lc, sb)->kernel_isolation;
}


static void
network_rate(lifecycle *lc, sandbox *sb, const net_policy *policy)
{
    driver  *d;

    d = lifecycle_driver(lc, sb);

    if (d->rate != NULL) {
        d->rate(d, sb->slot, policy->rate);
    }
}


static void
network_attach(network_errand *e)
{
    sandbox     *sb;
    net_policy   policy;

    sb = e->sb;
    (void) net_policy_fill(&policy, sb->run.network, e->lc->network);
    network_rate(e->lc, sb, &policy);
    net_attach(e->lc->net, sb->slot, &sb->run.handle,
               network_machine(e->lc, sb), &policy, on_attached, e);
}


static int
network_missing(error **err)
{
    return error_set_field(err, 503, "unenforceable", "network.outbound", 0,
                           "its network policy can't be enforced: this host "
                           "has no network for sandboxes now");
}


int
network_begin(lifecycle *lc, sandbox *sb, const driver_handle *handle,
    error **err)
{
    network_errand  *e;

    network_note(sb);

    if (sb->run.network == NULL) {
        return 0;
    }

    if (lc->net == NULL) {
        return network_missing(err);
    }

    sb->run.handle = *handle;
    sb->run.networking = true;
    sb->run.ended = false;

    e = errand_new(lc, sb);
    e->start = true;
    network_attach(e);

    return 1;
}


void
network_end(lifecycle *lc, sandbox *sb)
{
    json_decref(sb->run.network);
    sb->run.network = NULL;

    if (lc->net != NULL) {
        net_detach(lc->net, sb->slot, NULL, NULL);
    }
}


void
network_adopt(lifecycle *lc, sandbox *sb)
{
    net_policy       policy;
    network_errand  *e;

    network_note(sb);

    if (sb->run.network == NULL) {
        return;
    }

    if (lc->net == NULL) {
        log_warn("%s: its network is not among this sandboxd's: nobody "
                 "changes its rules", sb->id);
        return;
    }

    (void) net_policy_fill(&policy, sb->run.network, lc->network);

    if (net_adopt(lc->net, sb->slot, &sb->run.handle,
                  network_machine(lc, sb), &policy))
    {
        network_rate(lc, sb, &policy);

    } else {
        e = errand_new(lc, sb);
        network_attach(e);
    }
}


void
lifecycle_tell_network(lifecycle *lc, sandbox *sb, lifecycle_started cb,
    void *data)
{
    error           *err;
    network_errand  *e;

    if (spec_external(sb->spec)
        || (sb->run.state != RUN_UP && sb->run.state != RUN_SLEEPING)
        || (sb->run.network == NULL && spec_network(sb->spec) == NULL))
    {
        /* The next start has it. */
        if (cb != NULL) {
            cb(data, sb, NULL);
        }
        return;
    }

    if (lc->net == NULL) {
        err = NULL;
        network_missing(&err);

        if (cb != NULL) {
            cb(data, sb, err);
        } else {
            error_free(err);
        }
        return;
    }

    network_note(sb);
    e = errand_new(lc, sb);
    e->cb = cb;
    e->data = data;

    if (sb->run.network == NULL) {
        net_detach(lc->net, sb->slot, on_attached, e);
    } else {
        network_attach(e);
    }
}


void
lifecycle_network_changed(void *data, uint32_t slot)
{
    sandbox    *sb;
    lifecycle  *lc;

    lc = data;
    sb = registry_find_slot(lc->r, slot);

    if (sb != NULL && sb->run.state == RUN_UP && lc->run_path != NULL) {
        log_info("%s: names of its network have other addresses", sb->id);
        names_tell(errand_new(lc, sb));
    }
}
