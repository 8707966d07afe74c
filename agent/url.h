/* Request targets: pure text. */

#ifndef AGENT_URL_H
#define AGENT_URL_H

#include <stddef.h>
#include <sys/types.h>

/* The path and query of a request target: of "/path?query" itself, of
 * "http://host/path" what follows the host.  NULL if it is neither. */
char *url_origin_form(char *target);

/* Writes src percent-decoded and NUL-terminated to dst (n + 1 bytes) and
 * returns its length, or -1 if it holds a NUL.  Invalid escapes stay as they
 * are; plus: '+' is a blank.  dst may be src. */
ssize_t url_decode(char *dst, const char *src, size_t n, int plus);

/* Finds "name" or "name=value" in a query; returns 1 and where the value is,
 * still encoded; else 0.  Names are compared as they were sent. */
int url_query(const char *query, const char *name, const char **value,
    size_t *len);

#endif
