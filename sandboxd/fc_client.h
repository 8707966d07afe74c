/*
 * Firecracker's API over its Unix socket: a plan's requests, one after the
 * other, each with a deadline.  Never waits: fc_client_go() does what can be
 * done and says whether all is done.  The keeper of a machine calls it; who
 * answers may be a guest that has broken out.
 */

#ifndef SANDBOXD_FC_CLIENT_H
#define SANDBOXD_FC_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "sandboxd/fc_api.h"

/* From the process's start to its socket: it takes some 10 ms. */
#define FC_CONNECT_MS  5000

typedef struct {
    int          fd;            /* to wait for; -1: nobody listens yet */
    const char  *path;
    fc_plan      plan;
    unsigned     next;          /* the request that is under way */
    char        *text;          /* of it */
    size_t       len, sent;
    uint64_t     end;           /* its deadline, or that of listening */
    fc_answer   *answer;
} fc_client;

/* Takes the plan.  path is that of the socket and stays the caller's. */
void fc_client_begin(fc_client *c, const char *path, fc_plan *plan,
    uint64_t now_ms);

bool fc_client_busy(const fc_client *c);

/* 1: all of it is done; 0: not yet: again when fd can be read or written, or
 * some milliseconds later; -1: it failed, and says at what. */
int fc_client_go(fc_client *c, uint64_t now_ms, error **err);

void fc_client_end(fc_client *c);

#endif
