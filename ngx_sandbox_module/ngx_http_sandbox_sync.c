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
