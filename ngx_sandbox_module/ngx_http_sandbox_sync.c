/*
 * Keeps the zone up to date over the worker's connection: what is newer than
 * the zone is asked for after each hello, a whole list by the one worker that
 * holds the lease, and events are applied as they come (docs/protocol.md,
 * sections 1.3 and 1.4).
 *
 * A worker is in sync when the zone holds everything up to the last event that
 * this worker has seen; only then do its events move the zone's sequence.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_daemon.h"
#include "ngx_http_sandbox_zone.h"
#include "ngx_http_sandbox_events.h"
#include "ngx_http_sandbox_count.h"
#include "ngx_http_sandbox_keepalive.h"

#include "sandbox_route.h"


#define NGX_HTTP_SANDBOX_LEASE         5000
#define NGX_HTTP_SANDBOX_SYNC_TIMEOUT  20000
#define NGX_HTTP_SANDBOX_SYNC_AGAIN    100


typedef struct {
    ngx_http_sandbox_zone_t      *zone;
    ngx_http_sandbox_call_t      *call;
    ngx_event_t                   again;
    ngx_event_t                   sweep;
    ngx_uint_t                    position;
    uint64_t                      from;
    uint64_t                      seen;        /* hello's or last event's */
    unsigned                      connected:1;
    unsigned                      synced:1;
    unsigned                      whole:1;
    u_char                        incarnation[NGX_HTTP_SANDBOX_ZONE_ID_LEN];
} ngx_http_sandbox_sync_t;


static void ngx_http_sandbox_sync_start(ngx_http_sandbox_sync_t *s);
static void ngx_http_sandbox_sync_ask(ngx_http_sandbox_sync_t *s);
static void ngx_http_sandbox_sync_page(void *data, json_t *result,
    ngx_http_sandbox_error_t *err);
static void ngx_http_sandbox_sync_end(ngx_http_sandbox_sync_t *s);
static void ngx_http_sandbox_sync_done(ngx_http_sandbox_sync_t *s);
static void ngx_http_sandbox_sync_again(ngx_event_t *ev);
static void ngx_http_sandbox_sync_sweep(ngx_event_t *ev);
static ngx_int_t ngx_http_sandbox_read_hex(u_char *dst, const char *src);


static ngx_http_sandbox_sync_t  ngx_http_sandbox_sync;


void
ngx_http_sandbox_sync_init(ngx_http_sandbox_zone_t *zone)
{
    ngx_http_sandbox_sync_t  *s;

    s = &ngx_http_sandbox_sync;

    ngx_memzero(s, sizeof(ngx_http_sandbox_sync_t));

    s->zone = zone;

    s->again.handler = ngx_http_sandbox_sync_again;
    s->again.data = s;
    s->again.log = ngx_cycle->log;
    s->again.cancelable = 1;

    s->sweep.handler = ngx_http_sandbox_sync_sweep;
    s->sweep.data = s;
    s->sweep.log = ngx_cycle->log;
    s->sweep.cancelable = 1;
}


void
ngx_http_sandbox_sync_hello(uint64_t seq, u_char *incarnation)
{
    ngx_http_sandbox_sync_t  *s;

    s = &ngx_http_sandbox_sync;

    s->connected = 1;
    s->synced = 0;
    ngx_http_sandbox_counters->connected = 1;
    s->seen = seq;

    ngx_memcpy(s->incarnation, incarnation, NGX_HTTP_SANDBOX_ZONE_ID_LEN);

    ngx_http_sandbox_zone_stale(s->zone, s->incarnation,
                                NGX_HTTP_SANDBOX_NO_SEQ);

    /* what has changed meanwhile isn't known yet */

    ngx_http_sandbox_keepalive_flush();

    ngx_http_sandbox_sync_start(s);

    ngx_http_sandbox_events_ready();
}


void
ngx_http_sandbox_sync_lost(void)
{
    ngx_http_sandbox_sync_t  *s;

    s = &ngx_http_sandbox_sync;

    s->connected = 0;
    s->synced = 0;
    ngx_http_sandbox_counters->connected = 0;

    ngx_http_sandbox_events_lost();

    if (s->call) {
        ngx_http_sandbox_daemon_cancel(s->call);
        s->call = NULL;
    }

    if (s->again.timer_set) {
        ngx_del_timer(&s->again);
    }

    ngx_http_sandbox_zone_release(s->zone);
}


void
ngx_http_sandbox_sync_restart(void)
{
    ngx_http_sandbox_sync_t  *s;

    s = &ngx_http_sandbox_sync;

    s->synced = 0;

    if (s->connected && s->call == NULL && !s->again.timer_set) {
        ngx_add_timer(&s->again, NGX_HTTP_SANDBOX_SYNC_AGAIN);
    }
}


static void
ngx_http_sandbox_sync_start(ngx_http_sandbox_sync_t *s)
{
    ngx_http_sandbox_zone_status_t  status;

    ngx_http_sandbox_zone_status(s->zone, &status);

    if (status.complete) {

        if (status.seq >= s->seen) {
            ngx_http_sandbox_sync_done(s);
            return;
        }

        s->whole = 0;
        s->from = status.seq;
        ngx_http_sandbox_sync_ask(s);
        return;
    }

    if (ngx_http_sandbox_zone_lease(s->zone, NGX_HTTP_SANDBOX_LEASE, 1)) {

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "sandbox: this worker fills the zone");

        s->whole = 1;
        s->from = 0;
        ngx_http_sandbox_sync_ask(s);
        return;
    }

    ngx_add_timer(&s->again, NGX_HTTP_SANDBOX_SYNC_AGAIN);
}


static void
ngx_http_sandbox_sync_again(ngx_event_t *ev)
{
    ngx_http_sandbox_sync_t *s = ev->data;

    if (s->connected && s->call == NULL && !s->synced) {
        ngx_http_sandbox_sync_start(s);
    }
}


static void
ngx_http_sandbox_sync_ask(ngx_http_sandbox_sync_t *s)
{
    s->call = ngx_http_sandbox_daemon_call(
                  json_pack("{s:s,s:I,s:b}", "op", "sync",
                            "from", (json_int_t) s->from,
                            "full", (int) s->whole),
                  NGX_HTTP_SANDBOX_SYNC_TIMEOUT,
                  ngx_http_sandbox_sync_page, s);

    if (s->call == NULL) {
        ngx_http_sandbox_zone_release(s->zone);
        ngx_add_timer(&s->again, NGX_HTTP_SANDBOX_SYNC_AGAIN);
        return;
    }

    /* nobody waits for it: a worker that exits needs not */

    s->call->deadline.cancelable = 1;
}


static void
ngx_http_sandbox_sync_page(void *data, json_t *result,
    ngx_http_sandbox_error_t *err)
{
    ngx_http_sandbox_sync_t *s = data;

    size_t                     i;
    json_t                    *records, *next;
    ngx_http_sandbox_record_t  record;

    s->call = NULL;

    if (err) {

        if (err->code.len == 6
            && ngx_strncmp(err->code.data, "resync", 6) == 0 && !s->whole)
        {
            ngx_http_sandbox_zone_stale(s->zone, s->incarnation, s->from);
            ngx_http_sandbox_sync_start(s);
            return;
        }

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "sandbox: sync failed: %V", &err->message);

        ngx_http_sandbox_zone_release(s->zone);

        if (s->connected) {
            ngx_add_timer(&s->again, 10 * NGX_HTTP_SANDBOX_SYNC_AGAIN);
        }

        return;
    }

    /* somebody else may have thought that we are dead */

    if (s->whole
        && !ngx_http_sandbox_zone_lease(s->zone, NGX_HTTP_SANDBOX_LEASE, 0))
    {
        ngx_add_timer(&s->again, NGX_HTTP_SANDBOX_SYNC_AGAIN);
        return;
    }

    records = json_object_get(result, "records");

    for (i = 0; i < json_array_size(records); i++) {

        if (ngx_http_sandbox_record_read(json_array_get(records, i), &record)
            != NGX_OK)
        {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "sandbox: sandboxd sent a record that is none");
            continue;
        }

        (void) ngx_http_sandbox_zone_apply(s->zone, &record);
    }

    next = json_object_get(result, "next");

    if (json_is_integer(next)
        && (uint64_t) json_integer_value(next) > s->from)
    {
        s->from = (uint64_t) json_integer_value(next);
        ngx_http_sandbox_sync_ask(s);
        return;
    }

    ngx_http_sandbox_sync_end(s);
}


static void
ngx_http_sandbox_sync_end(ngx_http_sandbox_sync_t *s)
{
    ngx_http_sandbox_zone_status_t  status;

    (void) ngx_http_sandbox_zone_synced(s->zone, s->seen, s->whole);
    ngx_http_sandbox_zone_status(s->zone, &status);

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "sandbox: the zone holds %ui sandboxes and %ui exposures, "
                  "up to sequence %uL",
                  status.sandboxes, status.exposures, status.seq);

    if (s->whole) {
        ngx_http_sandbox_zone_release(s->zone);

        s->position = 0;

        if (!s->sweep.timer_set) {
            ngx_add_timer(&s->sweep, 1);
        }
    }

    /* the zone may have become incomplete again behind our back */

    if (status.complete && status.seq >= s->seen) {
        ngx_http_sandbox_sync_done(s);

    } else {
        ngx_add_timer(&s->again, NGX_HTTP_SANDBOX_SYNC_AGAIN);
    }
}


/*
 * The zone holds everything.  sandboxd may wait to hear that: of a revocation
 * that was told to a worker which did not live to take it.
 */

static void
ngx_http_sandbox_sync_done(ngx_http_sandbox_sync_t *s)
{
    s->synced = 1;

    ngx_http_sandbox_daemon_ack(s->seen, 1);
}


static void
ngx_http_sandbox_sync_sweep(ngx_event_t *ev)
{
    ngx_http_sandbox_sync_t *s = ev->data;

    if (ngx_http_sandbox_zone_sweep(s->zone, &s->position)) {
        ngx_add_timer(&s->sweep, 1);
    }
}


void
ngx_http_sandbox_sync_event(json_t *frame)
{
    const char                 *event;
    ngx_http_sandbox_sync_t    *s;
    ngx_http_sandbox_record_t   record;

    s = &ngx_http_sandbox_sync;

    event = json_string_value(json_object_get(frame, "event"));

    if (event && ngx_strcmp(event, "idle") == 0) {
        ngx_http_sandbox_activity_event(frame);
        return;
    }

    if (event == NULL || ngx_strcmp(event, "change") != 0) {
        return;
    }

    if (ngx_http_sandbox_record_read(json_object_get(frame, "record"), &record)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "sandbox: sandboxd sent an event that is none");
        return;
    }

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "sandbox event %uL: \"%V\" gone:%ui state:%ui", record.seq,
                   &record.name, (ngx_uint_t) record.gone,
                   (ngx_uint_t) record.state);

    (void) ngx_http_sandbox_zone_apply(s->zone, &record);

    ngx_http_sandbox_keepalive_change(&record);
    ngx_http_sandbox_events_change(json_object_get(frame, "record"));

    if (record.seq > s->seen) {
        s->seen = record.seq;
    }

    if (s->synced && !ngx_http_sandbox_zone_synced(s->zone, record.seq, 0)) {

        /* another worker has begun it anew, and may have died since */

        ngx_http_sandbox_sync_restart();
    }

    if (json_is_true(json_object_get(frame, "ack"))) {
        ngx_http_sandbox_daemon_ack(record.seq, 0);
    }
}


/* Records */


static ngx_int_t
ngx_http_sandbox_read_hex(u_char *dst, const char *src)
{
    ngx_int_t   n;
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_SANDBOX_KEY_LEN; i++) {
        n = ngx_hextoi((u_char *) src + 2 * i, 2);

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        dst[i] = (u_char) n;
    }

    return NGX_OK;
}


/* The position of a string in a list that ends with NULL, from 1; else 0. */

static u_char
ngx_http_sandbox_read_enum(json_t *object, const char *member,
    const char *const *list)
{
    u_char       i;
    const char  *s;

    s = json_string_value(json_object_get(object, member));

    for (i = 0; s && list[i]; i++) {
        if (ngx_strcmp(s, list[i]) == 0) {
            return i + 1;
        }
    }

    return 0;
}


/* An integer member within bounds, or -1. */

static json_int_t
ngx_http_sandbox_read_int(json_t *object, const char *member, json_int_t max)
{
    json_t  *value;

    value = json_object_get(object, member);

    if (!json_is_integer(value) || json_integer_value(value) < 0
        || json_integer_value(value) > max)
    {
        return -1;
    }

    return json_integer_value(value);
}


/*
 * The limits of a record.  One that sandboxd knows and this module doesn't
 * can't be held, and must not be let go: such a record is none.
 */

static ngx_int_t
ngx_http_sandbox_read_limits(json_t *object, ngx_http_sandbox_record_t *rec)
{
    json_t                     *limits, *value;
    uint64_t                    n;
    const char                 *name;
    ngx_http_sandbox_limits_t  *l;

    limits = json_object_get(object, "limits");

    if (limits == NULL || json_is_null(limits)) {
        return NGX_OK;
    }

    l = &rec->limits;

    json_object_foreach(limits, name, value) {

        if (!json_is_integer(value) || json_integer_value(value) < 0) {
            return NGX_ERROR;
        }

        n = (uint64_t) json_integer_value(value);

        if (ngx_strcmp(name, "bodySize") == 0) {
            l->body = n;
            continue;
        }

        if (n > 0xffffffff) {
            return NGX_ERROR;
        }

        if (ngx_strcmp(name, "requestsPerSecond") == 0) {
            l->requests = ngx_min(n, 1000000);

        } else if (ngx_strcmp(name, "burst") == 0) {
            l->burst = (uint32_t) n;

        } else if (ngx_strcmp(name, "connections") == 0) {
            l->connections = (uint32_t) n;

        } else if (ngx_strcmp(name, "bandwidthOut") == 0) {
            l->out = (uint32_t) n;

        } else if (ngx_strcmp(name, "bandwidthIn") == 0) {
            l->in = (uint32_t) n;

        } else {
            return NGX_ERROR;
        }
    }

    if (json_object_get(limits, "burst") == NULL) {
        l->burst = l->requests;
    }

    rec->limited = l->requests || l->connections || l->out || l->in || l->body;

    return NGX_OK;
}


static ngx_int_t
ngx_http_sandbox_read_tenant(json_t *object, ngx_http_sandbox_record_t *rec)
{
    json_t  *name, *prefix;

    name = json_object_get(object, "name");
    prefix = json_object_get(object, "prefix");

    rec->name.data = (u_char *) json_string_value(name);
    rec->name.len = json_string_length(name);
    rec->prefix.data = (u_char *) json_string_value(prefix);
    rec->prefix.len = json_string_length(prefix);

    return rec->name.len == 0 || rec->name.len > NGX_HTTP_SANDBOX_TENANT_MAX
           || rec->prefix.len != SANDBOX_PREFIX_LEN ? NGX_ERROR : NGX_OK;
}


/*
 * Of a sandbox that others run: the kind is always told, the address only
 * while it runs, and of a Unix socket, which has its slot's name, never.
 */

static ngx_int_t
ngx_http_sandbox_read_endpoint(json_t *object, ngx_http_sandbox_record_t *rec)
{
    int          rc;
    json_t      *endpoint;
    json_int_t   port, cid;
    const char  *kind, *host;

    endpoint = json_object_get(object, "endpoint");

    if (endpoint == NULL) {
        return NGX_OK;
    }

    kind = json_string_value(json_object_get(endpoint, "kind"));

    if (kind == NULL || rec->name.len > NGX_HTTP_SANDBOX_EXTERNAL_MAX) {
        return NGX_ERROR;
    }

    rec->external = 1;

    if (rec->state != NGX_HTTP_SANDBOX_RUNNING) {
        return NGX_OK;
    }

    port = json_integer_value(json_object_get(endpoint, "port"));

    if (ngx_strcmp(kind, "unix") == 0) {

        if (json_object_get(endpoint, "vsockPort") == NULL) {
            return NGX_OK;
        }

        port = json_integer_value(json_object_get(endpoint, "vsockPort"));

        return sandbox_address_hybrid(&rec->address, port) == 0 ? NGX_OK
                                                                : NGX_ERROR;
    }

    if (ngx_strcmp(kind, "tcp") == 0) {
        host = json_string_value(json_object_get(endpoint, "address"));
        rc = sandbox_address_tcp(&rec->address, host, port);

    } else if (ngx_strcmp(kind, "vsock") == 0) {
        cid = json_integer_value(json_object_get(endpoint, "cid"));
        rc = sandbox_address_vsock(&rec->address, cid, port);

    } else {
        rc = -1;
    }

    return rc == 0 ? NGX_OK : NGX_ERROR;
}


/* Of everybody's, nothing is said; of the default tenant's, "". */

static ngx_int_t
ngx_http_sandbox_read_domain(json_t *object, ngx_http_sandbox_record_t *rec)
{
    json_t  *label, *prefix;

    label = json_object_get(object, "label");
    prefix = json_object_get(object, "prefix");

    rec->name.data = (u_char *) json_string_value(label);
    rec->name.len = json_string_length(label);
    rec->gone = json_is_true(json_object_get(object, "gone"));

    if (rec->name.len < 2 || rec->name.len > NGX_HTTP_SANDBOX_LABEL_MAX
        || rec->name.data[0] != '.')
    {
        return NGX_ERROR;
    }

    if (prefix == NULL || json_is_null(prefix)) {
        return NGX_OK;
    }

    rec->prefix.data = (u_char *) json_string_value(prefix);
    rec->prefix.len = json_string_length(prefix);

    if (rec->prefix.data == NULL
        || (rec->prefix.len && rec->prefix.len != SANDBOX_PREFIX_LEN))
    {
        return NGX_ERROR;
    }

    rec->gen = ngx_http_sandbox_owner(&rec->prefix);

    return NGX_OK;
}


ngx_int_t
ngx_http_sandbox_record_read(json_t *object, ngx_http_sandbox_record_t *rec)
{
    json_t      *name;
    json_int_t   seq, slot, epoch, port, gen;
    const char  *kind, *key;

    static const char *const  states[] = { "created", "starting", "running",
                                           "sleeping", "asleep", "destroying",
                                           "unreachable", NULL };
    static const char *const  access[] = { "public", "token", "private",
                                           NULL };
    static const char *const  hosts[] = { "local", "public", NULL };
    static const char *const  wakes[] = { "off", NULL };

    ngx_memzero(rec, sizeof(ngx_http_sandbox_record_t));

    kind = json_string_value(json_object_get(object, "kind"));
    seq = ngx_http_sandbox_read_int(object, "seq", NGX_MAX_INT_T_VALUE);
    slot = ngx_http_sandbox_read_int(object, "slot", 0xffffffff);

    if (kind == NULL || seq < 1) {
        return NGX_ERROR;
    }

    if (ngx_strcmp(kind, "tenant") == 0) {
        rec->seq = (uint64_t) seq;
        rec->tenant = 1;
        return ngx_http_sandbox_read_tenant(object, rec);
    }

    if (ngx_strcmp(kind, "domain") == 0) {
        rec->seq = (uint64_t) seq;
        rec->exposure = 1;
        rec->domain = 1;
        return ngx_http_sandbox_read_domain(object, rec);
    }

    if (slot < 0) {
        return NGX_ERROR;
    }

    if (ngx_strcmp(kind, "exposure") == 0) {
        rec->exposure = 1;

    } else if (ngx_strcmp(kind, "sandbox") != 0) {
        return NGX_ERROR;
    }

    name = json_object_get(object, rec->exposure ? "label" : "id");

    rec->name.data = (u_char *) json_string_value(name);
    rec->name.len = json_string_length(name);

    if (rec->name.len == 0
        || rec->name.len > (rec->exposure ? NGX_HTTP_SANDBOX_LABEL_MAX
                                          : NGX_HTTP_SANDBOX_ID_MAX))
    {
        return NGX_ERROR;
    }

    rec->seq = (uint64_t) seq;
    rec->slot = (uint32_t) slot;
    rec->gone = json_is_true(json_object_get(object, "gone"));

    if (rec->gone) {
        return NGX_OK;
    }

    if (ngx_http_sandbox_read_limits(object, rec) != NGX_OK) {
        return NGX_ERROR;
    }

    if (rec->exposure) {
        port = ngx_http_sandbox_read_int(object, "port", 65535);

        rec->access = ngx_http_sandbox_read_enum(object, "access", access);
        rec->host = ngx_http_sandbox_read_enum(object, "host", hosts);
        rec->wake_off = ngx_http_sandbox_read_enum(object, "wake", wakes);
        rec->port = (uint16_t) port;

        /* without one, nothing that is signed can fit */

        gen = ngx_http_sandbox_read_int(object, "gen", 0xffffffff);
        rec->gen = gen > 0 ? (uint32_t) gen : 0;

        return port < 1 || rec->access == 0 || rec->host == 0 ? NGX_ERROR
                                                              : NGX_OK;
    }

    epoch = ngx_http_sandbox_read_int(object, "epoch", 0xffffffff);
    key = json_string_value(json_object_get(object, "key"));

    rec->state = ngx_http_sandbox_read_enum(object, "state", states);
    rec->epoch = (uint32_t) epoch;

    if (rec->state == 0 || epoch < 0
        || ngx_http_sandbox_read_endpoint(object, rec) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (rec->state == NGX_HTTP_SANDBOX_RUNNING) {

        if (key == NULL || ngx_strlen(key) != 2 * NGX_HTTP_SANDBOX_KEY_LEN) {
            return NGX_ERROR;
        }

        return ngx_http_sandbox_read_hex(rec->key, key);
    }

    return NGX_OK;
}
