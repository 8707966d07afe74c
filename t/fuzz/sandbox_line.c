/* sources: ngx_sandbox_module/sandbox_line.c */

/* An agent's answer: the same result however it is cut into pieces. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ngx_sandbox_module/sandbox_line.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static sandbox_line_result
feed(const uint8_t *data, size_t size, size_t piece, size_t *total)
{
    char                 *p;
    size_t                n, used;
    sandbox_line          line;
    sandbox_line_result   result;

    memset(&line, 0, sizeof(line));
    *total = 0;
    result = SANDBOX_LINE_MORE;

    while (*total < size && result == SANDBOX_LINE_MORE) {
        n = size - *total < piece ? size - *total : piece;

        p = malloc(n);
        memcpy(p, data + *total, n);
        result = sandbox_line_feed(&line, p, n, &used);
        free(p);

        if (used > n || (result == SANDBOX_LINE_MORE && used != n)) {
            abort();
        }

        *total += used;
    }

    return result;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t               whole, used;
    sandbox_line_result  result;

    result = feed(data, size, size + 1, &whole);

    if (whole > 12
        || feed(data, size, 1, &used) != result || used != whole
        || feed(data, size, 3, &used) != result || used != whole)
    {
        abort();
    }

    return 0;
}
