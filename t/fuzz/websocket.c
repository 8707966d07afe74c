/* sources: agent/websocket.c agent/sha1.c common/base64.c common/buffer.c common/utf8.c */
/* WebSocket frames from a client: how the bytes are cut changes nothing, no
 * message is longer than allowed, and text is UTF-8. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/websocket.h"
#include "common/utf8.h"

#define LIMIT  4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check(ws_event event, const ws_decoder *d)
{
    if (d->body.len > LIMIT) {
        abort();
    }

    if (event == WS_TEXT && utf8_valid(d->payload, d->len) != d->len) {
        abort();
    }

    if ((event == WS_PING || event == WS_PONG || event == WS_CLOSE)
        && d->len > WS_CONTROL_MAX)
    {
        abort();
    }

    if (event == WS_CLOSE && d->code != WS_NO_CODE && !ws_code_valid(d->code))
    {
        abort();
    }

    if (event == WS_ERROR && (d->problem == NULL || !ws_code_valid(d->code))) {
        abort();
    }
}


/* A number that stands for all that was told. */

static uint64_t
run(const uint8_t *data, size_t size, size_t piece)
{
    char        *copy;
    size_t       at, n, used, i;
    uint64_t     sum;
    ws_event     event;
    ws_decoder   d;

    ws_decoder_init(&d, LIMIT);
    sum = 0;
    event = WS_MORE;

    for (at = 0; at < size && event != WS_ERROR && event != WS_CLOSE;
         at += used)
    {
        n = size - at < piece ? size - at : piece;

        /* Exactly n bytes, where that costs little. */
        copy = piece > 1 ? malloc(n) : NULL;
        if (copy != NULL) {
            memcpy(copy, data + at, n);
        }
        event = ws_decode(&d, copy != NULL ? copy : (const char *) data + at,
                          n, &used);
        free(copy);
        check(event, &d);

        if (event == WS_MORE) {
            if (used != n) {
                abort();
            }
            continue;
        }

        sum = sum * 31 + event;
        if (event == WS_ERROR || event == WS_CLOSE) {
            sum = sum * 31 + d.code;
        }
        for (i = 0; event != WS_ERROR && i < d.len; i++) {
            sum = sum * 31 + (uint8_t) d.payload[i];
        }
    }

    ws_decoder_free(&d);

    return sum;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t  sum;

    sum = run(data, size, size ? size : 1);

    if (run(data, size, 1) != sum || run(data, size, 7) != sum) {
        abort();
    }

    return 0;
}
