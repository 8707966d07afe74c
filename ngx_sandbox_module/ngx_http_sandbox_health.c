/*
 * GET /health: whether sandboxes can be made and started.  A worker asks
 * sandboxd at most once a second, whoever asks the worker; those who come
 * meanwhile wait for the same answer.  Anybody may ask: what is wrong is told
 * without a name or a path, which sandboxd's log has.
 */

#include "ngx_http_sandbox_api.h"


#define NGX_HTTP_SANDBOX_HEALTH_VALID    1000
#define NGX_HTTP_SANDBOX_HEALTH_TIMEOUT  2000


typedef struct {
    ngx_queue_t                   queue;
    ngx_http_request_t           *request;     /* NULL: it doesn't wait */
} ngx_http_sandbox_health_waiter_t;


typedef struct {
    ngx_queue_t                   waiters;
    ngx_http_sandbox_call_t      *call;
    json_t                       *errors;      /* NULL: never asked */
    ngx_msec_t                    at;          /* when that was answered */
} ngx_http_sandbox_health_t;


static ngx_int_t ngx_http_sandbox_health_wait(ngx_http_request_t *r);
static void ngx_http_sandbox_health_answer(void *data, json_t *result,
    ngx_http_sandbox_error_t *err);
static ngx_int_t ngx_http_sandbox_health_send(ngx_http_request_t *r,
    json_t *errors);
static void ngx_http_sandbox_health_cleanup(void *data);


static ngx_http_sandbox_health_t  ngx_http_sandbox_health;


ngx_int_t
ngx_http_sandbox_health_handler(ngx_http_request_t *r)
{
    json_t                     *errors;
    ngx_int_t                   rc;
    ngx_http_sandbox_health_t  *h;

    h = &ngx_http_sandbox_health;

    if (!ngx_http_sandbox_daemon_connected()) {
        errors = json_pack("[s]", "sandboxd can't be reached");
        rc = ngx_http_sandbox_health_send(r, errors);
        json_decref(errors);

        return rc;
    }

    if (h->call == NULL && h->errors != NULL
        && ngx_current_msec - h->at < NGX_HTTP_SANDBOX_HEALTH_VALID)
    {
        return ngx_http_sandbox_health_send(r, h->errors);
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_sandbox_health_wait(r);
}


static ngx_int_t
ngx_http_sandbox_health_wait(ngx_http_request_t *r)
{
    json_t                            *errors;
    ngx_int_t                          rc;
    ngx_pool_cleanup_t                *cln;
    ngx_http_sandbox_health_t         *h;
    ngx_http_sandbox_health_waiter_t  *w;

    h = &ngx_http_sandbox_health;

    cln = ngx_pool_cleanup_add(r->pool,
                               sizeof(ngx_http_sandbox_health_waiter_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (h->waiters.next == NULL) {
        ngx_queue_init(&h->waiters);
    }

    if (h->call == NULL) {
        h->call = ngx_http_sandbox_daemon_call(json_pack("{s:s}", "op",
                                                         "health"),
                                         NGX_HTTP_SANDBOX_HEALTH_TIMEOUT,
                                         ngx_http_sandbox_health_answer, NULL);

        if (h->call == NULL) {
            errors = json_pack("[s]", "sandboxd is too busy to be asked");
            rc = ngx_http_sandbox_health_send(r, errors);
            json_decref(errors);

            return rc;
        }
    }

    w = cln->data;
    w->request = r;
    cln->handler = ngx_http_sandbox_health_cleanup;

    ngx_queue_insert_tail(&h->waiters, &w->queue);

    r->main->count++;
    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    return NGX_DONE;
}


/* A client that leaves leaves the call to the others. */

static void
ngx_http_sandbox_health_cleanup(void *data)
{
    ngx_http_sandbox_health_waiter_t *w = data;

    if (w->request) {
        ngx_queue_remove(&w->queue);
        w->request = NULL;
    }
}


static void
ngx_http_sandbox_health_answer(void *data, json_t *result,
    ngx_http_sandbox_error_t *err)
{
    json_t                            *errors;
    ngx_queue_t                       *q;
    ngx_connection_t                  *c;
    ngx_http_request_t                *r;
    ngx_http_sandbox_health_t         *h;
    ngx_http_sandbox_health_waiter_t  *w;

    h = &ngx_http_sandbox_health;
    h->call = NULL;

    errors = json_incref(json_object_get(result, "errors"));

    if (!json_is_array(errors)) {
        json_decref(errors);
        errors = json_pack("[s]", err ? "sandboxd does not answer"
                                      : "sandboxd can't say how it is");
    }

    json_decref(h->errors);
    h->errors = errors;
    h->at = ngx_current_msec;

    json_incref(errors);

    while (!ngx_queue_empty(&h->waiters)) {
        q = ngx_queue_head(&h->waiters);
        ngx_queue_remove(q);

        w = ngx_queue_data(q, ngx_http_sandbox_health_waiter_t, queue);
        r = w->request;
        c = r->connection;
        w->request = NULL;

        ngx_http_set_log_request(c->log, r);
        ngx_http_finalize_request(r, ngx_http_sandbox_health_send(r, errors));
        ngx_http_run_posted_requests(c);
    }

    json_decref(errors);
}


static ngx_int_t
ngx_http_sandbox_health_send(ngx_http_request_t *r, json_t *errors)
{
    json_t     *json;
    ngx_str_t   value;

    if (errors != NULL && json_array_size(errors) == 0) {
        return ngx_http_sandbox_send_json(r, NGX_HTTP_OK,
                                          json_pack("{s:b}", "ok", 1));
    }

    json = json_pack("{s:b, s:O}", "ok", 0, "errors",
                     errors ? errors : json_null());

    ngx_str_set(&value, "1");

    if (ngx_http_sandbox_add_header(r, "Retry-After", &value) != NGX_OK) {
        json_decref(json);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_sandbox_send_json(r, NGX_HTTP_SERVICE_UNAVAILABLE, json);
}
