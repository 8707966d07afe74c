/* sources: agent/git_url.c agent/redact.c agent/url.c common/buffer.c */
/* libs: */

#include <string.h>

#include "agent/git_url.h"
#include "t/unit/tap.h"

static git_url  u;


static int
parses(const char *text, const char *plain, const char *name)
{
    const char  *why;

    why = git_url_parse(&u, text, strlen(text));
    if (why != NULL || strcmp(u.plain, plain) != 0
        || strcmp(u.name, name) != 0)
    {
        printf("# %s: '%s' '%s' '%s'\n", text, why ? why : "", u.plain,
               u.name);
        return 0;
    }

    return 1;
}


static int
refuses(const char *text)
{
    return git_url_parse(&u, text, strlen(text)) != NULL
           && strstr(u.shown, "pw") == NULL;
}


int
main(void)
{
    char  big[3000];

    ok(parses("https://h/a/b.git", "https://h/a/b.git", "b"), "https");
    ok(!u.has_secret && strcmp(u.shown, u.plain) == 0, "is shown as it is");
    ok(parses("https://h/a/b", "https://h/a/b", "b"), "no .git");
    ok(parses("https://h/a/b.git/", "https://h/a/b.git/", "b"), "a slash");
    ok(parses("https://h/a/b.git?x=/y#z", "https://h/a/b.git?x=/y#z", "b"),
       "a query");
    ok(parses("http://h", "http://h", "repository"), "no path");
    ok(parses("https://h/.git", "https://h/.git", "repository"),
       "a hidden name");
    ok(parses("https://h/..", "https://h/..", "repository"), "dots");
    ok(parses("https://h/-x", "https://h/-x", "repository"), "a dash");

    ok(parses("https://us:pw@h:8443/b.git", "https://h:8443/b.git", "b"),
       "credentials");
    ok(u.has_secret && strcmp(u.user, "us") == 0
       && strcmp(u.password, "pw") == 0, "taken apart");
    ok(strcmp(u.host, "https://h:8443") == 0, "for their host only");
    ok(strcmp(u.shown, "https://******@h:8443/b.git") == 0, "not shown");
    ok(parses("https://a%40b:p%2Fw%25@h/b", "https://h/b", "b")
       && strcmp(u.user, "a@b") == 0 && strcmp(u.password, "p/w%") == 0,
       "decoded");
    ok(parses("https://us:p@w@h/b", "https://h/b", "b")
       && strcmp(u.password, "p@w") == 0, "an at sign in the password");
    ok(parses("https://token@h/b", "https://h/b", "b") && u.has_secret
       && strcmp(u.user, "token") == 0 && u.password[0] == '\0',
       "a user alone");
    ok(parses("https://@h/b", "https://h/b", "b") && !u.has_secret,
       "an empty one");
    ok(parses("HTTPS://us:pw@h/b", "HTTPS://h/b", "b"), "upper case");
    ok(parses("https://[::1]:8/b", "https://[::1]:8/b", "b"), "IPv6");

    ok(parses("ssh://git@h/a/b.git", "ssh://git@h/a/b.git", "b") && u.ssh
       && strcmp(u.shown, u.plain) == 0, "ssh");
    ok(parses("git@h:a/b.git", "git@h:a/b.git", "b") && u.ssh
       && strcmp(u.shown, u.plain) == 0, "host:path");
    ok(parses("h:b.git", "h:b.git", "b") && u.ssh, "short");
    ok(parses("git://h/b", "git://h/b", "b") && !u.ssh, "git");
    ok(parses("file:///a/b.git", "file:///a/b.git", "b"), "file");
    ok(parses("/a/b.git", "/a/b.git", "b") && !u.ssh, "a path");
    ok(parses("./a:b", "./a:b", "a:b") && !u.ssh, "with a colon");
    ok(parses("not a url", "not a url", "repository"), "anything else");

    ok(refuses(""), "nothing");
    ok(refuses("-x"), "an option");
    ok(refuses("ext::sh -c id"), "another transport");
    ok(refuses("ext::https://h"), "before a URL");
    ok(refuses("ftp://h/x"), "another scheme");
    ok(refuses("https://"), "no host");
    ok(refuses("https://us:pw@/x"), "credentials for nobody");
    ok(refuses("https://-h/x"), "a host like an option");
    ok(refuses("ssh://-oProxyCommand=x/y"), "with ssh");
    ok(refuses("https://h h/x"), "a host with a blank");
    ok(refuses("https://h=x/y"), "a host that breaks a setting");
    ok(refuses("https://us:p%0aw@h/x"), "a line feed in a password");
    ok(refuses("https://us:p%00w@h/x"), "a NUL in a password");
    ok(refuses("ssh://us:pw@h/x"), "a password for ssh");
    ok(refuses("us:pw@h/x"), "no scheme");
    ok(refuses("https://us:pw@h/\nx"), "a line feed");

    memset(big, 'x', sizeof(big));
    memcpy(big, "https://h/", 10);
    big[2048] = '\0';
    ok(git_url_parse(&u, big, 2048) == NULL && strlen(u.plain) == 2048,
       "as long as may be");
    ok(strcmp(u.name, "repository") == 0, "its name is too long");
    big[2048] = 'x';
    big[2049] = '\0';
    ok(git_url_parse(&u, big, 2049) != NULL, "longer");
    ok(git_url_parse(&u, "a\0b", 3) != NULL, "a NUL");

    return done_testing();
}
