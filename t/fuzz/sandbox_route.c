/* sources: ngx_sandbox_module/sandbox_route.c ngx_sandbox_module/sandbox_route_table.c ngx_sandbox_module/sandbox_route_path.c ngx_sandbox_module/sandbox_id.c */

/* Any method and path: no crash, and what goes to an agent is one of its
 * routes, spelled in one way only. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ngx_sandbox_module/sandbox_route.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
must(int condition)
{
    if (!condition) {
        abort();
    }
}


static int
begins(const sandbox_route *r, const char *s)
{
    size_t  n;

    n = strlen(s);

    return r->path_len >= n && memcmp(r->path, s, n) == 0;
}


static void
check_file(const sandbox_route *r)
{
    size_t       i, n, start;
    const char  *p;

    n = strlen("/bridge/file/workspace") + begins(r, "/bridge/files/");
    must(begins(r, "/bridge/file/workspace")
         || begins(r, "/bridge/files/workspace"));
    must(r->path_len == n || r->path[n] == '/');

    p = r->path;
    start = 1;

    for (i = 1; i <= r->path_len; i++) {
        if (i < r->path_len && p[i] != '/') {
            continue;
        }

        n = i - start;

        must(n > 0 || i == r->path_len);
        must(!(n == 1 && p[start] == '.'));
        must(!(n == 2 && p[start] == '.' && p[start + 1] == '.'));
        start = i + 1;
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                  *uri;
    char                   allow[SANDBOX_ROUTE_ALLOW_MAX];
    size_t                 len;
    static sandbox_route   r;

    if (size == 0) {
        return 0;
    }

    len = size - 1;
    uri = malloc(len ? len : 1);
    memcpy(uri, data + 1, len);

    sandbox_route_parse(data[0], uri, len, &r);
    must(sandbox_route_allow(r.allow, allow) < SANDBOX_ROUTE_ALLOW_MAX);

    if (r.id != NULL && r.kind != SANDBOX_ROUTE_BAD_ID) {
        must(sandbox_id_valid(r.id, r.id_len));
    }

    if (r.kind == SANDBOX_ROUTE_LOCAL) {
        must(r.op != SANDBOX_OP_NONE);
    }

    if (r.kind == SANDBOX_ROUTE_BAD_PATH) {
        must(r.message != NULL);
    }

    if (r.kind == SANDBOX_ROUTE_AGENT) {
        must(r.id != NULL && !sandbox_id_reserved(r.id, r.id_len));
        must(r.path_len > 0 && r.path_len <= SANDBOX_ROUTE_PATH_MAX);
        must(memchr(r.path, '\0', r.path_len) == NULL);
        must(begins(&r, "/api/") || begins(&r, "/bridge/"));

        if (begins(&r, "/bridge/file")) {
            check_file(&r);
        }

    } else {
        must(r.path_len == 0);
    }

    free(uri);

    return 0;
}
