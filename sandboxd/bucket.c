/* How often something may happen; see bucket.h. */

#include "sandboxd/bucket.h"

#define MINUTE_MS  60000


unsigned
bucket_take(bucket *b, unsigned per_minute, uint64_t now)
{
    double  per_ms;

    per_ms = (double) per_minute / MINUTE_MS;

    b->taken -= (double) (now - b->at) * per_ms;
    b->at = now;

    if (b->taken < 0) {
        b->taken = 0;
    }

    if (b->taken + 1 <= per_minute) {
        b->taken += 1;
        return 0;
    }

    return (unsigned) ((b->taken + 1 - per_minute) / per_ms / 1000) + 1;
}
