/* sources: agent/git_url.c agent/redact.c agent/url.c common/buffer.c */
/* Whatever a repository is called, what git is given is no option and no other
 * transport, has no user information for HTTP, and the directory's name is one
 * plain name. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/git_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char            *text, *colon;
    static git_url   u;

    text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';

    if (git_url_parse(&u, text, size) == NULL) {
        if (u.plain[0] == '-' || u.plain[0] == '\0' || u.name[0] == '\0'
            || u.name[0] == '.' || u.name[0] == '-'
            || strchr(u.name, '/') != NULL || strpbrk(u.plain, "\n\r"))
        {
            abort();
        }

        /* git takes what stands before a "::" for a transport. */
        colon = strchr(u.plain, ':');
        if (colon != NULL && colon[1] == ':'
            && memchr(u.plain, '/', (size_t) (colon - u.plain)) == NULL)
        {
            abort();
        }

        if (u.has_secret
            && (memchr(u.plain + 8, '@', strcspn(u.plain + 8, "/?#")) != NULL
                || strpbrk(u.user, "\r\n") || strpbrk(u.password, "\r\n")
                || strncasecmp(u.host, "http", 4) != 0
                || strpbrk(u.host, "= \"'\\") != NULL))
        {
            abort();
        }
    }

    free(text);

    return 0;
}
