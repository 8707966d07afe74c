/*
 * The audit log: who did what to which sandbox, and what came of it; one JSON
 * object a line, in a file of its own that is reopened with nginx's others.
 * It holds names of keys and never a credential, nor a path or a body.
 *
 * What is known of a request is kept with its pool, so that an internal
 * redirect to an error page doesn't lose it.
 */


#include "ngx_http_sandbox_api.h"
#include "sandbox_key.h"


struct ngx_http_sandbox_audit_s {
    ngx_http_sandbox_caller_t    *caller;      /* NULL: nobody we know */
    const char                   *pattern;     /* NULL: no such route */
    ngx_str_t                     method;
    ngx_str_t                     id;          /* within the tenant */
    ngx_str_t                     domain;
    ngx_str_t                     code;        /* of the error */
    ngx_uint_t                    scope;
    ngx_uint_t                    port;
    unsigned                      created:1;
};


struct ngx_http_sandbox_audit_log_s {
    ngx_open_file_t              *file;
    ngx_uint_t                    scopes;      /* 0: no log */
    time_t                        complained;
};


static void ngx_http_sandbox_audit_cleanup(void *data);
static ngx_int_t ngx_http_sandbox_audit_copy(ngx_pool_t *pool, ngx_str_t *dst,
    const void *data, size_t len);
static ngx_int_t ngx_http_sandbox_audit_handler(ngx_http_request_t *r);
static json_t *ngx_http_sandbox_audit_line(ngx_http_request_t *r,
    ngx_http_sandbox_audit_t *audit, ngx_uint_t status);
static void ngx_http_sandbox_audit_write(ngx_http_request_t *r,
    ngx_http_sandbox_audit_log_t *log, json_t *line);


ngx_int_t
ngx_http_sandbox_audit(ngx_http_request_t *r, ngx_http_sandbox_ctx_t *ctx,
    sandbox_route *route)
{
    ngx_pool_cleanup_t           *cln;
    ngx_http_sandbox_audit_t     *audit;
    ngx_http_sandbox_srv_conf_t  *sscf;

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_sandbox_module);

    if (sscf->audit == NULL || sscf->audit->scopes == 0 || ctx->audit) {
        return NGX_OK;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_sandbox_audit_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    audit = cln->data;
    ngx_memzero(audit, sizeof(ngx_http_sandbox_audit_t));

    audit->pattern = route->pattern;
    audit->scope = route->scope;
    audit->port = route->port;
    audit->method = r->method_name;

    cln->handler = ngx_http_sandbox_audit_cleanup;
    ctx->audit = audit;

    /* what is no id is nothing to write down */

    if (route->kind == SANDBOX_ROUTE_BAD_ID) {
        return NGX_OK;
    }

    if (route->name
        && ngx_http_sandbox_audit_copy(r->pool, &audit->domain, route->name,
                                       route->name_len)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_sandbox_audit_copy(r->pool, &audit->id, route->id,
                                       route->id_len);
}


/* It only marks the record among the pool's cleanups. */

static void
ngx_http_sandbox_audit_cleanup(void *data)
{
    /* void */
}


static ngx_int_t
ngx_http_sandbox_audit_copy(ngx_pool_t *pool, ngx_str_t *dst, const void *data,
    size_t len)
{
    dst->len = 0;

    if (len == 0) {
        return NGX_OK;
    }

    dst->data = ngx_pnalloc(pool, len);
    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(dst->data, data, len);
    dst->len = len;

    return NGX_OK;
}


void
ngx_http_sandbox_audit_caller(ngx_http_sandbox_ctx_t *ctx)
{
    if (ctx->audit) {
        ctx->audit->caller = ctx->caller;
    }
}


void
ngx_http_sandbox_audit_created(ngx_http_request_t *r, const char *id)
{
    ngx_http_sandbox_ctx_t  *ctx;

    ctx = ngx_http_sandbox_ctx(r);

    if (ctx == NULL || ctx->audit == NULL) {
        return;
    }

    ctx->audit->created = 1;

    if (id) {
        (void) ngx_http_sandbox_audit_copy(r->pool, &ctx->audit->id, id,
                                           ngx_strlen(id));
    }
}


void
ngx_http_sandbox_audit_error(ngx_http_request_t *r, const ngx_str_t *code)
{
    ngx_http_sandbox_ctx_t  *ctx;

    ctx = ngx_http_sandbox_ctx(r);

    if (ctx && ctx->audit) {
        (void) ngx_http_sandbox_audit_copy(r->pool, &ctx->audit->code,
                                           code->data, code->len);
    }
}


static ngx_int_t
ngx_http_sandbox_audit_handler(ngx_http_request_t *r)
{
    json_t                       *line;
    ngx_uint_t                    status;
    ngx_pool_cleanup_t           *cln;
    ngx_http_sandbox_audit_t     *audit;
    ngx_http_sandbox_srv_conf_t  *sscf;

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_sandbox_module);

    if (sscf->audit == NULL || sscf->audit->scopes == 0) {
        return NGX_OK;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_sandbox_audit_cleanup) {
            break;
        }
    }

    if (cln == NULL) {
        return NGX_OK;
    }

    audit = cln->data;
    status = r->err_status ? r->err_status : r->headers_out.status;

    /* who is refused, and whatever makes a sandbox, is always of interest */

    if (!(audit->scope & sscf->audit->scopes) && !audit->created
        && status != NGX_HTTP_UNAUTHORIZED && status != NGX_HTTP_FORBIDDEN
        && status != NGX_HTTP_TOO_MANY_REQUESTS)
    {
        return NGX_OK;
    }

    line = ngx_http_sandbox_audit_line(r, audit, status);

    if (line) {
        ngx_http_sandbox_audit_write(r, sscf->audit, line);
        json_decref(line);
    }

    return NGX_OK;
}


static json_t *
ngx_http_sandbox_audit_line(ngx_http_request_t *r,
    ngx_http_sandbox_audit_t *audit, ngx_uint_t status)
{
    json_t                     *line;
    ngx_str_t                   id, *time;
    ngx_uint_t                  key;
    ngx_http_variable_value_t  *vv;
    u_char                      name[sizeof("request_id") - 1];

    id.len = sizeof("request_id") - 1;
    id.data = name;
    key = ngx_hash_strlow(name, (u_char *) "request_id", id.len);
    vv = ngx_http_get_variable(r, &id, key);

    time = (ngx_str_t *) &ngx_cached_http_log_iso8601;

    line = json_pack("{s:s%, s:o, s:s%, s:s%}",
                     "time", (char *) time->data, time->len,
                     "address",
                     ngx_http_sandbox_json_string(&r->connection->addr_text),
                     "request",
                     vv && !vv->not_found ? (char *) vv->data : "",
                     (size_t) (vv && !vv->not_found ? vv->len : 0),
                     "method", (char *) audit->method.data,
                     audit->method.len);

    if (line == NULL) {
        return NULL;
    }

    if (audit->caller) {
        json_object_set_new(line, "key",
                            ngx_http_sandbox_json_string(
                                &audit->caller->name));
        json_object_set_new(line, "tenant",
                            ngx_http_sandbox_json_string(
                                &audit->caller->tenant));
    }

    if (audit->pattern) {
        json_object_set_new(line, "route", json_string(audit->pattern));
    }

    if (audit->id.len) {
        json_object_set_new(line, "sandbox",
                            ngx_http_sandbox_json_string(&audit->id));
    }

    if (audit->domain.len) {
        json_object_set_new(line, "domain",
                            ngx_http_sandbox_json_string(&audit->domain));
    }

    if (audit->port) {
        json_object_set_new(line, "port",
                            json_integer((json_int_t) audit->port));
    }

    if (audit->created) {
        json_object_set_new(line, "created", json_true());
    }

    json_object_set_new(line, "status", json_integer((json_int_t) status));

    if (audit->code.len) {
        json_object_set_new(line, "error",
                            ngx_http_sandbox_json_string(&audit->code));
    }

    return line;
}


/* A line is one write() to a file that is opened for appending: the workers'
 * lines don't mix. */

static void
ngx_http_sandbox_audit_write(ngx_http_request_t *r,
    ngx_http_sandbox_audit_log_t *log, json_t *line)
{
    char    *text, *p;
    size_t   len;
    ssize_t  n;

    text = json_dumps(line, JSON_COMPACT);
    if (text == NULL) {
        return;
    }

    len = ngx_strlen(text);
    p = realloc(text, len + 1);

    if (p == NULL) {
        free(text);
        return;
    }

    p[len++] = LF;

    n = ngx_write_fd(log->file->fd, p, len);

    if (n != (ssize_t) len && ngx_time() - log->complained > 59) {
        log->complained = ngx_time();

        ngx_log_error(NGX_LOG_ALERT, r->connection->log,
                      n == -1 ? ngx_errno : 0,
                      "the audit log \"%V\" takes no more: a line of %uz bytes "
                      "was not written", &log->file->name, len);
    }

    free(p);
}


ngx_int_t
ngx_http_sandbox_audit_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_sandbox_audit_handler;

    return NGX_OK;
}


/* sandbox_audit_log FILE [scopes=SCOPE,...] | off */

char *
ngx_http_sandbox_audit_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sandbox_srv_conf_t *sscf = conf;

    u_char                        *p, *end, *comma;
    ngx_str_t                     *value;
    ngx_uint_t                     bit;
    ngx_http_sandbox_audit_log_t  *log;

    if (sscf->audit != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    log = ngx_pcalloc(cf->pool, sizeof(ngx_http_sandbox_audit_log_t));
    if (log == NULL) {
        return NGX_CONF_ERROR;
    }

    sscf->audit = log;
    value = cf->args->elts;

    if (value[1].len == 3 && ngx_strncmp(value[1].data, "off", 3) == 0) {
        return cf->args->nelts == 2 ? NGX_CONF_OK
                                    : "takes nothing behind \"off\"";
    }

    log->file = ngx_conf_open_file(cf->cycle, &value[1]);
    if (log->file == NULL) {
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 2) {
        log->scopes = SANDBOX_SCOPE_MANAGE|SANDBOX_SCOPE_ADMIN;
        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value[2].data, "scopes=", 7) != 0) {
        return "takes a file and scopes=SCOPE,...";
    }

    end = value[2].data + value[2].len;

    for (p = value[2].data + 7; p <= end; p = comma + 1) {

        comma = ngx_strlchr(p, end, ',');
        if (comma == NULL) {
            comma = end;
        }

        bit = sandbox_scope_parse((char *) p, comma - p);
        if (bit == 0) {
            return "knows the scopes read, exec, manage and admin";
        }

        log->scopes |= bit;
    }

    return NGX_CONF_OK;
}
