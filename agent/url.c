/* Request targets; see url.h. */

#include <string.h>
#include <strings.h>

#include "agent/url.h"


char *
url_origin_form(char *target)
{
    char  *p;

    if (target[0] == '/') {
        return target;
    }

    if (strncasecmp(target, "http://", 7) == 0) {
        p = strchr(target + 7, '/');
        return p != NULL && p != target + 7 ? p : NULL;
    }

    return NULL;
}


static int
url_hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


ssize_t
url_decode(char *dst, const char *src, size_t n, int plus)
{
    int     hi, lo;
    size_t  i, o;

    o = 0;

    for (i = 0; i < n; i++) {
        if (src[i] == '%' && i + 2 < n && (hi = url_hex(src[i + 1])) >= 0
            && (lo = url_hex(src[i + 2])) >= 0)
        {
            dst[o] = (char) (hi << 4 | lo);
            i += 2;

        } else {
            dst[o] = plus && src[i] == '+' ? ' ' : src[i];
        }

        if (dst[o++] == '\0') {
            return -1;
        }
    }

    dst[o] = '\0';

    return (ssize_t) o;
}


int
url_query(const char *query, const char *name, const char **value,
    size_t *len)
{
    size_t       n, part;
    const char  *p;

    n = strlen(name);

    for (p = query; *p != '\0'; p += part + (p[part] == '&')) {
        part = strcspn(p, "&");

        if (part >= n && memcmp(p, name, n) == 0
            && (part == n || p[n] == '='))
        {
            *value = p + (part == n ? n : n + 1);
            *len = part == n ? 0 : part - n - 1;
            return 1;
        }
    }

    return 0;
}
