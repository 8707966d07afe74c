/*
 * API keys.  A key is never stored: the file holds its SHA-256, perhaps with a
 * salt, and a request's key is compared by that, with every key of the file
 * and in a time that tells nothing.
 */


#include "ngx_http_sandbox_keys.h"
#include "sandbox_route.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>


#define NGX_HTTP_SANDBOX_KEYS_MAX      1024


typedef struct {
    ngx_pool_t                   *pool;
    ngx_array_t                   keys;    /* those of one salt in a row */
} ngx_http_sandbox_keys_t;


static void *ngx_http_sandbox_keys_load(ngx_http_sandbox_watch_t *w,
    ngx_str_t *text, ngx_uint_t level, ngx_log_t *log);
static void ngx_http_sandbox_keys_unload(void *data);
static const char *ngx_http_sandbox_keys_line(ngx_http_sandbox_keys_t *set,
    u_char *p, u_char *last);
static ngx_int_t ngx_http_sandbox_keys_copy(ngx_pool_t *pool, ngx_str_t *dst,
    const char *src, size_t len);
static ngx_int_t ngx_http_sandbox_keys_compare(const void *one,
    const void *two);


ngx_http_sandbox_watch_t *
ngx_http_sandbox_keys(ngx_conf_t *cf, ngx_str_t *path)
{
    return ngx_http_sandbox_watch(cf, path, ngx_http_sandbox_keys_load,
                                  ngx_http_sandbox_keys_unload, NULL);
}


static void
ngx_http_sandbox_keys_unload(void *data)
{
    ngx_http_sandbox_keys_t *set = data;

    /* the set may outlive the cycle, and the log, that it was made in */

    set->pool->log = ngx_cycle->log;

    ngx_destroy_pool(set->pool);
}


static void *
ngx_http_sandbox_keys_load(ngx_http_sandbox_watch_t *w, ngx_str_t *text,
    ngx_uint_t level, ngx_log_t *log)
{
    u_char                   *p, *end, *last;
    ngx_pool_t               *pool;
    const char               *why;
    ngx_uint_t                line;
    ngx_http_sandbox_keys_t  *set;

    pool = ngx_create_pool(4096, log);
    if (pool == NULL) {
        return NULL;
    }

    set = ngx_pcalloc(pool, sizeof(ngx_http_sandbox_keys_t));

    if (set == NULL
        || ngx_array_init(&set->keys, pool, 16, sizeof(ngx_http_sandbox_key_t))
           != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NULL;
    }

    set->pool = pool;
    why = NULL;
    p = text->data;
    end = text->data + text->len;

    for (line = 1; p < end; line++) {

        last = ngx_strlchr(p, end, '\n');
        if (last == NULL) {
            last = end;
        }

        why = ngx_http_sandbox_keys_line(set, p, last);

        if (why != NULL) {
            ngx_log_error(level, log, 0, "%s in \"%V\":%ui", why, &w->path,
                          line);
            ngx_destroy_pool(pool);
            return NULL;
        }

        p = last + 1;
    }

    if (set->keys.nelts == 0) {
        ngx_log_error(level, log, 0, "no key in \"%V\"", &w->path);
        ngx_destroy_pool(pool);
        return NULL;
    }

    ngx_sort(set->keys.elts, set->keys.nelts, sizeof(ngx_http_sandbox_key_t),
             ngx_http_sandbox_keys_compare);

    return set;
}


static const char *
ngx_http_sandbox_keys_line(ngx_http_sandbox_keys_t *set, u_char *p,
    u_char *last)
{
    const char              *why;
    ngx_uint_t               i;
    sandbox_key_line         line;
    ngx_http_sandbox_key_t  *key;

    why = sandbox_key_parse((char *) p, last - p, &line);

    if (why != NULL || !line.found) {
        return why;
    }

    key = set->keys.elts;

    for (i = 0; i < set->keys.nelts; i++) {
        if (ngx_memcmp(key[i].digest, line.digest, SANDBOX_KEY_DIGEST_LEN) == 0
            && key[i].salt.len == line.salt_len
            && (line.salt_len == 0
                || ngx_memcmp(key[i].salt.data, line.salt, line.salt_len)
                   == 0))
        {
            return "the same key a second time";
        }
    }

    if (set->keys.nelts == NGX_HTTP_SANDBOX_KEYS_MAX) {
        return "more than 1024 keys";
    }

    key = ngx_array_push(&set->keys);

    if (key == NULL
        || ngx_http_sandbox_keys_copy(set->pool, &key->salt, line.salt,
                                      line.salt_len) != NGX_OK
        || ngx_http_sandbox_keys_copy(set->pool, &key->name, line.name,
                                      line.name_len) != NGX_OK
        || ngx_http_sandbox_keys_copy(set->pool, &key->tenant, line.tenant,
                                      line.tenant_len) != NGX_OK)
    {
        return "no memory for the key";
    }

    ngx_memcpy(key->digest, line.digest, SANDBOX_KEY_DIGEST_LEN);
    key->scopes = line.scopes;
    key->sandboxes = line.sandboxes;
    key->starts = line.starts;
    key->create = line.create;

    return NULL;
}


static ngx_int_t
ngx_http_sandbox_keys_copy(ngx_pool_t *pool, ngx_str_t *dst, const char *src,
    size_t len)
{
    dst->len = len;
    dst->data = (u_char *) "";

    if (len) {
        dst->data = ngx_pnalloc(pool, len);
        if (dst->data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(dst->data, src, len);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sandbox_keys_compare(const void *one, const void *two)
{
    const ngx_http_sandbox_key_t  *a = one;
    const ngx_http_sandbox_key_t  *b = two;

    if (a->salt.len != b->salt.len) {
        return a->salt.len < b->salt.len ? -1 : 1;
    }

    return ngx_memcmp(a->salt.data, b->salt.data, a->salt.len);
}


/* SHA-256 of the salt and what the client sent. */

static ngx_int_t
ngx_http_sandbox_key_digest(ngx_str_t *salt, ngx_str_t *secret, u_char *digest)
{
    u_char     buf[SANDBOX_KEY_SALT_MAX + NGX_HTTP_SANDBOX_BEARER_MAX];
    ngx_int_t  rc;

    ngx_memcpy(ngx_cpymem(buf, salt->data, salt->len), secret->data,
               secret->len);

    rc = EVP_Digest(buf, salt->len + secret->len, digest, NULL, EVP_sha256(),
                    NULL) == 1 ? NGX_OK : NGX_ERROR;

    OPENSSL_cleanse(buf, salt->len + secret->len);

    return rc;
}


/* Looks at all of them, also behind the one that fits. */

ngx_int_t
ngx_http_sandbox_keys_find(ngx_http_sandbox_watch_t *w, ngx_str_t *secret,
    ngx_http_sandbox_key_t **found)
{
    u_char                    digest[SANDBOX_KEY_DIGEST_LEN];
    ngx_uint_t                i;
    ngx_http_sandbox_key_t   *key;
    ngx_http_sandbox_keys_t  *set;

    *found = NULL;

    if (secret->len == 0 || secret->len > NGX_HTTP_SANDBOX_BEARER_MAX) {
        return NGX_DECLINED;
    }

    set = w->set;
    key = set->keys.elts;

    for (i = 0; i < set->keys.nelts; i++) {

        if ((i == 0
             || ngx_http_sandbox_keys_compare(&key[i - 1], &key[i]) != 0)
            && ngx_http_sandbox_key_digest(&key[i].salt, secret, digest)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (CRYPTO_memcmp(key[i].digest, digest, SANDBOX_KEY_DIGEST_LEN) == 0)
        {
            *found = &key[i];
        }
    }

    OPENSSL_cleanse(digest, sizeof(digest));

    return *found ? NGX_OK : NGX_DECLINED;
}
