/*
 * The module's directives, configuration and phases; see
 * docs/directives.md.  ngx_http_sandbox.h says what is where.
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_watch.h"
#include "ngx_http_sandbox_zone.h"
#include "ngx_http_sandbox_count.h"
#include "sandbox_route.h"

#include "common/frame.h"


static void *ngx_http_sandbox_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_sandbox_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_sandbox_create_srv_conf(ngx_conf_t *cf);
static char *ngx_http_sandbox_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child);
static void *ngx_http_sandbox_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_sandbox_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_sandbox_daemon_conf(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_sandbox_read_secret(ngx_conf_t *cf, ngx_str_t *file,
    ngx_str_t *secret);
static char *ngx_http_sandbox_preview_conf(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_sandbox_init(ngx_conf_t *cf);
static void ngx_http_sandbox_signer_cleanup(void *data);
static ngx_int_t ngx_http_sandbox_init_process(ngx_cycle_t *cycle);
static void ngx_http_sandbox_exit_process(ngx_cycle_t *cycle);


static ngx_conf_num_bounds_t  ngx_http_sandbox_waiters_bounds = {
    ngx_conf_check_num_bounds, 1, 65536
};


static ngx_conf_enum_t  ngx_http_sandbox_schemes[] = {
    { ngx_string("auto"), NGX_HTTP_SANDBOX_SCHEME_AUTO },
    { ngx_string("http"), NGX_HTTP_SANDBOX_SCHEME_HTTP },
    { ngx_string("https"), NGX_HTTP_SANDBOX_SCHEME_HTTPS },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_sandbox_commands[] = {

    { ngx_string("sandbox_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_http_sandbox_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sandbox_daemon"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_http_sandbox_daemon_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sandbox_call_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_sandbox_main_conf_t, call_timeout),
      NULL },

    { ngx_string("sandbox_waiters"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_sandbox_main_conf_t, waiters),
      &ngx_http_sandbox_waiters_bounds },

    { ngx_string("sandbox_waiters_total"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_sandbox_main_conf_t, waiters_total),
      &ngx_http_sandbox_waiters_bounds },

    { ngx_string("sandbox_preview"),
      NGX_HTTP_SRV_CONF|NGX_CONF_1MORE,
      ngx_http_sandbox_preview_conf,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sandbox_scheme"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_sandbox_srv_conf_t, scheme),
      ngx_http_sandbox_schemes },

    { ngx_string("sandbox_api"),
      NGX_HTTP_SRV_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_sandbox_srv_conf_t, api),
      NULL },

    { ngx_string("sandbox_api_keys"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_TAKE1,
      ngx_http_sandbox_api_keys,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sandbox_api_jwt"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_1MORE,
      ngx_http_sandbox_api_jwt,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sandbox_auth_limit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_TAKE12,
      ngx_http_sandbox_auth_limit,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sandbox_audit_log"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_TAKE12,
      ngx_http_sandbox_audit_conf,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sandbox_api_query_auth"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_sandbox_srv_conf_t, api_query_auth),
      NULL },

    { ngx_string("sandbox_api_cors"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_1MORE,
      ngx_http_sandbox_cors_conf,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sandbox_wake"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sandbox_loc_conf_t, wake),
      NULL },

    { ngx_string("sandbox_wake_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sandbox_loc_conf_t, wake_timeout),
      NULL },

    { ngx_string("sandbox_limit_requests"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_sandbox_limit_requests,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sandbox_limit_connections"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_sandbox_limit_connections,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sandbox_limit_bandwidth"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_sandbox_limit_bandwidth,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sandbox_limit_body"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_sandbox_limit_body,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sandbox_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_sandbox_metrics,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sandbox"),
      NGX_HTTP_UPS_CONF|NGX_CONF_NOARGS,
      ngx_http_sandbox_upstream,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sandbox_keepalive"),
      NGX_HTTP_UPS_CONF|NGX_CONF_1MORE,
      ngx_http_sandbox_keepalive_conf,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_sandbox_module_ctx = {
    ngx_http_sandbox_add_variables,        /* preconfiguration */
    ngx_http_sandbox_init,                 /* postconfiguration */

    ngx_http_sandbox_create_main_conf,     /* create main configuration */
    ngx_http_sandbox_init_main_conf,       /* init main configuration */

    ngx_http_sandbox_create_srv_conf,      /* create server configuration */
    ngx_http_sandbox_merge_srv_conf,       /* merge server configuration */

    ngx_http_sandbox_create_loc_conf,      /* create location configuration */
    ngx_http_sandbox_merge_loc_conf        /* merge location configuration */
};


ngx_module_t  ngx_http_sandbox_module = {
    NGX_MODULE_V1,
    &ngx_http_sandbox_module_ctx,          /* module context */
    ngx_http_sandbox_commands,             /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_sandbox_init_process,         /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_sandbox_exit_process,         /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_http_sandbox_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_sandbox_main_conf_t  *smcf;

    smcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_sandbox_main_conf_t));
    if (smcf == NULL) {
        return NULL;
    }

    smcf->call_timeout = NGX_CONF_UNSET_MSEC;
    smcf->waiters = NGX_CONF_UNSET_UINT;
    smcf->waiters_total = NGX_CONF_UNSET_UINT;

    return smcf;
}


static char *
ngx_http_sandbox_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_sandbox_main_conf_t *smcf = conf;

    ngx_conf_init_msec_value(smcf->call_timeout, 30000);
    ngx_conf_init_uint_value(smcf->waiters, 1024);
    ngx_conf_init_uint_value(smcf->waiters_total, 8192);

    if (smcf->call_timeout < 1000 || smcf->call_timeout > 600000) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"sandbox_call_timeout\" must be 1s to 10m");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_sandbox_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_sandbox_srv_conf_t  *sscf;

    sscf = ngx_pcalloc(cf->pool, sizeof(ngx_http_sandbox_srv_conf_t));
    if (sscf == NULL) {
        return NULL;
    }

    sscf->api = NGX_CONF_UNSET;
    sscf->scheme = NGX_CONF_UNSET_UINT;
    sscf->api_keys = NGX_CONF_UNSET_PTR;
    sscf->api_jwt = NGX_CONF_UNSET_PTR;
    sscf->auth_rate = NGX_CONF_UNSET_UINT;
    sscf->auth_burst = NGX_CONF_UNSET_UINT;
    sscf->audit = NGX_CONF_UNSET_PTR;
    sscf->api_query_auth = NGX_CONF_UNSET;
    sscf->api_cors = NGX_CONF_UNSET_PTR;

    return sscf;
}


static char *
ngx_http_sandbox_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_sandbox_srv_conf_t *prev = parent;
    ngx_http_sandbox_srv_conf_t *conf = child;

    ngx_http_sandbox_main_conf_t  *smcf;

    ngx_conf_merge_value(conf->api, prev->api, 0);
    ngx_conf_merge_uint_value(conf->scheme, prev->scheme,
                              NGX_HTTP_SANDBOX_SCHEME_AUTO);
    ngx_conf_merge_ptr_value(conf->api_keys, prev->api_keys, NULL);
    ngx_conf_merge_ptr_value(conf->api_jwt, prev->api_jwt, NULL);
    ngx_conf_merge_ptr_value(conf->audit, prev->audit, NULL);

    /* a wrong key every two seconds, and 20 at once */

    ngx_conf_merge_uint_value(conf->auth_rate, prev->auth_rate, 500);
    ngx_conf_merge_uint_value(conf->auth_burst, prev->auth_burst, 20);
    ngx_conf_merge_value(conf->api_query_auth, prev->api_query_auth, 0);
    ngx_conf_merge_ptr_value(conf->api_cors, prev->api_cors, NULL);

    if (!conf->api && conf->domains == NULL) {
        return NGX_CONF_OK;
    }

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sandbox_module);

    if (smcf->zone == NULL || smcf->daemon_sockaddr == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"sandbox_preview\" and \"sandbox_api\" need "
                      "\"sandbox_zone\" and \"sandbox_daemon\"");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_sandbox_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_sandbox_loc_conf_t  *slcf;

    slcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_sandbox_loc_conf_t));
    if (slcf == NULL) {
        return NULL;
    }

    slcf->wake = NGX_CONF_UNSET;
    slcf->wake_timeout = NGX_CONF_UNSET_MSEC;

    ngx_http_sandbox_limit_create(slcf);

    return slcf;
}


static char *
ngx_http_sandbox_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_sandbox_loc_conf_t *prev = parent;
    ngx_http_sandbox_loc_conf_t *conf = child;

    ngx_conf_merge_value(conf->wake, prev->wake, 1);
    ngx_conf_merge_msec_value(conf->wake_timeout, prev->wake_timeout, 30000);

    ngx_http_sandbox_limit_merge(prev, conf);

    if (conf->wake_timeout < 100 || conf->wake_timeout > 3600000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"sandbox_wake_timeout\" must be 100ms to 1h");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* sandbox_daemon unix:PATH secret=FILE */

static char *
ngx_http_sandbox_daemon_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sandbox_main_conf_t *smcf = conf;

    u_char              *p;
    ngx_str_t           *value, path, file;
    struct sockaddr_un  *sa;

    if (smcf->daemon_sockaddr) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strncmp(value[1].data, "unix:/", 6) != 0
        || ngx_strncmp(value[2].data, "secret=", 7) != 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"sandbox_daemon\" must be unix:/PATH "
                           "secret=FILE");
        return NGX_CONF_ERROR;
    }

    path.data = value[1].data + 5;
    path.len = value[1].len - 5;

    for (p = path.data + path.len; p[-1] != '/'; p--) { /* void */ }

    smcf->agent_dir.len = p - path.data + sizeof("s/") - 1;

    if (path.len >= sizeof(sa->sun_path)
        || smcf->agent_dir.len + 8 > NGX_HTTP_SANDBOX_PATH_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the path \"%V\" is too long: the agents' sockets "
                           "next to it may have %d bytes at most", &path,
                           NGX_HTTP_SANDBOX_PATH_MAX);
        return NGX_CONF_ERROR;
    }

    smcf->agent_dir.data = ngx_pnalloc(cf->pool, smcf->agent_dir.len);
    sa = ngx_pcalloc(cf->pool, sizeof(struct sockaddr_un));

    if (smcf->agent_dir.data == NULL || sa == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memcpy(ngx_cpymem(smcf->agent_dir.data, path.data, p - path.data),
               "s/", 2);

    sa->sun_family = AF_UNIX;
    ngx_memcpy(sa->sun_path, path.data, path.len);

    smcf->daemon_sockaddr = (struct sockaddr *) sa;
    smcf->daemon_socklen = sizeof(struct sockaddr_un);
    smcf->daemon_name = value[1];

    file.data = value[2].data + 7;
    file.len = value[2].len - 7;

    if (ngx_conf_full_name(cf->cycle, &file, 1) != NGX_OK
        || ngx_http_sandbox_read_secret(cf, &file, &smcf->daemon_secret)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* The master reads it; workers, which can't, inherit it in memory. */

static ngx_int_t
ngx_http_sandbox_read_secret(ngx_conf_t *cf, ngx_str_t *file,
    ngx_str_t *secret)
{
    u_char   buf[FRAME_SECRET_MAX + 2];
    ssize_t  n;
    ngx_fd_t fd;

    fd = ngx_open_file(file->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", file);
        return NGX_ERROR;
    }

    n = ngx_read_fd(fd, buf, sizeof(buf));

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", file);
    }

    if (n > 0 && buf[n - 1] == LF) {
        n--;
    }

    if (n < FRAME_SECRET_MIN || n > FRAME_SECRET_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the secret in \"%V\" must have %d to %d bytes",
                           file, FRAME_SECRET_MIN, FRAME_SECRET_MAX);
        return NGX_ERROR;
    }

    secret->len = n;
    secret->data = ngx_pnalloc(cf->pool, n);
    if (secret->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(secret->data, buf, n);
    ngx_explicit_memzero(buf, sizeof(buf));

    return NGX_OK;
}


/* sandbox_preview DOMAIN... */

static char *
ngx_http_sandbox_preview_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sandbox_srv_conf_t *sscf = conf;

    ngx_str_t   *value, *domain;
    ngx_uint_t   i, j;

    value = cf->args->elts;

    if (sscf->domains == NULL) {
        sscf->domains = ngx_array_create(cf->pool, 2, sizeof(ngx_str_t));
        if (sscf->domains == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    for (i = 1; i < cf->args->nelts; i++) {

        ngx_strlow(value[i].data, value[i].data, value[i].len);

        for (j = 0; j < value[i].len; j++) {
            if ((value[i].data[j] < 'a' || value[i].data[j] > 'z')
                && (value[i].data[j] < '0' || value[i].data[j] > '9')
                && value[i].data[j] != '-'
                && (value[i].data[j] != '.' || j == 0
                    || j + 1 == value[i].len))
            {
                break;
            }
        }

        if (j < value[i].len || j == 0 || j > 200) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" in \"sandbox_preview\" is no domain "
                               "name of at most 200 bytes", &value[i]);
            return NGX_CONF_ERROR;
        }

        domain = ngx_array_push(sscf->domains);
        if (domain == NULL) {
            return NGX_CONF_ERROR;
        }

        *domain = value[i];
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_sandbox_init(ngx_conf_t *cf)
{
    ngx_pool_cleanup_t            *cln;
    ngx_http_handler_pt           *h;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_sandbox_main_conf_t  *smcf;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sandbox_module);

    if (smcf->daemon_sockaddr && smcf->zone == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"sandbox_daemon\" needs \"sandbox_zone\"");
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    if (sandbox_sign_key(smcf->sign_key, smcf->daemon_secret.data,
                         smcf->daemon_secret.len)
        != 0)
    {
        return NGX_ERROR;
    }

    smcf->signer = sandbox_signer_create(smcf->sign_key);
    if (smcf->signer == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_sandbox_signer_cleanup;
    cln->data = smcf->signer;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_sandbox_access_handler;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_sandbox_park_handler;

    /* the last one of a phase runs first */

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_sandbox_limit_handler;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_sandbox_log_handler;

    if (ngx_http_sandbox_api_init(cf) != NGX_OK
        || ngx_http_sandbox_audit_init(cf) != NGX_OK
        || ngx_http_sandbox_upstream_init(cf) != NGX_OK
        || ngx_http_sandbox_scrub_init(cf) != NGX_OK
        || ngx_http_sandbox_headers_init(cf) != NGX_OK
        || ngx_http_sandbox_cors_init() != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_sandbox_error_init(cf);
}


static void
ngx_http_sandbox_signer_cleanup(void *data)
{
    sandbox_signer_free(data);
}


static ngx_int_t
ngx_http_sandbox_init_process(ngx_cycle_t *cycle)
{
    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    if (ngx_http_cycle_get_module_main_conf(cycle, ngx_http_sandbox_module)
        == NULL)
    {
        return NGX_OK;
    }

    ngx_http_sandbox_watch_start(cycle);

    if (ngx_http_sandbox_count_init(cycle) != NGX_OK
        || ngx_http_sandbox_park_init(cycle) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_sandbox_daemon_init(cycle);
}


static void
ngx_http_sandbox_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_sandbox_daemon_exit(cycle);
    ngx_http_sandbox_count_exit(cycle);
}
