/* sources: ngx_sandbox_module/sandbox_browser.c */

/* What browsers send and obey; see ngx_sandbox_module/sandbox_browser.h. */

#include <stdlib.h>
#include <string.h>

#include "ngx_sandbox_module/sandbox_browser.h"
#include "t/unit/tap.h"


typedef size_t (*cutter)(char *, const char *, size_t, const char *, size_t,
    sandbox_taken *);


/* With exact sizes on both sides, so that a byte too much is noticed. */
static int
cuts(cutter cut, const char *name, const char *in, const char *want,
    size_t count, const char *first)
{
    int            same;
    char          *src, *dst;
    size_t         n, len;
    sandbox_taken  taken;

    len = strlen(in);
    src = malloc(len ? len : 1);
    dst = malloc(len ? len : 1);
    memcpy(src, in, len);

    n = cut(dst, src, len, name, strlen(name), &taken);
    same = n == strlen(want) && memcmp(dst, want, n) == 0
           && taken.count == count
           && (count == 0 || (taken.span[0].len == strlen(first)
                              && memcmp(taken.span[0].data, first,
                                        strlen(first)) == 0));

    if (!same) {
        printf("# %.*s, %zu taken\n", (int) n, dst, taken.count);
    }

    free(src);
    free(dst);

    return same;
}


static void
test_cookie(void)
{
    size_t  i;

    static const struct {
        const char  *in, *want, *first;
        size_t       count;
    } cases[] = {
        { "x=1", "", "1", 1 },
        { "a=b", "a=b", "", 0 },
        { "", "", "", 0 },
        { "x=1; a=b", "a=b", "1", 1 },
        { "a=b; x=1", "a=b", "1", 1 },
        { "a=b; x=1; c=d", "a=b; c=d", "1", 1 },
        { "a=b;x=1;c=d", "a=b;c=d", "1", 1 },
        { "x=1; x=2; x=3; x=4; x=5; x=6", "", "1", 6 },
        { "xx=1; x1=2; X=3", "xx=1; x1=2; X=3", "", 0 },
        { "a=x=1", "a=x=1", "", 0 },
        { "a=\"; x=1; b=\"", "a=\"; b=\"", "1", 1 },
        { " x = 1 ;a=b", "a=b", "1", 1 },
        { "x", "", "", 1 },
        { "x=", "", "", 1 },
        { "x=a=b", "", "a=b", 1 },
        { ";;; x=1;;", "", "1", 1 },
        { "\tx=1", "", "1", 1 },
        { "a;b;c", "a;b;c", "", 0 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ok(cuts(sandbox_cookie_cut, "x", cases[i].in, cases[i].want,
                cases[i].count, cases[i].first), "Cookie: %s", cases[i].in);
    }
}


static void
test_set_cookie(void)
{
    char    *p;
    size_t   i, len;

    static const struct {
        const char  *value;
        int          sets;
    } cases[] = {
        { "x=1", 1 },
        { "x=", 1 },
        { "x", 1 },
        { " x\t=1; Path=/", 1 },
        { "=x=1", 1 },
        { "= x", 1 },
        { "x=a=b", 1 },
        { "", 0 },
        { "=", 0 },
        { ";x=1", 0 },
        { "a=x", 0 },
        { "a=1; x=1", 0 },
        { "xx=1", 0 },
        { "X=1", 0 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        len = strlen(cases[i].value);
        p = malloc(len + (len == 0));
        memcpy(p, cases[i].value, len);
        ok(sandbox_cookie_sets(p, len, "x", 1) == cases[i].sets,
           "Set-Cookie: %s", cases[i].value);
        free(p);
    }
}


static void
test_argument(void)
{
    size_t  i;

    static const struct {
        const char  *in, *want, *first;
        size_t       count;
    } cases[] = {
        { "/?x=1", "/", "1", 1 },
        { "/?x", "/", "", 1 },
        { "/?x=", "/", "", 1 },
        { "/?a=1&x=2&b=3", "/?a=1&b=3", "2", 1 },
        { "/?x=1&x=2", "/", "1", 2 },
        { "/?x=1&b", "/?b", "1", 1 },
        { "/?b&x=1", "/?b", "1", 1 },
        { "/a?xx=1&ax=2&x1", "/a?xx=1&ax=2&x1", "", 0 },
        { "/x=1", "/x=1", "", 0 },
        { "/?", "/?", "", 0 },
        { "", "", "", 0 },
        { "/?&&", "/?&&", "", 0 },
        { "/?a=?x=1", "/?a=?x=1", "", 0 },
        { "?x=1", "", "1", 1 },
        { "?a&x=1&&b", "?a&&b", "1", 1 },
        { "/?X=1", "/?X=1", "", 0 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ok(cuts(sandbox_argument_cut, "x", cases[i].in, cases[i].want,
                cases[i].count, cases[i].first), "URI %s", cases[i].in);
    }
}


static void
test_protocol(void)
{
    size_t  i;

    static const struct {
        const char  *in, *want, *first;
        size_t       count;
    } cases[] = {
        { "t.1", "", "t.1", 1 },
        { "t.1, chat", "chat", "t.1", 1 },
        { "chat,t.1,v2", "chat,v2", "t.1", 1 },
        { " chat , v2 ", "chat,v2", "", 0 },
        { "T.1", "T.1", "", 0 },
        { "t.", "", "t.", 1 },
        { "", "", "", 0 },
        { ",,t.1,,", "", "t.1", 1 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ok(cuts(sandbox_protocol_cut, "t.", cases[i].in, cases[i].want,
                cases[i].count, cases[i].first), "subprotocols %s",
           cases[i].in);
    }
}


static void
test_path(void)
{
    size_t  i;

    static const char *const  good[] = { "/", "/a", "/a//b", "/?x", "/#x",
                                         "/%2F", "/a\\b", "/\303\244" };
    static const char *const  bad[] = { "", "a", "//a", "/\\a", "/\ta",
                                        "/a b", "/a\n", "http://a/", "\\a",
                                        "/a\x7f", "?", "/\r/a" };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ok(sandbox_path_local(good[i], strlen(good[i])), "path %s", good[i]);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ok(!sandbox_path_local(bad[i], strlen(bad[i])), "no path: %zu", i);
    }

    ok(!sandbox_path_local("/\0a", 3), "with a NUL");
}


static void
test_origin(void)
{
    size_t  i;

    static const char *const  good[] = {
        "http://a", "https://a.b-c.d", "http://127.0.0.1:8080",
        "https://[::1]", "https://[::1]:1", "http://localhost:65535"
    };
    static const char *const  bad[] = {
        "", "http://", "https://", "null", "http://a/", "http://A",
        "ftp://a", "http://a:", "http://a:123456", "http://a:b", "http://a b",
        "http://:1", "http://a@b", "http://[::1", "http://[::1]x",
        "file://", "http://a:1:2", "*"
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ok(sandbox_origin_valid(good[i], strlen(good[i])), "%s", good[i]);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ok(!sandbox_origin_valid(bad[i], strlen(bad[i])), "no origin: '%s'",
           bad[i]);
    }

    ok(sandbox_origin_of("http://a:1", 10, "a:1", 3)
       && sandbox_origin_of("https://a:1", 11, "A:1", 3), "of the host");
    ok(!sandbox_origin_of("http://a", 8, "a:1", 3)
       && !sandbox_origin_of("http://a:12", 11, "a:1", 3)
       && !sandbox_origin_of("http://a.b", 10, "a", 1)
       && !sandbox_origin_of("http://", 7, "", 0)
       && !sandbox_origin_of("", 0, "", 0)
       && !sandbox_origin_of("null", 4, "null", 4), "of another");
}


static sandbox_span
span(const char *text)
{
    sandbox_span  s;

    s.data = text;
    s.len = strlen(text);

    return s;
}


static int
fetch(int get, const char *site, const char *mode, const char *dest, int embed)
{
    sandbox_fetch  f;

    memset(&f, 0, sizeof(f));
    f.get = get;
    f.embed = embed;
    f.host = span("a");
    f.origin = span("http://a");
    f.site = span(site);
    f.mode = span(mode);
    f.dest = span(dest);

    return sandbox_fetch_allowed(&f);
}


static void
test_fetch(void)
{
    sandbox_fetch  f;

    ok(fetch(0, "same-origin", "cors", "empty", 0)
       && fetch(0, "none", "navigate", "document", 0), "own requests");
    ok(fetch(1, "cross-site", "navigate", "document", 0)
       && fetch(1, "same-site", "navigate", "document", 0), "a window");
    ok(!fetch(0, "cross-site", "navigate", "document", 0)
       && !fetch(1, "cross-site", "no-cors", "document", 0)
       && !fetch(1, "same-site", "cors", "empty", 0)
       && !fetch(1, "same-site", "no-cors", "image", 1)
       && !fetch(1, "same-site", "navigate", "embed", 1)
       && !fetch(1, "", "", "", 1)
       && !fetch(1, "same-origin2", "", "", 1), "others");
    ok(!fetch(1, "cross-site", "navigate", "iframe", 0)
       && fetch(1, "cross-site", "navigate", "iframe", 1)
       && fetch(1, "cross-site", "navigate", "frame", 1)
       && !fetch(0, "cross-site", "navigate", "iframe", 1), "frames");

    memset(&f, 0, sizeof(f));
    f.get = 1;
    f.mode = span("navigate");
    f.dest = span("document");
    f.purpose = span("prefetch");
    f.site = span("same-origin");
    ok(sandbox_fetch_allowed(&f), "loaded ahead by the host's page");
    f.site = span("none");
    ok(!sandbox_fetch_allowed(&f), "by who knows whom");
    f.site = span("same-site");
    ok(!sandbox_fetch_allowed(&f), "by a sibling");

    memset(&f, 0, sizeof(f));
    f.get = 1;
    f.websocket = 1;
    f.host = span("a:1");
    f.origin = span("http://a:1");
    ok(sandbox_fetch_allowed(&f), "a WebSocket of the host's page");
    f.origin = span("http://b:1");
    f.site = span("same-origin");
    ok(!sandbox_fetch_allowed(&f), "of another, whatever else it says");
    f.origin = span("");
    ok(!sandbox_fetch_allowed(&f), "of none");
}


static void
test_page(void)
{
    ok(sandbox_wants_page("text/html", 9, "navigate", 8)
       && sandbox_wants_page("*/*,Text/HTML;q=1", 17, "", 0), "a page");
    ok(!sandbox_wants_page("text/html", 9, "cors", 4)
       && !sandbox_wants_page("text/htm", 8, "navigate", 8)
       && !sandbox_wants_page("*/*", 3, "", 0)
       && !sandbox_wants_page("application/json, text/html;q=0.9", 33, "", 0)
       && !sandbox_wants_page("", 0, "", 0), "JSON");
}


static int
cached(const char *in, const char *want)
{
    int     same;
    char   *src, *dst;
    size_t  n, len;

    len = strlen(in);
    src = malloc(len ? len : 1);
    dst = malloc(len + 8);
    memcpy(src, in, len);
    n = sandbox_cache_private(dst, src, len);
    same = n == strlen(want) && memcmp(dst, want, n) == 0;

    if (!same) {
        printf("# %.*s\n", (int) n, dst);
    }

    free(src);
    free(dst);

    return same;
}


static void
test_cache(void)
{
    ok(cached("", "private") && cached("public", "private")
       && cached("PRIVATE", "private"), "one directive");
    ok(cached("no-cache", "private,no-cache")
       && cached("public, max-age=1, s-maxage=2", "private,max-age=1")
       && cached("s-maxage = 2,x", "private,x"), "several");
    ok(cached("private=\"a, public\", no-store", "private,no-store")
       && cached("no-cache=\"public\"", "private,no-cache=\"public\"")
       && cached("x=\"a\\\",public", "private,x=\"a\\\",public")
       && cached(",,a,,", "private,a"), "quoted, and none");
}


int
main(void)
{
    test_cookie();
    test_set_cookie();
    test_argument();
    test_protocol();
    test_path();
    test_origin();
    test_fetch();
    test_page();
    test_cache();

    return done_testing();
}
