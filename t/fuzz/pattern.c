/* sources: agent/pattern.c agent/pattern_parse.c agent/pattern_search.c common/utf8.c common/error.c */
/* libs: */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* The first line is a pattern, the rest a text: whatever they are, the spans
 * lie within the text, and within the match. */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    error          *err;
    size_t          i, n, len;
    pattern        *p;
    const char     *text, *nl;
    pattern_span    spans[PATTERN_GROUPS + 1];

    nl = size == 0 ? NULL : memchr(data, '\n', size);
    len = nl == NULL ? size : (size_t) (nl - (const char *) data);
    text = nl == NULL ? "" : nl + 1;
    n = nl == NULL ? 0 : size - len - 1;

    err = NULL;
    p = pattern_compile((const char *) data, len, size % 2 ? "i" : "s", &err);

    if (p == NULL) {
        if (err == NULL) {
            abort();
        }
        error_free(err);
        return 0;
    }

    if (pattern_search(p, text, n, spans)) {
        for (i = 0; i <= pattern_groups(p); i++) {
            if (spans[i].from < -1 || spans[i].to < spans[i].from
                || spans[i].to > (ssize_t) n
                || (spans[i].from == -1) != (spans[i].to == -1))
            {
                abort();
            }
        }
        if (spans[0].from < 0) {
            abort();
        }
    }

    pattern_free(p);

    return 0;
}
