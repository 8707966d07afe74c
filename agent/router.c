/* The table of routes; see router.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/router.h"


void
router_add(router *t, unsigned methods, const char *pattern,
    http_handler handler)
{
    route  *rt;

    if (t->count == ROUTER_MAX) {
        fprintf(stderr, "more than %d routes\n", ROUTER_MAX);
        abort();
    }

    rt = &t->routes[t->count++];
    rt->pattern = pattern;
    rt->methods = methods | (methods & METHOD_GET ? METHOD_HEAD : 0);
    rt->handler = handler;
    rt->members = NULL;
}


void
router_members(router *t, const char *members)
{
    t->routes[t->count - 1].members = members;
}


void
router_alias(router *t, unsigned method, const char *pattern,
    const char *from, const char *members)
{
    router_match  m;

    router_find(t, method, from, strlen(from), &m);

    if (m.route == NULL) {
        fprintf(stderr, "no route %s\n", from);
        abort();
    }

    router_add(t, method, pattern, m.route->handler);
    router_members(t, members);
}


/* Compares one path with one pattern; on a match param is what the last
 * wildcard stands for. */

static int
router_match_one(const char *pattern, const char *path, const char *end,
    const char **param, size_t *param_len)
{
    const char  *start, *close;

    *param = NULL;
    *param_len = 0;

    while (*pattern != '\0') {
        if (*pattern != '{') {
            if (path == end || *path != *pattern) {
                return 0;
            }

            pattern++;
            path++;
            continue;
        }

        close = strchr(pattern, '}');
        if (close == NULL) {
            return 0;
        }

        start = path;

        if (close - pattern > 4 && memcmp(close - 3, "...", 3) == 0) {
            path = end;

        } else {
            while (path < end && *path != '/') {
                path++;
            }
        }

        *param = start;
        *param_len = (size_t) (path - start);
        pattern = close + 1;
    }

    return path == end;
}


void
router_find(const router *t, unsigned method, const char *path, size_t len,
    router_match *m)
{
    size_t        i, param_len;
    const char   *param;
    const route  *rt;

    memset(m, 0, sizeof(*m));

    for (i = 0; i < t->count; i++) {
        rt = &t->routes[i];

        if (!router_match_one(rt->pattern, path, path + len, &param,
                              &param_len))
        {
            continue;
        }

        m->allowed |= rt->methods;

        if (m->route == NULL && (rt->methods & method)) {
            m->route = rt;
            m->param = param;
            m->param_len = param_len;
        }
    }
}


void
router_allow(unsigned methods, char *out, size_t size)
{
    size_t              i;
    static const struct {
        unsigned     bit;
        const char  *name;
    } names[] = {
        { METHOD_GET, "GET" }, { METHOD_HEAD, "HEAD" },
        { METHOD_POST, "POST" }, { METHOD_PUT, "PUT" },
        { METHOD_DELETE, "DELETE" }, { METHOD_OPTIONS, "OPTIONS" }
    };

    out[0] = '\0';

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (methods & names[i].bit) {
            if (out[0] != '\0') {
                strncat(out, ", ", size - strlen(out) - 1);
            }
            strncat(out, names[i].name, size - strlen(out) - 1);
        }
    }
}
