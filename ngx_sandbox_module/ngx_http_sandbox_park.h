/*
 * Requests that wait (_park.c), the starts that they wait for (_wake.c), and
 * those that they needn't ask for (_refusal.c): what these have in common.
 */

#ifndef NGX_HTTP_SANDBOX_PARK_H
#define NGX_HTTP_SANDBOX_PARK_H

#include "ngx_http_sandbox.h"


/* What a visitor's question for a start rests on; `exposure` 0: nothing. */

typedef struct {
    uint64_t                      sandbox;     /* seq of its record, */
    uint64_t                      exposure;    /* and of the label's */
    uint32_t                      slot;
    uint16_t                      port;
} ngx_http_sandbox_asked_t;


/* A start that requests wait for. */

typedef struct {
    ngx_queue_t                   queue;       /* of a bucket */
    ngx_queue_t                   waiters;
    ngx_uint_t                    nwaiters;
    ngx_uint_t                    ngoing;      /* let go, not there yet */
    ngx_http_sandbox_call_t      *call;
    ngx_event_t                   tick;
    ngx_http_sandbox_info_t       info;        /* as the start was answered */
    ngx_uint_t                    sandboxes;   /* limits of those who wait */
    ngx_uint_t                    starts;
    uint32_t                      ended;       /* epoch */
    ngx_http_sandbox_asked_t      asked;
    uint16_t                      port;        /* of the preview that asked */
    unsigned                      wake_off:1;  /* it starts nothing anew */
    ngx_msec_t                    delay;       /* before it is tried again */
    unsigned                      create:1;
    unsigned                      started:1;
    unsigned                      again:1;     /* another run than `ended` */
    unsigned                      busy:8;      /* loops of its own, nested */
    ngx_str_t                     id;
    u_char                        data[1];
} ngx_http_sandbox_wake_t;


typedef enum {
    sandbox_waiter_none = 0,
    sandbox_waiter_waits,
    sandbox_waiter_goes
} ngx_http_sandbox_waiter_state_e;


typedef struct {
    ngx_queue_t                   queue;
    ngx_http_request_t           *request;
    ngx_http_sandbox_wake_t      *wake;
    ngx_http_sandbox_resume_pt    resume;
    ngx_event_t                   deadline;
    ngx_msec_t                    start;
    ngx_http_sandbox_waiter_state_e  state;
} ngx_http_sandbox_waiter_t;


/* _park.c */

extern ngx_http_sandbox_main_conf_t  *ngx_http_sandbox_park_conf;

/* Ends a waiter's wait: it goes to its sandbox, or has the error. */
void ngx_http_sandbox_waiter_go(ngx_http_sandbox_waiter_t *w,
    ngx_http_sandbox_error_t *err);

/* From the queue of a start that has led to nothing to that of another. */
ngx_int_t ngx_http_sandbox_waiter_again(ngx_http_sandbox_waiter_t *w);

void ngx_http_sandbox_set_error(ngx_http_sandbox_error_t *err,
    ngx_uint_t status, const char *code, const char *message,
    ngx_uint_t retry_after);


/* _refusal.c */

/* Whether sandboxd has refused to start this sandbox for these visitors, and
 * would again; err's strings are valid until the next event. */
ngx_uint_t ngx_http_sandbox_refused(ngx_http_sandbox_ctx_t *ctx,
    ngx_http_sandbox_error_t *err);

/* Of a request that is about to ask. */
void ngx_http_sandbox_asked(ngx_http_sandbox_ctx_t *ctx,
    ngx_http_sandbox_asked_t *asked);

/* What it was told; kept if it says until when it holds. */
void ngx_http_sandbox_refusal(ngx_http_sandbox_asked_t *asked,
    ngx_http_sandbox_error_t *err);


/* _wake.c */

void ngx_http_sandbox_wake_init(ngx_uint_t workers);

/*
 * The start that is under way for the request's sandbox, or a new one; NULL if
 * there can be none.  With `again`, for another run than the request's.
 */
ngx_http_sandbox_wake_t *ngx_http_sandbox_wake_get(ngx_http_sandbox_ctx_t *ctx,
    ngx_uint_t again);

/* Frees a start when nobody needs it any more. */
void ngx_http_sandbox_wake_free(ngx_http_sandbox_wake_t *wake);


#endif
