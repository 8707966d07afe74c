/*
 * The gate, in the access phase: looks the host's label or the control route
 * up, authorises, and takes out of the request what must not get inside.  It
 * wakes nothing: that is left to the pre-content phase, behind all access
 * checks that the configuration adds.
 *
 * Whatever is unknown gets one and the same answer.
 */

#include "ngx_http_sandbox_gate.h"
#include "ngx_http_sandbox_zone.h"

#include "sandbox_label.h"
#include "sandbox_key.h"
#include "sandbox_route.h"


/* What sandboxd said of a label that an incomplete zone didn't know. */

typedef struct {
    ngx_http_sandbox_exposure_t   exposure;
    ngx_http_sandbox_info_t       info;
    ngx_uint_t                    found;
} ngx_http_sandbox_resolved_t;


static ngx_int_t ngx_http_sandbox_preview(ngx_http_request_t *r,
    ngx_http_sandbox_main_conf_t *smcf, ngx_http_sandbox_srv_conf_t *sscf);
static ngx_int_t ngx_http_sandbox_admit(ngx_http_request_t *r,
    ngx_http_sandbox_exposure_t *exposure, ngx_http_sandbox_info_t *info);
static ngx_int_t ngx_http_sandbox_label(ngx_http_request_t *r,
    ngx_http_sandbox_srv_conf_t *sscf, ngx_str_t *label, unsigned *port,
    ngx_uint_t *whole);
static ngx_int_t ngx_http_sandbox_resolve(ngx_http_request_t *r,
    ngx_str_t *label);
static void ngx_http_sandbox_resolved(ngx_http_request_t *r, void *data,
    json_t *result, ngx_http_sandbox_error_t *err);
static ngx_int_t ngx_http_sandbox_resolved_read(json_t *result,
    ngx_http_sandbox_resolved_t *res, ngx_http_sandbox_zone_t *zone);


ngx_int_t
ngx_http_sandbox_access_handler(ngx_http_request_t *r)
{
    ngx_http_sandbox_srv_conf_t   *sscf;
    ngx_http_sandbox_main_conf_t  *smcf;

    /*
     * On its way to an error_page: it has been here before, and its path is the
     * configuration's.  The balancer takes no request without our context.
     */

    if (r->error_page || r->err_status) {
        return NGX_DECLINED;
    }

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_sandbox_module);

    if (sscf->api) {
        return ngx_http_sandbox_control(r, sscf);
    }

    if (sscf->domains) {
        smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);
        return ngx_http_sandbox_preview(r, smcf, sscf);
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_sandbox_preview(ngx_http_request_t *r,
    ngx_http_sandbox_main_conf_t *smcf, ngx_http_sandbox_srv_conf_t *sscf)
{
    unsigned                      port;
    ngx_int_t                     rc;
    ngx_str_t                     label;
    ngx_uint_t                    whole;
    ngx_http_sandbox_ctx_t       *ctx;
    ngx_http_sandbox_info_t       info;
    ngx_http_sandbox_exposure_t   exposure;
    ngx_http_sandbox_resolved_t  *res;

    ctx = ngx_http_sandbox_ctx(r);

    if (ctx && ctx->authorised) {
        return NGX_DECLINED;
    }

    if (ngx_http_sandbox_label(r, sscf, &label, &port, &whole) != NGX_OK) {
        return ngx_http_sandbox_unknown(r);
    }

    rc = whole
         ? ngx_http_sandbox_zone_host(smcf->zone, &label, &exposure, &info)
         : ngx_http_sandbox_zone_label(smcf->zone, &label, &exposure, &info);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "sandbox label \"%V\": %i", &label, rc);

    if (rc == NGX_AGAIN) {

        if (ctx == NULL) {
            return ngx_http_sandbox_resolve(r, &label);
        }

        res = ctx->peer;

        exposure = res->exposure;
        info = res->info;
        rc = res->found ? NGX_OK : NGX_DECLINED;
    }

    if (rc != NGX_OK || info.state == NGX_HTTP_SANDBOX_DESTROYING) {
        exposure.access = 0;
    }

    rc = ngx_http_sandbox_admit(r, &exposure, &info);

    if (rc != NGX_OK) {
        return rc == NGX_DECLINED ? ngx_http_sandbox_unknown(r) : rc;
    }

    if (ctx == NULL) {
        ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_sandbox_ctx_t));
        if (ctx == NULL) {
            return NGX_ERROR;
        }

        ngx_http_set_ctx(r, ctx, ngx_http_sandbox_module);
    }

    ctx->peer = NULL;
    ctx->label = label;
    ctx->port = exposure.port;
    ctx->gen = exposure.gen;
    ctx->private = exposure.access == NGX_HTTP_SANDBOX_PRIVATE;
    ctx->public_host = exposure.host == NGX_HTTP_SANDBOX_HOST_PUBLIC;
    ctx->limited = exposure.limited;
    ctx->wake_off = exposure.wake_off;
    ctx->whole = whole;

    ctx->id.len = info.id_len;
    ctx->id.data = ngx_pnalloc(r->pool, info.id_len + sizeof(":65535") - 1);
    if (ctx->id.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ctx->id.data, info.id, info.id_len);

    ngx_http_sandbox_take(ctx, &info);

    if (ngx_http_sandbox_origin(r, ctx, port) != NGX_OK
        || ngx_http_sandbox_request_headers(r, ctx) != NGX_OK
        || ngx_http_sandbox_activity(r, ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->authorised = 1;

    return NGX_DECLINED;
}


/* Whether who asks may see the exposure; an access of 0 is none. */

static ngx_int_t
ngx_http_sandbox_admit(ngx_http_request_t *r,
    ngx_http_sandbox_exposure_t *exposure, ngx_http_sandbox_info_t *info)
{
    ngx_int_t  rc;
    ngx_str_t  id;

    switch (exposure->access) {

    case NGX_HTTP_SANDBOX_TOKEN:
    case NGX_HTTP_SANDBOX_PUBLIC:

        /* a link from when it was private has no place in its address */

        if (ngx_http_sandbox_scrubbed(r)
            && (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)))
        {
            return ngx_http_sandbox_private_redirect(r);
        }

        return NGX_OK;

    case NGX_HTTP_SANDBOX_PRIVATE:
        id.data = info->id;
        id.len = info->id_len;

        return ngx_http_sandbox_private(r, exposure, &id);

    default:
        rc = ngx_http_sandbox_private(r, NULL, NULL);
        return rc == NGX_OK ? NGX_DECLINED : rc;
    }
}


void
ngx_http_sandbox_take(ngx_http_sandbox_ctx_t *ctx,
    ngx_http_sandbox_info_t *info)
{
    ctx->slot = info->slot;
    ctx->epoch = info->epoch;
    ctx->known = 1;
    ctx->ready = info->state == NGX_HTTP_SANDBOX_RUNNING;

    if (ctx->state == 0) {
        ctx->state = info->state;
    }

    ngx_memcpy(ctx->key, info->key, NGX_HTTP_SANDBOX_KEY_LEN);
    ctx->address = info->address;
}


/*
 * Whether what the client called its host is the name that nginx chose the
 * server by, with a port that is none or a number.  HTTP/3 has an authority
 * where others have a header.
 */

ngx_uint_t
ngx_http_sandbox_host(ngx_http_request_t *r, unsigned *port)
{
    ngx_str_t  host, *server;

    server = &r->headers_in.server;

    if (r->headers_in.host) {
        host = r->headers_in.host->value;

    } else if (r->http_version > NGX_HTTP_VERSION_20 && r->host_start) {
        host.data = r->host_start;
        host.len = r->host_end - r->host_start;

    } else {
        return 0;
    }

    return sandbox_host_match((char *) host.data, host.len,
                              (char *) server->data, server->len, port);
}


/*
 * The label that the request names below a domain of the configuration, or its
 * whole host name; it points into headers_in.server.
 */

static ngx_int_t
ngx_http_sandbox_label(ngx_http_request_t *r,
    ngx_http_sandbox_srv_conf_t *sscf, ngx_str_t *label, unsigned *port,
    ngx_uint_t *whole)
{
    size_t       n;
    ngx_str_t   *domain, *server;
    ngx_uint_t   i, below;

    *whole = 0;
    below = 0;
    server = &r->headers_in.server;

    if (!ngx_http_sandbox_host(r, port)) {
        return NGX_DECLINED;
    }

    domain = sscf->domains->elts;

    for (i = 0; i < sscf->domains->nelts; i++) {
        n = sandbox_label_below((char *) server->data, server->len,
                                (char *) domain[i].data, domain[i].len);
        if (n) {
            label->data = server->data;
            label->len = n;
            return NGX_OK;
        }

        if (server->len >= domain[i].len
            && ngx_memcmp(server->data + server->len - domain[i].len,
                          domain[i].data, domain[i].len)
               == 0)
        {
            /*
             * More than one label below, or no label at all; unless it is one
             * below another domain, which is below this one.
             */

            below |= server->len == domain[i].len
                     || server->data[server->len - domain[i].len - 1] == '.';
        }
    }

    if (below || !sandbox_host_valid((char *) server->data, server->len)) {
        return NGX_DECLINED;
    }

    *whole = 1;
    *label = *server;

    return NGX_OK;
}


ngx_uint_t
ngx_http_sandbox_https(ngx_http_request_t *r)
{
    ngx_http_sandbox_srv_conf_t  *sscf;

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_sandbox_module);

    if (sscf->scheme != NGX_HTTP_SANDBOX_SCHEME_AUTO) {
        return sscf->scheme == NGX_HTTP_SANDBOX_SCHEME_HTTPS;
    }

#if (NGX_HTTP_SSL)
    return r->connection->ssl != NULL;
#else
    return 0;
#endif
}


/* The public origin, and the Host that the app sees. */

ngx_int_t
ngx_http_sandbox_origin(ngx_http_request_t *r, ngx_http_sandbox_ctx_t *ctx,
    unsigned port)
{
    size_t        scheme;
    u_char       *p;
    ngx_uint_t    https;

    https = ngx_http_sandbox_https(r);

    if (port == (https ? 443 : 80)) {
        port = 0;
    }

    scheme = https ? sizeof("https://") - 1 : sizeof("http://") - 1;

    p = ngx_pnalloc(r->pool, scheme + r->headers_in.server.len
                             + 2 * sizeof(":65535") + sizeof("localhost"));
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->origin.data = p;

    p = https ? ngx_cpymem(p, "https://", scheme)
              : ngx_cpymem(p, "http://", scheme);
    p = ngx_cpymem(p, r->headers_in.server.data, r->headers_in.server.len);

    if (port) {
        *p++ = ':';
        p += sandbox_port_write((char *) p, port);
    }

    ctx->origin.len = p - ctx->origin.data;

    if (ctx->public_host) {
        ctx->host.data = ctx->origin.data + scheme;
        ctx->host.len = ctx->origin.len - scheme;
        return NGX_OK;
    }

    ctx->host.data = p;

    p = ngx_cpymem(p, "localhost:", sizeof("localhost:") - 1);
    p += sandbox_port_write((char *) p, ctx->port);

    ctx->host.len = p - ctx->host.data;

    return NGX_OK;
}


/* Unknown names, wrong tokens and what is another's look all alike. */

ngx_int_t
ngx_http_sandbox_unknown(ngx_http_request_t *r)
{
    return ngx_http_sandbox_reject(r, NGX_HTTP_NOT_FOUND, "INVALID_TOKEN",
                                   "Access denied: Invalid token or port not "
                                   "exposed", 0);
}


ngx_int_t
ngx_http_sandbox_reject(ngx_http_request_t *r, ngx_uint_t status,
    const char *code, const char *message, ngx_uint_t retry_after)
{
    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "sandbox reject: %ui %s: %s", status, code, message);

    ngx_http_finalize_request(r, ngx_http_sandbox_send_error(r, status, code,
                                                             message,
                                                             retry_after));
    return NGX_DONE;
}


/* Asks sandboxd for a name that the zone doesn't know yet. */

static ngx_int_t
ngx_http_sandbox_resolve(ngx_http_request_t *r, ngx_str_t *label)
{
    ngx_http_sandbox_ctx_t        *ctx;
    ngx_http_sandbox_resolved_t   *res;
    ngx_http_sandbox_main_conf_t  *smcf;

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_sandbox_ctx_t));
    res = ngx_pcalloc(r->pool, sizeof(ngx_http_sandbox_resolved_t));

    if (ctx == NULL || res == NULL) {
        return NGX_ERROR;
    }

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_sandbox_call(r, json_pack("{s:s,s:s%}", "op", "resolve",
                                           "label", (char *) label->data,
                                           label->len),
                              smcf->call_timeout, ngx_http_sandbox_resolved,
                              res)
        != NGX_OK)
    {
        return ngx_http_sandbox_reject(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                       "unavailable",
                                       "Too many requests wait for sandboxd",
                                       3);
    }

    ctx->peer = res;
    ngx_http_set_ctx(r, ctx, ngx_http_sandbox_module);

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    return NGX_AGAIN;
}


static void
ngx_http_sandbox_resolved(ngx_http_request_t *r, void *data, json_t *result,
    ngx_http_sandbox_error_t *err)
{
    ngx_http_sandbox_resolved_t *res = data;

    ngx_http_sandbox_main_conf_t  *smcf;

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);

    if (result) {
        res->found = ngx_http_sandbox_resolved_read(result, res, smcf->zone)
                     == NGX_OK;

    } else if (err->status != NGX_HTTP_NOT_FOUND) {
        ngx_http_finalize_request(r, ngx_http_sandbox_end(r, err));
        return;
    }

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
}


static ngx_int_t
ngx_http_sandbox_resolved_read(json_t *result,
    ngx_http_sandbox_resolved_t *res, ngx_http_sandbox_zone_t *zone)
{
    size_t                     i;
    json_t                    *records;
    ngx_uint_t                 exposures, sandboxes;
    ngx_http_sandbox_record_t  rec;

    records = json_object_get(result, "records");
    exposures = sandboxes = 0;

    for (i = 0; i < json_array_size(records); i++) {

        if (ngx_http_sandbox_record_read(json_array_get(records, i), &rec)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        /* what finds no place is used for this request all the same */

        (void) ngx_http_sandbox_zone_apply(zone, &rec);

        if (rec.gone) {
            return NGX_ERROR;
        }

        if (rec.exposure) {
            exposures++;
            res->exposure.slot = rec.slot;
            res->exposure.gen = rec.gen;
            res->exposure.port = rec.port;
            res->exposure.access = rec.access;
            res->exposure.host = rec.host;
            res->exposure.wake_off = rec.wake_off;
            res->exposure.limited |= rec.limited;

        } else {
            sandboxes++;
            res->exposure.limited |= rec.limited;
            res->info.slot = rec.slot;
            res->info.epoch = rec.epoch;
            res->info.state = rec.state;
            res->info.id_len = (u_char) rec.name.len;
            ngx_memcpy(res->info.key, rec.key, NGX_HTTP_SANDBOX_KEY_LEN);
            res->info.address = rec.address;
            ngx_memcpy(res->info.id, rec.name.data, rec.name.len);
        }
    }

    return exposures == 1 && sandboxes == 1
           && res->exposure.slot == res->info.slot ? NGX_OK : NGX_ERROR;
}
