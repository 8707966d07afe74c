/*
 * How often each client address has sent a credential that was none.  Who has
 * used up its tries gets 429 and is not listened to, with one exception: what
 * was right from the same address lately.  So those who work behind an address
 * are not locked out by one who guesses behind it, and the guesses gain
 * nothing by that: one that isn't known already has to wait like all others.
 *
 * Two tables of fixed size in the zone, each of sets of four: an address that
 * finds no free place takes that of the one with the fewest failures.
 */


#include "ngx_http_sandbox_keys.h"
#include "ngx_http_sandbox_node.h"

#include "sandbox_label.h"


#define NGX_HTTP_SANDBOX_WAYS          4
#define NGX_HTTP_SANDBOX_RIGHT_FOR     86400   /* seconds */
#define NGX_HTTP_SANDBOX_FAILURES_MIN  256
#define NGX_HTTP_SANDBOX_FAILURES_MAX  16384


typedef struct {
    uint64_t                      key;         /* 0: free */
    uint32_t                      last;        /* msec */
    uint32_t                      excess;      /* thousandths of a failure */
} ngx_http_sandbox_failure_t;


typedef struct {
    uint64_t                      key;         /* 0: free */
    uint32_t                      last;        /* seconds */
} ngx_http_sandbox_right_t;


struct ngx_http_sandbox_failures_s {
    ngx_uint_t                    mask;        /* of sets */
    ngx_http_sandbox_failure_t   *wrong;
    ngx_http_sandbox_right_t     *right;
};


/* Keyed hashes: nobody outside can say which addresses share a set. */

typedef struct {
    uint64_t                      address;     /* 0: not limited */
    uint64_t                      credential;
} ngx_http_sandbox_tried_t;


ngx_http_sandbox_failures_t *
ngx_http_sandbox_failures_init(ngx_slab_pool_t *shpool, size_t size)
{
    ngx_uint_t                    n;
    ngx_http_sandbox_failures_t  *f;

    for (n = NGX_HTTP_SANDBOX_FAILURES_MIN;
         n < NGX_HTTP_SANDBOX_FAILURES_MAX && n * 4096 <= size;
         n *= 2)
    {
        /* void */
    }

    f = ngx_slab_calloc_locked(shpool, sizeof(ngx_http_sandbox_failures_t));
    if (f == NULL) {
        return NULL;
    }

    f->mask = n / NGX_HTTP_SANDBOX_WAYS - 1;
    f->wrong = ngx_slab_calloc_locked(shpool,
                                      n * sizeof(ngx_http_sandbox_failure_t));
    f->right = ngx_slab_calloc_locked(shpool,
                                      n * sizeof(ngx_http_sandbox_right_t));

    return f->wrong && f->right ? f : NULL;
}


/*
 * An IPv4 address, or the first half of an IPv6 address, since that is what one
 * customer has.  Whoever comes over a Unix socket is a proxy of ours.
 */

static size_t
ngx_http_sandbox_failures_address(ngx_http_request_t *r, u_char *p)
{
    struct sockaddr      *sa;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    sa = r->connection->sockaddr;

    switch (sa->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) sa;
        ngx_memcpy(p, &sin->sin_addr, 4);
        return 4;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sa;

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            ngx_memcpy(p, sin6->sin6_addr.s6_addr + 12, 4);
            return 4;
        }

        ngx_memcpy(p, sin6->sin6_addr.s6_addr, 8);
        return 8;
#endif

    default:
        return 0;
    }
}


static ngx_int_t
ngx_http_sandbox_failures_hash(ngx_http_request_t *r,
    ngx_http_sandbox_shctx_t *sh, ngx_str_t *credential,
    ngx_http_sandbox_tried_t *tried)
{
    u_char    address[8];
    size_t    len;
    uint64_t  h[2];

    len = ngx_http_sandbox_failures_address(r, address);

    if (len == 0) {
        return NGX_DECLINED;
    }

    tried->address = sandbox_label_hash(sh->hash_key, address, len) | 1;

    h[0] = tried->address;
    h[1] = sandbox_label_hash(sh->hash_key, credential->data, credential->len);

    tried->credential = sandbox_label_hash(sh->hash_key, h, sizeof(h)) | 1;

    return NGX_OK;
}


static uint32_t
ngx_http_sandbox_failures_excess(ngx_http_sandbox_failure_t *f,
    ngx_http_sandbox_srv_conf_t *sscf)
{
    uint64_t  gone;

    gone = (uint64_t) (uint32_t) ((uint32_t) ngx_current_msec - f->last)
           * sscf->auth_rate / 1000;

    return gone < f->excess ? f->excess - (uint32_t) gone : 0;
}


static ngx_http_sandbox_failure_t *
ngx_http_sandbox_failures_find(ngx_http_sandbox_failures_t *t, uint64_t key)
{
    ngx_uint_t                   i;
    ngx_http_sandbox_failure_t  *f;

    f = &t->wrong[((key >> 1) & t->mask) * NGX_HTTP_SANDBOX_WAYS];

    for (i = 0; i < NGX_HTTP_SANDBOX_WAYS; i++) {
        if (f[i].key == key) {
            return &f[i];
        }
    }

    return NULL;
}


static ngx_http_sandbox_right_t *
ngx_http_sandbox_failures_known(ngx_http_sandbox_failures_t *t, uint64_t key)
{
    ngx_uint_t                 i;
    ngx_http_sandbox_right_t  *c;

    c = &t->right[((key >> 1) & t->mask) * NGX_HTTP_SANDBOX_WAYS];

    for (i = 0; i < NGX_HTTP_SANDBOX_WAYS; i++) {
        if (c[i].key == key) {
            return &c[i];
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_sandbox_failures_wait(ngx_http_request_t *r, ngx_str_t *credential)
{
    uint32_t                       excess, limit;
    ngx_uint_t                     wait;
    ngx_http_sandbox_zone_t       *zone;
    ngx_http_sandbox_tried_t       tried;
    ngx_http_sandbox_right_t      *known;
    ngx_http_sandbox_failure_t    *f;
    ngx_http_sandbox_failures_t   *t;
    ngx_http_sandbox_srv_conf_t   *sscf;
    ngx_http_sandbox_main_conf_t  *smcf;

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);
    sscf = ngx_http_get_module_srv_conf(r, ngx_http_sandbox_module);
    zone = smcf->zone;

    if (sscf->auth_rate == 0 || zone == NULL
        || ngx_http_sandbox_failures_hash(r, zone->sh, credential, &tried)
           != NGX_OK)
    {
        return 0;
    }

    wait = 0;
    limit = (uint32_t) sscf->auth_burst * 1000;

    ngx_http_sandbox_zone_lock(zone);

    t = zone->sh->failures;
    f = ngx_http_sandbox_failures_find(t, tried.address);

    if (f) {
        excess = ngx_http_sandbox_failures_excess(f, sscf);

        if (excess + 1000 > limit) {
            known = ngx_http_sandbox_failures_known(t, tried.credential);

            if (known == NULL
                || (uint32_t) ngx_time() - known->last
                   > NGX_HTTP_SANDBOX_RIGHT_FOR)
            {
                wait = (excess + 1000 - limit) / sscf->auth_rate + 1;
            }
        }
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return wait;
}


static void
ngx_http_sandbox_failures_wrong(ngx_http_sandbox_failures_t *t, uint64_t key,
    ngx_http_sandbox_srv_conf_t *sscf)
{
    uint32_t                     excess, least;
    ngx_uint_t                   i;
    ngx_http_sandbox_failure_t  *f, *set;

    f = ngx_http_sandbox_failures_find(t, key);

    if (f == NULL) {
        set = &t->wrong[((key >> 1) & t->mask) * NGX_HTTP_SANDBOX_WAYS];
        least = (uint32_t) -1;

        for (i = 0; i < NGX_HTTP_SANDBOX_WAYS; i++) {
            excess = set[i].key ? ngx_http_sandbox_failures_excess(&set[i],
                                                                   sscf) : 0;
            if (excess < least) {
                least = excess;
                f = &set[i];
            }
        }

        f->key = key;
        f->excess = 0;
        f->last = (uint32_t) ngx_current_msec;
    }

    excess = ngx_http_sandbox_failures_excess(f, sscf) + 1000;

    f->excess = ngx_min(excess, (uint32_t) sscf->auth_burst * 1000);
    f->last = (uint32_t) ngx_current_msec;
}


static void
ngx_http_sandbox_failures_right(ngx_http_sandbox_failures_t *t, uint64_t key)
{
    ngx_uint_t                 i;
    ngx_http_sandbox_right_t  *c, *set;

    c = ngx_http_sandbox_failures_known(t, key);

    if (c == NULL) {
        set = &t->right[((key >> 1) & t->mask) * NGX_HTTP_SANDBOX_WAYS];
        c = set;

        for (i = 1; i < NGX_HTTP_SANDBOX_WAYS; i++) {
            if (set[i].last < c->last) {
                c = &set[i];
            }
        }

        c->key = key;
    }

    c->last = (uint32_t) ngx_time();
}


void
ngx_http_sandbox_failures_note(ngx_http_request_t *r, ngx_str_t *credential,
    ngx_uint_t right)
{
    ngx_http_sandbox_zone_t       *zone;
    ngx_http_sandbox_right_t      *known;
    ngx_http_sandbox_tried_t       tried;
    ngx_http_sandbox_failures_t   *t;
    ngx_http_sandbox_srv_conf_t   *sscf;
    ngx_http_sandbox_main_conf_t  *smcf;

    smcf = ngx_http_get_module_main_conf(r, ngx_http_sandbox_module);
    sscf = ngx_http_get_module_srv_conf(r, ngx_http_sandbox_module);
    zone = smcf->zone;

    if (sscf->auth_rate == 0 || zone == NULL
        || ngx_http_sandbox_failures_hash(r, zone->sh, credential, &tried)
           != NGX_OK)
    {
        return;
    }

    ngx_http_sandbox_zone_lock(zone);

    t = zone->sh->failures;

    if (right) {
        ngx_http_sandbox_failures_right(t, tried.credential);

    } else {
        ngx_http_sandbox_failures_wrong(t, tried.address, sscf);

        known = ngx_http_sandbox_failures_known(t, tried.credential);

        if (known) {
            ngx_memzero(known, sizeof(ngx_http_sandbox_right_t));
        }
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);
}
