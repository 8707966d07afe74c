/*
 * What the zone is made of: its header, sandboxes, exposures, and the hash
 * tables that they are in.  Shared by _zone.c, _fill.c, _node.c, _entry.c and
 * _table.c only, and by files that have a table of their own in the zone;
 * everything here is called with the zone's mutex held, and nobody else sees
 * these structs.
 */

#ifndef _NGX_HTTP_SANDBOX_NODE_H_INCLUDED_
#define _NGX_HTTP_SANDBOX_NODE_H_INCLUDED_


#include "ngx_http_sandbox_zone.h"
#include "ngx_http_sandbox_count.h"
#include "ngx_http_sandbox_usage.h"


#if (__GNUC__)
#define ngx_http_sandbox_prefetch(p)   __builtin_prefetch(p)
#else
#define ngx_http_sandbox_prefetch(p)
#endif


typedef struct ngx_http_sandbox_node_s   ngx_http_sandbox_node_t;
typedef struct ngx_http_sandbox_entry_s  ngx_http_sandbox_entry_t;


/*
 * A record's place in the zone, 0 for none.  Half of a pointer: what a lookup
 * costs is the number of cache lines, and most records have one this way.
 */

typedef uint32_t  ngx_http_sandbox_ref_t;

#define NGX_HTTP_SANDBOX_REF_UNIT      8

#define ngx_http_sandbox_at(sh, ref)                                          \
    ((ref) ? (void *) ((sh)->base                                             \
                       + (size_t) (ref) * NGX_HTTP_SANDBOX_REF_UNIT)          \
           : NULL)

#define ngx_http_sandbox_ref(sh, p)                                           \
    ((ngx_http_sandbox_ref_t) (((u_char *) (p) - (sh)->base)                  \
                               / NGX_HTTP_SANDBOX_REF_UNIT))


/*
 * A sandbox: 57 bytes and its id, "" while only its slot is known.  That of one
 * that others run is followed by the reference of a sandbox_address (0: none),
 * so that the others need no room for it.
 */

struct ngx_http_sandbox_node_s {
    uint64_t                      seq;
    ngx_http_sandbox_ref_t        next_id;     /* or the next tombstone */
    ngx_http_sandbox_ref_t        next_slot;
    ngx_http_sandbox_ref_t        entries;
    ngx_http_sandbox_ref_t        usage;       /* of it and of its ports */
    uint32_t                      slot;
    uint32_t                      epoch;
    uint32_t                      last;        /* ms of the last activity */
    uint16_t                      mark;
    u_char                        state:4;
    u_char                        gone:1;
    u_char                        external:1;
    u_char                        id_len;
    u_char                        limited;     /* usages that have limits */
    u_char                        key[NGX_HTTP_SANDBOX_KEY_LEN];
    u_char                        id[1];
};


/* Of a label, with the zone's key; it stands for the label. */

typedef struct {
    uint32_t                      words[3];
} ngx_http_sandbox_hash_t;


/*
 * An exposure, one line of memory: see _table.c.  A domain is one of slot 0,
 * without an access; its gen says whose it is.
 */

struct ngx_http_sandbox_entry_s {
    ngx_http_sandbox_hash_t       hash;
    ngx_http_sandbox_ref_t        next;        /* of the same bucket */
    uint64_t                      seq;
    ngx_http_sandbox_ref_t        sibling;     /* or the next tombstone */
    uint32_t                      gen;
    uint16_t                      mark;
    uint16_t                      port;

    /* the same as in its sandbox, to which it leads */

    uint32_t                      slot;
    uint32_t                      epoch;
    u_char                        key[NGX_HTTP_SANDBOX_KEY_LEN];
    u_char                        id_len;      /* 0: it isn't known */
    u_char                        state:4;
    u_char                        external:1;
    u_char                        limited:1;

    u_char                        named:1;     /* the label holds the id */
    u_char                        linked:1;    /* 0: gone */

    u_char                        access:2;
    u_char                        host:2;
    u_char                        wake_off:1;
    u_char                        domain:1;
    u_char                        used:1;      /* 0: an empty place */
};


/* Where a label has the id, if it is named: behind a port of 1024 to 65535. */

#define ngx_http_sandbox_name_offset(entry)                                   \
    ((entry)->port < 10000 ? sizeof("1024-") - 1 : sizeof("65535-") - 1)


/*
 * Counters and limits of a sandbox (port 0) or of one of its ports.  It exists
 * from the first request or the first limit on.  Times are of GCRA: when the
 * bucket will be empty, in microseconds of ngx_current_msec's clock.
 */

typedef struct {
    ngx_http_sandbox_ref_t        next;        /* of the same sandbox */
    ngx_http_sandbox_ref_t        shares;
    uint32_t                      serial;      /* never 0; tells it apart */
    uint16_t                      port;
    uint16_t                      limited;

    ngx_http_sandbox_limits_t     limits;

    uint64_t                      requests_at;
    uint64_t                      out_at;
    uint64_t                      in_at;

    uint64_t                      requests;
    uint64_t                      bytes_in;
    uint64_t                      bytes_out;
    uint32_t                      errors;
    uint32_t                      refused;     /* by a limit */
} ngx_http_sandbox_usage_t;


/* A worker's share in the connections of a usage; void without the worker. */

typedef struct {
    ngx_http_sandbox_ref_t        next;
    uint32_t                      worker;      /* its number */
    uint32_t                      generation;
    uint32_t                      count;
} ngx_http_sandbox_share_t;


typedef struct {
    uint32_t                      generation;  /* 0: nobody's */
    ngx_pid_t                     pid;
    uint64_t                      started;     /* its process; 0: not known */
    time_t                        looked;      /* whether it still is that */
    ngx_http_sandbox_counters_t   counters;
} ngx_http_sandbox_worker_t;


typedef struct ngx_http_sandbox_tenants_s   ngx_http_sandbox_tenants_t;
typedef struct ngx_http_sandbox_failures_s  ngx_http_sandbox_failures_t;


typedef struct {
    uint32_t                      changing;    /* or who changed it has died */
    uint32_t                      magic;

    /* what stays when the zone begins anew, also if that is never finished */

    uint32_t                      worker_generation;
    uint32_t                      usage_serial;
    u_char                        id[NGX_HTTP_SANDBOX_ZONE_ID_LEN];
    u_char                        incarnation[NGX_HTTP_SANDBOX_ZONE_ID_LEN];
    u_char                        hash_key[16];
    time_t                        tickets_from;

    /* and what doesn't */

    uint32_t                      layout;
    uint32_t                      node_size;
    uint32_t                      entry_size;

    uint64_t                      seq;
    uint32_t                      mark;
    uint32_t                      complete;
    uint32_t                      full;

    ngx_pid_t                     lease_pid;
    ngx_msec_t                    lease_until;

    ngx_uint_t                    sandboxes;
    ngx_uint_t                    exposures;
    ngx_uint_t                    gone_exposures;
    ngx_uint_t                    domains;     /* of the exposures */
    ngx_uint_t                    tombstones;
    ngx_uint_t                    refused;
    ngx_uint_t                    states[8];   /* sandboxes in each */

    ngx_http_sandbox_worker_t    *workers;
    ngx_uint_t                    nworkers;

    ngx_uint_t                    node_mask;

    u_char                       *base;        /* of references */

    ngx_http_sandbox_ref_t       *ids;
    ngx_http_sandbox_ref_t       *slots;

    ngx_http_sandbox_ref_t       *segments;    /* of the exposures' table */
    ngx_uint_t                    nsegments;   /* at most */
    ngx_uint_t                    buckets;
    ngx_uint_t                    bucket_mask;

    ngx_http_sandbox_tenants_t   *tenants;
    ngx_http_sandbox_failures_t  *failures;
    void                         *tickets;     /* _ticket.c */
    ngx_uint_t                    ticket_mask;

    ngx_http_sandbox_ref_t        gone_nodes;
    ngx_http_sandbox_ref_t        gone_entries;
} ngx_http_sandbox_shctx_t;


/* A mark that doesn't count: of a record that there was no place for, since
 * what the zone holds of it is not true any more.  sandboxd is asked. */
#define ngx_http_sandbox_mark_unsure(sh)  ((uint16_t) ((sh)->mark ^ 1))


struct ngx_http_sandbox_zone_s {
    ngx_http_sandbox_shctx_t     *sh;
    ngx_slab_pool_t              *shpool;
    ngx_shm_zone_t               *shm_zone;
    time_t                        complained;

    /* of the database that this worker is told of */
    u_char                        incarnation[NGX_HTTP_SANDBOX_ZONE_ID_LEN];
};


/*
 * Under the lock: whether the zone is of that database.  A worker that comes
 * late may still have to read of the one before, whose numbers mean nothing in
 * another.
 */

#define ngx_http_sandbox_zone_same(zone)                                      \
    (ngx_memcmp((zone)->incarnation, (zone)->sh->incarnation,                 \
                NGX_HTTP_SANDBOX_ZONE_ID_LEN)                                 \
     == 0)


/* _ticket.c: its table of the tickets that were used.  Where one was lost, no
 * ticket counts that ends before tickets_from. */
#define NGX_HTTP_SANDBOX_TICKET_SECS   60

ngx_int_t ngx_http_sandbox_ticket_init(ngx_http_sandbox_shctx_t *sh,
    ngx_slab_pool_t *shpool, size_t size);

void ngx_http_sandbox_copy_info(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_info_t *info, ngx_http_sandbox_node_t *node);
ngx_uint_t ngx_http_sandbox_hash(
    ngx_http_sandbox_shctx_t *sh, u_char *data, size_t len);
ngx_http_sandbox_node_t *ngx_http_sandbox_find_id(
    ngx_http_sandbox_shctx_t *sh, ngx_str_t *id);
ngx_http_sandbox_node_t *ngx_http_sandbox_find_slot(
    ngx_http_sandbox_shctx_t *sh, uint32_t slot);
ngx_int_t ngx_http_sandbox_apply_node(
    ngx_http_sandbox_zone_t *zone, ngx_http_sandbox_record_t *rec);
ngx_http_sandbox_node_t *ngx_http_sandbox_add_node(
    ngx_http_sandbox_zone_t *zone, uint32_t slot, ngx_str_t *id,
    ngx_uint_t external);
void ngx_http_sandbox_drop_node(
    ngx_http_sandbox_zone_t *zone, ngx_http_sandbox_node_t *node);


/* _table.c */

ngx_int_t ngx_http_sandbox_entries_init(ngx_http_sandbox_shctx_t *sh,
    ngx_slab_pool_t *shpool, size_t size);

/* Needs no lock. */
void ngx_http_sandbox_hash_label(ngx_http_sandbox_shctx_t *sh,
    ngx_str_t *label, ngx_http_sandbox_hash_t *hash);

ngx_http_sandbox_entry_t *ngx_http_sandbox_find_entry(
    ngx_http_sandbox_shctx_t *sh, ngx_http_sandbox_hash_t *hash);

/* The first place of a bucket (entry: NULL), or the next one; used or not. */
ngx_http_sandbox_entry_t *ngx_http_sandbox_next_entry(
    ngx_http_sandbox_shctx_t *sh, ngx_uint_t i,
    ngx_http_sandbox_entry_t *entry);

/* A new one, of nobody yet; moves others.  NULL: the zone is full. */
ngx_http_sandbox_entry_t *ngx_http_sandbox_add_entry(
    ngx_http_sandbox_zone_t *zone, ngx_http_sandbox_hash_t *hash);

/* Forgets one that is nobody's, and in no list of those. */
void ngx_http_sandbox_drop_entry(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_entry_t *entry);


/* _entry.c */

/* Of the label that it was found by; NGX_AGAIN: its sandbox isn't known. */
ngx_int_t ngx_http_sandbox_copy_entry(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_entry_t *entry, ngx_str_t *label,
    ngx_http_sandbox_exposure_t *exposure, ngx_http_sandbox_info_t *info);

ngx_int_t ngx_http_sandbox_apply_entry(
    ngx_http_sandbox_zone_t *zone, ngx_http_sandbox_record_t *rec);
void ngx_http_sandbox_purge_entries(ngx_http_sandbox_zone_t *zone);
ngx_uint_t ngx_http_sandbox_sweep_entries(ngx_http_sandbox_zone_t *zone,
    ngx_uint_t i);

/* All of a sandbox's: they are forgotten; are another one's; know its state. */
void ngx_http_sandbox_drop_entries(
    ngx_http_sandbox_zone_t *zone, ngx_http_sandbox_node_t *node);
void ngx_http_sandbox_move_entries(ngx_http_sandbox_shctx_t *sh,
    ngx_http_sandbox_node_t *from, ngx_http_sandbox_node_t *to);
void ngx_http_sandbox_followed(
    ngx_http_sandbox_shctx_t *sh, ngx_http_sandbox_node_t *node);

/* _tenant.c: tenants are forgotten only with the database that had them. */
ngx_http_sandbox_tenants_t *ngx_http_sandbox_tenants_init(
    ngx_slab_pool_t *shpool);
void ngx_http_sandbox_tenants_clear(ngx_http_sandbox_zone_t *zone);
void ngx_http_sandbox_apply_tenant(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_record_t *rec);

/* _failures.c */
ngx_http_sandbox_failures_t *ngx_http_sandbox_failures_init(
    ngx_slab_pool_t *shpool, size_t size);

void ngx_http_sandbox_purge(ngx_http_sandbox_zone_t *zone);


/* _zone.c: the lock, for everybody who has something in the zone; and the mark
 * of a change, under it, that is half made. */

void ngx_http_sandbox_zone_lock(ngx_http_sandbox_zone_t *zone);

#define ngx_http_sandbox_zone_change(sh)                                      \
    (sh)->changing = 1; ngx_memory_barrier()

#define ngx_http_sandbox_zone_changed(sh)                                     \
    ngx_memory_barrier(); (sh)->changing = 0


/* _usage.c, for _node.c: under the lock. */

/* Sets the limits of a sandbox (port 0) or port; NGX_ERROR without a place. */
ngx_int_t ngx_http_sandbox_usage_limits(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_node_t *node, ngx_uint_t port,
    ngx_http_sandbox_limits_t *limits);

/* Forgets all of a sandbox's, or those of a port that nothing leads to. */
void ngx_http_sandbox_usage_drop(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_node_t *node);
void ngx_http_sandbox_usage_unport(ngx_http_sandbox_zone_t *zone,
    ngx_http_sandbox_node_t *node, ngx_uint_t port);

/* The usage of a port, or NULL. */
ngx_http_sandbox_usage_t *ngx_http_sandbox_usage_find(
    ngx_http_sandbox_shctx_t *sh, ngx_http_sandbox_node_t *node,
    ngx_uint_t port);


/* _count.c */

/* This worker's block, or NULL. */
ngx_http_sandbox_worker_t *ngx_http_sandbox_worker(void);

/* Under the lock: takes the blocks of the dead from them; the living. */
ngx_uint_t ngx_http_sandbox_workers_check(ngx_http_sandbox_shctx_t *sh);


#endif /* _NGX_HTTP_SANDBOX_NODE_H_INCLUDED_ */
