/*
 * Limits of what visitors may take of a sandbox or of one exposure: checked
 * here, kept with the records, held by the workers.  Pure: JSON, no I/O.
 *
 *   requestsPerSecond  1 to 1000000
 *   burst              0 to 1000000 beyond that at once; as many as
 *                      requestsPerSecond unless given
 *   connections        1 to 1000000 requests and WebSockets at once
 *   bandwidthOut       bytes per second to visitors, and
 *   bandwidthIn        from them: 4096 to 4294967294, or "512K", "10M"
 *   bodySize           bytes of a request's body, 1 to 16 TiB
 *
 * A member that is absent or null is no limit.  Any other member is an error:
 * a limit is never dropped silently.
 */

#ifndef SANDBOXD_LIMITS_H
#define SANDBOXD_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "common/error.h"

typedef struct {
    uint32_t  requests;
    uint32_t  burst;
    uint32_t  connections;
    uint32_t  out;
    uint32_t  in;
    uint64_t  body;
} traffic_limits;

/* in: the object, or NULL or null for none. */
int limits_parse(traffic_limits *dst, json_t *in, error **err);

/* The members that are set; NULL if there is none. */
json_t *limits_json(const traffic_limits *l);

#endif
