/*
 * What a person sees in a browser instead of a preview: one small page, with
 * nothing from elsewhere, that says what is the matter and, while a sandbox
 * starts, tries again by itself.  Programs get JSON; see _error.c.
 */


#include "ngx_http_sandbox_api.h"
#include "sandbox_browser.h"

#include <openssl/evp.h>


#define NGX_HTTP_SANDBOX_DIGEST_TEXT   44      /* SHA-256 in base64 */


typedef struct {
    ngx_uint_t                    status;
    ngx_str_t                     code;        /* "": any other */
    ngx_str_t                     title;
    ngx_str_t                     text;        /* "": the error's message */
} ngx_http_sandbox_title_t;


static ngx_http_sandbox_title_t *ngx_http_sandbox_page_title(
    const ngx_http_sandbox_error_t *err);
static u_char *ngx_http_sandbox_page_escape(u_char *p, ngx_str_t *text);
static void ngx_http_sandbox_page_header(ngx_http_request_t *r,
    const char *name, ngx_str_t *value);


/* The first one that fits. */

static ngx_http_sandbox_title_t  ngx_http_sandbox_titles[] = {

    { NGX_HTTP_FORBIDDEN, ngx_string("LINK_EXPIRED"),
      ngx_string("This link is not valid any more"), ngx_null_string },

    { NGX_HTTP_FORBIDDEN, ngx_null_string,
      ngx_string("No access"), ngx_null_string },

    { NGX_HTTP_NOT_FOUND, ngx_null_string,
      ngx_string("No preview here"),
      ngx_string("Nothing is shown at this address, or it is private and needs "
                 "a link that opens it.") },

    { 410, ngx_null_string,
      ngx_string("This sandbox is not running"),
      ngx_string("It has ended or gone to sleep, and opening this page doesn't "
                 "start it.") },

    { NGX_HTTP_BAD_GATEWAY, ngx_string("SERVICE_NOT_RESPONDING"),
      ngx_string("The preview is not answering"), ngx_null_string },

    { NGX_HTTP_BAD_GATEWAY, ngx_string("OPERATION_INTERRUPTED"),
      ngx_string("The preview was interrupted"), ngx_null_string },

    { NGX_HTTP_GATEWAY_TIME_OUT, ngx_null_string,
      ngx_string("The preview takes too long"), ngx_null_string },

    { NGX_HTTP_SERVICE_UNAVAILABLE, ngx_string("start_failed"),
      ngx_string("The sandbox did not start"), ngx_null_string },

    { NGX_HTTP_SERVICE_UNAVAILABLE, ngx_string("SERVICE_NOT_RESPONDING"),
      ngx_string("The sandbox is busy"), ngx_null_string },

    { NGX_HTTP_SERVICE_UNAVAILABLE, ngx_string("sandbox_unreachable"),
      ngx_string("The sandbox can't be reached"), ngx_null_string },

    { NGX_HTTP_SERVICE_UNAVAILABLE, ngx_string("too_many_waiting"),
      ngx_string("The sandbox is busy"), ngx_null_string },

    { NGX_HTTP_SERVICE_UNAVAILABLE, ngx_string("sandbox_starting"),
      ngx_string("The sandbox is starting"),
      ngx_string("It was asleep, and takes a moment to wake.") },

    { NGX_HTTP_SERVICE_UNAVAILABLE, ngx_null_string,
      ngx_string("Not available at the moment"), ngx_null_string },

    { NGX_HTTP_TOO_MANY_REQUESTS, ngx_string("wake_limited"),
      ngx_string("This sandbox is asleep"),
      ngx_string("It was woken often lately, and starts again for a visitor "
                 "in a while.") },

    { NGX_HTTP_TOO_MANY_REQUESTS, ngx_null_string,
      ngx_string("Too many requests"), ngx_null_string },

    { 0, ngx_null_string, ngx_string("That did not work"), ngx_null_string }
};


static u_char  ngx_http_sandbox_page_style[] =
    ":root{color-scheme:light dark}"
    "body{margin:0;min-height:100vh;display:flex;align-items:center;"
    "justify-content:center;font:16px/1.5 system-ui,sans-serif;"
    "background:Canvas;color:CanvasText}"
    "main{max-width:34em;padding:2em;overflow-wrap:anywhere}"
    "h1{font-size:1.5em;line-height:1.25;margin:0 0 .5em}"
    "p{margin:0 0 1em}"
    "small{color:GrayText;font-family:ui-monospace,monospace}";

static u_char  ngx_http_sandbox_page_policy[] =
    "default-src 'none'; style-src 'sha256-"
    "############################################'; base-uri 'none'; "
    "form-action 'none'";


/* The style that the policy allows is this one, by its digest. */

ngx_int_t
ngx_http_sandbox_page_init(void)
{
    u_char     digest[EVP_MAX_MD_SIZE], text[NGX_HTTP_SANDBOX_DIGEST_TEXT + 1];
    ngx_str_t  src, dst;

    if (EVP_Digest(ngx_http_sandbox_page_style,
                   sizeof(ngx_http_sandbox_page_style) - 1, digest, NULL,
                   EVP_sha256(), NULL)
        != 1)
    {
        return NGX_ERROR;
    }

    src.data = digest;
    src.len = 32;
    dst.data = text;

    ngx_encode_base64(&dst, &src);

    ngx_memcpy(ngx_http_sandbox_page_policy
               + sizeof("default-src 'none'; style-src 'sha256-") - 1,
               text, NGX_HTTP_SANDBOX_DIGEST_TEXT);

    return NGX_OK;
}


ngx_uint_t
ngx_http_sandbox_page_wanted(ngx_http_request_t *r)
{
    ngx_str_t                    *accept, *mode;
    ngx_http_sandbox_srv_conf_t  *sscf;

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_sandbox_module);

    if (sscf->domains == NULL) {
        return 0;
    }

    accept = ngx_http_sandbox_request_header(r, "accept", 6);
    mode = ngx_http_sandbox_request_header(r, "sec-fetch-mode", 14);

    return accept != NULL
           && sandbox_wants_page((char *) accept->data, accept->len,
                                 mode ? (char *) mode->data : "",
                                 mode ? mode->len : 0);
}


void
ngx_http_sandbox_page_headers(ngx_http_request_t *r)
{
    ngx_str_t  value;

    value.data = ngx_http_sandbox_page_policy;
    value.len = sizeof(ngx_http_sandbox_page_policy) - 1;

    ngx_http_sandbox_page_header(r, "Content-Security-Policy", &value);

    ngx_str_set(&value, "nosniff");
    ngx_http_sandbox_page_header(r, "X-Content-Type-Options", &value);

    ngx_str_set(&value, "no-referrer");
    ngx_http_sandbox_page_header(r, "Referrer-Policy", &value);
}


/* One that finds no memory is missed by nobody but its page. */

static void
ngx_http_sandbox_page_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    (void) ngx_http_sandbox_add_header(r, name, value);
}


ngx_int_t
ngx_http_sandbox_page_make(ngx_http_request_t *r,
    const ngx_http_sandbox_error_t *err, ngx_str_t *text)
{
    u_char                    *p;
    u_char                     retry[sizeof("<meta http-equiv=\"refresh\" "
                                            "content=\"\">") + NGX_INT_T_LEN];
    size_t                     size;
    ngx_str_t                  again, message, code;
    ngx_uint_t                 after;
    ngx_http_sandbox_title_t  *title;

    static u_char  head[] =
        "<!doctype html>\n<html lang=\"en\">\n<head>\n"
        "<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width\">\n"
        "<meta name=\"robots\" content=\"noindex\">\n";

    static u_char  hint[] = "<p>This page tries again by itself.</p>\n";

    title = ngx_http_sandbox_page_title(err);
    message = title->text.len ? title->text : err->message;
    code = err->code;
    again.len = 0;
    again.data = retry;

    /* what a form has sent is not sent a second time */

    if (err->status == NGX_HTTP_SERVICE_UNAVAILABLE
        && r->method == NGX_HTTP_GET)
    {
        after = ngx_min(ngx_max(err->retry_after, 2), 60);
        again.len = ngx_sprintf(retry, "<meta http-equiv=\"refresh\" "
                                "content=\"%ui\">", after)
                    - retry;
    }

    size = sizeof(head) + sizeof(ngx_http_sandbox_page_style) + sizeof(hint)
           + sizeof(retry) + 2 * title->title.len + 256
           + message.len + ngx_escape_html(NULL, message.data, message.len)
           + code.len + ngx_escape_html(NULL, code.data, code.len);

    text->data = ngx_pnalloc(r->pool, size);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(text->data, head, sizeof(head) - 1);
    p = ngx_sprintf(p, "<title>%V</title>\n", &title->title);

    if (again.len) {
        p = ngx_sprintf(p, "%V\n", &again);
    }

    p = ngx_cpymem(p, "<style>", sizeof("<style>") - 1);
    p = ngx_cpymem(p, ngx_http_sandbox_page_style,
                   sizeof(ngx_http_sandbox_page_style) - 1);
    p = ngx_sprintf(p, "</style>\n</head>\n<body>\n<main>\n<h1>%V</h1>\n<p>",
                    &title->title);
    p = ngx_http_sandbox_page_escape(p, &message);
    p = ngx_cpymem(p, "</p>\n", sizeof("</p>\n") - 1);

    if (again.len) {
        p = ngx_cpymem(p, hint, sizeof(hint) - 1);
    }

    p = ngx_sprintf(p, "<small>%ui ", err->status);
    p = ngx_http_sandbox_page_escape(p, &code);
    p = ngx_cpymem(p, "</small>\n</main>\n</body>\n</html>\n",
                   sizeof("</small>\n</main>\n</body>\n</html>\n") - 1);

    text->len = p - text->data;

    return NGX_OK;
}


static ngx_http_sandbox_title_t *
ngx_http_sandbox_page_title(const ngx_http_sandbox_error_t *err)
{
    ngx_http_sandbox_title_t  *t;

    for (t = ngx_http_sandbox_titles; t->status; t++) {
        if (t->status == err->status
            && (t->code.len == 0
                || (t->code.len == err->code.len
                    && ngx_memcmp(t->code.data, err->code.data, t->code.len)
                       == 0)))
        {
            break;
        }
    }

    return t;
}


static u_char *
ngx_http_sandbox_page_escape(u_char *p, ngx_str_t *text)
{
    return (u_char *) ngx_escape_html(p, text->data, text->len);
}
