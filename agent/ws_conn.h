/*
 * A WebSocket on a connection that was HTTP's: the handshake, frames in both
 * directions, pings, the closing handshake, and bounds on all of it.  Owns the
 * connection; knows nothing of what the messages mean.
 *
 * Requests carry no credentials that a browser would add by itself, so the
 * Origin of a page says nothing here and isn't looked at: who may come in was
 * decided before the connection reached the agent.
 */

#ifndef AGENT_WS_CONN_H
#define AGENT_WS_CONN_H

#include "agent/http.h"
#include "agent/websocket.h"

#define WS_CONN_MAX    512          /* at one time */
#define WS_PING_MS     30000        /* a peer that is silent is asked, */
#define WS_DEAD_MS     30000        /* and is dead if still silent then */
#define WS_CLOSE_MS    5000         /* for the peer's part of closing */
#define WS_LAST_MS     30000        /* to take some of what came before it */
#define WS_LOW_WATER   (16 * 1024)

typedef struct ws_conn ws_conn;

/* None is called from inside a function of this file but from the loop.  Each
 * may close its connection, or send on it. */
typedef struct {
    void  (*message)(ws_conn *c, ws_event kind, const char *p, size_t n);

    /* What waits to be sent fell to WS_LOW_WATER or below. */
    void  (*drain)(ws_conn *c);

    /* The peer closed (its code) or is lost (WS_LOST).  Told once, unless
     * ws_close() came first; the connection must not be used any more. */
    void  (*closed)(ws_conn *c, unsigned code);
} ws_handler;

/* Is it a good handshake, and is there room?  Returns 0, or -1 after
 * answering: 426 with the version that is spoken, 400, 503.  What isn't meant
 * to be one at all is answered with 400 to the bridge, else 503, as clients
 * expect. */
int ws_check(http_request *r);

/* Answers 101; after ws_check().  The request is gone then.  limit: bytes of a
 * message that is received. */
ws_conn *ws_accept(http_request *r, const ws_handler *handler, void *data,
    size_t limit);

void *ws_data(const ws_conn *c);

/* Sends a whole message.  Nothing bounds what waits but the caller, by
 * ws_waiting() and drain(). */
void ws_send(ws_conn *c, unsigned opcode, const void *p, size_t n);

/* Bytes that the peer has not taken yet, and when it last took some. */
size_t ws_waiting(const ws_conn *c);
uint64_t ws_last_taken(const ws_conn *c);

/* No message is received until ws_resume(); at most one more may be told. */
void ws_pause(ws_conn *c);
void ws_resume(ws_conn *c);

/* Sends what waits, then the code; nothing is told any more and the caller
 * forgets the connection. */
void ws_close(ws_conn *c, unsigned code, const char *reason);

/* Called once a second. */
void ws_sweep(uint64_t now);

#endif
