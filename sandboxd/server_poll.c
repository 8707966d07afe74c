/* Questions to all workers; see server_poll.h. */

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "sandboxd/conn.h"

struct poll_question {
    poll_question  *next;
    uint64_t        ref;
    uint64_t        deadline;
    bool            whole;      /* no worker was missing when it was asked */
    poll_done       cb;
    void           *data;
    size_t          count;
    poll_answer     answers[];
};


/* A worker that lost its connection comes back within two seconds; until then
 * it may have requests in flight that nobody counts. */
static bool
poll_settled(const server *s)
{
    return uv_now(s->loop) - s->unsettled >= POLL_SETTLE_MS;
}


static json_t *
poll_event(const poll_question *q)
{
    size_t   i;
    json_t  *slots;

    slots = json_array();

    for (i = 0; i < q->count; i++) {
        json_array_append_new(slots, json_integer(q->answers[i].slot));
    }

    return json_pack("{s:s, s:I, s:o}", "event", "idle", "ref",
                     (json_int_t) q->ref, "slots", slots);
}


void
server_poll(void *srv, const poll_answer *about, size_t n, poll_done cb,
    void *data)
{
    out            *o;
    conn           *c, *next;
    json_t         *event;
    server         *s;
    poll_question  *q, **p;

    s = srv;
    q = calloc(1, sizeof(poll_question) + n * sizeof(poll_answer));
    if (q == NULL) {
        abort();
    }

    q->ref = ++s->poll_ref;
    q->deadline = uv_now(s->loop) + POLL_MS;
    q->whole = poll_settled(s);
    q->cb = cb;
    q->data = data;
    q->count = n;
    memcpy(q->answers, about, n * sizeof(poll_answer));

    for (p = &s->questions; *p != NULL; p = &(*p)->next) {
        /* void */
    }

    *p = q;

    event = poll_event(q);
    o = out_create(event);
    json_decref(event);

    for (c = s->workers; o != NULL && c != NULL; c = next) {
        next = c->next;
        c->asked = q->ref;
        conn_send_out(c, o);
    }

    if (o != NULL) {
        out_unref(o);
    }

    uv_timer_start(&s->poll_timer, server_polls_check, 0, 0);
}


/* The entry about a slot; the answers come in the order of the question. */
static poll_answer *
poll_entry(poll_question *q, size_t i, json_int_t slot)
{
    return i < q->count && q->answers[i].slot == (uint64_t) slot
           ? &q->answers[i] : NULL;
}


static int
poll_merge(poll_question *q, json_t *slots)
{
    size_t        i;
    json_t       *entry;
    json_int_t    slot, epoch, idle, in_flight;
    poll_answer  *a;

    json_array_foreach(slots, i, entry) {

        if (json_unpack(entry, "[IIII!]", &slot, &epoch, &idle, &in_flight)
            != 0
            || (a = poll_entry(q, i, slot)) == NULL)
        {
            return -1;
        }

        if (in_flight > 0) {
            a->in_flight += (uint64_t) in_flight;
        }

        /* A zone that knows another run knows nothing of this one. */
        if (idle < 0 || epoch != (json_int_t) a->epoch) {
            continue;
        }

        if (!a->known || (uint64_t) idle < a->idle_ms) {
            a->idle_ms = (uint64_t) idle;
        }

        a->known = true;
    }

    return i == q->count ? 0 : -1;
}


void
conn_polled(conn *c, uint64_t ref, json_t *slots)
{
    poll_question  *q;

    if (ref <= c->polled || ref > c->asked) {
        conn_close(c, "an answer to nothing");
        return;
    }

    for (q = c->s->questions; q != NULL && q->ref != ref; q = q->next) {
        /* void */
    }

    if (q != NULL && poll_merge(q, slots) < 0) {
        conn_close(c, "an answer about somebody else");
        return;
    }

    c->polled = ref;
    uv_timer_start(&c->s->poll_timer, server_polls_check, 0, 0);
}


/* A worker that came later was not asked: it can't have anything in flight
 * that began before. */
static bool
poll_answered(const server *s, const poll_question *q)
{
    conn  *c;

    for (c = s->workers; c != NULL; c = c->next) {
        if (c->asked >= q->ref && c->polled < q->ref) {
            return false;
        }
    }

    return true;
}


void
server_polls_check(uv_timer_t *timer)
{
    bool            answered;
    server         *s;
    uint64_t        now;
    poll_question  *q;

    s = timer->data;
    now = uv_now(s->loop);

    while ((q = s->questions) != NULL) {

        answered = poll_answered(s, q);

        if (!answered && now < q->deadline) {
            break;
        }

        s->questions = q->next;
        q->cb(q->data, q->answers, q->count,
              answered && q->whole && poll_settled(s));
        free(q);
    }

    if (s->questions != NULL) {
        uv_timer_start(&s->poll_timer, server_polls_check,
                       s->questions->deadline - now, 0);
    }
}


void
server_polls_free(server *s)
{
    poll_question  *q;

    while ((q = s->questions) != NULL) {
        s->questions = q->next;
        free(q);
    }
}
