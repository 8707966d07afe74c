/* sources: ngx_sandbox_module/sandbox_browser.c */

/*
 * Headers and addresses of clients and guests: no byte beyond their ends is
 * read or written, and nothing of ours is left in what is passed on.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ngx_sandbox_module/sandbox_browser.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


typedef size_t (*cutter)(char *, const char *, size_t, const char *, size_t,
    sandbox_taken *);


/* What has been cut out isn't found a second time. */
static void
cut_twice(cutter cut, const char *p, size_t size)
{
    char           *once, *twice;
    size_t          i, n, m;
    sandbox_taken   taken;

    once = malloc(size ? size : 1);
    n = cut(once, p, size, "t.", 2, &taken);

    if (n > size) {
        abort();
    }

    for (i = 0; i < taken.count && i < SANDBOX_SPANS_MAX; i++) {
        if (taken.span[i].data < p
            || taken.span[i].data + taken.span[i].len > p + size)
        {
            abort();
        }
    }

    once = realloc(once, n ? n : 1);
    twice = malloc(n ? n : 1);
    m = cut(twice, once, n, "t.", 2, &taken);

    if (taken.count != 0 || m != n || memcmp(once, twice, n) != 0) {
        abort();
    }

    free(once);
    free(twice);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char           *p, *dst;
    size_t          n;
    sandbox_fetch   f;

    p = malloc(size ? size : 1);
    memcpy(p, data, size);

    cut_twice(sandbox_cookie_cut, p, size);
    cut_twice(sandbox_argument_cut, p, size);
    cut_twice(sandbox_protocol_cut, p, size);

    dst = malloc(size + 8);
    n = sandbox_cache_private(dst, p, size);

    if (n > size + 8 || memcmp(dst, "private", 7) != 0) {
        abort();
    }

    free(dst);

    if (sandbox_path_local(p, size)
        && (p[0] != '/' || (size > 1 && (p[1] == '/' || p[1] == '\\'))))
    {
        abort();
    }

    if (sandbox_origin_valid(p, size) && memchr(p + 8, '/', size - 8)) {
        abort();
    }

    memset(&f, 0, sizeof(f));
    f.get = f.websocket = 1;
    f.host.data = f.site.data = f.mode.data = f.dest.data = "a";
    f.host.len = 1;
    f.origin.data = p;
    f.origin.len = size;

    if (sandbox_fetch_allowed(&f) && size != 8 && size != 9) {
        abort();
    }

    (void) sandbox_wants_page(p, size, p, size);
    free(p);

    return 0;
}
