/* What browsers send and obey; see sandbox_browser.h. */

#include <string.h>
#include <strings.h>

#include "sandbox_browser.h"


#define span_is(span, text)                                                   \
    ((span).len == sizeof(text) - 1                                           \
     && memcmp((span).data, text, sizeof(text) - 1) == 0)


static int
is_blank(char c)
{
    return c == ' ' || c == '\t';
}


static void
trim(const char **p, const char **end)
{
    while (*p < *end && is_blank(**p)) {
        (*p)++;
    }

    while (*end > *p && is_blank((*end)[-1])) {
        (*end)--;
    }
}


static void
take(sandbox_taken *taken, const char *p, const char *end)
{
    if (taken->count < SANDBOX_SPANS_MAX) {
        taken->span[taken->count].data = p;
        taken->span[taken->count].len = (size_t) (end - p);
    }

    taken->count++;
}


static size_t
append(char *dst, size_t n, const char *glue, const char *p, const char *end)
{
    if (n > 0) {
        memcpy(dst + n, glue, strlen(glue));
        n += strlen(glue);
    }

    memcpy(dst + n, p, (size_t) (end - p));

    return n + (size_t) (end - p);
}


size_t
sandbox_cookie_cut(char *dst, const char *value, size_t len, const char *name,
    size_t name_len, sandbox_taken *taken)
{
    size_t       n;
    const char  *p, *q, *last, *next, *from, *to, *equals;

    n = 0;
    last = value + len;
    taken->count = 0;

    for (p = value; p <= last; p = next) {
        q = memchr(p, ';', (size_t) (last - p));
        q = q != NULL ? q : last;
        next = q + 1;

        trim(&p, &q);
        equals = memchr(p, '=', (size_t) (q - p));
        to = equals != NULL ? equals : q;

        /* What reads cookies inside may trim more than browsers do. */
        from = p;
        trim(&from, &to);

        if ((size_t) (to - from) == name_len
            && memcmp(from, name, name_len) == 0)
        {
            from = equals != NULL ? equals + 1 : q;
            trim(&from, &q);
            take(taken, from, q);
            continue;
        }

        /* A pair and what goes before it are no longer than they were, since
         * a "; " stands for a semicolon and a blank that browsers send; where
         * there is none, the text gets no longer than its semicolons let it. */
        if (p < q) {
            n = append(dst, n, p > value && is_blank(p[-1]) ? "; " : ";", p,
                       q);
        }
    }

    return n;
}


int
sandbox_cookie_sets(const char *value, size_t len, const char *name,
    size_t name_len)
{
    const char  *p, *q;

    p = value;
    q = memchr(p, ';', len);
    q = q != NULL ? q : p + len;
    trim(&p, &q);

    if (p < q && *p == '=') {
        p++;
    }

    if (memchr(p, '=', (size_t) (q - p)) != NULL) {
        q = memchr(p, '=', (size_t) (q - p));
    }

    trim(&p, &q);

    return (size_t) (q - p) == name_len && memcmp(p, name, name_len) == 0;
}


size_t
sandbox_argument_cut(char *dst, const char *uri, size_t len, const char *name,
    size_t name_len, sandbox_taken *taken)
{
    size_t       n, path;
    const char  *p, *q, *last, *mark;

    last = uri + len;
    taken->count = 0;

    mark = memchr(uri, '?', len);
    if (mark == NULL) {
        memcpy(dst, uri, len);
        return len;
    }

    path = (size_t) (mark - uri);
    n = 0;

    for (p = mark + 1; p <= last; p = q + 1) {
        q = memchr(p, '&', (size_t) (last - p));
        q = q != NULL ? q : last;

        if ((size_t) (q - p) >= name_len && memcmp(p, name, name_len) == 0
            && (p + name_len == q || p[name_len] == '='))
        {
            take(taken, p + name_len + (p + name_len < q), q);
            continue;
        }

        /* Written behind its own place; empty ones between two stay. */
        n = append(dst + path + 1, n, "&", p, q);
    }

    memcpy(dst, uri, path);

    if (taken->count == 0) {
        memcpy(dst, uri, len);
        return len;
    }

    if (n == 0) {
        return path;
    }

    dst[path] = '?';

    return path + 1 + n;
}


size_t
sandbox_protocol_cut(char *dst, const char *value, size_t len,
    const char *prefix, size_t prefix_len, sandbox_taken *taken)
{
    size_t       n;
    const char  *p, *q, *last, *next;

    n = 0;
    last = value + len;
    taken->count = 0;

    for (p = value; p <= last; p = next) {
        q = memchr(p, ',', (size_t) (last - p));
        q = q != NULL ? q : last;
        next = q + 1;

        trim(&p, &q);

        if ((size_t) (q - p) >= prefix_len
            && memcmp(p, prefix, prefix_len) == 0)
        {
            take(taken, p, q);

        } else if (p < q) {
            n = append(dst, n, ",", p, q);
        }
    }

    return n;
}


int
sandbox_path_local(const char *path, size_t len)
{
    size_t  i;

    if (len == 0 || path[0] != '/'
        || (len > 1 && (path[1] == '/' || path[1] == '\\')))
    {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if ((unsigned char) path[i] <= ' ' || path[i] == 0x7f) {
            return 0;
        }
    }

    return 1;
}


/* The length of the scheme in front of a host, or 0. */
static size_t
scheme_length(const char *origin, size_t len)
{
    if (len > 7 && memcmp(origin, "http://", 7) == 0) {
        return 7;
    }

    return len > 8 && memcmp(origin, "https://", 8) == 0 ? 8 : 0;
}


int
sandbox_origin_of(const char *origin, size_t len, const char *host,
    size_t host_len)
{
    size_t  n;

    n = scheme_length(origin, len);

    return n != 0 && host_len > 0 && len - n == host_len
           && strncasecmp(origin + n, host, host_len) == 0;
}


int
sandbox_origin_valid(const char *origin, size_t len)
{
    char         c;
    size_t       i, n;
    const char  *colon;

    n = scheme_length(origin, len);
    if (n == 0) {
        return 0;
    }

    origin += n;
    len -= n;
    colon = origin[0] != '[' ? memchr(origin, ':', len) : NULL;

    if (origin[0] == '[') {
        colon = memchr(origin, ']', len);

        if (colon == NULL) {
            return 0;
        }

        colon = colon + 1 < origin + len ? colon + 1 : NULL;
    }

    n = colon != NULL ? (size_t) (colon - origin) : len;

    if (n == 0 || n > 253
        || (colon != NULL && (*colon != ':' || len - n < 2 || len - n > 6)))
    {
        return 0;
    }

    for (i = 0; i < len; i++) {
        c = origin[i];

        if ((c >= '0' && c <= '9')
            || (i < n && ((c >= 'a' && c <= 'z') || c == '-' || c == '.'
                          || c == '_' || (origin[0] == '['
                                          && (c == '[' || c == ']'
                                              || c == ':'))))
            || i == n)
        {
            continue;
        }

        return 0;
    }

    return 1;
}


int
sandbox_fetch_allowed(const sandbox_fetch *f)
{
    if (f->websocket) {
        return sandbox_origin_of(f->origin.data, f->origin.len, f->host.data,
                                 f->host.len);
    }

    if (span_is(f->site, "same-origin")) {
        return 1;
    }

    if (f->purpose.len > 0) {
        return 0;
    }

    if (span_is(f->site, "none")) {
        return 1;
    }

    if (!f->get || !span_is(f->mode, "navigate")) {
        return 0;
    }

    return span_is(f->dest, "document")
           || (f->embed && (span_is(f->dest, "iframe")
                            || span_is(f->dest, "frame")));
}


static int
begins(const char *p, size_t len, const char *name)
{
    size_t  n;

    n = strlen(name);

    return len >= n && strncasecmp(p, name, n) == 0;
}


int
sandbox_wants_page(const char *accept, size_t accept_len, const char *mode,
    size_t mode_len)
{
    size_t  i;

    if (mode_len > 0
        && !(mode_len == 8 && memcmp(mode, "navigate", 8) == 0))
    {
        return 0;
    }

    /* what is preferred comes first, whatever its weight: browsers do so */

    for (i = 0; i < accept_len; i++) {
        if (begins(accept + i, accept_len - i, "application/json")) {
            return 0;
        }

        if (begins(accept + i, accept_len - i, "text/html")) {
            return 1;
        }
    }

    return 0;
}


/* Whether a directive of Cache-Control speaks of shared caches. */
static int
is_shared(const char *p, const char *end)
{
    size_t              i, len;
    const char         *equals;
    static const char  *const  names[] = { "public", "private", "s-maxage",
                                           NULL };

    equals = memchr(p, '=', (size_t) (end - p));
    len = (size_t) ((equals != NULL ? equals : end) - p);

    while (len > 0 && is_blank(p[len - 1])) {
        len--;
    }

    for (i = 0; names[i] != NULL; i++) {
        if (len == strlen(names[i]) && strncasecmp(p, names[i], len) == 0) {
            return 1;
        }
    }

    return 0;
}


/* A directive ends at a comma outside of quotes. */
static const char *
directive_end(const char *p, const char *last)
{
    int  quoted;

    for (quoted = 0; p < last && (quoted || *p != ','); p++) {
        if (*p == '"') {
            quoted = !quoted;
        }

        if (quoted && *p == '\\' && p + 1 < last) {
            p++;
        }
    }

    return p;
}


size_t
sandbox_cache_private(char *dst, const char *value, size_t len)
{
    size_t       n;
    const char  *p, *q, *last, *next;

    last = value + len;
    memcpy(dst, "private", 7);
    n = 7;

    for (p = value; p <= last; p = next) {
        q = directive_end(p, last);
        next = q + 1;

        trim(&p, &q);

        if (p < q && !is_shared(p, q)) {
            n = append(dst, n, ",", p, q);
        }
    }

    return n;
}
