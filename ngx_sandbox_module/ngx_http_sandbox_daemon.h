/*
 * The worker's connection to sandboxd, as _daemon.c and _call.c share it.  The
 * rest of the module sees the functions of ngx_http_sandbox.h only.
 */

#ifndef _NGX_HTTP_SANDBOX_DAEMON_H_INCLUDED_
#define _NGX_HTTP_SANDBOX_DAEMON_H_INCLUDED_


#include "ngx_http_sandbox.h"

#include "common/frame.h"


#define NGX_HTTP_SANDBOX_CALLS         1024    /* open at once */


typedef enum {
    sandbox_daemon_idle = 0,
    sandbox_daemon_challenge,
    sandbox_daemon_hello,
    sandbox_daemon_ready
} ngx_http_sandbox_daemon_state_e;


typedef struct {
    u_char                       *start;
    size_t                        size;
    size_t                        pos;
    size_t                        last;
} ngx_http_sandbox_bytes_t;


struct ngx_http_sandbox_call_s {
    ngx_queue_t                   queue;
    ngx_event_t                   deadline;
    ngx_msec_t                    timeout;
    ngx_msec_t                    start;
    ngx_uint_t                    id;
    ngx_http_sandbox_reply_pt     handler;
    void                         *data;
    unsigned                      sent:1;
    unsigned                      repeat:1;
    size_t                        len;
    char                         *text;
};


struct ngx_http_sandbox_daemon_s {
    ngx_http_sandbox_main_conf_t *conf;
    ngx_peer_connection_t         peer;
    ngx_connection_t             *connection;
    ngx_http_sandbox_daemon_state_e  state;

    ngx_event_t                   reconnect;
    ngx_msec_t                    backoff;
    ngx_msec_t                    lost;        /* the last connection */
    unsigned                      complained:1;
    unsigned                      impostor:1;

    ngx_http_sandbox_bytes_t      in;
    ngx_http_sandbox_bytes_t      out;

    ngx_queue_t                   calls;       /* in the order of arrival */
    ngx_uint_t                    ncalls;
    ngx_uint_t                    serial;
    ngx_http_sandbox_call_t      *by_index[NGX_HTTP_SANDBOX_CALLS];

    char                          own_nonce[FRAME_NONCE_LEN + 1];
    char                          peer_nonce[FRAME_NONCE_LEN + 1];
};


/* One in each worker; NULL without `sandbox_daemon`. */

extern ngx_http_sandbox_daemon_t  *ngx_http_sandbox_daemon;


/* _daemon.c */

/* Queues a frame; NGX_ERROR: the connection is to be given up. */
ngx_int_t ngx_http_sandbox_daemon_send(ngx_http_sandbox_daemon_t *d,
    const char *text, size_t len);

/* Queues a frame that has no answer; what goes wrong ends the connection. */
void ngx_http_sandbox_daemon_tell(u_char *text, size_t len);

/* Sees to it that there will be a connection. */
void ngx_http_sandbox_daemon_later(ngx_http_sandbox_daemon_t *d);


/* _call.c */

void ngx_http_sandbox_call_send(
    ngx_http_sandbox_daemon_t *d, ngx_http_sandbox_call_t *call);
void ngx_http_sandbox_call_fail(ngx_http_sandbox_call_t *call,
    const char *code, const char *message);
void ngx_http_sandbox_call_answer(ngx_http_sandbox_daemon_t *d, json_t *frame);


#endif /* _NGX_HTTP_SANDBOX_DAEMON_H_INCLUDED_ */
