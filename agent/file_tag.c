/* Versions of files; see file_tag.h. */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/file_tag.h"


void
file_tag_of(file_tag *t, const struct stat *st)
{
    struct tm  tm;

    snprintf(t->tag, sizeof(t->tag), "\"%llx-%llx-%llx\"",
             (unsigned long long) st->st_mtim.tv_sec * 1000000000ull
             + (unsigned long long) st->st_mtim.tv_nsec,
             (unsigned long long) st->st_size,
             (unsigned long long) st->st_ino);

    memset(&tm, 0, sizeof(tm));
    gmtime_r(&st->st_mtim.tv_sec, &tm);

    if (strftime(t->date, sizeof(t->date), "%a, %d %b %Y %H:%M:%S GMT", &tm)
        == 0)
    {
        t->date[0] = '\0';
    }
}


bool
file_tag_same(const file_tag *t, const char *if_range)
{
    return if_range == NULL || strcmp(if_range, t->tag) == 0
           || (t->date[0] != '\0' && strcmp(if_range, t->date) == 0);
}


bool
file_tag_known(const file_tag *t, const char *if_none_match,
    const char *if_modified_since)
{
    size_t       n, len;
    const char  *p;

    if (if_none_match == NULL) {
        return if_modified_since != NULL && t->date[0] != '\0'
               && strcmp(if_modified_since, t->date) == 0;
    }

    len = strlen(t->tag);

    for (p = if_none_match; *p != '\0'; p += n) {
        p += strspn(p, " \t,");
        n = strcspn(p, " \t,");

        if (n == 1 && *p == '*') {
            return true;
        }

        if (n > 2 && p[0] == 'W' && p[1] == '/') {
            p += 2;
            n -= 2;
        }

        if (n == len && memcmp(p, t->tag, n) == 0) {
            return true;
        }
    }

    return false;
}
