/* sources: agent/backup_part.c common/buffer.c */
/* libs: */

#include <string.h>

#include "agent/backup_part.h"
#include "t/unit/tap.h"

static char  etag[BACKUP_ETAG_MAX + 1];


static int
says(const char *heads, int status, const char *want)
{
    return backup_part_answer(heads, strlen(heads), etag) == status
           && strcmp(etag, want) == 0;
}


static int
url_ok(const char *url)
{
    return backup_part_url(url, strlen(url)) == NULL;
}


int
main(void)
{
    buffer  b;

    ok(says("HTTP/1.1 200 OK\r\nETag: \"ab\"\r\n\r\n", 200, "ab"), "an ETag");
    ok(says("HTTP/2 200 \r\netag:\"a-2\"\r\n", 200, "a-2"), "HTTP/2");
    ok(says("HTTP/1.1 100 Continue\r\nETag: x\r\n\r\nHTTP/1.1 403 No\r\n\r\n",
            403, ""), "the last answer counts");
    ok(says("HTTP/1.1 200 OK\r\nETag: W/\"x\"\r\n", 200, "W/\"x\""),
       "a weak one stays as it is");
    ok(says("HTTP/1.1 200 OK\r\nX-ETag: x\r\n", 200, ""), "another header");
    ok(says("", 0, "") && says("HTTP/", 0, "") && says("HTTP/1.1", 0, "")
       && says("HTTP/1.1 ", 0, "") && says("HTTP/1.1 x\n", 0, ""), "none");
    ok(says("HTTP/1.1 20000\r\n", 200, ""), "three digits");

    ok(url_ok("https://h/x?a=b"), "a URL");
    ok(url_ok("HTTPS://h"), "in capitals");
    ok(!url_ok("http://h/x") && !url_ok("") && !url_ok("https://")
       && !url_ok("https:///x"), "none");
    ok(!url_ok("https://h/ x") && !url_ok("https://h/\nx"), "two lines");
    ok(backup_part_url("https://h\0/x", 12) != NULL, "a NUL");

    memset(&b, 0, sizeof(b));
    backup_part_config(&b, "https://h/\"\\x", 7);
    buffer_append(&b, "", 1);
    ok(strncmp(buffer_bytes(&b), "url = \"https://h/\\\"\\\\x\"\n", 24) == 0,
       "quoted");
    ok(strstr(buffer_bytes(&b), "Content-Length: 7\"\n") != NULL, "its size");
    buffer_free(&b);

    return done_testing();
}
