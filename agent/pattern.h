/*
 * Patterns that lines of output are looked through with: a part of JavaScript's
 * regular expressions that can be matched in time proportional to the line,
 * whatever the pattern (all its ways are followed side by side).  No
 * look-around and no back-references.  Knows neither sockets nor the loop;
 * fuzzed.
 */

#ifndef AGENT_PATTERN_H
#define AGENT_PATTERN_H

#include <stddef.h>
#include <sys/types.h>

#include "common/error.h"

#define PATTERN_MAX       1024      /* bytes of a pattern, */
#define PATTERN_PROGRAM   1024      /* steps that it may become, */
#define PATTERN_GROUPS    32        /* its groups */

typedef struct pattern pattern;

typedef struct {
    ssize_t  from;                  /* -1: the group took no part */
    ssize_t  to;
} pattern_span;

/* flags: "i" ignores the case of ASCII letters, "s" lets the dot take line
 * feeds; "g", "m", "u", "y", "d" and "v" change nothing here.  NULL: error
 * set, naming `pattern` or `flags`. */
pattern *pattern_compile(const char *text, size_t len, const char *flags,
    error **err);

void pattern_free(pattern *p);

/* Groups, the whole match not counted. */
size_t pattern_groups(const pattern *p);

/* Searches n bytes, which are one line.  1 and the spans (groups + 1 of them)
 * of the first match; or 0. */
int pattern_search(pattern *p, const char *text, size_t n,
    pattern_span *spans);

#endif
