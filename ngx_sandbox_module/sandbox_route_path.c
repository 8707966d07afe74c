/*
 * The agent's path of a route: names and files decoded, once, and nothing left
 * that the agent could read in another way.  See sandbox_route.h.
 */

#include <string.h>

#include "sandbox_route_part.h"


#define WORKSPACE  "/workspace"


static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }

    return -1;
}


/*
 * The next byte of an escaped text, or -1 for NUL and for an escape that is
 * none.  *p is moved behind it.
 */
static int
unescape(const char **p, const char *end)
{
    int          hi, lo;
    const char  *q;

    q = *p;

    if (*q != '%') {
        *p = q + 1;
        return *q != '\0' ? (unsigned char) *q : -1;
    }

    if (end - q < 3) {
        return -1;
    }

    hi = hex_digit(q[1]);
    lo = hex_digit(q[2]);

    if (hi < 0 || lo < 0 || hi + lo == 0) {
        return -1;
    }

    *p = q + 3;

    return hi << 4 | lo;
}


static int
bad_path(sandbox_route *route, const char *message)
{
    route->kind = SANDBOX_ROUTE_BAD_PATH;
    route->message = message;

    return -1;
}


static int
path_append(sandbox_route *route, const char *s, size_t len)
{
    if (len > SANDBOX_ROUTE_PATH_MAX - route->path_len) {
        return bad_path(route, "The path is longer than 4096 bytes");
    }

    memcpy(route->path + route->path_len, s, len);
    route->path_len += len;

    return 0;
}


/*
 * A name is one segment before and after decoding: a slash in it would change
 * what the agent takes for its route.
 */
static int
path_append_name(sandbox_route *route, const char *p, size_t len)
{
    int          ch;
    char         byte;
    size_t       start;
    const char  *end;

    end = p + len;
    start = route->path_len;

    while (p < end) {
        ch = unescape(&p, end);

        if (ch < 0) {
            return bad_path(route, "Invalid escape in the path");
        }

        if (ch == '/') {
            return bad_path(route, "A name in the path contains a slash");
        }

        byte = ch;

        if (path_append(route, &byte, 1) != 0) {
            return -1;
        }
    }

    len = route->path_len - start;
    p = route->path + start;

    if ((len == 1 && p[0] == '.') || (len == 2 && memcmp(p, "..", 2) == 0)) {
        return bad_path(route, "A name in the path is a dot segment");
    }

    return 0;
}


/*
 * Drops the last segment of what was written after base, if there is one:
 * what `..` means.  Above the root there is only the root.
 */
static void
path_pop(sandbox_route *route, size_t base)
{
    while (route->path_len > base) {
        route->path_len--;

        if (route->path[route->path_len] == '/') {
            break;
        }
    }
}


/*
 * Appends a file's path, decoded, without empty and dot segments; each segment
 * is written behind its slash and looked at when it ends.
 */
static int
path_append_file(sandbox_route *route, const char *p, size_t len)
{
    int          ch;
    char         byte;
    size_t       base, seg, n;
    const char  *end;

    end = p + len;
    base = route->path_len;
    ch = '/';

    for ( ;; ) {

        if (path_append(route, "/", 1) != 0) {
            return -1;
        }

        seg = route->path_len;

        while (p < end) {
            ch = unescape(&p, end);

            if (ch < 0) {
                return bad_path(route, "Invalid escape in the path");
            }

            if (ch == '/') {
                break;
            }

            byte = ch;

            if (path_append(route, &byte, 1) != 0) {
                return -1;
            }
        }

        n = route->path_len - seg;

        if (n == 0 || (n == 1 && route->path[seg] == '.')) {
            route->path_len = seg - 1;

        } else if (n == 2 && memcmp(route->path + seg, "..", 2) == 0) {
            route->path_len = seg - 1;
            path_pop(route, base);
        }

        if (p == end) {
            break;
        }
    }

    /* "dir/" is not the same request as "dir". */

    if (ch == '/' && route->path_len > base) {
        return path_append(route, "/", 1);
    }

    return 0;
}


static int
file_path(sandbox_route *route, const sandbox_route_entry *e,
    const sandbox_route_match *m)
{
    size_t       base, len;
    const char  *p;

    if (m->rest_len == 0) {
        return bad_path(route, "file path must not be empty");
    }

    /* "/file" or "/files" */

    if (path_append(route, e->prefix, strlen(e->prefix)) != 0
        || path_append(route, m->after_id, m->rest - 1 - m->after_id) != 0)
    {
        return -1;
    }

    base = route->path_len;

    if (path_append_file(route, m->rest, m->rest_len) != 0) {
        return -1;
    }

    p = route->path + base;
    len = route->path_len - base;

    if (len < sizeof(WORKSPACE) - 1
        || memcmp(p, WORKSPACE, sizeof(WORKSPACE) - 1) != 0
        || (len > sizeof(WORKSPACE) - 1 && p[sizeof(WORKSPACE) - 1] != '/'))
    {
        route->kind = SANDBOX_ROUTE_FORBIDDEN;
        return -1;
    }

    return 0;
}


int
sandbox_route_agent_path(sandbox_route *route,
    const sandbox_route_entry *e, const sandbox_route_match *m)
{
    size_t       len;
    const char  *after;

    if (m->rest != NULL) {
        return file_path(route, e, m);
    }

    if (path_append(route, e->prefix, strlen(e->prefix)) != 0) {
        return -1;
    }

    if (m->name == NULL) {
        return path_append(route, m->after_id, m->after_len);
    }

    after = m->name + m->name_len;
    len = m->after_id + m->after_len - after;

    if (path_append(route, m->after_id, m->name - m->after_id) != 0
        || path_append_name(route, m->name, m->name_len) != 0)
    {
        return -1;
    }

    return path_append(route, after, len);
}
