/*
 * Children that nobody waits for.  A process that is a subreaper gets those of
 * its descendants whose parents died, such as what crun had started when its
 * launch was killed, and nobody here knows their pids.  Every child that this
 * process has started itself is waited for as soon as it has ended; one that
 * has ended and still is there some seconds later is an adopted one.
 */

#ifndef SANDBOXD_ADOPTED_H
#define SANDBOXD_ADOPTED_H

#include <uv.h>

typedef struct adopted  adopted;

/* Looks every few seconds; one adopted child after another is reaped, each
 * within two looks.  Never NULL. */
adopted *adopted_start(uv_loop_t *loop);

/* Frees it with the loop's next turn. */
void adopted_stop(adopted *a);

#endif
