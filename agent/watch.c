/* Watches and their clients; see watch.h. */

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/watch_internal.h"
#include "agent/watch_notify.h"
#include "common/clock.h"

watch_list  watches = TAILQ_HEAD_INITIALIZER(watches);

static unsigned    watch_count, watch_clients, watch_serial;
static uint64_t    watch_first_id;          /* ms: when we began */
static uv_timer_t  watch_sweeper;


void
watch_request_free(watch_request *q)
{
    watch_rules_free(&q->rules);
    free(q->path);
    free(q->key);
    memset(q, 0, sizeof(watch_request));
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
    watch_pending_clear(w);
    free(w->key);
    free(w->path);

    if (watch_count == 0) {
        uv_timer_stop(&watch_sweeper);
        watch_pending_stop();
    }

    watch_notify_close(&w->tree, watch_freed);
}


void
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


bool
watch_known(unsigned long long n, unsigned long long ms)
{
    return n <= watch_serial && ms >= watch_first_id;
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

    now = clock_ms(CLOCK_REALTIME);

    if (watch_serial == 0) {
        watch_first_id = now;
        uv_timer_init(agent.loop, &watch_sweeper);
        watch_pending_init();
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
