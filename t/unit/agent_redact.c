/* sources: agent/redact.c common/buffer.c */
/* libs: */

#include <string.h>

#include "agent/redact.h"
#include "t/unit/tap.h"

static const char *const  secrets[] = { "hunter2", "s3cr3t/x", "abc", NULL };


static int
is(const char *in, const char *want)
{
    int     same;
    buffer  b;

    memset(&b, 0, sizeof(b));
    redact_text(&b, in, strlen(in), secrets);
    same = b.len == strlen(want)
           && (b.len == 0 || memcmp(buffer_bytes(&b), want, b.len) == 0);
    if (!same) {
        printf("# '%.*s'\n", (int) b.len, b.len ? buffer_bytes(&b) : "");
    }
    buffer_free(&b);

    return same;
}


int
main(void)
{
    ok(is("", ""), "nothing");
    ok(is("plain text", "plain text"), "no URL");
    ok(is("https://h/p", "https://h/p"), "no credentials");
    ok(is("https://u:p@h/p", "https://******@h/p"), "user and password");
    ok(is("https://u@h/p", "https://******@h/p"), "a user");
    ok(is("https://u:p@q@h", "https://******@h"), "an at sign inside");
    ok(is("'https://u:p@h/p': and https://x:y@z", "'https://******@h/p': and "
          "https://******@z"), "two");
    ok(is("https://h/a@b", "https://h/a@b"), "an at sign in the path");
    ok(is("https://h?a=b@c", "https://h?a=b@c"), "in the query");
    ok(is("https://h me@x", "https://h me@x"), "behind a blank");
    ok(is("ssh://git@h/x", "ssh://******@h/x"), "any scheme");
    ok(is("://@", "://******@"), "an empty one");
    ok(is("://", "://"), "cut off");
    ok(is("https://u:p", "https://u:p"), "no at sign");
    ok(is("hunter2", "******"), "a secret");
    ok(is("xhunter2hunter2y", "x************y"), "twice");
    ok(is("hunter", "hunter"), "the beginning of one");
    ok(is("a s3cr3t/x b", "a ****** b"), "with a slash");
    ok(is("abc", "abc"), "one that is too short");
    ok(is("https://hunter2@h", "https://******@h"), "in a URL");

    return done_testing();
}
