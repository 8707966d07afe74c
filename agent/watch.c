/* Watches and their clients; see watch.h. */

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "agent/agent.h"
#include "agent/watch.h"
#include "agent/watch_notify.h"
#include "common/base64.h"
#include "common/json_text.h"
#include "common/utf8.h"

#define WATCH_PENDING_MAX    1000           /* events: told early from here */
#define WATCH_PENDING_BYTES  (32 * 1024)    /* of their paths */
#define WATCH_BUCKETS        256

typedef struct watch         watch;
typedef struct watch_client  watch_client;
typedef struct watch_event   watch_event;

struct watch_event {
    TAILQ_ENTRY(watch_event)  link;
    watch_event   *next;                    /* of the same hash */
    unsigned       type;
    bool           is_dir;
    uint64_t       time;                    /* ms since 1970 */
    size_t         len;
    char           path[];                  /* below the tree's */
};

struct watch_client {
    LIST_ENTRY(watch_client)  link;
    watch         *w;
    http_request  *r;
    bool           check;
    bool           begun;                   /* the stream */
    bool           full;                    /* reads too slowly */
    bool           lost;                    /* and has missed something */
    char          *since;
    uint64_t       asked;
};

struct watch {
    TAILQ_ENTRY(watch)              link;
    watch_tree                      tree;
    char                           *key;
    char                           *path;
    char                            id[64];
    uint64_t                        cursor;
    uint64_t                        setup_until;
    uint64_t                        keep_until;     /* for checks */
    uint64_t                        flush_at;       /* 0: nothing to tell */
    LIST_HEAD(, watch_client)       clients;
    TAILQ_HEAD(, watch_event)       events;
    watch_event                    *hash[WATCH_BUCKETS];
    size_t                          event_count, event_bytes;
};

static TAILQ_HEAD(, watch)  watches = TAILQ_HEAD_INITIALIZER(watches);

static unsigned    watch_count, watch_clients, watch_serial;
static uint64_t    watch_first_id;          /* ms: when we began */
static uv_timer_t  watch_sweeper, watch_flusher;

static const struct {
    unsigned     type;
    const char  *name;
} watch_type_names[] = {
    { WATCH_CREATE, "create" },
    { WATCH_MODIFY, "modify" },
    { WATCH_DELETE, "delete" },
    { WATCH_MOVE_FROM, "move_from" },
    { WATCH_MOVE_TO, "move_to" },
    { WATCH_ATTRIB, "attrib" }
};

static void watch_flush(watch *w);


static uint64_t
watch_clock(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);

    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}


void
watch_request_free(watch_request *q)
{
    watch_rules_free(&q->rules);
    free(q->path);
    free(q->key);
    memset(q, 0, sizeof(watch_request));
}


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


/* The frames that are told. */

static void
watch_put_text(buffer *b, const char *p, size_t n)
{
    size_t  used;
    char   *room;

    room = buffer_room(b, (n + 1) * JSON_TEXT_GROWTH);
    buffer_added(b, json_text_escape(room, (n + 1) * JSON_TEXT_GROWTH, p, n,
                                     &used, true));
}


static void
watch_put_time(buffer *b, uint64_t ms)
{
    char       text[32];
    time_t     s;
    struct tm  tm;

    s = (time_t) (ms / 1000);
    gmtime_r(&s, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    buffer_printf(b, ",\"timestamp\":\"%s.%03uZ\"}\n\n", text,
                  (unsigned) (ms % 1000));
}


static void
watch_put_event(buffer *b, const watch *w, const watch_event *e)
{
    char        *text;
    buffer       full;
    size_t       i;

    memset(&full, 0, sizeof(full));
    buffer_puts(&full, w->tree.path);
    if (strcmp(w->tree.path, "/") != 0) {
        buffer_append(&full, "/", 1);
    }
    buffer_append(&full, e->path, e->len);

    for (i = 0; watch_type_names[i].type != e->type; i++) { /* void */ }

    buffer_printf(b, "data: {\"type\":\"event\",\"eventType\":\"%s\","
                  "\"path\":\"", watch_type_names[i].name);
    watch_put_text(b, full.data, full.len);
    buffer_printf(b, "\",\"isDirectory\":%s", e->is_dir ? "true" : "false");

    /* A name that isn't text could not be opened by what is shown of it. */

    if (utf8_valid(full.data, full.len) != full.len) {
        text = malloc(base64_encoded_len(full.len) + 1);
        if (text == NULL) {
            abort();
        }
        base64_encode(text, full.data, full.len);
        buffer_puts(b, ",\"pathBase64\":\"");
        buffer_append(b, text, base64_encoded_len(full.len));
        buffer_append(b, "\"", 1);
        free(text);
    }

    watch_put_time(b, e->time);
    buffer_free(&full);
}


static void
watch_put_lost(buffer *b)
{
    buffer_puts(b, "data: {\"type\":\"resync\",\"reason\":\"overflow\"");
    watch_put_time(b, watch_clock());
}


/* To one client; what doesn't fit is lost, and said to be. */

static void
watch_send(watch_client *c, const buffer *b)
{
    if (c->full) {
        c->lost = true;
        return;
    }

    c->full = http_write(c->r, buffer_bytes(b), b->len);
}


static void
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


/* What has happened and isn't told yet. */

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


static void
watch_events_clear(watch *w)
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


static void
watch_flush(watch *w)
{
    buffer        b;
    watch_event  *e;

    memset(&b, 0, sizeof(b));

    TAILQ_FOREACH(e, &w->events, link) {
        watch_put_event(&b, w, e);
    }

    watch_events_clear(w);

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
        e->time = watch_clock();
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
    e->time = watch_clock();
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


/* The end of a watch. */

static void
watch_freed(watch_tree *t)
{
    free((char *) t - offsetof(watch, tree));
}


static void
watch_end(watch *w)
{
    TAILQ_REMOVE(&watches, w, link);
    watch_count--;
    watch_events_clear(w);
    free(w->key);
    free(w->path);

    if (watch_count == 0) {
        uv_timer_stop(&watch_sweeper);
        uv_timer_stop(&watch_flusher);
    }

    watch_notify_close(&w->tree, watch_freed);
}


static void
watch_client_free(watch_client *c)
{
    LIST_REMOVE(c, link);
    watch_clients--;
    free(c->since);
    free(c);
}


static void
watch_unused(watch *w)
{
    if (LIST_EMPTY(&w->clients) && w->keep_until <= uv_now(agent.loop)) {
        watch_end(w);
    }
}


static void
watch_client_left(http_request *r)
{
    watch         *w;
    watch_client  *c;

    c = r->data;
    w = c->w;
    watch_client_free(c);
    watch_unused(w);
}


static void
watch_client_fail(watch_client *c, const error *of)
{
    error         *err;
    http_request  *r;

    err = NULL;
    r = c->r;
    error_set(&err, of->status, of->code, "%s", of->message);
    api_error_context(r, err, json_pack("{s:o}", "path",
                                        http_text(c->w->path)));
}


void
watch_tell_end(watch_tree *t, const char *reason, error *err)
{
    watch         *w;
    buffer         b;
    watch_client  *c;

    w = t->owner;
    memset(&b, 0, sizeof(b));
    watch_flush(w);

    if (reason != NULL) {
        buffer_printf(&b, "data: {\"type\":\"stopped\",\"reason\":\"%s\"}\n\n",
                      reason);
        error_set(&err, 404, "FILE_NOT_FOUND", "Path does not exist: %s",
                  w->path);
    } else {
        buffer_puts(&b, "data: {\"type\":\"error\",\"error\":\"");
        watch_put_text(&b, err->message, strlen(err->message));
        buffer_puts(&b, "\"}\n\n");
    }

    while ((c = LIST_FIRST(&w->clients)) != NULL) {
        if (c->begun) {
            http_write(c->r, buffer_bytes(&b), b.len);
            http_end(c->r);
        } else {
            watch_client_fail(c, err);
        }
        watch_client_free(c);
    }

    buffer_free(&b);
    error_free(err);
    watch_end(w);
}


/* Answers. */

static void
watch_client_begin(watch_client *c)
{
    buffer  b;

    watch_flush(c->w);                      /* what came before isn't its */
    c->begun = true;
    memset(&b, 0, sizeof(b));
    buffer_puts(&b, "data: {\"type\":\"watching\",\"path\":\"");
    watch_put_text(&b, c->w->path, strlen(c->w->path));
    buffer_printf(&b, "\",\"watchId\":\"%s\"}\n\n", c->w->id);

    http_on_drain(c->r, watch_drained);
    sse_begin(c->r);
    watch_send(c, &b);
    buffer_free(&b);
}


/* Of a version that another watch gave: was it one of ours? */

static const char *
watch_since_reason(const char *since)
{
    unsigned long long  n, ms;

    n = strtoull(since + 6, (char **) &since, 10);
    ms = strtoull(since + 1, NULL, 10);

    return n <= watch_serial && ms >= watch_first_id ? "expired"
                                                     : "restarted";
}


static void
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


void
watch_tell_armed(watch_tree *t)
{
    watch         *w;
    watch_client  *c, *next;

    w = t->owner;

    for (c = LIST_FIRST(&w->clients); c != NULL; c = next) {
        next = LIST_NEXT(c, link);
        if (c->check) {
            watch_check_answer(c);
        } else {
            watch_client_begin(c);
        }
    }
}


/* Checks wait until all that has happened is seen, but not for ever. */

static void
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


static void
watch_sweep(uv_timer_t *timer)
{
    watch     *w, *next;
    error     *err;
    uint64_t   now;

    now = uv_now(agent.loop);

    if (now >= WATCH_CHECK_MS) {
        watch_checks_answer(now - WATCH_CHECK_MS);
    }

    for (w = TAILQ_FIRST(&watches); w != NULL; w = next) {
        next = TAILQ_NEXT(w, link);

        if (!w->tree.armed && now >= w->setup_until) {
            err = NULL;
            error_set(&err, 500, "WATCH_START_ERROR", "The directory was not "
                      "read within %d s: it is too large or too slow",
                      WATCH_SETUP_MS / 1000);
            watch_tell_end(&w->tree, NULL, err);
            continue;
        }

        watch_unused(w);
    }

    if (watch_count > 0) {
        watch_notify_sweep();
    }
}


/* One is there for the key, or made. */

static int
watch_room(error **err)
{
    watch  *w, *oldest;

    if (watch_clients >= WATCH_CLIENTS_MAX) {
        return error_set(err, 503, "RESOURCE_BUSY", "Too many watch requests: "
                         "at most %d wait at a time", WATCH_CLIENTS_MAX);
    }

    if (watch_count < WATCH_MAX) {
        return 0;
    }

    oldest = NULL;

    TAILQ_FOREACH(w, &watches, link) {
        if (LIST_EMPTY(&w->clients)
            && (oldest == NULL || w->keep_until < oldest->keep_until))
        {
            oldest = w;
        }
    }

    if (oldest == NULL) {
        return error_set(err, 503, "RESOURCE_BUSY", "Too many watches: at "
                         "most %d at a time", WATCH_MAX);
    }

    watch_end(oldest);                      /* its next check is a resync */

    return 0;
}


static watch *
watch_make(watch_request *q, error **err)
{
    watch     *w;
    uint64_t   now;

    if (watch_room(err) != 0) {
        return NULL;
    }

    w = calloc(1, sizeof(watch));
    if (w == NULL) {
        abort();
    }

    now = watch_clock();

    if (watch_serial == 0) {
        watch_first_id = now;
        uv_timer_init(agent.loop, &watch_sweeper);
        uv_timer_init(agent.loop, &watch_flusher);
    }

    snprintf(w->id, sizeof(w->id), "watch-%u-%llu", ++watch_serial,
             (unsigned long long) now);
    TAILQ_INIT(&w->events);

    w->tree.owner = w;
    w->tree.path = strdup(q->path);
    w->tree.rules = q->rules;
    w->tree.events = q->events;
    w->tree.recursive = q->recursive;
    memset(&q->rules, 0, sizeof(q->rules));
    if (w->tree.path == NULL) {
        abort();
    }

    if (watch_notify_open(&w->tree, err) != 0) {
        watch_tree_free(&w->tree);
        free(w);
        return NULL;
    }

    w->key = q->key;
    w->path = q->path;
    q->key = NULL;
    q->path = NULL;
    w->setup_until = uv_now(agent.loop) + WATCH_SETUP_MS;

    if (watch_count == 0) {
        uv_timer_start(&watch_sweeper, watch_sweep, 1000, 1000);
    }

    TAILQ_INSERT_TAIL(&watches, w, link);
    watch_count++;

    return w;
}


static watch_client *
watch_join(http_request *r, watch_request *q)
{
    watch         *w;
    error         *err;
    watch_client  *c;

    err = NULL;

    TAILQ_FOREACH(w, &watches, link) {
        if (strcmp(w->key, q->key) == 0) {
            break;
        }
    }

    if (w == NULL) {
        w = watch_make(q, &err);
    } else if (watch_clients >= WATCH_CLIENTS_MAX) {
        w = NULL;
        watch_room(&err);
    }

    if (w == NULL) {
        watch_request_free(q);
        api_error(r, err);
        return NULL;
    }

    c = calloc(1, sizeof(watch_client));
    if (c == NULL) {
        abort();
    }

    c->w = w;
    c->r = r;
    c->asked = uv_now(agent.loop);
    LIST_INSERT_HEAD(&w->clients, c, link);
    watch_clients++;

    r->data = c;
    http_on_close(r, watch_client_left);

    return c;
}


void
watch_stream(http_request *r, watch_request *q)
{
    watch_client  *c;

    c = watch_join(r, q);
    if (c == NULL) {
        return;
    }

    watch_request_free(q);

    if (c->w->tree.armed) {
        watch_client_begin(c);
    }
}


void
watch_check(http_request *r, watch_request *q)
{
    watch_client  *c;

    c = watch_join(r, q);
    if (c == NULL) {
        return;
    }

    c->check = true;

    if (q->since != NULL) {
        c->since = strdup(q->since);
        if (c->since == NULL) {
            abort();
        }
    }

    watch_request_free(q);

    /* Its answer may come during this. */

    if (watch_notify_settle()) {
        watch_tell_settled();
    }
}
