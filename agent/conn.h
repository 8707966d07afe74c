/*
 * Connections from their first line on: accepts, reads the line, checks the
 * key and hands the descriptor to the HTTP server or to a tunnel.  Owns the
 * limits on how many there are.
 */

#ifndef AGENT_CONN_H
#define AGENT_CONN_H

#include <stddef.h>

#include "agent/io.h"

#define CONN_MAX_PENDING  256       /* first line not complete */
#define CONN_MAX_CONTROL  512
#define CONN_MAX_TUNNEL   2048
#define CONN_LINE_MS      10000     /* for the first line */

/* fd is a listening stream socket.  Returns 0 or -1. */
int conn_listen(int fd);

/* No more connections are taken. */
void conn_stop(void);

/* Takes the descriptor over, with bytes that were read behind the line. */
void http_conn_start(io *w, const char *p, size_t n);
void tunnel_start(io *w, unsigned port, const char *p, size_t n);

/* Called once a second. */
void http_conn_sweep(uint64_t now);
void tunnel_sweep(uint64_t now);

/* Sends an error line, reads on a little so that the peer sees it rather than
 * a reset, and closes. */
void conn_refuse(io *w, const char *line);

extern unsigned  http_conn_count, tunnel_count;

#endif
