/*
 * Watches: a tree that clients are told about.  Requests for the same are one
 * watch; it ends with its last client.  What happens is collected for a short
 * while, the same only once, and then told to all.
 */

#ifndef AGENT_WATCH_H
#define AGENT_WATCH_H

#include "agent/http.h"
#include "agent/watch_tree.h"

#define WATCH_MAX          64       /* trees */
#define WATCH_CLIENTS_MAX  256
#define WATCH_WINDOW_MS    75       /* in which the same is told once */
#define WATCH_SETUP_MS     10000
#define WATCH_CHECK_MS     2000     /* a check waits for what is new */
#define WATCH_KEEP_MS      600000   /* after the last check */

typedef struct {
    char        *path;              /* absolute, without . and .. */
    watch_rules  rules;
    unsigned     events;
    bool         recursive;
    char        *key;               /* of all that is above */
    const char  *since;             /* of a check; NULL: none; borrowed */
} watch_request;

/* Answers the request, now or later; takes what is in *q. */
void watch_stream(http_request *r, watch_request *q);
void watch_check(http_request *r, watch_request *q);

void watch_request_free(watch_request *q);

/* "watch-<n>-<ms>:<cursor>" */
bool watch_version_valid(const char *text);

#endif
