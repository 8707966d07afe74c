/* sources: agent/router.c agent/url.c */
/* libs: */

#include <string.h>

#include "agent/router.h"
#include "agent/url.h"
#include "t/unit/tap.h"

static void list(http_request *r) { (void) r; }
static void kill_all(http_request *r) { (void) r; }
static void one(http_request *r) { (void) r; }
static void logs(http_request *r) { (void) r; }
static void file(http_request *r) { (void) r; }


static int
finds(const router *t, unsigned method, const char *path,
    http_handler handler, const char *param)
{
    router_match  m;

    router_find(t, method, path, strlen(path), &m);

    if (handler == NULL) {
        return m.route == NULL;
    }

    return m.route != NULL && m.route->handler == handler
           && (param == NULL || (m.param_len == strlen(param)
               && memcmp(m.param, param, m.param_len) == 0));
}


int
main(void)
{
    char           out[128];
    size_t         len;
    const char    *value;
    router_match   m;
    static router  t;

    router_add(&t, METHOD_GET, "/api/process/list", list);
    router_add(&t, METHOD_DELETE, "/api/process/kill-all", kill_all);
    router_add(&t, METHOD_GET | METHOD_DELETE, "/api/process/{id}", one);
    router_add(&t, METHOD_GET, "/api/process/{id}/logs", logs);
    router_add(&t, METHOD_GET | METHOD_PUT, "/bridge/file/{path...}", file);

    ok(finds(&t, METHOD_GET, "/api/process/list", list, NULL), "literal");
    ok(finds(&t, METHOD_HEAD, "/api/process/list", list, NULL), "HEAD");
    ok(finds(&t, METHOD_GET, "/api/process/x", one, "x"), "one segment");
    ok(finds(&t, METHOD_GET, "/api/process/", one, ""), "an empty one");
    ok(finds(&t, METHOD_GET, "/api/process/a%2Fb", one, "a%2Fb"),
       "an escaped slash does not end a segment");
    ok(finds(&t, METHOD_GET, "/api/process/x/logs", logs, "x"), "in between");
    ok(finds(&t, METHOD_GET, "/api/process/x/y", NULL, NULL), "too many");
    ok(finds(&t, METHOD_DELETE, "/api/process/kill-all", kill_all, NULL),
       "literal before wildcard");
    ok(finds(&t, METHOD_GET, "/api/process/kill-all", one, "kill-all"),
       "unless the method is another's");
    ok(finds(&t, METHOD_PUT, "/bridge/file/a/b", file, "a/b"), "the rest");
    ok(finds(&t, METHOD_GET, "/bridge/file/..%2f..%2fapi/process/list", file,
             "..%2f..%2fapi/process/list"), "nothing is resolved");
    ok(finds(&t, METHOD_GET, "/%61pi/process/list", NULL, NULL),
       "an escaped letter is another path");
    ok(finds(&t, METHOD_GET, "/api/process/list/", NULL, NULL),
       "a trailing slash");
    ok(finds(&t, METHOD_GET, "", NULL, NULL), "nothing");

    router_find(&t, METHOD_POST, "/api/process/kill-all", 21, &m);
    ok(m.route == NULL && m.allowed
       == (METHOD_GET | METHOD_HEAD | METHOD_DELETE), "what is allowed");
    router_allow(m.allowed, out, sizeof(out));
    ok(strcmp(out, "GET, HEAD, DELETE") == 0, "as a header");

    ok(url_decode(out, "a%20b%2fc%C3%A9", 15, 0) == 7
       && strcmp(out, "a b/c\xc3\xa9") == 0, "decoded");
    ok(url_decode(out, "%4", 2, 0) == 2 && strcmp(out, "%4") == 0,
       "a cut escape stays");
    ok(url_decode(out, "%zz%4g", 6, 0) == 6 && strcmp(out, "%zz%4g") == 0,
       "a bad escape stays");
    ok(url_decode(out, "a%00", 4, 0) == -1, "NUL");
    ok(url_decode(out, "a+b", 3, 0) == 3 && out[1] == '+', "plus in a path");
    ok(url_decode(out, "a+b", 3, 1) == 3 && out[1] == ' ', "in a query");
    ok(url_decode(out, "%41", 3, 0) == 1 && strcmp(out, "A") == 0,
       "an escape at the end");

    ok(url_query("a=1&bb=2&c", "bb", &value, &len) && len == 1
       && *value == '2', "a member");
    ok(url_query("a=1&bb=2&c", "c", &value, &len) && len == 0, "no value");
    ok(!url_query("a=1&bb=2&c", "b", &value, &len), "a prefix is no member");
    ok(!url_query("", "b", &value, &len), "no query");

    strcpy(out, "http://host/a?b");
    ok(strcmp(url_origin_form(out), "/a?b") == 0, "absolute form");
    strcpy(out, "http:///a");
    ok(url_origin_form(out) == NULL, "no host");
    strcpy(out, "*");
    ok(url_origin_form(out) == NULL, "an asterisk");

    return done_testing();
}
