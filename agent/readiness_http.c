/* HTTP as a probe speaks it; see readiness_http.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/readiness_http.h"


/* The end of the head (after the empty line), or NULL. */

static const char *
readiness_head_end(const char *p, const char *end)
{
    const char  *nl;

    while ((nl = memchr(p, '\n', (size_t) (end - p))) != NULL) {
        p = nl + 1;
        if (p < end && *p == '\n') {
            return p + 1;
        }
        if (end - p >= 2 && p[0] == '\r' && p[1] == '\n') {
            return p + 2;
        }
    }

    return NULL;
}


/* "HTTP/1.1 200"; the reason may be missing.  0 as long as it can become one,
 * -1 if it can't. */

static int
readiness_status(const char *p, size_t n, int *status)
{
    size_t             i;
    static const char  form[] = "HTTP/1.d ddd";

    for (i = 0; i < n && i < sizeof(form) - 1; i++) {
        if (form[i] == 'd' ? p[i] < '0' || p[i] > '9' : p[i] != form[i]) {
            return -1;
        }
    }

    if (i < sizeof(form) - 1) {
        return 0;
    }

    if (n > i && p[i] != ' ' && p[i] != '\r' && p[i] != '\n') {
        return -1;
    }

    *status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + p[11] - '0';

    return *status < 100 ? -1 : 1;
}


static void
readiness_location(const char *p, const char *end, readiness_answer *a)
{
    size_t       n;
    const char  *nl, *stop;

    for ( ; p < end; p = nl + 1) {
        nl = memchr(p, '\n', (size_t) (end - p));
        if (nl == NULL) {
            return;
        }

        if (nl - p < 9 || strncasecmp(p, "location:", 9) != 0) {
            continue;
        }

        p += 9;
        stop = nl;
        while (p < stop && (*p == ' ' || *p == '\t')) {
            p++;
        }
        while (stop > p && (stop[-1] == '\r' || stop[-1] == ' '
                            || stop[-1] == '\t'))
        {
            stop--;
        }

        n = (size_t) (stop - p);
        if (n < sizeof(a->location) && memchr(p, '\0', n) == NULL) {
            memcpy(a->location, p, n);
            a->location[n] = '\0';
        }
        return;
    }
}


int
readiness_parse(const char *p, size_t n, readiness_answer *a)
{
    int          rc;
    const char  *end, *head_end;

    if (n > READINESS_HEAD_MAX) {
        return -1;
    }

    end = p + n;
    a->location[0] = '\0';

    for ( ;; ) {
        rc = readiness_status(p, (size_t) (end - p), &a->status);
        if (rc <= 0) {
            return rc;
        }

        head_end = readiness_head_end(p, end);
        if (head_end == NULL) {
            return n == READINESS_HEAD_MAX ? -1 : 0;
        }

        if (a->status >= 200) {
            readiness_location(p, head_end, a);
            return 1;
        }

        p = head_end;
    }
}


int
readiness_path(const char *text, char out[READINESS_PATH_MAX])
{
    size_t              n;
    unsigned char       c;
    static const char   hex[] = "0123456789ABCDEF";

    n = 0;

    if (text[0] != '/') {
        out[n++] = '/';
    }

    for ( ; *text != '\0' && *text != '#'; text++) {
        c = (unsigned char) *text;

        if (n + 4 > READINESS_PATH_MAX) {
            return -1;
        }

        if (c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>') {
            out[n++] = '%';
            out[n++] = hex[c >> 4];
            out[n++] = hex[c & 15];
        } else {
            out[n++] = (char) c;
        }
    }

    out[n] = '\0';

    return 0;
}


int
readiness_is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307
           || status == 308;
}


/* "localhost:8080/x": the port, if the host is this one; else 0. */

static unsigned
readiness_authority(const char *p, const char **rest)
{
    long                      port;
    char                     *end;
    size_t                    i, n;
    static const char *const  names[] = {
        "localhost", "127.0.0.1", "[::1]", "0.0.0.0"
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        n = strlen(names[i]);
        if (strncasecmp(p, names[i], n) != 0) {
            continue;
        }

        p += n;
        port = 80;

        if (*p == ':' && p[1] >= '0' && p[1] <= '9') {
            port = strtol(p + 1, &end, 10);
            p = end;
        }

        *rest = p;

        return strchr("/?#", *p) != NULL && port > 0 && port < 65536
               ? (unsigned) port : 0;
    }

    return 0;
}


/* Takes "." and ".." out of the path before the query. */

static void
readiness_dots(char *path)
{
    char    *from, *to, *query;
    size_t   n;

    query = path + strcspn(path, "?");
    from = path;
    to = path;

    while (from < query) {
        n = 1 + strcspn(from + 1, "/?");

        if ((n == 2 && from[1] == '.')
            || (n == 3 && from[1] == '.' && from[2] == '.'))
        {
            while (n == 3 && to > path && *--to != '/') { /* one back */ }

            /* "/a/.." is "/", not "". */
            if (from + n == query) {
                *to++ = '/';
            }

        } else {
            memmove(to, from, n);
            to += n;
        }

        from += n;
    }

    memmove(to, query, strlen(query) + 1);
}


int
readiness_follow(const char *location, unsigned *port,
    char path[READINESS_PATH_MAX])
{
    int          n;
    char         text[2 * READINESS_PATH_MAX];
    size_t       keep;
    unsigned     to;
    const char  *p;

    p = location;
    to = *port;

    if (strncasecmp(p, "http://", 7) == 0 || strncmp(p, "//", 2) == 0) {
        to = readiness_authority(p + (p[0] == '/' ? 2 : 7), &p);
        if (to == 0) {
            return 0;
        }

    } else {
        /* Another scheme is a name with a colon before any slash. */
        keep = strcspn(p, ":/?#");
        if (p[keep] == ':') {
            return 0;
        }

        if (p[0] != '/') {
            keep = strcspn(path, "?");
            if (p[0] != '?' && p[0] != '#' && p[0] != '\0') {
                while (keep > 0 && path[keep - 1] != '/') {
                    keep--;
                }
            }
            path[keep] = '\0';
            n = snprintf(text, sizeof(text), "%s%s", path, p);
            if (n >= (int) sizeof(text)) {
                return 0;
            }
            p = text;
        }
    }

    if (readiness_path(p, path) != 0) {
        return 0;
    }

    readiness_dots(path);
    *port = to;

    return 1;
}
