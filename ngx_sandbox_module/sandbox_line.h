/*
 * The lines at the beginning of a connection to an agent (docs/protocol.md,
 * section 2): ours, and the parser of its answer.  Pure: no nginx, no I/O, no
 * allocation.
 */

#ifndef SANDBOX_LINE_H
#define SANDBOX_LINE_H

#include <stddef.h>

#define SANDBOX_LINE_MAX      64
#define SANDBOX_LINE_KEY_LEN  16    /* bytes; twice as many hex digits */

typedef enum {
    SANDBOX_LINE_MORE = 0,
    SANDBOX_LINE_OK,
    SANDBOX_LINE_REFUSED,
    SANDBOX_LINE_LIMIT,
    SANDBOX_LINE_KEY,
    SANDBOX_LINE_BAD            /* no answer of an agent */
} sandbox_line_result;

/* What is known of an answer after `len` bytes of it; all zeros at first. */
typedef struct {
    unsigned char  len;
    unsigned char  candidate;
    unsigned char  vmm;         /* 1: a VMM's own answer comes before it */
} sandbox_line;

/*
 * Writes `CONTROL <key>\n` if port is 0, else `CONNECT <port> <key>\n`;
 * returns its length.
 */
size_t sandbox_line_write(char dst[SANDBOX_LINE_MAX], unsigned port,
    const unsigned char key[SANDBOX_LINE_KEY_LEN]);

/* Writes `CONNECT <vsock port>\n`, for a VMM (Firecracker's docs/vsock.md). */
size_t sandbox_line_write_vmm(char dst[SANDBOX_LINE_MAX],
    unsigned long port);

/*
 * Takes the next bytes of the answer, as they come.  *used says how many of
 * them belong to the line; what is behind a complete line isn't touched.  Ask
 * no more after anything but SANDBOX_LINE_MORE.
 */
sandbox_line_result sandbox_line_feed(sandbox_line *line, const char *data,
    size_t len, size_t *used);

#endif
