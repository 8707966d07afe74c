/* Repository URLs; see git_url.h. */

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/git_url.h"
#include "agent/redact.h"
#include "agent/url.h"

#define GIT_NAME_DEFAULT  "repository"


/* Decodes a part of the user information.  git asks for it line by line. */

static int
git_url_secret(char *dst, const char *src, size_t n)
{
    const char  *p;

    if (url_decode(dst, src, n, 0) < 0) {
        return -1;
    }

    for (p = dst; *p != '\0'; p++) {
        if ((unsigned char) *p < 0x20 || *p == 0x7f) {
            return -1;
        }
    }

    return 0;
}


/* A host goes into the name of a setting. */

static int
git_url_host_valid(const char *p, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= 'A' && p[i] <= 'Z')
              || (p[i] >= '0' && p[i] <= '9')
              || strchr(".-_:[]", p[i]) != NULL))
        {
            return 0;
        }
    }

    return n != 0 && p[0] != '-';
}


/* "…/name.git/" gives "name". */

static void
git_url_name(git_url *u, const char *path, const char *separators)
{
    size_t       i, n;
    const char  *p;

    n = strcspn(path, "?#");

    while (n != 0 && path[n - 1] == '/') {
        n--;
    }

    for (p = path + n; p != path && strchr(separators, p[-1]) == NULL; p--) {
        /* to the last component */
    }

    n -= (size_t) (p - path);

    if (n > 4 && memcmp(p + n - 4, ".git", 4) == 0) {
        n -= 4;
    }

    strcpy(u->name, GIT_NAME_DEFAULT);

    if (n == 0 || n > GIT_NAME_MAX || p[0] == '-' || p[0] == '.') {
        return;
    }

    for (i = 0; i < n; i++) {
        if ((unsigned char) p[i] < 0x20 || p[i] == 0x7f || p[i] == '@') {
            return;
        }
    }

    memcpy(u->name, p, n);
    u->name[n] = '\0';
}


static const char *
git_url_http(git_url *u, const char *text, const char *authority)
{
    size_t       n;
    const char  *at, *colon, *end, *host;

    end = authority + strcspn(authority, "/?#");
    at = memrchr(authority, '@', (size_t) (end - authority));
    host = at == NULL ? authority : at + 1;

    if (!git_url_host_valid(host, (size_t) (end - host))) {
        return "Git URL must name a host";
    }

    n = (size_t) (authority - text);

    if (at != NULL && at != authority) {
        colon = memchr(authority, ':', (size_t) (at - authority));

        if (git_url_secret(u->user, authority, (size_t)
                           ((colon ? colon : at) - authority)) != 0
            || (colon != NULL && git_url_secret(u->password, colon + 1,
                                     (size_t) (at - colon - 1)) != 0))
        {
            return "Git URL has control characters in its credentials";
        }

        u->has_secret = 1;
    }

    memcpy(u->plain, text, n);
    strcpy(u->plain + n, host);
    snprintf(u->host, sizeof(u->host), "%.*s%.*s", (int) n, text,
             (int) (end - host), host);
    git_url_name(u, end, "/");

    return NULL;
}


/* user:password@ before a host that isn't asked through HTTP: nobody would
 * use the password, and everybody see it. */

static const char *
git_url_other(git_url *u, const char *text, const char *authority)
{
    const char  *at, *end;

    end = authority + strcspn(authority, "/?#");
    at = memrchr(authority, '@', (size_t) (end - authority));

    if (at != NULL && memchr(authority, ':', (size_t) (at - authority))) {
        return "Git URL may have a password only with http and https";
    }

    if (authority[0] == '-') {
        return "Git URL must name a host";
    }

    strcpy(u->plain, text);
    strcpy(u->shown, text);
    u->ssh = strncasecmp(text, "ssh://", 6) == 0;
    git_url_name(u, end, "/");

    return NULL;
}


/* A path, or host:path. */

static const char *
git_url_short(git_url *u, const char *text)
{
    const char  *colon, *at, *slash;

    slash = strchr(text, '/');
    colon = strchr(text, ':');
    at = strchr(text, '@');
    strcpy(u->plain, text);

    if (colon != NULL && colon[1] == ':' && (slash == NULL || colon < slash)) {
        return "Git URL must use http, https, ssh, git or file";
    }

    if (colon == NULL || (slash != NULL && slash < colon)) {
        if (text[0] == '/' || text[0] == '.') {
            git_url_name(u, text, "/");
        } else {
            strcpy(u->name, GIT_NAME_DEFAULT);
        }
        return NULL;
    }

    /* user:password@host/path, its scheme forgotten? */
    if (at != NULL && at > colon) {
        return "Git URL has no scheme before its credentials";
    }

    u->ssh = 1;
    git_url_name(u, colon + 1, "/");

    return NULL;
}


/* What may be shown of any text, also if it is refused: a password in what has
 * no scheme stands between its first colon and its last '@'. */

static void
git_url_show(git_url *u, const char *text, size_t len)
{
    buffer       b;
    const char  *colon, *at;

    memset(&b, 0, sizeof(b));
    colon = memchr(text, ':', len);
    at = memrchr(text, '@', len);

    if (strstr(text, "://") == NULL && colon != NULL && at > colon) {
        buffer_puts(&b, REDACT_MASK);
        buffer_append(&b, at, (size_t) (text + len - at));
    } else {
        redact_text(&b, text, len, NULL);
    }

    snprintf(u->shown, sizeof(u->shown), "%.*s", (int) b.len,
             b.len == 0 ? "" : buffer_bytes(&b));
    buffer_free(&b);
}


const char *
git_url_parse(git_url *u, const char *text, size_t len)
{
    size_t       i;
    const char  *p;
    static const struct {
        const char  *scheme;
        int          http;
    } schemes[] = {
        { "http://", 1 }, { "https://", 1 }, { "ssh://", 0 },
        { "git://", 0 }, { "file://", 0 }
    };

    memset(u, 0, sizeof(*u));

    if (len == 0 || text[strspn(text, " \t\r\n")] == '\0') {
        return "Git URL must be a non-empty string";
    }

    if (len > GIT_URL_MAX) {
        return "Git URL too long (max 2048 characters)";
    }

    if (memchr(text, '\0', len) != NULL) {
        return "Git URL contains null bytes";
    }

    git_url_show(u, text, len);

    for (i = 0; i < len; i++) {
        if ((unsigned char) text[i] < 0x20 || text[i] == 0x7f) {
            return "Git URL contains control characters";
        }
    }

    if (text[0] == '-') {
        return "Git URL must not begin with '-'";
    }

    for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (strncasecmp(text, schemes[i].scheme, strlen(schemes[i].scheme))
            == 0)
        {
            p = text + strlen(schemes[i].scheme);

            return schemes[i].http ? git_url_http(u, text, p)
                                   : git_url_other(u, text, p);
        }
    }

    if (strstr(text, "://") != NULL && text[0] != '/' && text[0] != '.') {
        return "Git URL must use http, https, ssh, git or file";
    }

    return git_url_short(u, text);
}
