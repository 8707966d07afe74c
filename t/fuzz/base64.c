/* sources: common/base64.c */
/* Base64: what decodes encodes to the same text but for padding and spare
 * bits, and any bytes survive both ways. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char     *text, *copy;
    size_t    len;
    ssize_t   n;

    copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    n = base64_decode(copy, copy, size);

    if (n >= 0) {
        if ((size_t) n > size / 4 * 3 + 2) {
            abort();
        }

        text = malloc(base64_encoded_len((size_t) n) + 1);
        len = base64_encode(text, copy, (size_t) n);
        if (size > 0 && n > 0 && (len < size || memcmp(text, data, size / 4))) {
            abort();
        }
        free(text);
    }

    text = malloc(base64_encoded_len(size) + 1);
    len = base64_encode(text, data, size);
    if (base64_decode(text, text, len) != (ssize_t) size
        || memcmp(text, data, size) != 0)
    {
        abort();
    }

    free(text);
    free(copy);

    return 0;
}
