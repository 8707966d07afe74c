/*
 * Who may ask: the parts of authentication, for _auth.c, which puts them
 * together.
 *
 *   _keys.c      API keys           _jwt.c  tokens that others sign
 *   _failures.c  who has tried too often
 */

#ifndef _NGX_HTTP_SANDBOX_KEYS_H_INCLUDED_
#define _NGX_HTTP_SANDBOX_KEYS_H_INCLUDED_


#include "ngx_http_sandbox_watch.h"
#include "sandbox_key.h"


#define NGX_HTTP_SANDBOX_BEARER_MAX    512     /* of a key */


typedef struct {
    u_char                        digest[SANDBOX_KEY_DIGEST_LEN];
    ngx_str_t                     salt;
    ngx_str_t                     name;
    ngx_str_t                     tenant;
    ngx_uint_t                    scopes;
    ngx_uint_t                    sandboxes;
    ngx_uint_t                    starts;
    ngx_uint_t                    create;
} ngx_http_sandbox_key_t;


/* _keys.c */

ngx_http_sandbox_watch_t *ngx_http_sandbox_keys(ngx_conf_t *cf,
    ngx_str_t *path);

/* NGX_OK and the key, which is the set's; NGX_DECLINED; NGX_ERROR. */
ngx_int_t ngx_http_sandbox_keys_find(ngx_http_sandbox_watch_t *w,
    ngx_str_t *secret, ngx_http_sandbox_key_t **found);


/* _jwt.c */

/*
 * Whether the tokens of one of these (of ngx_http_sandbox_jwt_t *) fit.
 * NGX_OK and the caller, NGX_DECLINED, or NGX_ERROR.
 */
ngx_int_t ngx_http_sandbox_jwt_check(ngx_http_request_t *r,
    ngx_array_t *jwts, ngx_str_t *token, ngx_http_sandbox_caller_t *caller);

/* Whether a token says that it is for us, be it true or not. */
ngx_uint_t ngx_http_sandbox_jwt_is_ours(ngx_array_t *jwts, ngx_str_t *token);


/* _failures.c */

/*
 * Seconds that the client has to wait before this credential of its is looked
 * at; 0: none.  One that was right lately is never held up.
 */
ngx_uint_t ngx_http_sandbox_failures_wait(ngx_http_request_t *r,
    ngx_str_t *credential);

/* What came of it. */
void ngx_http_sandbox_failures_note(ngx_http_request_t *r,
    ngx_str_t *credential, ngx_uint_t right);


#endif /* _NGX_HTTP_SANDBOX_KEYS_H_INCLUDED_ */
