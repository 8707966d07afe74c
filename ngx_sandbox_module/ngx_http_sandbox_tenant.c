/*
 * Tenants: who is known inside by which prefix.  Outside of this file and of
 * sandboxd's records nobody puts a prefix before an id or takes one away.
 */


#include "ngx_http_sandbox.h"
#include "sandbox_route.h"


#define NGX_HTTP_SANDBOX_NAME_ROOM  (sizeof(":control") - 1)


ngx_int_t
ngx_http_sandbox_qualify(ngx_pool_t *pool, ngx_http_sandbox_caller_t *caller,
    ngx_str_t *id, ngx_str_t *name)
{
    u_char  *p;

    name->data = ngx_pnalloc(pool, caller->prefix.len + 1 + id->len
                                   + NGX_HTTP_SANDBOX_NAME_ROOM);
    if (name->data == NULL) {
        return NGX_ERROR;
    }

    p = name->data;

    if (caller->prefix.len) {
        p = ngx_cpymem(p, caller->prefix.data, caller->prefix.len);
        *p++ = '-';
    }

    name->len = ngx_cpymem(p, id->data, id->len) - name->data;

    return NGX_OK;
}


ngx_str_t
ngx_http_sandbox_local_id(ngx_str_t *name)
{
    ngx_str_t  id;

    id = *name;

    if (sandbox_id_reserved((char *) id.data, id.len)) {
        id.data += SANDBOX_PREFIX_LEN + 1;
        id.len -= SANDBOX_PREFIX_LEN + 1;
    }

    return id;
}


json_t *
ngx_http_sandbox_caller_json(ngx_http_sandbox_caller_t *caller)
{
    if (caller == NULL) {
        return json_null();
    }

    return json_pack("{s:s%, s:s%, s:b, s:{s:i, s:i}}",
                     "tenant", (char *) caller->tenant.data,
                     caller->tenant.len, "key", (char *) caller->name.data,
                     caller->name.len, "create", (int) caller->create,
                     "limits", "sandboxes", (int) caller->sandboxes,
                     "startsPerMinute", (int) caller->starts);
}


ngx_uint_t
ngx_http_sandbox_owns(ngx_http_sandbox_caller_t *caller, ngx_str_t *name)
{
    if (caller->tenant.len == 0) {
        return !sandbox_id_reserved((char *) name->data, name->len);
    }

    return caller->prefix.len && name->len > caller->prefix.len
           && name->data[caller->prefix.len] == '-'
           && ngx_memcmp(name->data, caller->prefix.data, caller->prefix.len)
              == 0;
}
