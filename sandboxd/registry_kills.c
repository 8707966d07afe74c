/* How many processes of a sandbox were ended for want of memory, in all of its
 * runs; see registry.h. */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sandboxd/registry.h"


/* It is shown: plain ASCII, whatever a driver says. */
static void
process_set(sandbox_kills *k, const char *name)
{
    size_t  i;

    snprintf(k->process, sizeof(k->process), "%s", name);

    for (i = 0; k->process[i] != '\0'; i++) {
        if (!isprint((unsigned char) k->process[i])) {
            k->process[i] = '?';
        }
    }
}


static sandbox_kills *
kills_of(sandbox *sb)
{
    if (sb->kills == NULL) {
        sb->kills = calloc(1, sizeof(sandbox_kills));

        if (sb->kills == NULL) {
            abort();
        }
    }

    return sb->kills;
}


static void
sum_settle(registry *r)
{
    kills_sum  *s;

    s = &r->kills;

    while (s->coming != 0 && r->committed >= s->coming_seq) {
        s->known += s->coming;
        s->coming = s->later;
        s->coming_seq = s->later_seq;
        s->later = 0;
    }
}


/* With this change, the disk knows it. */
static void
sum_add(registry *r, uint32_t more, uint64_t seq)
{
    kills_sum  *s;

    s = &r->kills;
    sum_settle(r);

    if (s->coming == 0) {
        s->coming = more;
        s->coming_seq = seq;

    } else {
        s->later += more;
        s->later_seq = seq;
    }
}


uint64_t
registry_kills(registry *r)
{
    sum_settle(r);

    return r->kills.known;
}


/* Of one that is destroyed nothing is noted any more, but it counts. */
uint32_t
registry_killed(registry *r, sandbox *sb, const driver_kills *now)
{
    uint32_t        counted, more;
    sandbox_kills  *k;

    k = sb->kills;

    /* A start that was begun anew counts from the beginning. */
    counted = k != NULL && k->epoch == sb->now.epoch
              && k->counted <= now->count ? k->counted : 0;
    more = now->count - counted;

    if (more == 0) {
        return 0;
    }

    k = kills_of(sb);
    k->epoch = sb->now.epoch;
    k->counted = now->count;

    if (sb->gone) {
        sum_add(r, more, sb->seq);
        return 0;
    }

    k->total += more;
    k->at = now->at != 0 ? now->at : wall_ms();
    process_set(k, now->process);
    registry_set_state(r, sb, sb->now.state, NULL);
    sum_add(r, more, sb->seq);

    return more;
}


char *
kills_text(const sandbox_kills *k)
{
    char    *text;
    json_t  *json;

    if (k == NULL) {
        return NULL;
    }

    json = json_pack("{s:I, s:I, s:I, s:I, s:s}", "total",
                     (json_int_t) k->total, "epoch", (json_int_t) k->epoch,
                     "counted", (json_int_t) k->counted, "at",
                     (json_int_t) k->at, "process", k->process);
    text = json_dumps(json, JSON_COMPACT);
    json_decref(json);

    return text;
}


int
kills_load(sandbox *sb, const char *text)
{
    int             rc;
    json_t         *json;
    json_int_t      total, epoch, counted, at;
    const char     *process;
    sandbox_kills  *k;

    if (text == NULL) {
        return 0;
    }

    json = json_loads(text, 0, NULL);
    rc = json_unpack(json, "{s:I, s:I, s:I, s:I, s:s}", "total", &total,
                     "epoch", &epoch, "counted", &counted, "at", &at,
                     "process", &process);

    if (rc == 0) {
        k = kills_of(sb);
        k->total = (uint64_t) total;
        k->epoch = (uint32_t) epoch;
        k->counted = (uint32_t) counted;
        k->at = at;
        process_set(k, process);
    }

    json_decref(json);

    return rc;
}
