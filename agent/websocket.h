/*
 * The WebSocket protocol (RFC 6455) as a server speaks it: taking frames
 * apart, putting them together, and the texts of a handshake.  No extension
 * is spoken.  Knows neither sockets nor the loop; fuzzed.
 */

#ifndef AGENT_WEBSOCKET_H
#define AGENT_WEBSOCKET_H

#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"

#define WS_CONTROL_MAX  125         /* bytes of a control frame */
#define WS_HEAD_MAX     10          /* bytes of a frame's head, as we send it */
#define WS_KEY_LEN      24
#define WS_ACCEPT_LEN   28

enum {
    WS_OP_MORE   = 0x0,             /* goes on with a message */
    WS_OP_TEXT   = 0x1,
    WS_OP_BINARY = 0x2,
    WS_OP_CLOSE  = 0x8,
    WS_OP_PING   = 0x9,
    WS_OP_PONG   = 0xa
};

enum {
    WS_NORMAL       = 1000,
    WS_GOING_AWAY   = 1001,
    WS_PROTOCOL     = 1002,
    WS_NO_CODE      = 1005,         /* never sent */
    WS_LOST         = 1006,         /* never sent */
    WS_NOT_UTF8     = 1007,
    WS_POLICY       = 1008,
    WS_TOO_BIG      = 1009,
    WS_INTERNAL     = 1011,
    WS_TRY_LATER    = 1013
};

typedef enum {
    WS_MORE,            /* everything was taken, nothing is complete */
    WS_TEXT,            /* a whole message: payload, len */
    WS_BINARY,
    WS_PING,            /* payload, len */
    WS_PONG,
    WS_CLOSE,           /* code (WS_NO_CODE if none), payload: the reason */
    WS_ERROR            /* code and problem: the connection has to end */
} ws_event;

typedef struct {
    /* What is told with an event; stays until the next call. */
    const char    *payload;
    size_t         len;
    unsigned       code;
    const char    *problem;

    /* The decoder's own. */
    size_t         limit;
    unsigned char  head[14];
    unsigned       nhead;
    unsigned char  mask[4];
    unsigned       mask_at;
    uint64_t       left;            /* of the frame's payload */
    unsigned       opcode;          /* of the frame */
    unsigned       message;         /* of the message; 0: none is begun */
    int            fin;
    int            in_frame;        /* its head is complete */
    int            told;            /* body holds a message that was told */
    int            failed;
    size_t         valid;           /* bytes of a text known to be UTF-8 */
    char           control[WS_CONTROL_MAX + 1];
    size_t         ncontrol;
    buffer         body;
} ws_decoder;

/* limit: bytes of a message.  Memory follows what was received, not what was
 * announced. */
void ws_decoder_init(ws_decoder *d, size_t limit);
void ws_decoder_free(ws_decoder *d);

/* Takes bytes up to the end of the next event; *used says how many.  After
 * WS_ERROR nothing more is taken; after WS_CLOSE nothing should be. */
ws_event ws_decode(ws_decoder *d, const char *p, size_t n, size_t *used);

/* The head of a whole, unmasked frame; returns its length. */
size_t ws_head(unsigned char out[WS_HEAD_MAX], unsigned opcode, uint64_t n);

/* May this code stand in a close frame? */
int ws_code_valid(unsigned code);

/* Is it the base64 of 16 bytes? */
int ws_key_valid(const char *key);

/* What Sec-WebSocket-Accept answers to a key; NUL-terminated. */
void ws_accept_text(const char *key, char out[WS_ACCEPT_LEN + 1]);

/* Does a comma-separated list hold this token, in any case? */
int ws_list_has(const char *list, const char *token);

#endif
