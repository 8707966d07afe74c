/*
 * How long the zone's lookup of a label takes, with its lock, for random names
 * out of more sandboxes than caches hold.  The records and their tables are the
 * module's own; nginx's slab and mutex are replaced by the least that does the
 * same: chunks of powers of two in one shared mapping, a compare and swap.
 *
 * The best of thirty rounds, of processor time.
 *
 *   lookup [SANDBOXES [ZONE-MEGABYTES]]
 *
 * With a number of changes it doesn't measure: it makes them, at random, and
 * looks whether the zone then holds what it should.
 *
 *   lookup SANDBOXES ZONE-MEGABYTES CHANGES
 */

#include "ngx_http_sandbox.h"
#include "ngx_http_sandbox_node.h"

#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#define EXPOSURES  3
#define ROUNDS     200000

static size_t           zone_size;
static u_char          *chunk_pos, *chunk_end;
static ngx_shm_zone_t   shm;

volatile ngx_cycle_t   *ngx_cycle;
volatile ngx_time_t    *ngx_cached_time;
volatile ngx_msec_t     ngx_current_msec;
ngx_pid_t               ngx_pid;
ngx_uint_t              ngx_pagesize = 4096;
ngx_module_t            ngx_http_sandbox_module;


void *
ngx_slab_alloc_locked(ngx_slab_pool_t *pool, size_t size)
{
    u_char  *p;
    size_t   chunk;

    for (chunk = 8; chunk < size; chunk *= 2) { /* void */ }

    p = (u_char *) (((uintptr_t) chunk_pos + chunk - 1) & ~(chunk - 1));

    if (p + chunk > chunk_end) {
        return NULL;
    }

    chunk_pos = p + chunk;

    return p;
}


void
ngx_slab_init(ngx_slab_pool_t *pool)
{
}


void *
ngx_slab_calloc_locked(ngx_slab_pool_t *pool, size_t size)
{
    return ngx_slab_alloc_locked(pool, size);   /* the mapping is zero */
}


/* Nothing is used again, and what is used after its end is noticed. */

void
ngx_slab_free_locked(ngx_slab_pool_t *pool, void *p)
{
    ngx_memset(p, 0xdd, 16);
}


void
ngx_shmtx_lock(ngx_shmtx_t *mtx)
{
    while (!ngx_atomic_cmp_set(mtx->lock, 0, 1)) { /* void */ }
}


void
ngx_shmtx_unlock(ngx_shmtx_t *mtx)
{
    (void) ngx_atomic_cmp_set(mtx->lock, 1, 0);
}


/* What the directive asks of nginx. */

void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
}


void ngx_cdecl
ngx_conf_log_error(ngx_uint_t level, ngx_conf_t *cf, ngx_err_t err,
    const char *fmt, ...)
{
}


ngx_shm_zone_t *
ngx_shared_memory_add(ngx_conf_t *cf, ngx_str_t *name, size_t size, void *tag)
{
    return &shm;
}


ssize_t
ngx_parse_size(ngx_str_t *line)
{
    return (ssize_t) zone_size;
}


void *
ngx_pcalloc(ngx_pool_t *pool, size_t size)
{
    return calloc(1, size);
}


u_char *
ngx_hex_dump(u_char *dst, u_char *src, size_t len)
{
    ngx_memset(dst, 'a', 2 * len);
    return dst + 2 * len;
}


/* By hand: it is part of what is measured. */

static size_t
name(char *dst, ngx_uint_t box, ngx_uint_t k)
{
    ngx_uint_t  i;

    static const char  text[] = "8000-box000000-k3v9x2m7q4w8z5t1";

    memcpy(dst, text, sizeof(text));
    dst[3] = (char) ('0' + k);

    for (i = 13; box; i--) {
        dst[i] = (char) ('0' + box % 10);
        box /= 10;
    }

    return sizeof(text) - 1;
}


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}


/* A zone, made as nginx makes it: by the directive, then its init(). */

static ngx_http_sandbox_zone_t *
make_zone(void)
{
    ngx_conf_t                    cf;
    ngx_array_t                   args;
    ngx_http_sandbox_main_conf_t  smcf;

    static ngx_str_t        values[] = {
        ngx_string("sandbox_zone"), ngx_string("name=z"), ngx_string("")
    };
    static ngx_atomic_t     word;
    static ngx_slab_pool_t  pool;

    chunk_pos = mmap(NULL, zone_size, PROT_READ|PROT_WRITE,
                     MAP_SHARED|MAP_ANONYMOUS, -1, 0);
    if (chunk_pos == MAP_FAILED) {
        return NULL;
    }

    chunk_end = chunk_pos + zone_size;

    pool.mutex.lock = &word;
    shm.shm.addr = (u_char *) &pool;
    shm.shm.size = zone_size;

    ngx_memzero(&cf, sizeof(cf));
    ngx_memzero(&args, sizeof(args));
    ngx_memzero(&smcf, sizeof(smcf));

    args.elts = values;
    args.nelts = 3;
    cf.args = &args;

    if (ngx_http_sandbox_zone(&cf, NULL, &smcf) != NGX_CONF_OK
        || shm.init(&shm, NULL) != NGX_OK)
    {
        return NULL;
    }

    return smcf.zone;
}


static void
fill(ngx_http_sandbox_zone_t *zone, ngx_uint_t count)
{
    char                       text[64];
    ngx_uint_t                 i, k;
    ngx_http_sandbox_record_t  rec;

    for (i = 0; i < count; i++) {
        ngx_memzero(&rec, sizeof(rec));
        rec.seq = i * (EXPOSURES + 1) + 1;
        rec.slot = (uint32_t) i + 1;
        rec.epoch = 1;
        rec.state = NGX_HTTP_SANDBOX_RUNNING;
        rec.name.data = (u_char *) text;
        rec.name.len = (size_t) sprintf(text, "box%06u", (unsigned) i);

        if (ngx_http_sandbox_zone_apply(zone, &rec) != NGX_OK) {
            fprintf(stderr, "lookup: the zone is too small\n");
            exit(1);
        }

        for (k = 0; k < EXPOSURES; k++) {
            rec.exposure = 1;
            rec.seq++;
            rec.port = (uint16_t) (8000 + k);
            rec.access = NGX_HTTP_SANDBOX_TOKEN;
            rec.host = NGX_HTTP_SANDBOX_HOST_LOCAL;
            rec.name.len = name(text, i, k);

            if (ngx_http_sandbox_zone_apply(zone, &rec) != NGX_OK) {
                fprintf(stderr, "lookup: the zone is too small\n");
                exit(1);
            }
        }
    }
}


/* Changes at random, and what has to come of them. */

typedef struct {
    uint32_t    slot;
    uint32_t    epoch;
    ngx_uint_t  there;
    ngx_uint_t  exposed[EXPOSURES];
} box_t;


static uint64_t  random_state = 88172645463325252ULL;
static uint64_t  seq;
static uint32_t  slots;


static ngx_uint_t
pick(ngx_uint_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;

    return (ngx_uint_t) (random_state >> 8) % n;
}


static void
tell_box(ngx_http_sandbox_zone_t *zone, box_t *box, ngx_uint_t i)
{
    char                       text[64];
    ngx_http_sandbox_record_t  rec;

    ngx_memzero(&rec, sizeof(rec));
    rec.seq = ++seq;
    rec.slot = box->slot;
    rec.epoch = box->epoch;
    rec.gone = !box->there;
    rec.state = NGX_HTTP_SANDBOX_RUNNING;
    rec.name.data = (u_char *) text;
    rec.name.len = (size_t) sprintf(text, "box%06u", (unsigned) i);

    if (ngx_http_sandbox_zone_apply(zone, &rec) != NGX_OK) {
        fprintf(stderr, "lookup: the zone is too small\n");
        exit(1);
    }
}


static void
tell_exposure(ngx_http_sandbox_zone_t *zone, box_t *box, ngx_uint_t i,
    ngx_uint_t k)
{
    char                       text[64];
    ngx_http_sandbox_record_t  rec;

    ngx_memzero(&rec, sizeof(rec));
    rec.seq = ++seq;
    rec.slot = box->slot;
    rec.exposure = 1;
    rec.gone = !box->exposed[k];
    rec.port = (uint16_t) (8000 + k);
    rec.access = NGX_HTTP_SANDBOX_TOKEN;
    rec.host = NGX_HTTP_SANDBOX_HOST_LOCAL;
    rec.name.data = (u_char *) text;
    rec.name.len = name(text, i, k);

    if (ngx_http_sandbox_zone_apply(zone, &rec) != NGX_OK) {
        fprintf(stderr, "lookup: the zone is too small\n");
        exit(1);
    }
}


static void
change(ngx_http_sandbox_zone_t *zone, box_t *box, ngx_uint_t i)
{
    ngx_uint_t  k;

    k = pick(EXPOSURES + 2);

    if (k < EXPOSURES && box->there) {
        box->exposed[k] = !box->exposed[k];
        tell_exposure(zone, box, i, k);
        return;
    }

    if (k == EXPOSURES && box->there) {
        box->epoch++;

    } else {
        box->there = !box->there;
        ngx_memzero(box->exposed, sizeof(box->exposed));

        if (box->there) {
            box->slot = ++slots;
        }
    }

    tell_box(zone, box, i);
}


/* As after a start of sandboxd with another database: all comes once more. */

static void
tell_all(ngx_http_sandbox_zone_t *zone, box_t *boxes, ngx_uint_t count)
{
    u_char      incarnation[NGX_HTTP_SANDBOX_ZONE_ID_LEN];
    ngx_uint_t  i, k, first, position;

    ngx_memset(incarnation, 'a' + (int) pick(26), sizeof(incarnation));
    ngx_http_sandbox_zone_stale(zone, incarnation, NGX_HTTP_SANDBOX_NO_SEQ);

    for (i = 0; i < count; i++) {
        first = pick(2);

        if (boxes[i].there && first) {
            tell_box(zone, &boxes[i], i);
        }

        for (k = 0; k < EXPOSURES; k++) {
            if (boxes[i].exposed[k]) {
                tell_exposure(zone, &boxes[i], i, k);
            }
        }

        if (boxes[i].there && !first) {
            tell_box(zone, &boxes[i], i);
        }
    }

    ngx_http_sandbox_zone_synced(zone, seq, 1);

    position = 0;
    while (ngx_http_sandbox_zone_sweep(zone, &position)) { /* void */ }
}


static ngx_uint_t
wrong(ngx_http_sandbox_zone_t *zone, box_t *box, ngx_uint_t i, ngx_uint_t k)
{
    char                         text[64], id[16];
    ngx_int_t                    rc;
    ngx_str_t                    label;
    ngx_http_sandbox_info_t      info;
    ngx_http_sandbox_exposure_t  exposure;

    label.data = (u_char *) text;
    label.len = name(text, i, k);

    rc = ngx_http_sandbox_zone_label(zone, &label, &exposure, &info);

    if (!box->exposed[k]) {
        return rc != NGX_DECLINED;
    }

    return rc != NGX_OK || exposure.port != 8000 + k
           || exposure.slot != box->slot || info.slot != box->slot
           || info.epoch != box->epoch
           || info.id_len != sprintf(id, "box%06u", (unsigned) i)
           || ngx_memcmp(info.id, id, info.id_len) != 0;
}


static int
check(ngx_http_sandbox_zone_t *zone, ngx_uint_t count, ngx_uint_t changes)
{
    box_t                           *boxes;
    ngx_uint_t                       i, k, n, bad;
    ngx_http_sandbox_zone_status_t   status;

    boxes = calloc(count, sizeof(box_t));
    ngx_http_sandbox_zone_synced(zone, 0, 1);
    bad = boxes == NULL;

    for (n = 0; n < changes && !bad; n++) {
        i = pick(count);
        change(zone, &boxes[i], i);

        for (k = 0; k < EXPOSURES; k++) {
            bad += wrong(zone, &boxes[i], i, k);
        }

        if (pick(1000) == 0) {
            ngx_http_sandbox_zone_synced(zone, seq, 0);
        }

        if (n % 50000 == 49999) {
            tell_all(zone, boxes, count);
        }
    }

    tell_all(zone, boxes, count);

    for (i = n = 0; i < count && boxes; i++) {
        for (k = 0; k < EXPOSURES; k++) {
            bad += wrong(zone, &boxes[i], i, k);
            n += boxes[i].exposed[k];
        }
    }

    ngx_http_sandbox_zone_status(zone, &status);
    bad += status.exposures != n || status.tombstones != 0;

    printf("%u changes, %u exposures, %u wrong\n", (unsigned) changes,
           (unsigned) n, (unsigned) bad);

    return bad != 0;
}


int
main(int argc, char **argv)
{
    char                          text[64];
    double                        t, best;
    uint32_t                     *picks;
    uint64_t                      x;
    ngx_str_t                     label;
    ngx_uint_t                    i, n, count, round, found;
    ngx_http_sandbox_info_t       info;
    ngx_http_sandbox_zone_t      *zone;
    ngx_http_sandbox_exposure_t   exposure;

    count = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    zone_size = (argc > 2 ? strtoul(argv[2], NULL, 10) : 128) << 20;
    n = 1 << 18;

    zone = make_zone();
    picks = malloc(n * sizeof(uint32_t));

    if (zone == NULL || picks == NULL || count > 1000000) {
        fprintf(stderr, "lookup: no memory for a zone\n");
        return 1;
    }

    if (argc > 3) {
        return check(zone, count, strtoul(argv[3], NULL, 10));
    }

    fill(zone, count);
    ngx_http_sandbox_zone_synced(zone, 1, 1);

    x = 88172645463325252ULL;

    for (i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        picks[i] = (uint32_t) ((x >> 8) % (count * EXPOSURES));
    }

    best = 1e9;

    for (round = 0; round < 30; round++) {
        found = 0;
        t = now();

        for (i = 0; i < ROUNDS; i++) {
            label.data = (u_char *) text;
            label.len = name(text, picks[i & (n - 1)] / EXPOSURES,
                             picks[i & (n - 1)] % EXPOSURES);

            found += ngx_http_sandbox_zone_label(zone, &label, &exposure,
                                                 &info)
                     == NGX_OK;
        }

        t = (now() - t) / ROUNDS * 1e9;
        best = t < best ? t : best;

        if (found != ROUNDS) {
            fprintf(stderr, "lookup: %u of %u found\n", (unsigned) found,
                    ROUNDS);
            return 1;
        }
    }

    printf("%8u sandboxes, %u exposures each: %6.0f ns a lookup\n",
           (unsigned) count, EXPOSURES, best);

    return 0;
}
