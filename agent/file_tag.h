/*
 * By what a client knows a version of a file again: its entity tag and its
 * date, and whether what the client sent names that version.
 * Pure functions: no allocation, no I/O.
 */

#ifndef AGENT_FILE_TAG_H
#define AGENT_FILE_TAG_H

#include <stdbool.h>
#include <sys/stat.h>

typedef struct {
    char  tag[64];              /* with its quotes */
    char  date[40];
} file_tag;

/* Time, size and the file's own number: a write in place changes one of the
 * first two, an atomic one the last. */
void file_tag_of(file_tag *t, const struct stat *st);

/* If-Range: NULL, the tag, or the date as it was sent. */
bool file_tag_same(const file_tag *t, const char *if_range);

/* True if what was asked for is what the client has: If-None-Match, or, where
 * that is NULL, If-Modified-Since with the date as it was sent. */
bool file_tag_known(const file_tag *t, const char *if_none_match,
    const char *if_modified_since);

#endif
