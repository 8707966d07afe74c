/*
 * What browsers send and obey, as far as the edge has to read it: cookies and
 * query arguments of ours among others, subprotocols, where a request came
 * from, what may be cached.  Pure functions over byte ranges that need no NUL:
 * no nginx, no allocation, no I/O.  What one of them leaves out of a text is
 * never in what it writes.
 */

#ifndef SANDBOX_BROWSER_H
#define SANDBOX_BROWSER_H

#include <stddef.h>

#define SANDBOX_SPANS_MAX  4

typedef struct {
    const char  *data;
    size_t       len;
} sandbox_span;

/* What was taken out: the first few of its values, which point into the text
 * that was read, and how many there were. */
typedef struct {
    sandbox_span  span[SANDBOX_SPANS_MAX];
    size_t        count;
} sandbox_taken;

/*
 * Copies a Cookie header to dst (len bytes of room) without the pairs of one
 * name; returns the length of what is left.
 */
size_t sandbox_cookie_cut(char *dst, const char *value, size_t len,
    const char *name, size_t name_len, sandbox_taken *taken);

/*
 * Whether a Set-Cookie header is for that name, as browsers read it: with
 * blanks around it, or, without a name, in a value that looks like a pair.
 */
int sandbox_cookie_sets(const char *value, size_t len, const char *name,
    size_t name_len);

/*
 * Copies a URI, as it stands in a request line, to dst without all arguments
 * of one name in its query, and without the `?` if none is left.
 */
size_t sandbox_argument_cut(char *dst, const char *uri, size_t len,
    const char *name, size_t name_len, sandbox_taken *taken);

/* Copies a Sec-WebSocket-Protocol list without the entries that begin so. */
size_t sandbox_protocol_cut(char *dst, const char *value, size_t len,
    const char *prefix, size_t prefix_len, sandbox_taken *taken);

/*
 * Whether browsers take a redirect to this for one to the same host: it begins
 * with one slash, and no second one or backslash behind it, and has no bytes
 * that a browser drops or refuses.
 */
int sandbox_path_local(const char *path, size_t len);

/* Whether an Origin is http(s)://<host>, letter by letter but for the case. */
int sandbox_origin_of(const char *origin, size_t len, const char *host,
    size_t host_len);

/* `http(s)://name`, with a port or without, in lower case: an Origin header
 * that a browser could send. */
int sandbox_origin_valid(const char *origin, size_t len);


/* What a request with a cookie says of where it comes from; "" if nothing. */
typedef struct {
    int           get;          /* the method is GET */
    int           websocket;
    int           embed;        /* the pass allows frames of other sites */
    sandbox_span  host;         /* the Host header as it was sent */
    sandbox_span  origin;
    sandbox_span  site;         /* Sec-Fetch-Site, -Mode, -Dest */
    sandbox_span  mode;
    sandbox_span  dest;
    sandbox_span  purpose;      /* Sec-Purpose */
} sandbox_fetch;

/*
 * Whether a cookie counts: a WebSocket of the host's own pages; a request of
 * its own, or one that nobody's page has made; a GET that fills a window, or
 * a frame where that is allowed.  Siblings of a preview are "same-site".  What
 * is loaded ahead, which a page of anybody's can ask for and nobody sees, only
 * counts as the host's own: Chromium says "none" of it, whoever has asked.
 */
int sandbox_fetch_allowed(const sandbox_fetch *fetch);

/* Whether a person looks at the answer: a page would be understood, not named
 * after application/json, and isn't fetched by a script. */
int sandbox_wants_page(const char *accept, size_t accept_len,
    const char *mode, size_t mode_len);

/*
 * Copies a Cache-Control header to dst (len + 8 bytes of room) so that no
 * shared cache may keep the answer; the rest stays.
 */
size_t sandbox_cache_private(char *dst, const char *value, size_t len);

#endif
