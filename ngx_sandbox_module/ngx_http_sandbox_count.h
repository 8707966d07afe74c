/*
 * What is counted.  Each worker has a block of counters in the zone that
 * nobody else writes to, so counting costs an addition and no lock; whoever
 * wants totals adds up all blocks.  A block outlives its worker: the next
 * worker without one takes it over, so totals never go back.
 *
 * A block is also what a worker's share in shared counts (connections of a
 * sandbox) is known by: with its worker it becomes void, crash or not.
 */

#ifndef _NGX_HTTP_SANDBOX_COUNT_H_INCLUDED_
#define _NGX_HTTP_SANDBOX_COUNT_H_INCLUDED_


#include "ngx_http_sandbox.h"


/* Kinds of requests. */

typedef enum {
    sandbox_kind_preview = 0,
    sandbox_kind_control,           /* answered by an agent */
    sandbox_kind_api,               /* answered by sandboxd or the worker */
    sandbox_kind_n
} ngx_http_sandbox_kind_e;


#define NGX_HTTP_SANDBOX_ERRORS        80      /* codes, and "other" */
#define NGX_HTTP_SANDBOX_BUCKETS       14      /* the last one has no bound */


typedef struct {
    uint64_t                      bucket[NGX_HTTP_SANDBOX_BUCKETS];
    uint64_t                      msec;        /* the sum */
} ngx_http_sandbox_histogram_t;


typedef struct {
    uint64_t                      requests[sandbox_kind_n];
    uint64_t                      bytes_in[sandbox_kind_n];
    uint64_t                      bytes_out[sandbox_kind_n];
    uint64_t                      status[6];   /* by first digit */
    uint64_t                      errors[NGX_HTTP_SANDBOX_ERRORS];

    uint64_t                      wakes;       /* starts asked for */
    uint64_t                      wakes_failed;
    ngx_http_sandbox_histogram_t  wait;        /* of requests, for a start */

    /* of what is now; counts only while the worker lives */

    uint64_t                      parked;
    uint64_t                      connected;   /* to sandboxd */
} ngx_http_sandbox_counters_t;


/* This worker's; never NULL. */
extern ngx_http_sandbox_counters_t  *ngx_http_sandbox_counters;

/* Bounds of all histograms, in milliseconds. */
extern const ngx_msec_t  ngx_http_sandbox_bounds[NGX_HTTP_SANDBOX_BUCKETS - 1];


/* Takes a block of the zone for this worker, and gives it back. */
ngx_int_t ngx_http_sandbox_count_init(ngx_cycle_t *cycle);
void ngx_http_sandbox_count_exit(ngx_cycle_t *cycle);

/* Adds up all workers' blocks. */
void ngx_http_sandbox_count_total(ngx_http_sandbox_counters_t *total);

/* An error that was answered, by its code. */
void ngx_http_sandbox_count_error(const ngx_str_t *code);

/* The name of the n-th kind of error; NULL behind the last one. */
const char *ngx_http_sandbox_count_name(ngx_uint_t n);

void ngx_http_sandbox_count_time(ngx_http_sandbox_histogram_t *h,
    ngx_msec_t msec);

/* The log phase: counts a request that has ended. */
ngx_int_t ngx_http_sandbox_log_handler(ngx_http_request_t *r);


#endif /* _NGX_HTTP_SANDBOX_COUNT_H_INCLUDED_ */
