/*
 * Questions to all workers at once: who is used (docs/protocol.md, section
 * 1.5).  The lifecycle asks, the workers' connections answer.  Event loop's
 * thread only.
 */

#ifndef SANDBOXD_SERVER_POLL_H
#define SANDBOXD_SERVER_POLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLL_SLOTS_MAX    500
#define POLL_MS          2000       /* a worker that takes longer is busy */
#define POLL_SETTLE_MS   3000       /* one that was lost is back before that */

/* About one run of a sandbox. */
typedef struct {
    uint32_t   slot;
    uint32_t   epoch;
    bool       known;       /* to a zone; else idle_ms says nothing */
    uint64_t   idle_ms;     /* the least that a worker has said */
    uint64_t   in_flight;   /* requests, of all workers */
} poll_answer;

/*
 * complete: every worker has answered, and none is missing.  Else nobody can
 * say that a sandbox is not used.  Never called before server_poll() returns.
 */
typedef void (*poll_done)(void *data, const poll_answer *answers, size_t n,
    bool complete);

/* About at most POLL_SLOTS_MAX runs; takes a copy of about.  server is a
 * struct server. */
void server_poll(void *server, const poll_answer *about, size_t n,
    poll_done cb, void *data);

#endif
