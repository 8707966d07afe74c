/* The Range header; see file_range.h. */

#include <string.h>
#include <strings.h>

#include "agent/file_range.h"


/* -1: no digits.  What doesn't fit is as good as the largest. */

static int64_t
file_range_number(const char **p)
{
    int64_t      n;
    const char  *start;

    start = *p;

    for (n = 0; **p >= '0' && **p <= '9'; (*p)++) {
        n = n > (INT64_MAX - 9) / 10 ? INT64_MAX : n * 10 + (**p - '0');
    }

    return *p == start ? -1 : n;
}


file_range_kind
file_range_parse(const char *text, int64_t size, int64_t *off, int64_t *len)
{
    int64_t      first, last;
    const char  *p;

    *off = 0;
    *len = size;

    if (text == NULL || strncasecmp(text, "bytes=", 6) != 0) {
        return FILE_RANGE_WHOLE;
    }

    p = text + 6;
    p += strspn(p, " \t");

    first = file_range_number(&p);

    if (*p++ != '-') {
        return FILE_RANGE_WHOLE;
    }

    last = file_range_number(&p);
    p += strspn(p, " \t");

    if (*p != '\0' || (first == -1 && last == -1)
        || (first != -1 && last != -1 && last < first))
    {
        return FILE_RANGE_WHOLE;
    }

    if (first == -1) {
        first = last < size ? size - last : 0;
        last = -1;
    }

    if (first >= size) {
        return FILE_RANGE_NEVER;
    }

    if (last == -1 || last >= size) {
        last = size - 1;
    }

    *off = first;
    *len = last - first + 1;

    return FILE_RANGE_PART;
}
