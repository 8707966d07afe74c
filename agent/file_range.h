/* The Range header of a request for a file.  Pure: no I/O. */

#ifndef AGENT_FILE_RANGE_H
#define AGENT_FILE_RANGE_H

#include <stdint.h>

typedef enum {
    FILE_RANGE_WHOLE,       /* none, several, or one that we don't understand */
    FILE_RANGE_PART,        /* *off and *len */
    FILE_RANGE_NEVER        /* it lies beyond the end: 416 */
} file_range_kind;

/* text may be NULL. */
file_range_kind file_range_parse(const char *text, int64_t size,
    int64_t *off, int64_t *len);

#endif
