/* sources: ngx_sandbox_module/sandbox_line.c */

/* An agent's answer, with a VMM's before it if the first byte is odd: the same
 * result however it is cut into pieces. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ngx_sandbox_module/sandbox_line.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static sandbox_line_result
feed(const uint8_t *data, size_t size, int vmm, size_t piece, size_t *total)
{
    char                 *p;
    size_t                n, used;
    sandbox_line          line;
    sandbox_line_result   result;

    memset(&line, 0, sizeof(line));
    line.vmm = (unsigned char) vmm;
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
    int                  vmm;
    size_t               whole, used;
    sandbox_line_result  result;

    if (size == 0) {
        return 0;
    }

    vmm = *data++ & 1;
    size--;
    result = feed(data, size, vmm, size + 1, &whole);

    if (whole > (vmm ? 26u : 12u)
        || feed(data, size, vmm, 1, &used) != result || used != whole
        || feed(data, size, vmm, 3, &used) != result || used != whole)
    {
        abort();
    }

    return 0;
}
