/*
 * What the visitors of an exposure may start: its owner can say that they wake
 * nothing, and how often they do at most.  How often it was is in memory only:
 * a restart of sandboxd forgives it.
 */

#ifndef SANDBOXD_WAKES_H
#define SANDBOXD_WAKES_H

#include "sandboxd/registry.h"

/*
 * Whether a visitor of this port may have the sandbox: 404 `port_not_exposed`,
 * 410 `STALE_PREVIEW_URL` if it doesn't run and isn't to be woken (the exposure
 * says so, or who asks: wake), or 429 `wake_limited`.  Whoever begins a start
 * is counted; who joins one isn't, nor who takes back a sandbox that was about
 * to sleep.
 */
int wakes_check(sandbox *sb, unsigned port, bool wake, uint64_t now,
    error **err);

#endif
