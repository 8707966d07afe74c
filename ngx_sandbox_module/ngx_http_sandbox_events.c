/*
 * GET /v1/events: what happens to sandboxes, as server-sent events.
 *
 * A client begins with what sandboxd remembers since the event that the client
 * knows, page by page, and goes on with what this worker is told.  Both come
 * over one connection, so that nothing falls between them; when that breaks,
 * each client begins again where it was.
 *
 * What is told is kept once for all clients of a worker, in a ring.  Each
 * client has one buffer on its way; one that is so slow that the ring overtakes
 * it is told so, and ended.
 *
 * Ids of events are opaque (sandbox_position.h): their numbers count what all
 * tenants do.  Who follows them has to show now and then that it still may.
 *
 * A timer that holds an exiting worker ends the streams within a second.
 */


#include "ngx_http_sandbox_api.h"
#include "ngx_http_sandbox_events.h"
#include "sandbox_position.h"


#define NGX_HTTP_SANDBOX_EVENTS_RING     1024
#define NGX_HTTP_SANDBOX_EVENTS_CLIENTS  512    /* of a worker, */
#define NGX_HTTP_SANDBOX_EVENTS_TENANT   64     /* and of one tenant */
#define NGX_HTTP_SANDBOX_EVENTS_TICK     1000
#define NGX_HTTP_SANDBOX_EVENTS_SILENCE  15000
#define NGX_HTTP_SANDBOX_EVENTS_CHECK    2000   /* of the key */
#define NGX_HTTP_SANDBOX_EVENTS_TIMEOUT  10000

/* An event is at most a fifth of it: an id, a reason, and names. */
#define NGX_HTTP_SANDBOX_EVENTS_BUFFER   8192
#define NGX_HTTP_SANDBOX_EVENTS_ROOM     2048


typedef struct {
    ngx_queue_t                   queue;
    ngx_http_request_t           *request;
    ngx_http_sandbox_caller_t    *caller;
    ngx_str_t                     sandbox;     /* "": all */

    ngx_http_sandbox_call_t      *call;
    json_t                       *page;        /* what sandboxd remembered, */
    size_t                        at;          /* and how far it was told */

    uint64_t                      seq;         /* seen up to here */
    uint64_t                      ring;        /* the next one of the ring */
    ngx_msec_t                    sent;        /* when something last was, */
    ngx_msec_t                    checked;     /* and the key */
    u_char                        key[SANDBOX_POSITION_KEY];

    ngx_buf_t                    *buf;
    ngx_chain_t                  *free;
    ngx_chain_t                  *busy;

    unsigned                      begun:1;     /* the head is sent */
    unsigned                      since:1;     /* seq is valid */
    unsigned                      greet:1;     /* it is to be told of this */
    unsigned                      lost:1;      /* or that events are missing */
    unsigned                      more:1;      /* pages follow */
    unsigned                      live:1;      /* goes by the ring */
    unsigned                      over:1;
} ngx_http_sandbox_events_t;


typedef struct {
    ngx_queue_t                   clients;
    ngx_uint_t                    nclients;
    ngx_event_t                   tick;
    uint64_t                      head;        /* the next one to come */
    json_t                       *ring[NGX_HTTP_SANDBOX_EVENTS_RING];
} ngx_http_sandbox_events_worker_t;


static const char *ngx_http_sandbox_events_args(ngx_http_request_t *r,
    ngx_http_sandbox_events_t *e);
static ngx_uint_t ngx_http_sandbox_events_is_id(ngx_str_t *value);
static ngx_uint_t ngx_http_sandbox_events_crowded(
    ngx_http_sandbox_caller_t *caller);
static ngx_int_t ngx_http_sandbox_events_ask(ngx_http_sandbox_events_t *e);
static void ngx_http_sandbox_events_answer(void *data, json_t *result,
    ngx_http_sandbox_error_t *err);
static ngx_int_t ngx_http_sandbox_events_begin(ngx_http_sandbox_events_t *e);
static void ngx_http_sandbox_events_pump(ngx_http_sandbox_events_t *e);
static ngx_uint_t ngx_http_sandbox_events_overtaken(
    ngx_http_sandbox_events_t *e);
static json_t *ngx_http_sandbox_events_next(ngx_http_sandbox_events_t *e);
static ngx_uint_t ngx_http_sandbox_events_visible(
    ngx_http_sandbox_events_t *e, json_t *event);
static void ngx_http_sandbox_events_write(ngx_http_sandbox_events_t *e,
    json_t *event);
static u_char *ngx_http_sandbox_events_id(ngx_http_sandbox_events_t *e,
    u_char *p, u_char *last);
static void ngx_http_sandbox_events_say(ngx_http_sandbox_events_t *e,
    const char *name, const char *data);
static ngx_int_t ngx_http_sandbox_events_flush(ngx_http_sandbox_events_t *e);
static void ngx_http_sandbox_events_writer(ngx_http_request_t *r);
static void ngx_http_sandbox_events_end(ngx_http_sandbox_events_t *e,
    const char *data);
static void ngx_http_sandbox_events_leave(ngx_http_sandbox_events_t *e);
static void ngx_http_sandbox_events_cleanup(void *data);
static void ngx_http_sandbox_events_tick(ngx_event_t *ev);


static ngx_http_sandbox_events_worker_t  ngx_http_sandbox_events;


/* A client */


ngx_int_t
ngx_http_sandbox_events_handler(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t *caller)
{
    ngx_int_t                          rc;
    const char                        *wrong;
    ngx_pool_cleanup_t                *cln;
    ngx_http_sandbox_main_conf_t      *smcf;
    ngx_http_sandbox_events_t         *e;
    ngx_http_sandbox_events_worker_t  *w;

    w = &ngx_http_sandbox_events;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_sandbox_events_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    e = cln->data;
    ngx_memzero(e, sizeof(ngx_http_sandbox_events_t));

    e->request = r;
    e->caller = caller;
    e->checked = ngx_current_msec;

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);

    if (sandbox_position_key(e->key, smcf->sign_key, SANDBOX_SIGN_KEY,
                             "events", (char *) caller->tenant.data,
                             caller->tenant.len)
        != 0)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    wrong = ngx_http_sandbox_events_args(r, e);

    if (wrong) {
        return ngx_http_sandbox_send_invalid(r, wrong, 0, wrong[1] == 'i'
                                             ? "since and Last-Event-ID must "
                                               "be the id of an event"
                                             : "Invalid sandbox ID format");
    }

    if (ngx_exiting) {
        return ngx_http_sandbox_send_error(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                           "unavailable", "This worker of "
                                           "nginx is going away", 1);
    }

    if (ngx_http_sandbox_events_crowded(caller)) {
        return ngx_http_sandbox_send_error(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                           "busy", "Too many clients follow "
                                           "events already", 5);
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (w->nclients++ == 0) {
        ngx_queue_init(&w->clients);

        w->tick.handler = ngx_http_sandbox_events_tick;
        w->tick.log = ngx_cycle->log;
        w->tick.data = w;

        ngx_add_timer(&w->tick, NGX_HTTP_SANDBOX_EVENTS_TICK);
    }

    ngx_queue_insert_tail(&w->clients, &e->queue);
    cln->handler = ngx_http_sandbox_events_cleanup;

    if (ngx_http_sandbox_events_ask(e) != NGX_OK) {
        ngx_http_sandbox_events_leave(e);
        return ngx_http_sandbox_send_error(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                           "unavailable", "sandboxd can't be "
                                           "reached", 1);
    }

    r->main->count++;
    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    return NGX_DONE;
}


/* Where to begin, and what about; the argument that is wrong, or NULL. */

static const char *
ngx_http_sandbox_events_args(ngx_http_request_t *r,
    ngx_http_sandbox_events_t *e)
{
    ngx_str_t         value;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    if (ngx_http_sandbox_api_arg(r, "since", &value) == NGX_OK) {
        e->since = 1;
    }

    /* the address of a client that comes back is still its first one */

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == sizeof("last-event-id") - 1
            && ngx_strncmp(h[i].lowcase_key, "last-event-id", h[i].key.len)
               == 0
            && h[i].value.len)
        {
            value = h[i].value;
            e->since = 1;
        }
    }

    if (e->since
        && sandbox_position_open(&e->seq, e->key, (char *) value.data,
                                 value.len)
           != 0)
    {
        if (!ngx_http_sandbox_events_is_id(&value)) {
            return "since";
        }

        /* of another key's tenant, another secret, or of a former version */

        e->since = 0;
        e->lost = 1;
    }

    if (ngx_http_sandbox_api_arg(r, "sandbox", &e->sandbox) == NGX_OK
        && !sandbox_id_valid((char *) e->sandbox.data, e->sandbox.len))
    {
        return "sandbox";
    }

    return NULL;
}


/* Whether it can have been an id: browsers never come back after a 400. */

static ngx_uint_t
ngx_http_sandbox_events_is_id(ngx_str_t *value)
{
    size_t  i;

    for (i = 0; i < value->len; i++) {
        if ((value->data[i] < '0' || value->data[i] > '9')
            && (value->data[i] < 'a' || value->data[i] > 'f'
                || value->len != SANDBOX_POSITION_TEXT))
        {
            return 0;
        }
    }

    return value->len == SANDBOX_POSITION_TEXT
           || (value->len > 0 && value->len <= NGX_INT64_LEN);
}


static ngx_uint_t
ngx_http_sandbox_events_crowded(ngx_http_sandbox_caller_t *caller)
{
    ngx_uint_t                         n;
    ngx_queue_t                       *q;
    ngx_http_sandbox_events_t         *e;
    ngx_http_sandbox_events_worker_t  *w;

    w = &ngx_http_sandbox_events;

    if (w->nclients == 0) {
        return 0;
    }

    n = 0;

    for (q = ngx_queue_head(&w->clients);
         q != ngx_queue_sentinel(&w->clients);
         q = ngx_queue_next(q))
    {
        e = ngx_queue_data(q, ngx_http_sandbox_events_t, queue);

        n += e->caller->tenant.len == caller->tenant.len
             && ngx_memcmp(e->caller->tenant.data, caller->tenant.data,
                           caller->tenant.len)
                == 0;
    }

    return w->nclients >= NGX_HTTP_SANDBOX_EVENTS_CLIENTS
           || n >= NGX_HTTP_SANDBOX_EVENTS_TENANT;
}


/* What sandboxd remembers */


static ngx_int_t
ngx_http_sandbox_events_ask(ngx_http_sandbox_events_t *e)
{
    json_t  *request;

    request = json_pack("{s:s}", "op", "events");

    if (e->since) {
        json_object_set_new(request, "since",
                            json_integer((json_int_t) e->seq));
    }

    e->live = 0;

    e->call = ngx_http_sandbox_daemon_call(request,
                                           NGX_HTTP_SANDBOX_EVENTS_TIMEOUT,
                                           ngx_http_sandbox_events_answer, e);

    return e->call ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_sandbox_events_answer(void *data, json_t *result,
    ngx_http_sandbox_error_t *err)
{
    ngx_http_sandbox_events_t *e = data;

    ngx_uint_t           first, lost;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = e->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    e->call = NULL;
    first = !e->begun;

    if (err) {

        /* once begun, the tick asks again */

        if (first) {
            ngx_http_sandbox_events_leave(e);
            ngx_http_finalize_request(r, ngx_http_sandbox_send_failure(r,
                                                                       err));
        }

        ngx_http_run_posted_requests(c);
        return;
    }

    json_decref(e->page);
    e->page = json_incref(json_object_get(result, "events"));
    e->at = 0;
    e->more = json_is_true(json_object_get(result, "more"));

    /* what is told to this worker from now on is not in the page */

    e->ring = ngx_http_sandbox_events.head;
    e->live = !e->more;

    if (first && ngx_http_sandbox_events_begin(e) != NGX_OK) {
        ngx_http_run_posted_requests(c);
        return;
    }

    lost = json_is_true(json_object_get(result, "lost"));

    if (!e->since || lost) {
        e->seq = (uint64_t) json_integer_value(json_object_get(result, "seq"));
        e->since = 1;
    }

    e->greet = first || lost;
    e->lost |= lost;

    ngx_http_sandbox_events_pump(e);

    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_sandbox_events_begin(ngx_http_sandbox_events_t *e)
{
    ngx_int_t            rc;
    ngx_str_t            value;
    ngx_http_request_t  *r;

    r = e->request;

    e->buf = ngx_create_temp_buf(r->pool, NGX_HTTP_SANDBOX_EVENTS_BUFFER);
    if (e->buf == NULL) {
        goto failed;
    }

    e->buf->tag = (ngx_buf_tag_t) &ngx_http_sandbox_events_handler;

    ngx_str_set(&value, "no-store");

    if (ngx_http_sandbox_add_header(r, "Cache-Control", &value) != NGX_OK) {
        goto failed;
    }

    r->headers_out.status = NGX_HTTP_OK;
    ngx_str_set(&r->headers_out.content_type, "text/event-stream");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        ngx_http_sandbox_events_leave(e);
        ngx_http_finalize_request(r, rc);
        return NGX_ERROR;
    }

    e->begun = 1;
    e->sent = ngx_current_msec;

    return NGX_OK;

failed:

    ngx_http_sandbox_events_leave(e);
    ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);

    return NGX_ERROR;
}


/* What goes to the client */


/* The request may be finalized in here, and is then not to be used. */

static void
ngx_http_sandbox_events_pump(ngx_http_sandbox_events_t *e)
{
    json_t  *event;

    while (e->busy == NULL) {

        if (e->greet) {
            ngx_http_sandbox_events_say(e, e->lost ? "resync" : "ready",
                                        "{}");
            e->greet = 0;
            e->lost = 0;
        }

        while (e->buf->end - e->buf->last >= NGX_HTTP_SANDBOX_EVENTS_ROOM) {

            if (ngx_http_sandbox_events_overtaken(e)) {
                ngx_http_sandbox_events_end(e, "{\"code\":\"too_slow\","
                                            "\"error\":\"This client doesn't "
                                            "keep up; come back with "
                                            "Last-Event-ID\"}");
                return;
            }

            event = ngx_http_sandbox_events_next(e);

            if (event == NULL) {
                break;
            }

            e->seq = (uint64_t) json_integer_value(json_object_get(event,
                                                                   "seq"));

            if (ngx_http_sandbox_events_visible(e, event)) {
                ngx_http_sandbox_events_write(e, event);
            }
        }

        if (e->buf->last == e->buf->pos
            || ngx_http_sandbox_events_flush(e) != NGX_OK)
        {
            return;
        }
    }
}


static ngx_uint_t
ngx_http_sandbox_events_overtaken(ngx_http_sandbox_events_t *e)
{
    return e->live
           && ngx_http_sandbox_events.head - e->ring
              > NGX_HTTP_SANDBOX_EVENTS_RING;
}


static json_t *
ngx_http_sandbox_events_next(ngx_http_sandbox_events_t *e)
{
    ngx_http_sandbox_events_worker_t  *w;

    w = &ngx_http_sandbox_events;

    if (e->page) {

        if (e->at < json_array_size(e->page)) {
            return json_array_get(e->page, e->at++);
        }

        json_decref(e->page);
        e->page = NULL;

        if (e->more) {
            (void) ngx_http_sandbox_events_ask(e);
        }
    }

    if (!e->live || e->ring == w->head) {
        return NULL;
    }

    return w->ring[e->ring++ % NGX_HTTP_SANDBOX_EVENTS_RING];
}


static ngx_uint_t
ngx_http_sandbox_events_visible(ngx_http_sandbox_events_t *e, json_t *event)
{
    size_t        len, skip;
    ngx_str_t    *prefix;
    const char   *name;

    name = json_string_value(json_object_get(event, "id"));

    if (name == NULL) {
        return 0;
    }

    len = ngx_strlen(name);
    skip = sandbox_id_reserved(name, len) ? SANDBOX_PREFIX_LEN + 1 : 0;
    prefix = &e->caller->prefix;

    if (!(e->caller->scopes & SANDBOX_SCOPE_ADMIN)
        && (skip != (prefix->len ? prefix->len + 1 : 0)
            || ngx_memcmp(name, prefix->data, prefix->len) != 0))
    {
        return 0;
    }

    return e->sandbox.len == 0
           || (e->sandbox.len == len - skip
               && ngx_memcmp(e->sandbox.data, name + skip, len - skip) == 0);
}


static void
ngx_http_sandbox_events_write(ngx_http_sandbox_events_t *e, json_t *event)
{
    char         at[sizeof("1970-09-28T12:00:00.000Z")], *dump;
    json_t      *json, *value;
    ngx_tm_t     tm;
    json_int_t   ms;
    const char  *name;

    name = json_string_value(json_object_get(event, "id"));

    if (sandbox_id_reserved(name, ngx_strlen(name))) {
        name += SANDBOX_PREFIX_LEN + 1;
    }

    ms = json_integer_value(json_object_get(event, "at"));
    ngx_gmtime((time_t) (ms / 1000), &tm);

    *ngx_snprintf((u_char *) at, sizeof(at) - 1,
                  "%4d-%02d-%02dT%02d:%02d:%02d.%03MZ",
                  tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                  tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec,
                  (ngx_msec_t) (ms % 1000))
        = '\0';

    value = json_object_get(event, "state");

    json = json_pack("{s:s, s:O, s:s, s:O*, s:O*}", "id", name,
                     "state", value ? value : json_null(), "at", at,
                     "epoch", json_object_get(event, "epoch"),
                     "reason", json_object_get(event, "reason"));

    if (json_is_true(json_object_get(event, "gone"))) {
        json_object_set_new(json, "state", json_string("gone"));
    }

    if (e->caller->scopes & SANDBOX_SCOPE_ADMIN) {
        value = json_object_get(event, "tenant");

        if (value) {
            json_object_set(json, "tenant", value);
        }
    }

    dump = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;

    if (dump != NULL) {
        ngx_http_sandbox_events_say(e, "sandbox", dump);
    }

    free(dump);
    json_decref(json);
}


static void
ngx_http_sandbox_events_say(ngx_http_sandbox_events_t *e, const char *name,
    const char *data)
{
    ngx_buf_t  *b;

    b = e->buf;

    b->last = ngx_http_sandbox_events_id(e, b->last, b->end);
    b->last = ngx_slprintf(b->last, b->end, "event: %s\ndata: %s\n\n", name,
                           data);
}


/* Where the client is; each time it is told, it is another text. */

static u_char *
ngx_http_sandbox_events_id(ngx_http_sandbox_events_t *e, u_char *p,
    u_char *last)
{
    char  text[SANDBOX_POSITION_TEXT];

    if (sandbox_position_seal(text, e->key, e->seq) != 0) {
        return p;
    }

    return ngx_slprintf(p, last, "id: %*s\n", sizeof(text), text);
}


/* NGX_OK: the buffer is free again. */

static ngx_int_t
ngx_http_sandbox_events_flush(ngx_http_sandbox_events_t *e)
{
    ngx_int_t                  rc;
    ngx_chain_t               *out;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = e->request;

    if (e->busy == NULL) {
        out = e->free ? e->free : ngx_alloc_chain_link(r->pool);
        if (out == NULL) {
            rc = NGX_ERROR;
            goto done;
        }

        e->free = NULL;

        out->buf = e->buf;
        out->next = NULL;
        e->buf->flush = 1;

    } else {
        out = NULL;
    }

    rc = ngx_http_output_filter(r, out);

    ngx_chain_update_chains(r->pool, &e->free, &e->busy, &out,
                            (ngx_buf_tag_t) &ngx_http_sandbox_events_handler);

done:

    if (rc == NGX_ERROR) {
        ngx_http_sandbox_events_leave(e);
        ngx_http_finalize_request(r, NGX_ERROR);
        return NGX_ERROR;
    }

    if (e->busy == NULL) {
        e->sent = ngx_current_msec;
        e->buf->pos = e->buf->start;
        e->buf->last = e->buf->start;

        if (r->connection->write->timer_set) {
            ngx_del_timer(r->connection->write);
        }

        r->write_event_handler = ngx_http_request_empty_handler;

        return NGX_OK;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    r->write_event_handler = ngx_http_sandbox_events_writer;

    if (!r->connection->write->timer_set) {
        ngx_add_timer(r->connection->write, clcf->send_timeout);
    }

    if (ngx_handle_write_event(r->connection->write, clcf->send_lowat)
        != NGX_OK)
    {
        ngx_http_sandbox_events_leave(e);
        ngx_http_finalize_request(r, NGX_ERROR);
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


static void
ngx_http_sandbox_events_writer(ngx_http_request_t *r)
{
    ngx_queue_t                       *q;
    ngx_http_sandbox_events_t         *e;
    ngx_http_sandbox_events_worker_t  *w;

    w = &ngx_http_sandbox_events;

    for (q = ngx_queue_head(&w->clients);
         q != ngx_queue_sentinel(&w->clients);
         q = ngx_queue_next(q))
    {
        e = ngx_queue_data(q, ngx_http_sandbox_events_t, queue);

        if (e->request != r) {
            continue;
        }

        if (r->connection->write->timedout) {
            ngx_log_error(NGX_LOG_INFO, r->connection->log, NGX_ETIMEDOUT,
                          "sandbox: a client of events takes nothing");
            r->connection->timedout = 1;
            ngx_http_sandbox_events_leave(e);
            ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
            return;
        }

        if (ngx_http_sandbox_events_flush(e) == NGX_OK) {
            ngx_http_sandbox_events_pump(e);
        }

        return;
    }
}


/* The last event, or none, and the end of the stream. */

static void
ngx_http_sandbox_events_end(ngx_http_sandbox_events_t *e, const char *data)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_http_request_t  *r;

    r = e->request;

    ngx_http_sandbox_events_leave(e);

    if (!e->begun) {
        ngx_http_finalize_request(r,
            ngx_http_sandbox_send_error(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                        "unavailable", "This worker of nginx "
                                        "is going away", 1));
        return;
    }

    b = ngx_create_temp_buf(r->pool, NGX_HTTP_SANDBOX_EVENTS_BUFFER
                                     + NGX_HTTP_SANDBOX_EVENTS_ROOM);
    if (b == NULL) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (e->busy == NULL) {
        b->last = ngx_cpymem(b->last, e->buf->pos, e->buf->last - e->buf->pos);
    }

    if (data) {
        b->last = ngx_http_sandbox_events_id(e, b->last, b->end);
        b->last = ngx_slprintf(b->last, b->end,
                               "event: error\ndata: %s\n\n", data);
    }

    /* an empty one says only that this was the last */

    b->temporary = b->last != b->pos;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    rc = ngx_http_output_filter(r, &out);

    ngx_http_finalize_request(r, rc);
}


static void
ngx_http_sandbox_events_leave(ngx_http_sandbox_events_t *e)
{
    ngx_uint_t                         i;
    ngx_http_sandbox_events_worker_t  *w;

    if (e->over) {
        return;
    }

    e->over = 1;

    w = &ngx_http_sandbox_events;

    if (e->call) {
        ngx_http_sandbox_daemon_cancel(e->call);
        e->call = NULL;
    }

    json_decref(e->page);
    e->page = NULL;

    ngx_queue_remove(&e->queue);

    if (--w->nclients) {
        return;
    }

    ngx_del_timer(&w->tick);

    for (i = 0; i < NGX_HTTP_SANDBOX_EVENTS_RING; i++) {
        json_decref(w->ring[i]);
        w->ring[i] = NULL;
    }
}


static void
ngx_http_sandbox_events_cleanup(void *data)
{
    ngx_http_sandbox_events_leave(data);
}


/* What the worker is told */


/* Calls f for every client; any of them may leave in it. */

static void
ngx_http_sandbox_events_each(void (*f)(ngx_http_sandbox_events_t *e))
{
    ngx_queue_t                       *q, *next;
    ngx_connection_t                  *c;
    ngx_http_sandbox_events_t         *e;
    ngx_http_sandbox_events_worker_t  *w;

    w = &ngx_http_sandbox_events;

    if (w->nclients == 0) {
        return;
    }

    for (q = ngx_queue_head(&w->clients);
         q != ngx_queue_sentinel(&w->clients);
         q = next)
    {
        next = ngx_queue_next(q);
        e = ngx_queue_data(q, ngx_http_sandbox_events_t, queue);
        c = e->request->connection;

        ngx_http_set_log_request(c->log, e->request);

        f(e);

        ngx_http_run_posted_requests(c);
    }
}


static void
ngx_http_sandbox_events_tell(ngx_http_sandbox_events_t *e)
{
    if (e->begun) {
        ngx_http_sandbox_events_pump(e);
    }
}


void
ngx_http_sandbox_events_change(json_t *record)
{
    json_t                            **slot, *event;
    const char                         *kind;
    ngx_http_sandbox_events_worker_t   *w;

    w = &ngx_http_sandbox_events;
    kind = json_string_value(json_object_get(record, "kind"));

    if (w->nclients == 0 || kind == NULL || ngx_strcmp(kind, "sandbox") != 0) {
        return;
    }

    event = json_copy(record);

    if (event == NULL) {
        return;
    }

    json_object_del(event, "key");

    slot = &w->ring[w->head++ % NGX_HTTP_SANDBOX_EVENTS_RING];

    json_decref(*slot);
    *slot = event;

    ngx_http_sandbox_events_each(ngx_http_sandbox_events_tell);
}


static void
ngx_http_sandbox_events_pause(ngx_http_sandbox_events_t *e)
{
    /* the first call waits for the next connection, as long as it may */

    if (e->begun && e->call) {
        ngx_http_sandbox_daemon_cancel(e->call);
        e->call = NULL;
    }

    e->live = 0;
}


void
ngx_http_sandbox_events_lost(void)
{
    ngx_http_sandbox_events_each(ngx_http_sandbox_events_pause);
}


/* Where the ring and the page don't go on, sandboxd is asked again. */

static void
ngx_http_sandbox_events_resume(ngx_http_sandbox_events_t *e)
{
    if (!e->live && e->call == NULL && e->page == NULL) {
        (void) ngx_http_sandbox_events_ask(e);
    }
}


void
ngx_http_sandbox_events_ready(void)
{
    ngx_http_sandbox_events_each(ngx_http_sandbox_events_resume);
}


/* Whether its key still is what it was when the stream began. */

static ngx_int_t
ngx_http_sandbox_events_check(ngx_http_sandbox_events_t *e)
{
    ngx_http_sandbox_caller_t  *caller;

    if (ngx_current_msec - e->checked < NGX_HTTP_SANDBOX_EVENTS_CHECK) {
        return NGX_OK;
    }

    e->checked = ngx_current_msec;

    if (ngx_http_sandbox_authenticate(e->request, &caller) != NGX_OK
        || caller->scopes != e->caller->scopes)
    {
        return NGX_DECLINED;
    }

    /* an administrator may have named another tenant */

    if (!(caller->scopes & SANDBOX_SCOPE_ADMIN)
        && (caller->tenant.len != e->caller->tenant.len
            || ngx_memcmp(caller->tenant.data, e->caller->tenant.data,
                          caller->tenant.len)
               != 0))
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static void
ngx_http_sandbox_events_beat(ngx_http_sandbox_events_t *e)
{
    ngx_buf_t  *b;

    if (ngx_exiting) {
        ngx_http_sandbox_events_end(e, NULL);
        return;
    }

    if (e->begun && ngx_http_sandbox_events_check(e) != NGX_OK) {
        ngx_http_sandbox_events_end(e, "{\"code\":\"unauthorized\","
                                    "\"error\":\"Unauthorized\"}");
        return;
    }

    if (!e->begun || e->busy) {
        return;
    }

    if (ngx_http_sandbox_daemon_connected()) {
        ngx_http_sandbox_events_resume(e);
    }

    if (ngx_current_msec - e->sent < NGX_HTTP_SANDBOX_EVENTS_SILENCE) {
        return;
    }

    /* an id without data: a client that comes back need not ask for more */

    b = e->buf;
    b->last = ngx_slprintf(b->last, b->end, ": ping\n");
    b->last = ngx_http_sandbox_events_id(e, b->last, b->end);
    b->last = ngx_slprintf(b->last, b->end, "\n");

    (void) ngx_http_sandbox_events_flush(e);
}


/* Not cancelable: an exiting worker has to end the streams. */

static void
ngx_http_sandbox_events_tick(ngx_event_t *ev)
{
    ngx_http_sandbox_events_worker_t  *w;

    w = &ngx_http_sandbox_events;

    ngx_add_timer(ev, NGX_HTTP_SANDBOX_EVENTS_TICK);

    ngx_http_sandbox_events_each(ngx_http_sandbox_events_beat);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "sandbox events: %ui clients", w->nclients);
}
