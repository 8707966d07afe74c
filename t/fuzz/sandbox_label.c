/* sources: ngx_sandbox_module/sandbox_label.c */

/*
 * Hosts, URLs and cookies of clients and guests: no read beyond their ends,
 * and what is said of them holds.
 */

#include <stdlib.h>
#include <string.h>

#include "ngx_sandbox_module/sandbox_label.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                 *p, *below;
    size_t                n;
    unsigned              port;
    static const char     host[] = "8000-demo.example.test";
    static unsigned char  key[16];

    p = malloc(size ? size : 1);
    memcpy(p, data, size);

    n = sandbox_label_below(p, size, "example.test", 12);

    if (n && (n > SANDBOX_LABEL_MAX || n != size - 13
              || !sandbox_label_valid(p, n) || memchr(p, '.', n)))
    {
        abort();
    }

    if (sandbox_host_match(p, size, host, sizeof(host) - 1, &port)
        && port > 65535)
    {
        abort();
    }

    n = sandbox_origin_local(p, size, 8000);

    if (n > size || (n && memcmp(p + n - 4, "8000", 4) != 0)) {
        abort();
    }

    (void) sandbox_origin_match(p, size, "http://a", 8);
    (void) sandbox_cookie_stays(p, size, host, sizeof(host) - 1);

    below = malloc(size + 2 + SANDBOX_COOKIE_BELOW);
    n = sandbox_cookie_below(below, p, size, "/x", 2);

    if (n > size + 2 + SANDBOX_COOKIE_BELOW
        || memmem(below, n, "; Path=/x", 9) == NULL)
    {
        abort();
    }

    free(below);
    (void) sandbox_host_valid(p, size);
    (void) sandbox_label_hash(key, p, size);

    free(p);

    return 0;
}
