/*
 * Visitors that sandboxd has refused to start a sandbox for, and said until
 * when: those who come before then are refused here, so that a flood of them
 * costs sandboxd nothing.  Each worker remembers what it was told itself.
 *
 * A refusal holds for as long as the records of the sandbox and of the exposure
 * are those that the question was asked with: whatever their owner changes, or
 * any start, makes it void.
 */

#include "ngx_http_sandbox_park.h"
#include "ngx_http_sandbox_zone.h"

#include "sandbox_label.h"


#define NGX_HTTP_SANDBOX_REFUSAL_SETS  64
#define NGX_HTTP_SANDBOX_REFUSAL_WAYS  4       /* places in each */
#define NGX_HTTP_SANDBOX_REFUSAL_TEXT  320
#define NGX_HTTP_SANDBOX_REFUSAL_MAX   600     /* seconds */


typedef struct {
    ngx_http_sandbox_asked_t      asked;
    ngx_msec_t                    until;
    ngx_uint_t                    status;
    json_int_t                    limit;
    const ngx_str_t              *code;        /* NULL: a free place */
    size_t                        field_len;
    size_t                        text_len;
    u_char                        field[32];
    u_char                        text[NGX_HTTP_SANDBOX_REFUSAL_TEXT];
} ngx_http_sandbox_refusal_t;


static const ngx_str_t *ngx_http_sandbox_refusal_code(ngx_str_t *code);
static ngx_http_sandbox_refusal_t *ngx_http_sandbox_refusal_set(
    ngx_http_sandbox_asked_t *asked);
static ngx_uint_t ngx_http_sandbox_refusal_holds(
    ngx_http_sandbox_refusal_t *refusal);


static ngx_http_sandbox_refusal_t  *ngx_http_sandbox_refusals;
static u_char                       ngx_http_sandbox_refusal_key[16];


void
ngx_http_sandbox_asked(ngx_http_sandbox_ctx_t *ctx,
    ngx_http_sandbox_asked_t *asked)
{
    ngx_int_t                     rc;
    ngx_http_sandbox_info_t       info;
    ngx_http_sandbox_zone_t      *zone;
    ngx_http_sandbox_exposure_t   exposure;

    ngx_memzero(asked, sizeof(ngx_http_sandbox_asked_t));

    if (ctx->api) {
        return;
    }

    zone = ngx_http_sandbox_park_conf->zone;

    rc = ctx->whole
         ? ngx_http_sandbox_zone_host(zone, &ctx->label, &exposure, &info)
         : ngx_http_sandbox_zone_label(zone, &ctx->label, &exposure, &info);

    if (rc != NGX_OK
        || ngx_http_sandbox_zone_slot(zone, exposure.slot, &info) != NGX_OK
        || (info.state != NGX_HTTP_SANDBOX_ASLEEP
            && info.state != NGX_HTTP_SANDBOX_CREATED
            && info.state != NGX_HTTP_SANDBOX_UNREACHABLE))
    {
        return;
    }

    asked->sandbox = info.seq;
    asked->exposure = exposure.seq;
    asked->slot = exposure.slot;
    asked->port = exposure.port;
}


ngx_uint_t
ngx_http_sandbox_refused(ngx_http_sandbox_ctx_t *ctx,
    ngx_http_sandbox_error_t *err)
{
    ngx_uint_t                   i;
    ngx_http_sandbox_asked_t     asked;
    ngx_http_sandbox_refusal_t  *refusal;

    if (ngx_http_sandbox_refusals == NULL) {
        return 0;
    }

    ngx_http_sandbox_asked(ctx, &asked);

    if (asked.exposure == 0) {
        return 0;
    }

    refusal = ngx_http_sandbox_refusal_set(&asked);

    for (i = 0; i < NGX_HTTP_SANDBOX_REFUSAL_WAYS; i++, refusal++) {

        if (refusal->asked.slot != asked.slot
            || refusal->asked.port != asked.port
            || refusal->asked.sandbox != asked.sandbox
            || refusal->asked.exposure != asked.exposure
            || !ngx_http_sandbox_refusal_holds(refusal))
        {
            continue;
        }

        err->status = refusal->status;
        err->retry_after = (refusal->until - ngx_current_msec + 999) / 1000;
        err->limit = refusal->limit;
        err->code = *refusal->code;
        err->message.data = refusal->text;
        err->message.len = refusal->text_len;
        err->field.data = refusal->field;
        err->field.len = refusal->field_len;

        return 1;
    }

    return 0;
}


void
ngx_http_sandbox_refusal(ngx_http_sandbox_asked_t *asked,
    ngx_http_sandbox_error_t *err)
{
    size_t                       size;
    ngx_uint_t                   i;
    const ngx_str_t             *code;
    ngx_http_sandbox_refusal_t  *refusal, *place;

    code = ngx_http_sandbox_refusal_code(&err->code);

    if (code == NULL || asked->exposure == 0 || err->retry_after == 0) {
        return;
    }

    if (ngx_http_sandbox_refusals == NULL) {
        size = NGX_HTTP_SANDBOX_REFUSAL_SETS * NGX_HTTP_SANDBOX_REFUSAL_WAYS
               * sizeof(ngx_http_sandbox_refusal_t);

        for (i = 0; i < sizeof(ngx_http_sandbox_refusal_key); i++) {
            ngx_http_sandbox_refusal_key[i] = (u_char) ngx_random();
        }

        ngx_http_sandbox_refusals = ngx_calloc(size, ngx_cycle->log);

        if (ngx_http_sandbox_refusals == NULL) {
            return;
        }
    }

    /* the place of one that is over, else of the one that will be first */

    place = ngx_http_sandbox_refusal_set(asked);

    for (i = 1, refusal = place + 1; i < NGX_HTTP_SANDBOX_REFUSAL_WAYS;
         i++, refusal++)
    {
        if (!ngx_http_sandbox_refusal_holds(place)) {
            break;
        }

        if (!ngx_http_sandbox_refusal_holds(refusal)
            || (ngx_msec_int_t) (refusal->until - place->until) < 0)
        {
            place = refusal;
        }
    }

    place->asked = *asked;
    place->until = ngx_current_msec
                   + 1000 * ngx_min(err->retry_after,
                                    NGX_HTTP_SANDBOX_REFUSAL_MAX);
    place->status = err->status;
    place->limit = err->limit;
    place->code = code;

    place->text_len = ngx_min(err->message.len, sizeof(place->text));
    ngx_memcpy(place->text, err->message.data, place->text_len);

    place->field_len = ngx_min(err->field.len, sizeof(place->field));

    if (place->field_len) {
        ngx_memcpy(place->field, err->field.data, place->field_len);
    }
}


/* Those that say nothing of sandboxd's own state. */

static const ngx_str_t *
ngx_http_sandbox_refusal_code(ngx_str_t *code)
{
    ngx_uint_t  i;

    static const ngx_str_t  codes[] = {
        ngx_string("wake_limited"),
        ngx_string("start_failed"),
        ngx_string("sandbox_unreachable")
    };

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (code->len == codes[i].len
            && ngx_memcmp(code->data, codes[i].data, code->len) == 0)
        {
            return &codes[i];
        }
    }

    return NULL;
}


static ngx_http_sandbox_refusal_t *
ngx_http_sandbox_refusal_set(ngx_http_sandbox_asked_t *asked)
{
    uint64_t  hash, of[2];

    of[0] = asked->exposure;
    of[1] = (uint64_t) asked->slot << 16 | asked->port;

    hash = sandbox_label_hash(ngx_http_sandbox_refusal_key, of, sizeof(of));

    return ngx_http_sandbox_refusals
           + hash % NGX_HTTP_SANDBOX_REFUSAL_SETS
             * NGX_HTTP_SANDBOX_REFUSAL_WAYS;
}


static ngx_uint_t
ngx_http_sandbox_refusal_holds(ngx_http_sandbox_refusal_t *refusal)
{
    return refusal->code != NULL
           && (ngx_msec_int_t) (refusal->until - ngx_current_msec) > 0;
}
