/* A WebSocket's frames as they go by; see sandbox_frames.h. */

#include <string.h>

#include "sandbox_frames.h"


#define FRAME_CLOSE   0x8
#define FRAME_MASKED  0x80
#define REASON_MAX    (SANDBOX_FRAMES_CLOSE - 4)


/* The length of the head, as far as its first two bytes tell. */

static size_t
head_size(const sandbox_frames *f)
{
    if (f->nhead < 2) {
        return 2;
    }

    switch (f->head[1] & 0x7f) {

    case 126:
        return 4;

    case 127:
        return 10;

    default:
        return 2;
    }
}


static void
head_end(sandbox_frames *f)
{
    size_t  i;

    f->left = f->head[1] & 0x7f;

    if (f->left >= 126) {
        f->left = 0;

        for (i = 2; i < f->nhead; i++) {
            f->left = f->left << 8 | f->head[i];
        }
    }

    /* a server's are not masked; where one is, the mask comes along */

    if ((f->head[1] & FRAME_MASKED) && f->left <= UINT64_MAX - 4) {
        f->left += 4;
    }

    if ((f->head[0] & 0xf) == FRAME_CLOSE) {
        f->closed = 1;
    }

    f->nhead = 0;
}


void
sandbox_frames_feed(sandbox_frames *f, const void *data, size_t len)
{
    const unsigned char  *p;

    p = data;

    while (len > 0 && !f->closed) {

        if (f->left > 0) {
            if (f->left >= len) {
                f->left -= len;
                return;
            }

            p += f->left;
            len -= (size_t) f->left;
            f->left = 0;
        }

        f->head[f->nhead++] = *p++;
        len--;

        if (f->nhead == head_size(f)) {
            head_end(f);
        }
    }
}


int
sandbox_frames_open(const sandbox_frames *f)
{
    return f->left == 0 && f->nhead == 0 && !f->closed;
}


size_t
sandbox_frames_close(unsigned char dst[SANDBOX_FRAMES_CLOSE], unsigned code,
    const char *reason, size_t len)
{
    len = len < REASON_MAX ? len : REASON_MAX;

    dst[0] = 0x80 | FRAME_CLOSE;
    dst[1] = (unsigned char) (2 + len);
    dst[2] = (unsigned char) (code >> 8);
    dst[3] = (unsigned char) code;
    memcpy(dst + 4, reason, len);

    return 4 + len;
}
