/*
 * Regular expressions; see pattern.h.
 *
 * The text is parsed into a tree, the tree becomes a program of small steps
 * (Thompson's construction), and the program runs as a set of threads that all
 * stand at the same character, in the order of their priority (Pike's machine).
 * A step is in the set at most once, which bounds the work.
 */

#include <stdlib.h>
#include <string.h>

#include "agent/pattern_internal.h"


static unsigned
emit(parser *ps, step_kind kind, uint32_t x, uint32_t y)
{
    pattern  *p;

    p = ps->p;

    if (p->nsteps == PATTERN_PROGRAM) {
        pattern_parse_fail(ps, "it is too long, or repeats too much");
        return 0;
    }

    p->program[p->nsteps].kind = kind;
    p->program[p->nsteps].x = x;
    p->program[p->nsteps].y = y;

    return p->nsteps++;
}


static void
emit_split(parser *ps, unsigned at, unsigned into, unsigned past, int lazy)
{
    ps->p->program[at].x = lazy ? past : into;
    ps->p->program[at].y = lazy ? into : past;
}


static void emit_node(parser *ps, int i);


static void
emit_repeat(parser *ps, const node *n)
{
    int       i;
    unsigned  at, before, open[PATTERN_REPEAT];

    for (i = 0; i < n->min && ps->wrong == NULL; i++) {
        before = ps->p->nsteps;
        emit_node(ps, n->a);

        /* Nothing a thousand times, a thousand times, a thousand times. */
        if (ps->p->nsteps == before) {
            break;
        }
    }

    if (n->max == -1) {
        at = emit(ps, STEP_SPLIT, 0, 0);
        emit_node(ps, n->a);
        emit(ps, STEP_JUMP, at, 0);
        emit_split(ps, at, at + 1, ps->p->nsteps, n->lazy);
        return;
    }

    for (i = n->min; i < n->max && ps->wrong == NULL; i++) {
        open[i - n->min] = emit(ps, STEP_SPLIT, 0, 0);
        emit_node(ps, n->a);
    }

    while (i-- > n->min) {
        at = open[i - n->min];
        emit_split(ps, at, at + 1, ps->p->nsteps, n->lazy);
    }
}


static void
emit_node(parser *ps, int i)
{
    unsigned     split, jump;
    const node  *n;

    n = &ps->nodes[i];

    if (ps->wrong != NULL) {
        return;
    }

    switch (n->kind) {
    case NODE_EMPTY:
        break;

    case NODE_CHAR:
        emit(ps, STEP_CHAR, n->value, 0);
        break;

    case NODE_ANY:
        emit(ps, STEP_ANY, 0, 0);
        break;

    case NODE_CLASS:
        emit(ps, STEP_CLASS, n->value, 0);
        break;

    case NODE_BEGIN:
        emit(ps, STEP_BEGIN, 0, 0);
        break;

    case NODE_END:
        emit(ps, STEP_END, 0, 0);
        break;

    case NODE_WORD:
        emit(ps, STEP_WORD, n->value, 0);
        break;

    case NODE_PAIR:
        emit_node(ps, n->a);
        emit_node(ps, n->b);
        break;

    case NODE_EITHER:
        split = emit(ps, STEP_SPLIT, 0, 0);
        emit_node(ps, n->a);
        jump = emit(ps, STEP_JUMP, 0, 0);
        emit_split(ps, split, split + 1, ps->p->nsteps, 0);
        emit_node(ps, n->b);
        ps->p->program[jump].x = ps->p->nsteps;
        break;

    case NODE_REPEAT:
        emit_repeat(ps, n);
        break;

    case NODE_GROUP:
        emit(ps, STEP_SAVE, 2 * n->value, 0);
        emit_node(ps, n->a);
        emit(ps, STEP_SAVE, 2 * n->value + 1, 0);
        break;
    }
}


static int
pattern_flags(pattern *p, const char *flags, error **err)
{
    for ( ; *flags != '\0'; flags++) {
        switch (*flags) {
        case 'i':
            p->ignore_case = 1;
            break;
        case 's':
            p->dot_all = 1;
            break;
        default:
            if (strchr("gmuydv", *flags) == NULL) {
                return error_set_field(err, 400, "validation_failed", "flags",
                                       0, "flags has one that is not known");
            }
        }
    }

    return 0;
}


pattern *
pattern_compile(const char *text, size_t len, const char *flags, error **err)
{
    int       top;
    size_t    i;
    parser    ps;
    pattern  *p;

    if (len > PATTERN_MAX) {
        error_set_field(err, 400, "validation_failed", "pattern", PATTERN_MAX,
                        "pattern has at most %d bytes", PATTERN_MAX);
        return NULL;
    }

    p = calloc(1, sizeof(pattern));
    memset(&ps, 0, sizeof(ps));
    ps.nodes = malloc(PATTERN_NODES * sizeof(node));
    if (p == NULL || ps.nodes == NULL) {
        abort();
    }

    if (pattern_flags(p, flags, err) != 0) {
        free(ps.nodes);
        free(p);
        return NULL;
    }

    ps.p = p;
    ps.at = text;
    ps.end = text + len;

    top = pattern_parse(&ps);
    emit(&ps, STEP_SAVE, 0, 0);
    emit_node(&ps, top);
    emit(&ps, STEP_SAVE, 1, 0);
    emit(&ps, STEP_FOUND, 0, 0);
    free(ps.nodes);

    if (ps.wrong != NULL) {
        error_set_field(err, 400, "validation_failed", "pattern", 0,
                        "pattern can't be used: %s", ps.wrong);
        free(p);
        return NULL;
    }

    for (i = 0; i < 2; i++) {
        p->set[i].step = malloc(p->nsteps * sizeof(unsigned));
        p->set[i].saved = malloc(p->nsteps * sizeof(slots));
    }
    p->seen = calloc(p->nsteps, sizeof(unsigned));

    if (p->set[0].step == NULL || p->set[0].saved == NULL
        || p->set[1].step == NULL || p->set[1].saved == NULL
        || p->seen == NULL)
    {
        abort();
    }

    return p;
}


void
pattern_free(pattern *p)
{
    int  i;

    if (p == NULL) {
        return;
    }

    for (i = 0; i < 2; i++) {
        free(p->set[i].step);
        free(p->set[i].saved);
    }
    free(p->seen);
    free(p);
}


size_t
pattern_groups(const pattern *p)
{
    return p->ngroups;
}
