/* A pattern's program runs over a line; see pattern.c. */

#include <string.h>

#include "agent/pattern_internal.h"
#include "common/utf8.h"

typedef struct {
    const char  *text;
    size_t       n;
    size_t       at;
    threads     *into;
} place;


uint32_t
pattern_char(const char *text, size_t n, size_t *len)
{
    uint32_t              c;
    const unsigned char  *p;

    p = (const unsigned char *) text;
    *len = 1;

    if (p[0] < 0x80) {
        return p[0];
    }

    if (utf8_next(p, n, len) != UTF8_OK) {
        *len = 1;
        return 0xfffd;
    }

    switch (*len) {
    case 2:
        c = (p[0] & 0x1fU) << 6 | (p[1] & 0x3fU);
        break;
    case 3:
        c = (p[0] & 0x0fU) << 12 | (p[1] & 0x3fU) << 6 | (p[2] & 0x3fU);
        break;
    default:
        c = (p[0] & 0x07U) << 18 | (p[1] & 0x3fU) << 12
            | (p[2] & 0x3fU) << 6 | (p[3] & 0x3fU);
    }

    return c;
}


static uint32_t
pattern_other_case(uint32_t c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
        return c ^ 0x20;
    }

    return c;
}


static int
is_word(const place *w, size_t i)
{
    char  c;

    if (i >= w->n) {
        return 0;
    }

    c = w->text[i];

    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')
           || (c >= 'A' && c <= 'Z') || c == '_';
}


static int
is_between(const place *w)
{
    return (w->at > 0 && is_word(w, w->at - 1)) != is_word(w, w->at);
}


/* Follows a thread until its next step takes a character. */

static void
thread_add(pattern *p, const place *w, unsigned i, slots *s)
{
    int32_t      old;
    const step  *st;

    for ( ;; ) {
        if (p->seen[i] == p->round) {
            return;
        }
        p->seen[i] = p->round;
        st = &p->program[i];

        switch (st->kind) {
        case STEP_JUMP:
            i = st->x;
            continue;

        case STEP_SPLIT:
            thread_add(p, w, st->x, s);
            i = st->y;
            continue;

        case STEP_SAVE:
            old = s->at[st->x];
            s->at[st->x] = (int32_t) w->at;
            thread_add(p, w, i + 1, s);
            s->at[st->x] = old;
            return;

        case STEP_BEGIN:
            if (w->at != 0) {
                return;
            }
            break;

        case STEP_END:
            if (w->at != w->n) {
                return;
            }
            break;

        case STEP_WORD:
            if (is_between(w) == (int) st->x) {
                return;
            }
            break;

        default:
            w->into->step[w->into->count] = i;
            memcpy(&w->into->saved[w->into->count], s,
                   2 * (p->ngroups + 1) * sizeof(int32_t));
            w->into->count++;
            return;
        }

        i++;
    }
}


static int
class_has(const pattern *p, const char_class *cc, uint32_t c)
{
    unsigned      i;
    uint32_t      other;
    const range  *r;

    other = p->ignore_case ? pattern_other_case(c) : c;

    for (i = 0; i < cc->count; i++) {
        r = &p->ranges[cc->first + i];
        if ((c >= r->from && c <= r->to)
            || (other >= r->from && other <= r->to))
        {
            return !cc->negated;
        }
    }

    return cc->negated;
}


static int
step_takes(const pattern *p, const step *st, uint32_t c)
{
    switch (st->kind) {
    case STEP_CHAR:
        return c == st->x
               || (p->ignore_case && pattern_other_case(c) == st->x);

    case STEP_ANY:
        return p->dot_all || (c != '\n' && c != '\r' && c != 0x2028
                              && c != 0x2029);

    case STEP_CLASS:
        return class_has(p, &p->classes[st->x], c);

    default:
        return 0;
    }
}


int
pattern_search(pattern *p, const char *text, size_t n, pattern_span *spans)
{
    int          found;
    size_t       i, len;
    slots        best, fresh;
    place        w;
    threads     *now, *next, *swap;
    uint32_t     c;
    unsigned     t;
    const step  *st;

    if (p->round > UINT32_MAX / 2) {
        memset(p->seen, 0, p->nsteps * sizeof(unsigned));
        p->round = 0;
    }

    found = 0;
    memset(&best, 0, sizeof(best));
    memset(&fresh, 0xff, sizeof(fresh));
    now = &p->set[0];
    next = &p->set[1];
    now->count = 0;
    w.text = text;
    w.n = n;

    for (i = 0; ; i += len) {
        /* A new beginning has the least priority. */
        w.at = i;
        if (!found) {
            w.into = now;
            if (now->count == 0) {
                p->round++;
            }
            thread_add(p, &w, 0, &fresh);
        }

        if (found && now->count == 0) {
            break;
        }

        len = 1;
        c = i < n ? pattern_char(text + i, n - i, &len) : 0;
        w.at = i + len;
        w.into = next;
        next->count = 0;
        p->round++;

        for (t = 0; t < now->count; t++) {
            st = &p->program[now->step[t]];

            if (st->kind == STEP_FOUND) {
                best = now->saved[t];
                found = 1;
                break;              /* the others have less priority */
            }

            if (i < n && step_takes(p, st, c)) {
                thread_add(p, &w, now->step[t] + 1, &now->saved[t]);
            }
        }

        if (i >= n) {
            break;
        }

        swap = now;
        now = next;
        next = swap;
    }

    for (i = 0; found && i <= p->ngroups; i++) {
        spans[i].from = best.at[2 * i];
        spans[i].to = best.at[2 * i + 1];
        if (spans[i].from < 0 || spans[i].to < spans[i].from) {
            spans[i].from = -1;
            spans[i].to = -1;
        }
    }

    return found;
}
