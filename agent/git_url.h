/*
 * Repository URLs: what git may be given, what of them is secret, and how the
 * directory of a clone is named.  Pure; fuzzed.
 */

#ifndef AGENT_GIT_URL_H
#define AGENT_GIT_URL_H

#include <stddef.h>

#define GIT_URL_MAX   2048
#define GIT_NAME_MAX  255

typedef struct {
    char  plain[GIT_URL_MAX + 1];   /* without credentials: for git */
    char  shown[GIT_URL_MAX + 16];  /* with a mask in their place */
    char  host[GIT_URL_MAX + 1];    /* scheme://host[:port]; "" unless HTTP */
    char  user[GIT_URL_MAX + 1];    /* decoded */
    char  password[GIT_URL_MAX + 1];
    int   has_secret;
    int   ssh;                      /* ssh://, or host:path */
    char  name[GIT_NAME_MAX + 1];   /* of the clone's directory */
} git_url;

/* text[len] is NUL.  Returns NULL, or what is wrong with it, in words that show
 * nothing of it; then only `shown` may be used. */
const char *git_url_parse(git_url *u, const char *text, size_t len);

#endif
