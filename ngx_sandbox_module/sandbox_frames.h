/*
 * Where a server's side of a WebSocket stands: whether a frame of ours may
 * follow what went by.  A pure function of the bytes: no nginx, no allocation,
 * no I/O.
 */

#ifndef SANDBOX_FRAMES_H
#define SANDBOX_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#define SANDBOX_FRAMES_CLOSE  127       /* bytes of the longest close frame */

/* Zero-filled at the beginning, behind the handshake. */

typedef struct {
    uint64_t       left;                /* of the frame's payload */
    unsigned char  head[10];
    unsigned char  nhead;
    unsigned char  closed;              /* a close frame went by */
} sandbox_frames;

void sandbox_frames_feed(sandbox_frames *f, const void *data, size_t len);

/* Whether all frames were whole, and none of them was the end. */
int sandbox_frames_open(const sandbox_frames *f);

/*
 * Writes a close frame with a code and as much of the reason, which is ASCII,
 * as it may have; returns its length.
 */
size_t sandbox_frames_close(unsigned char dst[SANDBOX_FRAMES_CLOSE],
    unsigned code, const char *reason, size_t len);

#endif
