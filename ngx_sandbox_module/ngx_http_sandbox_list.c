/*
 * GET /v1/sandbox: lists, their filters, and their cursors.
 */


#include "ngx_http_sandbox_api.h"
#include "sandbox_position.h"


static ngx_int_t ngx_http_sandbox_list_key(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, u_char *key);
static void ngx_http_sandbox_list_answer(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result);
static ngx_int_t ngx_http_sandbox_list_filter(ngx_http_request_t *r,
    json_t *request);
static void ngx_http_sandbox_list_states(json_t *states, ngx_str_t *value);
static ngx_int_t ngx_http_sandbox_list_label(json_t *labels,
    ngx_str_t *value);


ngx_int_t
ngx_http_sandbox_list_handler(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api)
{
    u_char      key[SANDBOX_POSITION_KEY];
    json_t     *request;
    uint64_t    position;
    ngx_int_t   limit;
    ngx_str_t   value;

    request = json_pack("{s:s, s:b, s:o}", "op", "list", "all",
                        (int) api->caller->everybody, "caller",
                        ngx_http_sandbox_caller_json(api->caller));

    if (ngx_http_sandbox_api_arg(r, "limit", &value) == NGX_OK) {
        limit = ngx_atoi(value.data, value.len);

        if (limit < 1 || limit > 500) {
            json_decref(request);
            return ngx_http_sandbox_send_invalid(r, "limit", 500,
                                                 "limit must be 1 to 500");
        }

        json_object_set_new(request, "limit", json_integer(limit));
    }

    if (ngx_http_sandbox_list_filter(r, request) != NGX_OK) {
        json_decref(request);
        return ngx_http_sandbox_send_invalid(r, "label", 32,
                                             "label must be name=value or a "
                                             "name, at most 32 of them");
    }

    if (ngx_http_sandbox_api_arg(r, "cursor", &value) == NGX_OK) {

        if (ngx_http_sandbox_list_key(r, api, key) != NGX_OK
            || sandbox_position_open(&position, key, (char *) value.data,
                                     value.len)
               != 0)
        {
            json_decref(request);
            return ngx_http_sandbox_send_invalid(r, "cursor", 0, "cursor is "
                                                 "none that a list has given");
        }

        json_object_set_new(request, "cursor",
                            json_sprintf("%llu",
                                         (unsigned long long) position));
    }

    r->main->count++;

    ngx_http_sandbox_api_call(r, api, request, 0, ngx_http_sandbox_list_answer);

    return NGX_DONE;
}


/* sandboxd's cursors count what all tenants do: who lists gets others. */

static ngx_int_t
ngx_http_sandbox_list_key(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, u_char *key)
{
    ngx_http_sandbox_caller_t     *caller;
    ngx_http_sandbox_main_conf_t  *smcf;

    caller = api->caller;
    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);

    return sandbox_position_key(key, smcf->sign_key, SANDBOX_SIGN_KEY,
                                caller->everybody ? "list of all" : "list",
                                (char *) caller->tenant.data,
                                caller->tenant.len)
           == 0 ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_sandbox_list_answer(ngx_http_request_t *r,
    ngx_http_sandbox_api_t *api, json_t *result)
{
    char         text[SANDBOX_POSITION_TEXT];
    u_char       key[SANDBOX_POSITION_KEY];
    json_t      *answer;
    const char  *cursor;

    answer = json_copy(result);
    cursor = json_string_value(json_object_get(answer, "cursor"));

    if (cursor) {

        if (ngx_http_sandbox_list_key(r, api, key) != NGX_OK
            || sandbox_position_seal(text, key, strtoull(cursor, NULL, 10))
               != 0)
        {
            json_decref(answer);
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }

        json_object_set_new(answer, "cursor",
                            json_stringn(text, sizeof(text)));
    }

    ngx_http_finalize_request(r, ngx_http_sandbox_send_json(r, NGX_HTTP_OK,
                                                            answer));
}


/* `?label=team=x&label=vip&state=running,asleep`: all of them have to fit. */

static ngx_int_t
ngx_http_sandbox_list_filter(ngx_http_request_t *r, json_t *request)
{
    u_char     *p, *last, *end, *eq, *dst, *src;
    json_t     *labels, *states;
    ngx_str_t   name, value;

    labels = json_object();
    states = json_array();

    json_object_set_new(request, "labels", labels);
    json_object_set_new(request, "states", states);

    last = r->args.data + r->args.len;

    for (p = r->args.data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');
        if (end == NULL) {
            end = last;
        }

        eq = ngx_strlchr(p, end, '=');
        if (eq == NULL) {
            continue;
        }

        name.data = p;
        name.len = eq - p;

        value.data = ngx_pnalloc(r->pool, end - eq);
        if (value.data == NULL) {
            return NGX_ERROR;
        }

        dst = value.data;
        src = eq + 1;
        ngx_unescape_uri(&dst, &src, end - src, 0);
        value.len = dst - value.data;

        if (name.len == 5 && ngx_strncmp(name.data, "state", 5) == 0) {
            ngx_http_sandbox_list_states(states, &value);

        } else if (name.len == 5 && ngx_strncmp(name.data, "label", 5) == 0
                   && ngx_http_sandbox_list_label(labels, &value) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_http_sandbox_list_states(json_t *states, ngx_str_t *value)
{
    u_char     *p, *last, *end;
    ngx_str_t   state;

    last = value->data + value->len;

    for (p = value->data; p <= last && json_array_size(states) < 16;
         p = end + 1)
    {
        end = ngx_strlchr(p, last, ',');
        if (end == NULL) {
            end = last;
        }

        state.data = p;
        state.len = end - p;

        json_array_append_new(states, ngx_http_sandbox_json_string(&state));
    }
}


static ngx_int_t
ngx_http_sandbox_list_label(json_t *labels, ngx_str_t *value)
{
    u_char     *eq, *last;
    char        name[64];
    ngx_str_t   rest;

    last = value->data + value->len;

    eq = ngx_strlchr(value->data, last, '=');
    if (eq == NULL) {
        eq = last;
    }

    if (eq == value->data || eq - value->data >= (ssize_t) sizeof(name)
        || json_object_size(labels) >= 32)
    {
        return NGX_ERROR;
    }

    *ngx_cpymem(name, value->data, eq - value->data) = '\0';

    rest.data = eq + 1;
    rest.len = eq == last ? 0 : last - rest.data;

    return json_object_set_new(labels, name,
                               eq == last ? json_null()
                                          : ngx_http_sandbox_json_string(&rest))
           == 0 ? NGX_OK : NGX_ERROR;
}
