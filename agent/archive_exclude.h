/*
 * What an archive leaves out: a list of patterns that are separated by commas,
 * each of them relative to the directory that is archived, as for
 * `tar --exclude ./PATTERN`.  `*` and `?` stand for any characters, slashes
 * too, `[...]` for one of a set, a backslash takes the next character as it
 * is.  What matches is left out with everything below it.  `**` + slash at the
 * beginning also matches at the top.
 *
 * Pure functions; the time is bounded by the lengths, not by how many stars
 * there are.
 */

#ifndef AGENT_ARCHIVE_EXCLUDE_H
#define AGENT_ARCHIVE_EXCLUDE_H

#include <stdbool.h>
#include <stddef.h>

#define ARCHIVE_EXCLUDE_MAX     256     /* patterns */
#define ARCHIVE_EXCLUDE_LENGTH  1024    /* of one */

typedef struct {
    char    *text;                      /* each pattern with its NUL */
    char    *pattern[ARCHIVE_EXCLUDE_MAX];
    size_t   count;
} archive_exclude;

/* list may be NULL.  Returns NULL, or what is wrong with it, in words. */
const char *archive_exclude_parse(archive_exclude *x, const char *list,
    size_t len);

/* path is relative, without "./". */
bool archive_exclude_match(const archive_exclude *x, const char *path);

void archive_exclude_free(archive_exclude *x);

#endif
