/*
 * API keys.  A key is never stored: the file holds its SHA-256, and a request's
 * key is compared by that, with every key of the file and in a time that tells
 * nothing.
 */


#include "ngx_http_sandbox.h"

#include "sandbox_route.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>


#define NGX_HTTP_SANDBOX_DIGEST_LEN    32
#define NGX_HTTP_SANDBOX_KEYS_MAX      1024
#define NGX_HTTP_SANDBOX_KEY_NAME_MAX  64
#define NGX_HTTP_SANDBOX_KEYS_SIZE     (256 * 1024)
#define NGX_HTTP_SANDBOX_BEARER_MAX    512


typedef struct {
    u_char                        digest[NGX_HTTP_SANDBOX_DIGEST_LEN];
    ngx_str_t                     name;
} ngx_http_sandbox_key_t;


static ngx_int_t ngx_http_sandbox_keys_read(ngx_conf_t *cf, ngx_str_t *path,
    ngx_str_t *text);
static char *ngx_http_sandbox_keys_parse(ngx_conf_t *cf, ngx_array_t *keys,
    ngx_str_t *path, ngx_str_t *text);
static const char *ngx_http_sandbox_keys_line(ngx_conf_t *cf,
    ngx_array_t *keys, u_char *p, u_char *last);
static ngx_str_t *ngx_http_sandbox_authorization(ngx_http_request_t *r);
static ngx_int_t ngx_http_sandbox_key_check(ngx_http_request_t *r,
    ngx_str_t *value, ngx_array_t *keys, ngx_http_sandbox_key_t **found);
static ngx_int_t ngx_http_sandbox_key_any(ngx_http_request_t *r,
    ngx_str_t *value, ngx_http_sandbox_key_t **found);
static ngx_int_t ngx_http_sandbox_key_caller(ngx_http_request_t *r,
    ngx_http_sandbox_key_t *key, ngx_http_sandbox_caller_t **caller);
static ngx_http_sandbox_key_t *ngx_http_sandbox_key_find(ngx_array_t *keys,
    u_char *digest);


ngx_int_t
ngx_http_sandbox_authenticate(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t **caller)
{
    ngx_int_t                      rc;
    ngx_str_t                     *value;
    ngx_http_sandbox_key_t        *key;
    ngx_http_sandbox_srv_conf_t   *sscf;

    value = ngx_http_sandbox_authorization(r);

    if (value == NULL) {
        return NGX_DECLINED;
    }

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_sandbox_module);

    rc = ngx_http_sandbox_key_check(r, value, sscf->api_keys, &key);

    return rc == NGX_OK ? ngx_http_sandbox_key_caller(r, key, caller) : rc;
}


ngx_int_t
ngx_http_sandbox_bearer(ngx_http_request_t *r,
    ngx_http_sandbox_caller_t **caller)
{
    ngx_int_t                rc;
    ngx_str_t               *value;
    ngx_http_sandbox_key_t  *key;

    value = ngx_http_sandbox_authorization(r);

    if (value == NULL) {
        return NGX_DECLINED;
    }

    rc = ngx_http_sandbox_key_any(r, value, &key);

    return rc == NGX_OK ? ngx_http_sandbox_key_caller(r, key, caller) : rc;
}


static ngx_int_t
ngx_http_sandbox_key_caller(ngx_http_request_t *r, ngx_http_sandbox_key_t *key,
    ngx_http_sandbox_caller_t **caller)
{
    *caller = ngx_pcalloc(r->pool, sizeof(ngx_http_sandbox_caller_t));
    if (*caller == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&(*caller)->tenant, "");
    ngx_str_set(&(*caller)->prefix, "");
    (*caller)->name = key->name;
    (*caller)->scopes = SANDBOX_SCOPE_READ|SANDBOX_SCOPE_EXEC
                        |SANDBOX_SCOPE_MANAGE|SANDBOX_SCOPE_ADMIN;
    (*caller)->create = 1;

    return NGX_OK;
}


ngx_uint_t
ngx_http_sandbox_is_our_key(ngx_http_request_t *r, ngx_str_t *value)
{
    ngx_http_sandbox_key_t  *key;

    return ngx_http_sandbox_key_any(r, value, &key) != NGX_DECLINED;
}


/* Against the keys of all API servers. */

static ngx_int_t
ngx_http_sandbox_key_any(ngx_http_request_t *r, ngx_str_t *value,
    ngx_http_sandbox_key_t **found)
{
    void                          *checked;
    ngx_int_t                      rc;
    ngx_uint_t                     i;
    ngx_http_core_srv_conf_t     **cscfp;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_sandbox_srv_conf_t   *sscf;

    checked = NULL;
    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);
    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        sscf = cscfp[i]->ctx->srv_conf[ngx_http_sandbox_module.ctx_index];

        if (sscf->api_keys == checked) {
            continue;
        }

        checked = sscf->api_keys;

        rc = ngx_http_sandbox_key_check(r, value, checked, found);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return NGX_DECLINED;
}


/*
 * The value of the only Authorization header.  With two of them, which one a
 * program behind us would believe is anybody's guess.
 */

static ngx_str_t *
ngx_http_sandbox_authorization(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, *found;

    found = NULL;
    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len != sizeof("Authorization") - 1
            || ngx_strncasecmp(h[i].key.data, (u_char *) "Authorization",
                               sizeof("Authorization") - 1)
               != 0)
        {
            continue;
        }

        if (found != NULL) {
            return NULL;
        }

        found = &h[i];
    }

    return found != NULL ? &found->value : NULL;
}


/* `Bearer <key>` against a file's keys: NGX_OK, NGX_DECLINED or NGX_ERROR. */

static ngx_int_t
ngx_http_sandbox_key_check(ngx_http_request_t *r, ngx_str_t *value,
    ngx_array_t *keys, ngx_http_sandbox_key_t **found)
{
    u_char                   digest[NGX_HTTP_SANDBOX_DIGEST_LEN];
    u_char                  *p, *last;
    ngx_http_sandbox_key_t  *key;

    if (keys == NULL
        || value->len <= sizeof("Bearer ") - 1
        || ngx_strncasecmp(value->data, (u_char *) "Bearer ",
                           sizeof("Bearer ") - 1)
           != 0)
    {
        return NGX_DECLINED;
    }

    p = value->data + sizeof("Bearer ") - 1;
    last = value->data + value->len;

    while (p < last && *p == ' ') {
        p++;
    }

    while (last > p && last[-1] == ' ') {
        last--;
    }

    if (p == last || last - p > NGX_HTTP_SANDBOX_BEARER_MAX) {
        return NGX_DECLINED;
    }

    if (EVP_Digest(p, last - p, digest, NULL, EVP_sha256(), NULL) != 1) {
        return NGX_ERROR;
    }

    key = ngx_http_sandbox_key_find(keys, digest);

    OPENSSL_cleanse(digest, sizeof(digest));

    if (key == NULL) {
        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "sandbox auth: no key of ours");
        return NGX_DECLINED;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "sandbox auth: key \"%V\"", &key->name);

    *found = key;

    return NGX_OK;
}


/* Looks at all of them, also behind the one that fits. */

static ngx_http_sandbox_key_t *
ngx_http_sandbox_key_find(ngx_array_t *keys, u_char *digest)
{
    ngx_uint_t               i;
    ngx_http_sandbox_key_t  *key, *found;

    found = NULL;

    if (keys == NULL) {
        return NULL;
    }

    key = keys->elts;

    for (i = 0; i < keys->nelts; i++) {
        if (CRYPTO_memcmp(key[i].digest, digest, NGX_HTTP_SANDBOX_DIGEST_LEN)
            == 0)
        {
            found = &key[i];
        }
    }

    return found;
}


char *
ngx_http_sandbox_api_keys(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sandbox_srv_conf_t  *sscf = conf;

    char         *rv;
    ngx_str_t    *value, path, text;
    ngx_array_t  *keys;

    if (sscf->api_keys != NULL && sscf->api_keys != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;
    path = value[1];

    if (ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    keys = ngx_array_create(cf->pool, 4, sizeof(ngx_http_sandbox_key_t));
    if (keys == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_sandbox_keys_read(cf, &path, &text) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    rv = ngx_http_sandbox_keys_parse(cf, keys, &path, &text);

    sscf->api_keys = keys;

    return rv;
}


static ngx_int_t
ngx_http_sandbox_keys_read(ngx_conf_t *cf, ngx_str_t *path, ngx_str_t *text)
{
    off_t        size;
    ssize_t      n;
    ngx_int_t    rc;
    ngx_file_t   file;

    rc = NGX_ERROR;
    ngx_memzero(&file, sizeof(ngx_file_t));

    file.name = *path;
    file.log = cf->log;
    file.fd = ngx_open_file(path->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (file.fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", path);
        return NGX_ERROR;
    }

    if (ngx_fd_info(file.fd, &file.info) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_fd_info_n " \"%V\" failed", path);
        goto done;
    }

    size = ngx_file_size(&file.info);

    if (!ngx_is_file(&file.info) || size > NGX_HTTP_SANDBOX_KEYS_SIZE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is no file of keys: it has to be a regular "
                           "file of at most %d bytes", path,
                           NGX_HTTP_SANDBOX_KEYS_SIZE);
        goto done;
    }

    text->len = size;
    text->data = ngx_pnalloc(cf->temp_pool, size ? size : 1);

    if (text->data == NULL) {
        goto done;
    }

    n = ngx_read_file(&file, text->data, size, 0);

    if (n != (ssize_t) size) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           ngx_read_file_n " \"%V\" returned only %z bytes "
                           "instead of %O", path, n, size);
        goto done;
    }

    rc = NGX_OK;

done:

    if (ngx_close_file(file.fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", path);
    }

    return rc;
}


static char *
ngx_http_sandbox_keys_parse(ngx_conf_t *cf, ngx_array_t *keys,
    ngx_str_t *path, ngx_str_t *text)
{
    u_char      *p, *end, *last;
    const char  *why;
    ngx_uint_t   line;

    p = text->data;
    end = text->data + text->len;

    for (line = 1; p < end; line++) {

        last = ngx_strlchr(p, end, '\n');
        if (last == NULL) {
            last = end;
        }

        why = ngx_http_sandbox_keys_line(cf, keys, p, last);

        if (why != NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s in \"%V\":%ui", why,
                               path, line);
            return NGX_CONF_ERROR;
        }

        p = last + 1;
    }

    if (keys->nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "no key in \"%V\"", path);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* `<SHA-256 of the key in hex> <name>`, an empty line, or a # and anything;
 * returns what is wrong with it. */

static const char *
ngx_http_sandbox_keys_line(ngx_conf_t *cf, ngx_array_t *keys, u_char *p,
    u_char *last)
{
    u_char                   digest[NGX_HTTP_SANDBOX_DIGEST_LEN];
    u_char                  *name;
    ngx_int_t                n;
    ngx_uint_t               i;
    ngx_http_sandbox_key_t  *key;

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    while (last > p && (last[-1] == ' ' || last[-1] == '\t'
                        || last[-1] == '\r'))
    {
        last--;
    }

    if (p == last || *p == '#') {
        return NULL;
    }

    if (last - p < 2 * NGX_HTTP_SANDBOX_DIGEST_LEN) {
        return "a key's SHA-256 of 64 hexadecimal digits is missing";
    }

    for (i = 0; i < NGX_HTTP_SANDBOX_DIGEST_LEN; i++) {
        n = ngx_hextoi(p, 2);

        if (n == NGX_ERROR) {
            return "a key's SHA-256 has a character that is no hexadecimal "
                   "digit";
        }

        digest[i] = (u_char) n;
        p += 2;
    }

    name = p;

    while (name < last && (*name == ' ' || *name == '\t')) {
        name++;
    }

    if (name == p || name == last
        || last - name > NGX_HTTP_SANDBOX_KEY_NAME_MAX)
    {
        return "a key needs a name of 1 to 64 characters after a blank";
    }

    for (p = name; p < last; p++) {
        if (*p <= ' ' || *p >= 0x7f) {
            return "a key's name has a character that is none of printable "
                   "ASCII";
        }
    }

    if (ngx_http_sandbox_key_find(keys, digest) != NULL) {
        return "the same key a second time";
    }

    if (keys->nelts == NGX_HTTP_SANDBOX_KEYS_MAX) {
        return "more than 1024 keys";
    }

    key = ngx_array_push(keys);
    if (key == NULL) {
        return "no memory for a key";
    }

    ngx_memcpy(key->digest, digest, NGX_HTTP_SANDBOX_DIGEST_LEN);

    key->name.len = last - name;
    key->name.data = ngx_pnalloc(cf->pool, key->name.len);
    if (key->name.data == NULL) {
        return "no memory for a key";
    }

    ngx_memcpy(key->name.data, name, key->name.len);

    return NULL;
}
