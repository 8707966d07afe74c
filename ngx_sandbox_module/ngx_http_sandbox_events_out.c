/*
 * What goes to a client of /v1/events: what sandboxd remembered, then what the
 * worker was told, as far as the client may see it.  One buffer is on its way;
 * a client that is so slow that the ring overtakes it is told so, and ended.
 *
 * Ids of events are opaque (sandbox_position.h): their numbers count what all
 * tenants do.
 */


#include "ngx_http_sandbox_events_part.h"


static ngx_uint_t ngx_http_sandbox_events_overtaken(
    ngx_http_sandbox_events_t *e);
static json_t *ngx_http_sandbox_events_next(ngx_http_sandbox_events_t *e);
static ngx_uint_t ngx_http_sandbox_events_visible(
    ngx_http_sandbox_events_t *e, json_t *event);
static void ngx_http_sandbox_events_write(ngx_http_sandbox_events_t *e,
    json_t *event);
static void ngx_http_sandbox_events_say(ngx_http_sandbox_events_t *e,
    const char *name, const char *data);
static void ngx_http_sandbox_events_writer(ngx_http_request_t *r);


/* The request may be finalized in here, and is then not to be used. */

void
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

    if ((!(e->caller->scopes & SANDBOX_SCOPE_ADMIN) || e->caller->named)
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

    json = json_pack("{s:s, s:O, s:s, s:O*, s:O*, s:O*}", "id", name,
                     "state", value ? value : json_null(), "at", at,
                     "epoch", json_object_get(event, "epoch"),
                     "reason", json_object_get(event, "reason"),
                     "oomKills", json_object_get(event, "oomKills"));

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

u_char *
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

ngx_int_t
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

void
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
