/*
 * Media types of files: a small table of extensions, the first bytes of what
 * it doesn't know, and which types are text.  The answers are those that the
 * clients of the API expect, not a registry.
 * Pure functions: no allocation, no I/O.
 */

#ifndef AGENT_MIME_H
#define AGENT_MIME_H

#include <stdbool.h>
#include <stddef.h>

/* How many of a file's first bytes mime_sniff() wants to see, at most. */
#define MIME_SNIFF  8192

/* By the extension of a file's name; NULL if it isn't known. */
const char *mime_by_name(const char *name);

/* By the first n bytes; whole tells that the file has no more.  Never NULL. */
const char *mime_sniff(const void *data, size_t n, bool whole);

/* True for types whose content is sent as text. */
bool mime_is_text(const char *type);

#endif
