/* sources: agent/router.c agent/url.c */
/* libs: */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/router.h"
#include "agent/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
handler(http_request *r)
{
    (void) r;
}


/* A target as it arrives: taken apart, matched, decoded. */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char          *text, *target, *decoded;
    size_t         len, value_len;
    const char    *value;
    router_match   m;
    static router  t;

    if (t.count == 0) {
        router_add(&t, METHOD_GET, "/api/process/list", handler);
        router_add(&t, METHOD_GET, "/api/process/{id}", handler);
        router_add(&t, METHOD_GET, "/api/process/{id}/logs", handler);
        router_add(&t, METHOD_PUT, "/bridge/file/{path...}", handler);
    }

    text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';

    target = url_origin_form(text);

    if (target != NULL) {
        len = strcspn(target, "?");
        router_find(&t, METHOD_GET, target, len, &m);

        if (m.param != NULL
            && (m.param < target || m.param + m.param_len > target + len))
        {
            abort();
        }

        /* One segment holds no slash. */
        if (m.route != NULL && m.route->methods & METHOD_GET
            && m.param != NULL && memchr(m.param, '/', m.param_len) != NULL)
        {
            abort();
        }

        decoded = malloc(len + 1);
        if (url_decode(decoded, target, len, 0) > (ssize_t) len) {
            abort();
        }
        free(decoded);

        if (target[len] == '?'
            && url_query(target + len + 1, "status", &value, &value_len)
            && value + value_len > text + size)
        {
            abort();
        }
    }

    free(text);

    return 0;
}
