/* sources: agent/first_line.c */
/* libs: */

#include <stdint.h>
#include <stdlib.h>

#include "agent/first_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* What is taken is within the limits, and doesn't depend on how the bytes
 * arrive. */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t           i;
    first_line       line, last;
    const char      *key = "0123456789abcdef0123456789abcdef";
    first_line_kind  kind, grown;

    kind = first_line_parse((const char *) data, size, key, &line);

    if (kind == FIRST_LINE_CONNECT
        && (line.port < 1 || line.port > 65535))
    {
        abort();
    }

    if ((kind == FIRST_LINE_CONNECT || kind == FIRST_LINE_CONTROL)
        && (line.used > FIRST_LINE_MAX || data[line.used - 1] != '\n'))
    {
        abort();
    }

    grown = FIRST_LINE_MORE;
    for (i = 0; i <= size && grown == FIRST_LINE_MORE; i++) {
        grown = first_line_parse((const char *) data, i, key, &last);
    }

    if (grown != kind || (kind != FIRST_LINE_MORE && last.used != line.used
                          && kind != FIRST_LINE_BAD))
    {
        abort();
    }

    return 0;
}
