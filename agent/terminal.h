/*
 * Terminals: one shell on a pseudo-terminal for each session that asked for
 * it, looked at by any number of WebSockets.  It lives on when nobody looks,
 * keeps its newest output for who comes, and ends with its shell or session.
 *
 *     terminal.c        makes it, moves its bytes, ends it
 *     terminal_env.c    what it starts with: the session's environment
 *     terminal_view.c   those who look
 *     terminal_api.c    requests
 */

#ifndef AGENT_TERMINAL_H
#define AGENT_TERMINAL_H

#include <stdint.h>

/* The session is gone: its terminal ends. */
void terminal_end(const char *sid);

/* Called once a second. */
void terminal_sweep(uint64_t now);

#endif
