/*
 * The shared-memory zone: a cache of sandboxd's records.  It owns the records
 * and their hash tables; everything in it is under the mutex of its slab pool,
 * which is the one lock that nginx's master frees after a crash.  Nothing of
 * it leaves but copies: a caller never holds a pointer into the zone.
 *
 * Called by the gate (lookups), by _activity.c (who is used), and by _sync.c
 * (everything else).
 */

#ifndef _NGX_HTTP_SANDBOX_ZONE_H_INCLUDED_
#define _NGX_HTTP_SANDBOX_ZONE_H_INCLUDED_


#include "ngx_http_sandbox.h"


#define NGX_HTTP_SANDBOX_ZONE_ID_LEN   32      /* hex digits */
#define NGX_HTTP_SANDBOX_ZONE_MIN      (512 * 1024)
#define NGX_HTTP_SANDBOX_ZONE_MAX      (32ULL * 1024 * 1024 * 1024)


/* A record as sandboxd sent it, strings in the JSON object. */

typedef struct {
    uint64_t                      seq;
    uint32_t                      slot;
    uint32_t                      epoch;
    uint32_t                      gen;         /* of a domain: whose it is */
    uint16_t                      port;
    u_char                        state;
    u_char                        access;
    u_char                        host;
    unsigned                      exposure:1;
    unsigned                      domain:1;     /* with `exposure` */
    unsigned                      tenant:1;
    unsigned                      gone:1;
    unsigned                      limited:1;
    unsigned                      wake_off:1;
    unsigned                      external:1;  /* others run it */
    ngx_http_sandbox_limits_t     limits;
    u_char                        key[NGX_HTTP_SANDBOX_KEY_LEN];
    sandbox_address               address;
    ngx_str_t                     name;        /* id, label, tenant's or
                                                * domain's, behind a dot */
    ngx_str_t                     prefix;      /* of a tenant */
} ngx_http_sandbox_record_t;


typedef struct {
    uint64_t                      seq;
    ngx_uint_t                    complete;
    ngx_uint_t                    sandboxes;
    ngx_uint_t                    exposures;
    ngx_uint_t                    gone_exposures;  /* of the exposures */
    ngx_uint_t                    tombstones;
    ngx_uint_t                    refused;     /* records without a place */
    ngx_uint_t                    full;        /* one had none */
    ngx_uint_t                    states[8];   /* sandboxes in each */
    size_t                        size;        /* bytes, */
    size_t                        free;        /* and those of free pages */
    u_char                        incarnation[NGX_HTTP_SANDBOX_ZONE_ID_LEN];
    u_char                        id[NGX_HTTP_SANDBOX_ZONE_ID_LEN];
} ngx_http_sandbox_zone_status_t;


/* A sandbox and what is counted of it. */

typedef struct {
    u_char                        state;
    u_char                        used;        /* something is */
    u_char                        id_len;
    u_char                        id[NGX_HTTP_SANDBOX_ID_MAX];
    uint64_t                      requests;
    uint64_t                      bytes_in;
    uint64_t                      bytes_out;
    uint32_t                      errors;
    uint32_t                      refused;
} ngx_http_sandbox_item_t;


/* The directive `sandbox_zone name=NAME SIZE`. */
char *ngx_http_sandbox_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/*
 * Lookups.  NGX_OK: copied.  NGX_DECLINED: there is no such name.  NGX_AGAIN:
 * the zone doesn't know it, but is not complete: sandboxd has to be asked.
 */
ngx_int_t ngx_http_sandbox_zone_label(ngx_http_sandbox_zone_t *zone,
    ngx_str_t *label, ngx_http_sandbox_exposure_t *exposure,
    ngx_http_sandbox_info_t *info);
ngx_int_t ngx_http_sandbox_zone_id(ngx_http_sandbox_zone_t *zone,
    ngx_str_t *id, ngx_http_sandbox_info_t *info);

/*
 * _domain.c: the exposure that a whole host name leads to, by itself or by its
 * label below a domain that was added through the API.  The second one says
 * whether such a domain is that of a sandbox by its qualified name.
 */
ngx_int_t ngx_http_sandbox_zone_host(ngx_http_sandbox_zone_t *zone,
    ngx_str_t *host, ngx_http_sandbox_exposure_t *exposure,
    ngx_http_sandbox_info_t *info);
ngx_int_t ngx_http_sandbox_zone_domain(ngx_http_sandbox_zone_t *zone,
    ngx_str_t *domain, ngx_str_t *id);

/* What a domain's record says of whose it is; 0: everybody's. */
uint32_t ngx_http_sandbox_owner(ngx_str_t *prefix);
ngx_int_t ngx_http_sandbox_zone_slot(ngx_http_sandbox_zone_t *zone,
    uint32_t slot, ngx_http_sandbox_info_t *info);

/*
 * Notes activity of a run.  NGX_DECLINED: it is no longer running, or another
 * one is.  NGX_AGAIN: the zone doesn't know the sandbox.
 */
ngx_int_t ngx_http_sandbox_zone_touch(ngx_http_sandbox_zone_t *zone,
    uint32_t slot, uint32_t epoch);

/* For how long nothing has touched a sandbox; NGX_DECLINED: it is unknown. */
ngx_int_t ngx_http_sandbox_zone_idle(ngx_http_sandbox_zone_t *zone,
    uint32_t slot, uint32_t *epoch, ngx_msec_t *idle);

/*
 * Takes a record if it is newer than what the zone has.  NGX_ERROR: the zone
 * is full; what it holds stays.
 */
ngx_int_t ngx_http_sandbox_zone_apply(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_record_t *record);

/*
 * _tenant.c: the prefix of a tenant (SANDBOX_PREFIX_LEN bytes), and whose a
 * prefix is.  NGX_DECLINED: the zone doesn't know; sandboxd does.
 */
ngx_int_t ngx_http_sandbox_zone_prefix(ngx_http_sandbox_zone_t *zone,
    ngx_str_t *tenant, u_char *prefix);
ngx_int_t ngx_http_sandbox_zone_tenant(ngx_http_sandbox_zone_t *zone,
    u_char *prefix, ngx_pool_t *pool, ngx_str_t *tenant);

void ngx_http_sandbox_zone_status(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_zone_status_t *status);

/*
 * Goes through all sandboxes: copies at most max of them, *n in number, from
 * *position (first 0) on; 1 while there are more.  One that is there all the
 * time comes once.
 */
ngx_uint_t ngx_http_sandbox_zone_walk(ngx_http_sandbox_zone_t *zone,
    ngx_uint_t *position, ngx_http_sandbox_item_t *items, ngx_uint_t max,
    ngx_uint_t *n);

/*
 * The zone holds everything up to seq.  What is gone up to there is forgotten.
 * With `whole`, a full list has ended, if this worker still has the lease: what
 * it didn't name is swept away by ngx_http_sandbox_zone_sweep().  Returns
 * whether the zone is complete.
 */
ngx_uint_t ngx_http_sandbox_zone_synced(ngx_http_sandbox_zone_t *zone,
    uint64_t seq, ngx_uint_t whole);

/* Removes some of what no full list has named; 1 while there is more. */
ngx_uint_t ngx_http_sandbox_zone_sweep(ngx_http_sandbox_zone_t *zone,
    ngx_uint_t *position);

/*
 * Asks for the right to fill an incomplete zone (fresh: what it holds has to
 * be named again), or renews it, for msec.  A worker that has died loses it at
 * once, one that doesn't renew it when it ends.
 */
ngx_uint_t ngx_http_sandbox_zone_lease(ngx_http_sandbox_zone_t *zone,
    ngx_msec_t msec, ngx_uint_t fresh);
void ngx_http_sandbox_zone_release(ngx_http_sandbox_zone_t *zone);

/*
 * If the zone stands at the sequence behind which sandboxd has no changes any
 * more (gap), it becomes incomplete; without a gap, after a hello, if it is of
 * another database.  From then on what this worker tells the zone counts while
 * it is of that database.
 */
#define NGX_HTTP_SANDBOX_NO_SEQ  ((uint64_t) -1)

void ngx_http_sandbox_zone_stale(ngx_http_sandbox_zone_t *zone,
    u_char *incarnation, uint64_t gap);


/*
 * _record.c: reads a record of docs/protocol.md, section 1.3, whose strings
 * stay the object's; NGX_ERROR if it is none.
 */
ngx_int_t ngx_http_sandbox_record_read(json_t *object,
    ngx_http_sandbox_record_t *record);

/* _sync.c: what the connection tells about the zone. */
void ngx_http_sandbox_sync_hello(uint64_t seq, u_char *incarnation);
void ngx_http_sandbox_sync_event(json_t *object);
void ngx_http_sandbox_sync_lost(void);

/* The zone has begun anew; callable under its lock. */
void ngx_http_sandbox_sync_restart(void);
void ngx_http_sandbox_sync_init(ngx_http_sandbox_zone_t *zone);


#endif /* _NGX_HTTP_SANDBOX_ZONE_H_INCLUDED_ */
