/* Credentials in text; see redact.h. */

#include <string.h>

#include "agent/redact.h"

#define REDACT_SECRET_MIN  4


/* The length of the user information behind "://", its '@' included. */

static size_t
redact_userinfo(const char *p, size_t n)
{
    size_t  i, end;

    end = 0;

    for (i = 0; i < n && strchr("/?# \t\r\n'\"<>\\", p[i]) == NULL; i++) {
        if (p[i] == '@') {
            end = i + 1;
        }
    }

    return end;
}


static size_t
redact_secret(const char *p, size_t n, const char *const *secrets)
{
    size_t  len;

    for ( /* void */ ; secrets != NULL && *secrets != NULL; secrets++) {
        len = strlen(*secrets);

        if (len >= REDACT_SECRET_MIN && len <= n
            && memcmp(p, *secrets, len) == 0)
        {
            return len;
        }
    }

    return 0;
}


void
redact_text(buffer *to, const char *p, size_t n, const char *const *secrets)
{
    size_t  i, len, from;

    for (i = 0, from = 0; i < n; /* void */ ) {

        len = redact_secret(p + i, n - i, secrets);

        if (len != 0) {
            buffer_append(to, p + from, i - from);
            buffer_puts(to, REDACT_MASK);
            i += len;
            from = i;
            continue;
        }

        if (n - i > 3 && memcmp(p + i, "://", 3) == 0) {
            len = redact_userinfo(p + i + 3, n - i - 3);

            if (len != 0) {
                buffer_append(to, p + from, i + 3 - from);
                buffer_puts(to, REDACT_MASK "@");
                i += 3 + len;
                from = i;
                continue;
            }
        }

        i++;
    }

    buffer_append(to, p + from, n - from);
}
