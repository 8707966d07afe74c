/* Patterns of what an archive leaves out; see archive_exclude.h. */

#include <stdlib.h>
#include <string.h>

#include "agent/archive_exclude.h"


const char *
archive_exclude_parse(archive_exclude *x, const char *list, size_t len)
{
    char  *p, *next;

    memset(x, 0, sizeof(archive_exclude));

    if (list == NULL || len == 0) {
        return NULL;
    }

    if (memchr(list, '\0', len) != NULL) {
        return "exclude paths must not contain null bytes";
    }

    if (memmem(list, len, "..", 2) != NULL) {
        return "exclude paths must not contain \"..\"";
    }

    x->text = malloc(len + 1);
    if (x->text == NULL) {
        abort();
    }

    memcpy(x->text, list, len);
    x->text[len] = '\0';

    for (p = x->text; p != NULL; p = next) {
        next = strchr(p, ',');
        if (next != NULL) {
            *next++ = '\0';
        }

        while (p[0] == '.' && p[1] == '/') {
            p += 2;
            while (*p == '/') { p++; }
        }

        len = strlen(p);

        while (len > 1 && p[len - 1] == '/' && p[len - 2] != '\\') {
            p[--len] = '\0';
        }

        if (len == 0) {
            continue;
        }

        if (len > ARCHIVE_EXCLUDE_LENGTH || x->count == ARCHIVE_EXCLUDE_MAX) {
            archive_exclude_free(x);
            return "excludes take at most 256 patterns of 1024 bytes";
        }

        x->pattern[x->count++] = p;
    }

    return NULL;
}


/* `[...]` at *p against c.  Moves *p behind it; a set that isn't closed is an
 * ordinary character. */

static bool
archive_exclude_set(const char **p, unsigned char c)
{
    bool                  negated, found;
    unsigned char         lo, hi;
    const unsigned char  *q;

    q = (const unsigned char *) *p + 1;
    negated = *q == '!' || *q == '^';
    found = false;

    if (negated) {
        q++;
    }

    do {
        if (*q == '\\' && q[1] != '\0') {
            q++;
        }

        if (*q == '\0') {
            (*p)++;
            return c == '[';
        }

        lo = *q++;
        hi = lo;

        if (q[0] == '-' && q[1] != ']' && q[1] != '\0') {
            q++;
            if (*q == '\\' && q[1] != '\0') {
                q++;
            }
            hi = *q++;
        }

        found |= lo <= c && c <= hi;

    } while (*q != ']');

    *p = (const char *) q + 1;

    return found != negated;
}


/* One element of the pattern that is no star; moves *p behind it. */

static bool
archive_exclude_one(const char **p, unsigned char c)
{
    if (**p == '[') {
        return archive_exclude_set(p, c);
    }

    if (**p == '?') {
        (*p)++;
        return true;
    }

    if (**p == '\\' && (*p)[1] != '\0') {
        (*p)++;
    }

    return (unsigned char) *(*p)++ == c;
}


/* Only the last star ever has to take more, since a star takes anything. */

static bool
archive_exclude_glob(const char *p, const char *s)
{
    const char  *star, *from, *next;

    star = NULL;
    from = s;

    for ( ;; ) {
        if (*p == '*') {
            while (*p == '*') { p++; }
            star = p;
            from = s;
            continue;
        }

        if (*s == '\0') {
            return *p == '\0';
        }

        /* A directory that matches takes what is in it along. */

        if (*p == '\0' && *s == '/') {
            return true;
        }

        next = p;

        if (*p != '\0' && archive_exclude_one(&next, (unsigned char) *s)) {
            p = next;
            s++;
            continue;
        }

        if (star == NULL) {
            return false;
        }

        p = star;
        s = ++from;
    }
}


bool
archive_exclude_match(const archive_exclude *x, const char *path)
{
    size_t  i;

    for (i = 0; i < x->count; i++) {
        if (archive_exclude_glob(x->pattern[i], path)
            || (strncmp(x->pattern[i], "**/", 3) == 0
                && archive_exclude_glob(x->pattern[i] + 3, path)))
        {
            return true;
        }
    }

    return false;
}


void
archive_exclude_free(archive_exclude *x)
{
    free(x->text);
    x->text = NULL;
    x->count = 0;
}
