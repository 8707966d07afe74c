/*
 * GET /v1/events: what happens to sandboxes, as server-sent events.
 *
 * A client begins with what sandboxd remembers since the event that the client
 * knows, page by page, and goes on with what this worker is told.  Both come
 * over one connection, so that nothing falls between them; when that breaks,
 * each client begins again where it was.
 *
 * What is told is kept once for all clients of a worker, in a ring.  How a
 * client gets it is _events_out.c's.  Who follows events has to show now and
 * then that it still may.
 *
 * A timer that holds an exiting worker ends the streams within a second.
 */


#include "ngx_http_sandbox_events_part.h"


#define NGX_HTTP_SANDBOX_EVENTS_CLIENTS  512    /* of a worker, */
#define NGX_HTTP_SANDBOX_EVENTS_TENANT   64     /* and of one tenant */
#define NGX_HTTP_SANDBOX_EVENTS_TICK     1000
#define NGX_HTTP_SANDBOX_EVENTS_SILENCE  15000
#define NGX_HTTP_SANDBOX_EVENTS_CHECK    2000   /* of the key */
#define NGX_HTTP_SANDBOX_EVENTS_TIMEOUT  10000


static const char *ngx_http_sandbox_events_args(ngx_http_request_t *r,
    ngx_http_sandbox_events_t *e);
static ngx_uint_t ngx_http_sandbox_events_is_id(ngx_str_t *value);
static ngx_uint_t ngx_http_sandbox_events_crowded(
    ngx_http_sandbox_caller_t *caller);
static void ngx_http_sandbox_events_answer(void *data, json_t *result,
    ngx_http_sandbox_error_t *err);
static ngx_int_t ngx_http_sandbox_events_begin(ngx_http_sandbox_events_t *e);
static void ngx_http_sandbox_events_cleanup(void *data);
static void ngx_http_sandbox_events_tick(ngx_event_t *ev);


ngx_http_sandbox_events_worker_t  ngx_http_sandbox_events;


/* A client */


ngx_int_t
ngx_http_sandbox_events_handler(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t *caller)
{
    ngx_int_t                          rc;
    const char                        *wrong;
    ngx_pool_cleanup_t                *cln;
    ngx_http_sandbox_events_t         *e;
    ngx_http_sandbox_main_conf_t      *smcf;
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
    ngx_str_t                   value;
    ngx_table_elt_t            *h;
    ngx_http_sandbox_header_t   at;

    if (ngx_http_sandbox_api_arg(r, "since", &value) == NGX_OK) {
        e->since = 1;
    }

    /* the address of a client that comes back is still its first one */

    ngx_memzero(&at, sizeof(ngx_http_sandbox_header_t));

    while ((h = ngx_http_sandbox_each_header(r, &at, "last-event-id", 13))) {
        if (h->value.len) {
            value = h->value;
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


ngx_int_t
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


void
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
    if (ngx_current_msec - e->checked < NGX_HTTP_SANDBOX_EVENTS_CHECK) {
        return NGX_OK;
    }

    e->checked = ngx_current_msec;

    return ngx_http_sandbox_authenticate_again(e->request, e->caller);
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
    ngx_add_timer(ev, NGX_HTTP_SANDBOX_EVENTS_TICK);

    ngx_http_sandbox_events_each(ngx_http_sandbox_events_beat);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "sandbox events: %ui clients",
                   ngx_http_sandbox_events.nclients);
}
