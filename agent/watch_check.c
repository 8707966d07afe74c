/* Has something happened since?  See watch_internal.h. */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/watch_internal.h"
#include "agent/watch_notify.h"


/* "watch-1-1795290843871:0": where the number of the cursor begins. */

static const char *
watch_version_cursor(const char *text)
{
    int  i, n;

    if (strncmp(text, "watch-", 6) != 0) {
        return NULL;
    }

    text += 6;

    for (i = 0; i < 3; i++) {
        for (n = 0; isdigit((unsigned char) text[n]); n++) { /* void */ }

        if (n == 0 || n > 18 || text[n] != (i == 0 ? '-' : i == 1 ? ':' : 0)) {
            return NULL;
        }

        if (i < 2) {
            text += n + 1;
        }
    }

    return text;
}


bool
watch_version_valid(const char *text)
{
    return watch_version_cursor(text) != NULL;
}


/* Of a version that another watch gave: was it one of ours? */

static const char *
watch_since_reason(const char *since)
{
    unsigned long long  n, ms;

    n = strtoull(since + 6, (char **) &since, 10);
    ms = strtoull(since + 1, NULL, 10);

    return watch_known(n, ms) ? "expired" : "restarted";
}


void
watch_check_answer(watch_client *c)
{
    char          version[128], ts[32];
    size_t        n;
    error        *err;
    watch        *w;
    const char   *status, *reason;
    http_request *r;

    w = c->w;
    r = c->r;
    err = NULL;
    reason = NULL;
    status = "unchanged";

    if (c->since != NULL) {
        n = strlen(w->id);

        if (strncmp(c->since, w->id, n) != 0 || c->since[n] != ':') {
            status = "resync";
            reason = watch_since_reason(c->since);

        } else if (strtoull(c->since + n + 1, NULL, 10) > w->cursor) {
            error_set_field(&err, 400, "VALIDATION_FAILED", "since", 0,
                            "since is of the future: the watch is at %llu",
                            (unsigned long long) w->cursor);

        } else if (strtoull(c->since + n + 1, NULL, 10) < w->cursor) {
            status = "changed";
        }
    }

    snprintf(version, sizeof(version), "%s:%llu", w->id,
             (unsigned long long) w->cursor);
    w->keep_until = uv_now(agent.loop) + WATCH_KEEP_MS;
    watch_client_free(c);

    if (err != NULL) {
        api_error(r, err);
        return;
    }

    http_timestamp(ts, sizeof(ts));
    http_send_json(r, 200, json_pack("{s:b, s:s, s:s*, s:s, s:s}",
                                     "success", 1, "status", status,
                                     "reason", reason, "version", version,
                                     "timestamp", ts));
}


/* Checks wait until all that has happened is seen, but not for ever. */

void
watch_checks_answer(uint64_t asked)
{
    watch         *w;
    watch_client  *c, *next;

    TAILQ_FOREACH(w, &watches, link) {
        for (c = LIST_FIRST(&w->clients); c != NULL; c = next) {
            next = LIST_NEXT(c, link);
            if (c->check && w->tree.armed && c->asked <= asked) {
                watch_check_answer(c);
            }
        }
    }
}


void
watch_tell_settled(void)
{
    watch_checks_answer(UINT64_MAX);
}
