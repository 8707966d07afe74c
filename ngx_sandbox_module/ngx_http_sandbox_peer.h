/*
 * A request's way to its agent, as the balancer (_upstream.c), connections that
 * wait for it (_keepalive.c), connecting (_connect.c), the handshake
 * (_handshake.c) and the end of what broke off (_interrupt.c) share it.
 */

#ifndef _NGX_HTTP_SANDBOX_PEER_H_INCLUDED_
#define _NGX_HTTP_SANDBOX_PEER_H_INCLUDED_


#include "ngx_http_sandbox.h"

#include "sandbox_frames.h"
#include "sandbox_line.h"


typedef struct {
    ngx_http_request_t           *request;
    ngx_http_sandbox_ctx_t       *ctx;
    ngx_http_sandbox_keepalive_t  *keepalive;  /* the upstream's, or NULL */

    void                         *data;        /* of the hooks below */
    ngx_event_get_peer_pt         get;
    ngx_event_free_peer_pt        free;
    ngx_event_notify_peer_pt      notify;

    ngx_int_t                   (*process_header)(ngx_http_request_t *r);
    ngx_int_t                   (*reinit_request)(ngx_http_request_t *r);
    void                        (*finalize_request)(ngx_http_request_t *r,
                                                    ngx_int_t rc);

    sandbox_frames               *frames;      /* of a WebSocket, or NULL */
    ngx_recv_pt                   recv;

    ngx_str_t                     name;
    sandbox_line                  line;
    ngx_event_t                   late;        /* _late.c */
    ngx_msec_t                    patience;

    unsigned                      again:1;     /* to the gate before the next */
    unsigned                      pending:1;   /* not connected yet */
    unsigned                      connecting:1;  /* to an address */
    unsigned                      unread:1;    /* no line has come yet */
    unsigned                      told:1;      /* sandboxd was */

    uint32_t                      epoch;       /* of the run in sockaddr */
    size_t                        text_len;    /* of what is to be sent yet */

    socklen_t                     socklen;
    union {
        struct sockaddr           any;
        struct sockaddr_un        sun;
        u_char                    bytes[SANDBOX_ADDRESS_MAX];
    } sockaddr;
    char                          text[2 * SANDBOX_LINE_MAX];
} ngx_http_sandbox_peer_t;


/* Of a request that has got to the balancer. */

#define ngx_http_sandbox_peer(r)                                              \
    ((ngx_http_sandbox_peer_t *) ngx_http_sandbox_ctx(r)->peer)


/* _upstream.c: names the peer, and nothing else. */
ngx_int_t ngx_http_sandbox_get_inner(ngx_peer_connection_t *pc, void *data);


/* _connect.c */

/* Where the request's run is; once more after the gate. */
ngx_int_t ngx_http_sandbox_set_address(ngx_http_sandbox_peer_t *p);

/*
 * NGX_DONE: connected, NGX_AGAIN: being connected; the first line goes with the
 * request.  NGX_DECLINED: nobody is there.
 */
ngx_int_t ngx_http_sandbox_connect(ngx_peer_connection_t *pc,
    ngx_http_sandbox_peer_t *p);

/*
 * To the gate once more.  NGX_OK: the sandbox runs, the address is set anew.
 * NGX_AGAIN: pc has a connection that is not connected yet.
 */
ngx_int_t ngx_http_sandbox_again(ngx_peer_connection_t *pc,
    ngx_http_sandbox_peer_t *p);

/* Before each ngx_recv() of our own, of a connection that may be vsock's. */
void ngx_http_sandbox_unasked(ngx_connection_t *c);

/* What reads from a connection that nothing of ours reads from. */
void ngx_http_sandbox_plain_recv(ngx_connection_t *c,
    ngx_http_sandbox_ctx_t *ctx);


/* _handshake.c */

/* The first send will begin with the line, the first read with its answer. */
void ngx_http_sandbox_first_line(
    ngx_connection_t *c, ngx_http_sandbox_peer_t *p);
ssize_t ngx_http_sandbox_recv(ngx_connection_t *c, u_char *buf, size_t size);

/* Around proxy_pass's own functions of these names. */
ngx_int_t ngx_http_sandbox_process_header(ngx_http_request_t *r);
ngx_int_t ngx_http_sandbox_reinit_request(ngx_http_request_t *r);


/* _late.c */

/*
 * From now on the agent's line is waited for, or the header of a response, and
 * not any more.
 */
void ngx_http_sandbox_late_begin(ngx_http_sandbox_peer_t *p,
    ngx_uint_t unread);
void ngx_http_sandbox_late_end(ngx_http_sandbox_peer_t *p);


/* _interrupt.c */

/* The same. */
void ngx_http_sandbox_finalize_request(ngx_http_request_t *r, ngx_int_t rc);

/* The connection's handshake is over: a WebSocket's frames follow. */
ngx_int_t ngx_http_sandbox_interrupt_watch(ngx_http_request_t *r);


#endif /* _NGX_HTTP_SANDBOX_PEER_H_INCLUDED_ */
