/*
 * Calls to sandboxd, in any number and order: a call whose client has left is
 * forgotten, its answer ignored.  When the connection breaks, calls that may be
 * repeated wait for the next one, within their deadlines, which hold an exiting
 * worker.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_daemon.h"


typedef struct {
    ngx_http_request_t           *request;
    ngx_http_sandbox_call_t      *call;
    ngx_http_sandbox_call_pt      handler;
    void                         *data;
} ngx_http_sandbox_request_call_t;


static void ngx_http_sandbox_call_free(ngx_http_sandbox_call_t *call);
static void ngx_http_sandbox_call_deadline(ngx_event_t *ev);
static void ngx_http_sandbox_request_reply(void *data, json_t *result,
    ngx_http_sandbox_error_t *err);
static void ngx_http_sandbox_request_cleanup(void *data);


ngx_http_sandbox_call_t *
ngx_http_sandbox_daemon_call(json_t *request, ngx_msec_t timeout,
    ngx_http_sandbox_reply_pt handler, void *data)
{
    ngx_uint_t                  i, n;
    const char                 *op;
    ngx_http_sandbox_call_t    *call;
    ngx_http_sandbox_daemon_t  *d;

    d = ngx_http_sandbox_daemon;

    if (d == NULL || request == NULL || d->ncalls == NGX_HTTP_SANDBOX_CALLS) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "sandbox: %ui calls to sandboxd are open already",
                      d ? d->ncalls : 0);
        json_decref(request);
        return NULL;
    }

    call = ngx_calloc(sizeof(ngx_http_sandbox_call_t), ngx_cycle->log);
    if (call == NULL) {
        json_decref(request);
        return NULL;
    }

    n = d->serial++;

    for (i = n % NGX_HTTP_SANDBOX_CALLS; d->by_index[i];
         i = (i + 1) % NGX_HTTP_SANDBOX_CALLS)
    {
        /* one is free */
    }

    /* ids below 1024 are the hello's; 2^40 of them come before a repetition */

    call->id = ((n / NGX_HTTP_SANDBOX_CALLS) % 0x40000000 + 1)
               * NGX_HTTP_SANDBOX_CALLS + i;

    op = json_string_value(json_object_get(request, "op"));

    /* a creation without an id would leave two sandboxes if it came twice */

    call->repeat = op && (ngx_strcmp(op, "create") != 0
                          || json_object_get(request, "idempotency")
                          || json_object_get(json_object_get(request,
                                                             "options"),
                                             "id"));

    if (json_object_set_new(request, "id", json_integer((json_int_t) call->id))
        == 0)
    {
        call->text = json_dumps(request, JSON_COMPACT);
    }

    json_decref(request);

    if (call->text == NULL || ngx_strlen(call->text) > FRAME_MAX) {
        free(call->text);
        ngx_free(call);
        return NULL;
    }

    call->len = ngx_strlen(call->text);
    call->handler = handler;
    call->data = data;
    call->timeout = timeout;
    call->start = ngx_current_msec;

    call->deadline.handler = ngx_http_sandbox_call_deadline;
    call->deadline.data = call;
    call->deadline.log = ngx_cycle->log;

    ngx_add_timer(&call->deadline, timeout);

    d->by_index[i] = call;
    d->ncalls++;
    ngx_queue_insert_tail(&d->calls, &call->queue);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "sandbox call %ui: %s", call->id, op ? op : "-");

    if (d->state == sandbox_daemon_ready) {
        ngx_http_sandbox_call_send(d, call);

    } else if (d->state == sandbox_daemon_idle && !d->reconnect.timer_set) {
        ngx_http_sandbox_daemon_later(d);
    }

    return call;
}


void
ngx_http_sandbox_daemon_cancel(ngx_http_sandbox_call_t *call)
{
    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "sandbox call %ui: cancelled", call->id);

    ngx_http_sandbox_call_free(call);
}


void
ngx_http_sandbox_call_send(ngx_http_sandbox_daemon_t *d,
    ngx_http_sandbox_call_t *call)
{
    call->sent = 1;

    /* a connection that breaks here is seen by its handlers, not by callers */

    if (ngx_http_sandbox_daemon_send(d, call->text, call->len) == NGX_ERROR
        && d->connection)
    {
        d->connection->read->error = 1;
        ngx_post_event(d->connection->read, &ngx_posted_events);
    }
}


static void
ngx_http_sandbox_call_free(ngx_http_sandbox_call_t *call)
{
    ngx_http_sandbox_daemon_t  *d;

    d = ngx_http_sandbox_daemon;

    if (call->deadline.timer_set) {
        ngx_del_timer(&call->deadline);
    }

    ngx_queue_remove(&call->queue);
    d->by_index[call->id % NGX_HTTP_SANDBOX_CALLS] = NULL;
    d->ncalls--;

    free(call->text);
    ngx_free(call);

    if (d->ncalls == 0 && d->connection && d->connection->close) {

        /* the worker exits, and nobody waits any more */

        ngx_post_event(d->connection->read, &ngx_posted_events);
    }
}


void
ngx_http_sandbox_call_fail(ngx_http_sandbox_call_t *call, const char *code,
    const char *message)
{
    void                       *data;
    ngx_http_sandbox_error_t    err;
    ngx_http_sandbox_reply_pt   handler;

    ngx_memzero(&err, sizeof(ngx_http_sandbox_error_t));

    err.status = NGX_HTTP_SERVICE_UNAVAILABLE;
    err.retry_after = 3;
    err.code.data = (u_char *) code;
    err.code.len = ngx_strlen(code);
    err.message.data = (u_char *) message;
    err.message.len = ngx_strlen(message);

    handler = call->handler;
    data = call->data;

    ngx_http_sandbox_call_free(call);

    handler(data, NULL, &err);
}


static void
ngx_http_sandbox_call_deadline(ngx_event_t *ev)
{
    ngx_http_sandbox_call_t  *call;

    call = ev->data;

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "sandbox: no answer from sandboxd to call %ui within %M ms",
                  call->id, call->timeout);

    ngx_http_sandbox_call_fail(call, "timeout",
                               "sandboxd did not answer in time");
}


void
ngx_http_sandbox_call_answer(ngx_http_sandbox_daemon_t *d, json_t *frame)
{
    void                       *data;
    json_t                     *result, *error;
    ngx_str_t                  *str;
    ngx_uint_t                  i, id;
    const char                 *s;
    ngx_http_sandbox_call_t    *call;
    ngx_http_sandbox_error_t    err;
    ngx_http_sandbox_reply_pt   handler;

    static const char  *member[] = { "code", "message", "field" };

    id = (ngx_uint_t) json_integer_value(json_object_get(frame, "id"));
    call = d->by_index[id % NGX_HTTP_SANDBOX_CALLS];

    if (call == NULL || call->id != id) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                       "sandbox call %ui: answer to nobody", id);
        return;
    }

    handler = call->handler;
    data = call->data;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "sandbox call %ui: answered after %M", id,
                   ngx_current_msec - call->start);

    ngx_http_sandbox_call_free(call);

    result = json_object_get(frame, "result");

    if (json_is_true(json_object_get(frame, "ok")) && json_is_object(result)) {
        handler(data, result, NULL);
        return;
    }

    ngx_memzero(&err, sizeof(ngx_http_sandbox_error_t));

    error = json_object_get(frame, "error");

    for (i = 0; i < 3; i++) {
        str = i == 0 ? &err.code : i == 1 ? &err.message : &err.field;
        s = json_string_value(json_object_get(error, member[i]));

        if (s) {
            str->data = (u_char *) s;
            str->len = ngx_strlen(s);
        }
    }

    err.status = (ngx_uint_t) json_integer_value(json_object_get(error,
                                                                 "status"));
    err.limit = json_integer_value(json_object_get(error, "limit"));
    err.retry_after = (ngx_uint_t)
                      json_integer_value(json_object_get(error,
                                                         "retry_after"));

    if (err.status < 400 || err.status > 599) {
        err.status = NGX_HTTP_BAD_GATEWAY;
    }

    if (err.code.len == 0) {
        ngx_str_set(&err.code, "internal_error");
    }

    if (err.message.len == 0) {
        ngx_str_set(&err.message, "sandboxd gave no reason");
    }

    handler(data, NULL, &err);
}


ngx_int_t
ngx_http_sandbox_call(ngx_http_request_t *r, json_t *request,
    ngx_msec_t timeout, ngx_http_sandbox_call_pt handler, void *data)
{
    ngx_pool_cleanup_t               *cln;
    ngx_http_sandbox_request_call_t  *rc;

    cln = ngx_pool_cleanup_add(r->pool,
                               sizeof(ngx_http_sandbox_request_call_t));
    if (cln == NULL) {
        json_decref(request);
        return NGX_ERROR;
    }

    rc = cln->data;
    rc->request = r;
    rc->handler = handler;
    rc->data = data;

    rc->call = ngx_http_sandbox_daemon_call(request, timeout,
                                          ngx_http_sandbox_request_reply, rc);
    if (rc->call == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_sandbox_request_cleanup;

    return NGX_OK;
}


static void
ngx_http_sandbox_request_reply(void *data, json_t *result,
    ngx_http_sandbox_error_t *err)
{
    ngx_http_sandbox_request_call_t *rc = data;

    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = rc->request;
    c = r->connection;

    rc->call = NULL;

    ngx_http_set_log_request(c->log, r);

    rc->handler(r, rc->data, result, err);

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_sandbox_request_cleanup(void *data)
{
    ngx_http_sandbox_request_call_t *rc = data;

    if (rc->call) {
        ngx_http_sandbox_daemon_cancel(rc->call);
    }
}
