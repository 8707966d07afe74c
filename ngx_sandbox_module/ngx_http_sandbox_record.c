/*
 * Records of sandboxes, as sandboxd sends them (docs/protocol.md, section 1.3).
 * Their strings stay those of the JSON.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_zone.h"

#include "sandbox_route.h"


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
