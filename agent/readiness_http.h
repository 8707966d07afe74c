/*
 * What a readiness probe says and hears in HTTP: the request's target, the
 * head of an answer, and where a redirect leads.  Knows neither sockets nor
 * the loop; fuzzed, since what answers is any program.
 */

#ifndef AGENT_READINESS_HTTP_H
#define AGENT_READINESS_HTTP_H

#include <stddef.h>

#define READINESS_PATH_MAX  4096    /* a target, NUL included */
#define READINESS_HEAD_MAX  (32 * 1024)

typedef struct {
    int   status;
    char  location[READINESS_PATH_MAX];     /* "" if there is none */
} readiness_answer;

/* Looks at the first n bytes of an answer: 1 if they hold the whole head, 0 if
 * more is needed, -1 if it isn't HTTP/1 or its head is too long.  Interim
 * answers are skipped. */
int readiness_parse(const char *p, size_t n, readiness_answer *a);

/* A request's target of what a client named: begins with a slash, has no
 * fragment, and what could end a line is percent-encoded.  0, or -1 if it is
 * too long. */
int readiness_path(const char *text, char out[READINESS_PATH_MAX]);

int readiness_is_redirect(int status);

/* Follows a Location from *port and path, both of which it changes.  Returns
 * 1; or 0 if it leads away from this machine or from plain HTTP, which can't
 * be followed. */
int readiness_follow(const char *location, unsigned *port,
    char path[READINESS_PATH_MAX]);

#endif
