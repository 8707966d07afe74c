/* What has happened and isn't told yet; see watch_internal.h. */

#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/watch_internal.h"
#include "agent/watch_notify.h"
#include "common/clock.h"

#define WATCH_PENDING_MAX    1000           /* events: told early from here */
#define WATCH_PENDING_BYTES  (32 * 1024)    /* of their paths */

static uv_timer_t  watch_flusher;


void
watch_send(watch_client *c, const buffer *b)
{
    if (c->full) {
        c->lost = true;
        return;
    }

    c->full = http_write(c->r, buffer_bytes(b), b->len);
}


void
watch_drained(http_request *r)
{
    buffer         b;
    watch_client  *c;

    c = r->data;
    c->full = false;

    if (c->lost) {
        c->lost = false;
        memset(&b, 0, sizeof(b));
        watch_put_lost(&b);
        watch_send(c, &b);
        buffer_free(&b);
    }
}


static void
watch_send_all(watch *w, const buffer *b)
{
    watch_client  *c;

    LIST_FOREACH(c, &w->clients, link) {
        if (c->begun) {
            watch_send(c, b);
        }
    }
}


static watch_event **
watch_event_at(watch *w, unsigned type, bool is_dir, const char *path,
    size_t len)
{
    size_t         i;
    uint32_t       h;
    watch_event  **at;

    h = 2166136261u ^ type;

    for (i = 0; i < len; i++) {
        h = (h ^ (uint8_t) path[i]) * 16777619u;
    }

    at = &w->hash[(h ^ h >> 15) % WATCH_BUCKETS];

    while (*at != NULL && ((*at)->type != type || (*at)->is_dir != is_dir
                           || (*at)->len != len
                           || memcmp((*at)->path, path, len) != 0))
    {
        at = &(*at)->next;
    }

    return at;
}


void
watch_pending_clear(watch *w)
{
    watch_event  *e;

    while ((e = TAILQ_FIRST(&w->events)) != NULL) {
        TAILQ_REMOVE(&w->events, e, link);
        free(e);
    }

    memset(w->hash, 0, sizeof(w->hash));
    w->event_count = 0;
    w->event_bytes = 0;
    w->flush_at = 0;
}


void
watch_flush(watch *w)
{
    buffer        b;
    watch_event  *e;

    memset(&b, 0, sizeof(b));

    TAILQ_FOREACH(e, &w->events, link) {
        watch_put_event(&b, w, e);
    }

    watch_pending_clear(w);

    if (b.len > 0) {
        watch_send_all(w, &b);
        buffer_free(&b);
    }
}


static void
watch_flush_due(uv_timer_t *timer)
{
    watch     *w;
    uint64_t   now, next;

    now = uv_now(agent.loop);
    next = 0;

    TAILQ_FOREACH(w, &watches, link) {
        if (w->flush_at != 0 && w->flush_at <= now) {
            watch_flush(w);
        }

        if (w->flush_at != 0 && (next == 0 || w->flush_at < next)) {
            next = w->flush_at;
        }
    }

    if (next != 0) {
        uv_timer_start(timer, watch_flush_due, next - now, 0);
    }
}


void
watch_tell_event(watch_tree *t, unsigned type, const char *path, bool is_dir)
{
    size_t         len;
    watch         *w;
    watch_event   *e, **at;
    watch_client  *c;

    w = t->owner;
    len = strlen(path);
    at = watch_event_at(w, type, is_dir, path, len);
    e = *at;

    /* The same again is told in the place of the later one, so that the last
     * that is told of a file is what happened last. */

    if (e != NULL) {
        TAILQ_REMOVE(&w->events, e, link);
        TAILQ_INSERT_TAIL(&w->events, e, link);
        e->time = clock_ms(CLOCK_REALTIME);
        return;
    }

    w->cursor++;

    LIST_FOREACH(c, &w->clients, link) {
        if (c->begun) {
            break;
        }
    }

    if (c == NULL) {
        return;                             /* only checks */
    }

    e = malloc(sizeof(watch_event) + len + 1);
    if (e == NULL) {
        abort();
    }

    e->next = NULL;
    e->type = type;
    e->is_dir = is_dir;
    e->time = clock_ms(CLOCK_REALTIME);
    e->len = len;
    memcpy(e->path, path, len + 1);
    *at = e;
    TAILQ_INSERT_TAIL(&w->events, e, link);
    w->event_count++;
    w->event_bytes += len;

    if (w->event_count >= WATCH_PENDING_MAX
        || w->event_bytes >= WATCH_PENDING_BYTES)
    {
        watch_flush(w);

    } else if (w->flush_at == 0) {
        w->flush_at = uv_now(agent.loop) + WATCH_WINDOW_MS;
        if (!uv_is_active((uv_handle_t *) &watch_flusher)) {
            uv_timer_start(&watch_flusher, watch_flush_due, WATCH_WINDOW_MS,
                           0);
        }
    }
}


void
watch_tell_lost(watch_tree *t, bool again)
{
    watch   *w;
    buffer   b;

    w = t->owner;
    w->cursor++;

    if (again) {
        watch_flush(w);
        memset(&b, 0, sizeof(b));
        watch_put_lost(&b);
        watch_send_all(w, &b);
        buffer_free(&b);
    }
}


void
watch_pending_init(void)
{
    uv_timer_init(agent.loop, &watch_flusher);
}


void
watch_pending_stop(void)
{
    uv_timer_stop(&watch_flusher);
}
