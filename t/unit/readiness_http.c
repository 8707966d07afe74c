/* sources: agent/readiness_http.c */
/* libs: */
/* What a readiness probe says and hears in HTTP. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/readiness_http.h"
#include "t/unit/tap.h"


static readiness_answer  answer;


static int
heard(const char *text)
{
    return readiness_parse(text, strlen(text), &answer);
}


static int
asks(const char *text, const char *want)
{
    char  path[READINESS_PATH_MAX];

    return readiness_path(text, path) == 0 && strcmp(path, want) == 0;
}


/* From port 8000, path /a/b?q. */

static int
leads(const char *location, unsigned want_port, const char *want)
{
    char      path[READINESS_PATH_MAX];
    unsigned  port;

    port = 8000;
    strcpy(path, "/a/b?q");

    if (!readiness_follow(location, &port, path)) {
        return want == NULL;
    }

    if (want == NULL || port != want_port || strcmp(path, want) != 0) {
        printf("# %s: %u %s\n", location, port, path);
        return 0;
    }

    return 1;
}


int
main(void)
{
    char         long_path[READINESS_PATH_MAX + 8], *big;
    size_t       i, n;
    const char  *whole = "HTTP/1.1 100 Continue\r\n\r\n"
                         "HTTP/1.0 302 Found\r\nA: b\r\n"
                         "LOCATION:  /x \r\n\r\nbody";

    ok(heard("HTTP/1.1 200 OK\r\n\r\n") == 1 && answer.status == 200
       && answer.location[0] == '\0', "an answer");
    ok(heard("HTTP/1.0 404\n\n") == 1 && answer.status == 404,
       "no reason, bare line feeds");
    ok(heard(whole) == 1 && answer.status == 302
       && strcmp(answer.location, "/x") == 0, "an interim one is skipped");
    ok(heard("") == 0 && heard("HTT") == 0 && heard("HTTP/1.1 20") == 0
       && heard("HTTP/1.1 200 OK\r\nA: b\r\n") == 0
       && heard("HTTP/1.1 100 Continue\r\n\r\n") == 0, "not all of it");
    ok(heard("SSH-2.0-x\r\n") == -1 && heard("HTTP/2 200\r\n") == -1
       && heard("HTTP/1.1 2x0 OK\r\n\r\n") == -1
       && heard("HTTP/1.1 2000 OK\r\n\r\n") == -1
       && heard("HTTP/1.1 099 OK\r\n\r\n") == -1
       && heard("http/1.1 200 OK\r\n\r\n") == -1, "not HTTP");

    n = 0;
    for (i = 0; i <= strlen(whole); i++) {
        n += readiness_parse(whole, i, &answer) == 1;
    }
    ok(n == strlen("body") + 1, "however it is cut");

    big = malloc(READINESS_HEAD_MAX + 1);
    memset(big, 'x', READINESS_HEAD_MAX + 1);
    memcpy(big, "HTTP/1.1 200 OK\r\nA: ", 20);
    ok(readiness_parse(big, READINESS_HEAD_MAX - 1, &answer) == 0
       && readiness_parse(big, READINESS_HEAD_MAX, &answer) == -1
       && readiness_parse(big, READINESS_HEAD_MAX + 1, &answer) == -1,
       "a head without an end");
    free(big);

    ok(asks("/", "/") && asks("", "/") && asks("x?a=b", "/x?a=b")
       && asks("?a", "/?a"), "a target begins with a slash");
    ok(asks("/a#b", "/a"), "has no fragment");
    ok(asks("/a b\r\nX: \xc3\xa9\t%41", "/a%20b%0D%0AX:%20%C3%A9%09%41"),
       "can't leave its line");
    memset(long_path, '/', sizeof(long_path));
    long_path[sizeof(long_path) - 1] = '\0';
    ok(!asks(long_path, ""), "is not too long");

    ok(leads("/c", 8000, "/c") && leads("c", 8000, "/a/c")
       && leads("?r", 8000, "/a/b?r") && leads("../c?r/../s", 8000,
       "/c?r/../s") && leads("./", 8000, "/a/") && leads("..", 8000, "/")
       && leads("/x/../../y/.", 8000, "/y/") && leads("#z", 8000, "/a/b"),
       "redirects within the server");
    ok(leads("http://localhost:9000/c", 9000, "/c")
       && leads("HTTP://LOCALHOST", 80, "/")
       && leads("http://127.0.0.1:9000?x", 9000, "/?x")
       && leads("http://[::1]:1/", 1, "/") && leads("//localhost:5", 5, "/"),
       "and to others here");
    ok(leads("https://localhost:9000/", 0, NULL)
       && leads("http://example.com/", 0, NULL)
       && leads("http://localhost.example.com/", 0, NULL)
       && leads("http://localhost:70000/", 0, NULL)
       && leads("http://localhost:0/", 0, NULL)
       && leads("http://localhost:99999999999999999999/", 0, NULL)
       && leads("http://localhost@example.com/", 0, NULL)
       && leads("//example.com/", 0, NULL)
       && leads("mailto:x", 0, NULL), "but nowhere else");

    return done_testing();
}
