/* sources: ngx_sandbox_module/sandbox_frames.c */

/* A WebSocket's frames: the same however they are cut into pieces, and whole
 * again behind a close frame of ours only if that may follow. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ngx_sandbox_module/sandbox_frames.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static sandbox_frames
feed(const uint8_t *data, size_t size, size_t piece)
{
    char            *p;
    size_t           n;
    sandbox_frames   f;

    memset(&f, 0, sizeof(f));

    while (size > 0) {
        n = size < piece ? size : piece;

        p = malloc(n);
        memcpy(p, data, n);
        sandbox_frames_feed(&f, p, n);
        free(p);

        data += n;
        size -= n;
    }

    return f;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t          len;
    sandbox_frames  whole, cut;
    unsigned char   close[SANDBOX_FRAMES_CLOSE];

    whole = feed(data, size, size + 1);
    cut = feed(data, size, 1);

    if (whole.left != cut.left || whole.nhead != cut.nhead
        || whole.closed != cut.closed)
    {
        abort();
    }

    len = sandbox_frames_close(close, 1012, (const char *) data, size);

    if (len > sizeof(close)) {
        abort();
    }

    if (sandbox_frames_open(&whole)) {
        sandbox_frames_feed(&whole, close, len);

        if (!whole.closed || whole.left != len - 2) {
            abort();
        }
    }

    return 0;
}
