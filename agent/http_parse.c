/*
 * From bytes to a handler: llhttp's callbacks, and finding the route when the
 * head is complete.
 */

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/agent.h"
#include "agent/http_conn.h"
#include "agent/url.h"
#include "common/log.h"

static llhttp_settings_t  http_settings;


/* llhttp's callbacks.  Target, names and values are collected in x->head. */

static http_exchange *
http_exchange_new(http_conn *c)
{
    http_exchange  *x;

    x = calloc(1, sizeof(http_exchange));
    if (x != NULL) {
        x->pub.conn = c;
        c->x = x;
        c->since = uv_now(agent.loop);
    }

    return x;
}


static int
http_on_begin(llhttp_t *p)
{
    http_conn  *c;

    c = p->data;

    return c->x == NULL && http_exchange_new(c) == NULL ? HPE_USER : 0;
}


static int
http_collect(http_conn *c, const char *p, size_t n)
{
    if (c->x == NULL || c->x->head.len + n > HTTP_HEAD_MAX) {
        c->too_large = 1;
        return HPE_USER;
    }

    buffer_append(&c->x->head, p, n);

    return 0;
}


static int
http_on_url(llhttp_t *p, const char *at, size_t n)
{
    return http_collect(p->data, at, n);
}


static int
http_on_url_done(llhttp_t *p)
{
    return http_collect(p->data, "", 1);
}


static int
http_is_token(const char *p, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (p[i] <= ' ' || p[i] >= 0x7f
            || strchr("()<>@,;:\\\"/[]?={}", p[i]) != NULL)
        {
            return 0;
        }
    }

    return 1;
}


static int
http_on_field(llhttp_t *p, const char *at, size_t n)
{
    http_conn      *c;
    http_field     *f;
    http_exchange  *x;

    c = p->data;
    x = c->x;

    if (x == NULL || x->head_done) {
        return 0;                       /* trailers are of no use */
    }

    if (x->nfields == HTTP_HEADERS_MAX) {
        c->too_large = 1;
        return HPE_USER;
    }

    /* The parser is lenient here, and what two readers of a request take
     * differently is a hole. */
    if (!http_is_token(at, n)) {
        return HPE_USER;
    }

    f = &x->fields[x->nfields];
    if (f->name_len == 0) {
        f->name = x->head.len;
    }
    f->name_len += n;

    return http_collect(c, at, n);
}


static int
http_on_field_done(llhttp_t *p)
{
    http_conn  *c;

    c = p->data;

    if (c->x == NULL || c->x->head_done) {
        return 0;
    }

    if (http_collect(c, "", 1) != 0) {
        return HPE_USER;
    }

    c->x->fields[c->x->nfields].value = c->x->head.len;

    return 0;
}


static int
http_on_value(llhttp_t *p, const char *at, size_t n)
{
    http_conn  *c;

    c = p->data;

    if (c->x == NULL || c->x->head_done) {
        return 0;
    }

    c->x->fields[c->x->nfields].value_len += n;

    return http_collect(c, at, n);
}


static int
http_on_value_done(llhttp_t *p)
{
    http_conn  *c;

    c = p->data;

    if (c->x == NULL || c->x->head_done) {
        return 0;
    }

    c->x->nfields++;

    return http_collect(c, "", 1);
}


static unsigned
http_method(const llhttp_t *p)
{
    switch (p->method) {
    case HTTP_GET:      return METHOD_GET;
    case HTTP_HEAD:     return METHOD_HEAD;
    case HTTP_POST:     return METHOD_POST;
    case HTTP_PUT:      return METHOD_PUT;
    case HTTP_DELETE:   return METHOD_DELETE;
    case HTTP_OPTIONS:  return METHOD_OPTIONS;
    default:            return METHOD_OTHER;
    }
}


/* Taken down now: the parser counts the length down as the body comes. */

static int
http_on_head(llhttp_t *p)
{
    http_conn      *c;
    http_exchange  *x;

    c = p->data;
    x = c->x;
    x->head_done = 1;
    x->keep_alive = llhttp_should_keep_alive(p) != 0;
    x->http10 = p->http_major == 1 && p->http_minor == 0;
    x->pub.method = http_method(p);
    x->pub.method_name = llhttp_method_name(p->method);
    x->pub.content_length = p->flags & F_CHUNKED
                            ? -1 : (int64_t) p->content_length;

    return 0;
}


void
http_deliver(http_exchange *x, const char *p, size_t n)
{
    if (x->mode == HTTP_BODY_STREAM && !x->ended) {
        x->on_data(&x->pub, p, n);
    }
}


static int
http_on_body(llhttp_t *p, const char *at, size_t n)
{
    http_conn      *c;
    http_exchange  *x;

    c = p->data;
    x = c->x;
    x->received += n;

    if (x->ended || x->mode == HTTP_BODY_DISCARD) {
        return 0;
    }

    if (x->mode == HTTP_BODY_STREAM && !x->paused && x->body.len == 0) {
        http_deliver(x, at, n);
        return 0;
    }

    if (x->mode == HTTP_BODY_WHOLE && x->body.len + n > x->limit) {
        x->limit = 0;                   /* told by http_conn_body() */
        return 0;
    }

    if (x->mode == HTTP_BODY_WHOLE && http_body_hold(x, n) != 0) {
        x->crowded = 1;
        x->limit = 0;
        return 0;
    }

    buffer_append(&x->body, at, n);

    return 0;
}


static int
http_on_message(llhttp_t *p)
{
    http_conn  *c;

    c = p->data;
    c->x->body_done = 1;

    return HPE_PAUSED;
}


/* The head is complete: fills the public part and calls the handler. */

static void
http_dispatch_unmatched(http_exchange *x, const router_match *m)
{
    char    allow[64];
    error  *err;

    err = NULL;

    if (x->pub.method == METHOD_OPTIONS && m->allowed != 0) {
        router_allow(m->allowed | METHOD_OPTIONS, allow, sizeof(allow));
        http_set_header(&x->pub, "Allow", allow);
        http_send_empty(&x->pub, 200);
        return;
    }

    if (m->allowed != 0) {
        router_allow(m->allowed | METHOD_OPTIONS, allow, sizeof(allow));
        http_set_header(&x->pub, "Allow", allow);
        error_set(&err, 405, x->pub.bridge ? "method_not_allowed"
                                           : "unknown_error",
                  "Method %s is not allowed here: %s", x->pub.method_name,
                  allow);

    } else {
        error_set(&err, 404, x->pub.bridge ? "not_found" : "unknown_error",
                  "The requested endpoint was not found");
    }

    http_error(&x->pub, err);
}


void
http_dispatch(http_conn *c)
{
    size_t          path_len, param_len;
    char           *target;
    const char     *expect;
    router_match    m;
    http_exchange  *x;

    x = c->x;
    x->dispatched = 1;

    expect = http_header(&x->pub, "expect");
    x->expect = expect != NULL && strcasecmp(expect, "100-continue") == 0;

    target = url_origin_form(buffer_bytes(&x->head));
    if (target == NULL) {
        http_reply_bad(c, 400, "The request target is malformed");
        return;
    }

    path_len = strcspn(target, "?");
    x->pub.query = target[path_len] == '?' ? target + path_len + 1 : "";

    router_find(&agent.routes, x->pub.method, target, path_len, &m);
    param_len = m.param_len;

    x->strings = malloc(path_len + param_len + 2);
    if (x->strings == NULL
        || url_decode(x->strings, target, path_len, 0) < 0
        || (m.param != NULL
            && url_decode(x->strings + path_len + 1, m.param, param_len, 0)
               < 0))
    {
        http_reply_bad(c, 400, "The path holds a NUL");
        return;
    }

    if (m.param == NULL) {
        x->strings[path_len + 1] = '\0';
    }

    x->pub.path = x->strings;
    x->pub.param = x->strings + path_len + 1;
    x->pub.bridge = strncmp(x->strings, "/bridge/", 8) == 0;

    log_debug("%s %s", x->pub.method_name, x->pub.path);

    if (m.route == NULL) {
        http_dispatch_unmatched(x, &m);
        return;
    }

    x->pub.members = m.route->members;
    m.route->handler(&x->pub);
}


void
http_parser_init(http_conn *c)
{
    if (http_settings.on_body == NULL) {
        llhttp_settings_init(&http_settings);
        http_settings.on_message_begin = http_on_begin;
        http_settings.on_url = http_on_url;
        http_settings.on_url_complete = http_on_url_done;
        http_settings.on_header_field = http_on_field;
        http_settings.on_header_field_complete = http_on_field_done;
        http_settings.on_header_value = http_on_value;
        http_settings.on_header_value_complete = http_on_value_done;
        http_settings.on_headers_complete = http_on_head;
        http_settings.on_body = http_on_body;
        http_settings.on_message_complete = http_on_message;
    }

    llhttp_init(&c->parser, HTTP_REQUEST, &http_settings);
    c->parser.data = c;
}
