/*
 * What creations answered to whom, by the client's Idempotency-Key: a client
 * that heard nothing asks again and gets the same answer instead of a second
 * sandbox.  Kept for 24 hours, in memory and with the records; of each tenant
 * the latest IDEMPOTENCY_TENANT, of all IDEMPOTENCY_ALL.
 *
 * Keys and requests are kept as digests.  Event loop's thread only.
 */

#ifndef SANDBOXD_IDEMPOTENCY_H
#define SANDBOXD_IDEMPOTENCY_H

#include <stdint.h>

#include <jansson.h>

#include "common/error.h"
#include "sandboxd/store.h"

#define IDEMPOTENCY_KEY_MAX      255
#define IDEMPOTENCY_TENANT      1000
#define IDEMPOTENCY_ALL        20000
#define IDEMPOTENCY_MS      (24LL * 3600 * 1000)

typedef struct idempotency  idempotency;

/* Loads what the store has. */
idempotency *idempotency_create(store *s, error **err);
void idempotency_free(idempotency *im);

/*
 * 1: *answer is what this request got (a new reference), which is durable when
 * the change *seq is.  0: it is a new one.  -1: the key was used for another
 * request, 422.
 */
int idempotency_find(idempotency *im, const char *tenant, const char *key,
    const json_t *request, int64_t now, json_t **answer, uint64_t *seq,
    error **err);

/* Between store_hold() and store_release(), with the record itself. */
void idempotency_put(idempotency *im, const char *tenant, const char *key,
    const json_t *request, int64_t now, const json_t *answer, uint64_t seq);

#endif
