/*
 * The warm pool: sandboxes that the driver has prepared before anybody asked
 * for them.  A record that is made with an image and limits that the pool has
 * gets the slot of a prepared one; its first start, an ordinary one of the
 * lifecycle, then only has to tell the agent whose it is.
 *
 * What is prepared counts with the memory that all which run may have, and with
 * the disk of all, but ends as soon as a sandbox needs that.
 *
 * One that a record has taken and not started is given up after a while, as
 * are those whose image has changed.  None outlives sandboxd.  The pool is
 * filled one after another, with a pause as long as the last one took, and
 * never while a sandbox starts or waits for its start.  Event loop's thread
 * only.
 */

#ifndef SANDBOXD_POOL_H
#define SANDBOXD_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "sandboxd/lifecycle.h"
#include "sandboxd/pool_config.h"

typedef struct pool  pool;

/* Sets itself up as the registry's source of slots.  The lifecycle has its
 * drivers, and has adopted; of() says which of them prepares an image. */
pool *pool_create(lifecycle *lc, driver *(*of)(void *data, const char *image),
    void *of_data, const pool_config *config);

/* Whether the slot is one of the pool's; if so it has ended. */
bool pool_on_exited(pool *p, uint32_t slot);

/* {"warm","assigned","total",...} of docs/api.md; a new object. */
json_t *pool_stats(pool *p);

/* Fills it, also if it was emptied or its images have failed before. */
void pool_prime(pool *p);

/* Ends those that nobody has; it stays empty until pool_prime(). */
void pool_empty(pool *p);

/* Ends all that are prepared, then calls back. */
void pool_close(pool *p, void (*closed)(void *data), void *data);

/* Only when nothing of it is with the driver, or the loop runs no more. */
void pool_free(pool *p);

#endif
