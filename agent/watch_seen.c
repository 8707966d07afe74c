/* Names that are known already; see watch_seen.h. */

#include <stdlib.h>
#include <string.h>

#include "agent/watch_seen.h"

#define WATCH_SEEN_MAX  50000

typedef struct watch_seen  watch_seen;

struct watch_seen {
    watch_seen  *next;
    uint64_t     serial;                /* of the directory */
    char         name[];
};

static watch_seen  *seen_table[1024];
static size_t       seen_count;
static long         seen_left;          /* bytes of events they may be in */


static watch_seen **
watch_seen_at(uint64_t serial, const char *name)
{
    uint64_t      h;
    const char   *p;
    watch_seen  **at;

    for (h = serial, p = name; *p != '\0'; p++) {
        h = (h ^ (uint8_t) *p) * 0x100000001b3;
    }

    at = &seen_table[(h ^ h >> 20) % (sizeof(seen_table)
                                      / sizeof(seen_table[0]))];

    while (*at != NULL && ((*at)->serial != serial
                           || strcmp((*at)->name, name) != 0))
    {
        at = &(*at)->next;
    }

    return at;
}


void
watch_seen_add(watch_node *n, const char *name)
{
    size_t       len;
    watch_seen  *s, **at;

    at = watch_seen_at(n->serial, name);

    if (*at != NULL || seen_count >= WATCH_SEEN_MAX) {
        return;
    }

    len = strlen(name);
    s = malloc(sizeof(watch_seen) + len + 1);
    if (s == NULL) {
        abort();
    }

    s->serial = n->serial;
    memcpy(s->name, name, len + 1);
    s->next = NULL;
    *at = s;
    seen_count++;
}


bool
watch_seen_take(watch_node *n, const char *name)
{
    watch_seen  *s, **at;

    if (seen_count == 0) {
        return false;
    }

    at = watch_seen_at(n->serial, name);
    s = *at;

    if (s == NULL) {
        return false;
    }

    *at = s->next;
    free(s);
    seen_count--;

    return true;
}


void
watch_seen_clear(void)
{
    size_t       i;
    watch_seen  *s;

    for (i = 0; seen_count > 0; i++) {
        while ((s = seen_table[i]) != NULL) {
            seen_table[i] = s->next;
            free(s);
            seen_count--;
        }
    }
}


bool
watch_seen_any(void)
{
    return seen_count > 0;
}


void
watch_seen_expect(long bytes)
{
    seen_left = bytes;

    if (seen_left == 0) {
        watch_seen_clear();
    }
}


void
watch_seen_passed(long bytes)
{
    seen_left -= bytes;

    if (seen_left <= 0) {
        watch_seen_clear();
    }
}
