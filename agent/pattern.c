/*
 * Regular expressions; see pattern.h.
 *
 * The text is parsed into a tree, the tree becomes a program of small steps
 * (Thompson's construction), and the program runs as a set of threads that all
 * stand at the same character, in the order of their priority (Pike's machine).
 * A step is in the set at most once, which bounds the work.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pattern.h"
#include "common/utf8.h"

#define PATTERN_NODES    4096
#define PATTERN_RANGES   1024
#define PATTERN_CLASSES  128
#define PATTERN_DEPTH    64
#define PATTERN_REPEAT   1000
#define PATTERN_SLOTS    (2 * (PATTERN_GROUPS + 1))
#define PATTERN_LAST     0x10ffffU

typedef enum {
    NODE_EMPTY,
    NODE_CHAR,
    NODE_ANY,
    NODE_CLASS,
    NODE_BEGIN,
    NODE_END,
    NODE_WORD,          /* \b; value 1: \B */
    NODE_PAIR,          /* a, then b */
    NODE_EITHER,        /* a or b */
    NODE_REPEAT,        /* a, min to max times */
    NODE_GROUP          /* a, as group number `value` */
} node_kind;

typedef struct {
    node_kind  kind;
    int        a, b;
    int        min, max;        /* max -1: any number */
    int        lazy;
    uint32_t   value;           /* character, class or group */
} node;

typedef enum {
    STEP_CHAR,
    STEP_ANY,
    STEP_CLASS,
    STEP_BEGIN,
    STEP_END,
    STEP_WORD,
    STEP_JUMP,          /* to x */
    STEP_SPLIT,         /* to x, or else y */
    STEP_SAVE,          /* the place in slot x */
    STEP_FOUND
} step_kind;

typedef struct {
    step_kind  kind;
    uint32_t   x, y;
} step;

typedef struct {
    uint32_t  from, to;
} range;

typedef struct {
    unsigned  first, count;
    int       negated;
} char_class;

typedef struct {
    int32_t  at[PATTERN_SLOTS];
} slots;

typedef struct {
    unsigned   count;
    unsigned  *step;            /* in order of priority */
    slots     *saved;
} threads;

struct pattern {
    step         program[PATTERN_PROGRAM];
    unsigned     nsteps;
    range        ranges[PATTERN_RANGES];
    unsigned     nranges;
    char_class   classes[PATTERN_CLASSES];
    unsigned     nclasses;
    unsigned     ngroups;
    int          ignore_case;
    int          dot_all;

    /* While it runs. */
    threads      set[2];
    unsigned    *seen;          /* the round in which a step was entered */
    unsigned     round;
};

typedef struct {
    pattern     *p;
    node        *nodes;
    int          nnodes;
    const char  *at, *end;
    int          depth;
    const char  *wrong;         /* the first thing that is */
} parser;


static const range  pattern_digit[] = { { '0', '9' } };
static const range  pattern_word[] = {
    { '0', '9' }, { 'A', 'Z' }, { '_', '_' }, { 'a', 'z' }
};
static const range  pattern_space[] = {
    { 9, 13 }, { ' ', ' ' }, { 0xa0, 0xa0 }, { 0x1680, 0x1680 },
    { 0x2000, 0x200a }, { 0x2028, 0x2029 }, { 0x202f, 0x202f },
    { 0x205f, 0x205f }, { 0x3000, 0x3000 }, { 0xfeff, 0xfeff }
};

#define COUNT(table)  (sizeof(table) / sizeof((table)[0]))


static int parse_either(parser *ps);


/* One character; a byte that is none is U+FFFD. */

static uint32_t
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


/* Parsing. */

static int
parse_fail(parser *ps, const char *why)
{
    if (ps->wrong == NULL) {
        ps->wrong = why;
    }
    ps->at = ps->end;

    return 0;
}


static int
parse_node(parser *ps, node_kind kind, int a, int b, uint32_t value)
{
    node  *n;

    if (ps->nnodes == PATTERN_NODES) {
        return parse_fail(ps, "it is too long");
    }

    n = &ps->nodes[ps->nnodes];
    memset(n, 0, sizeof(*n));
    n->kind = kind;
    n->a = a;
    n->b = b;
    n->value = value;

    return ps->nnodes++;
}


static int
parse_ahead(const parser *ps, const char *text)
{
    size_t  n;

    n = strlen(text);

    return (size_t) (ps->end - ps->at) >= n && memcmp(ps->at, text, n) == 0;
}


static int
parse_take(parser *ps, const char *text)
{
    if (!parse_ahead(ps, text)) {
        return 0;
    }

    ps->at += strlen(text);

    return 1;
}


static void
class_add(parser *ps, uint32_t from, uint32_t to)
{
    pattern  *p;

    p = ps->p;

    if (p->nranges == PATTERN_RANGES) {
        parse_fail(ps, "it has too many ranges");
        return;
    }

    p->ranges[p->nranges].from = from;
    p->ranges[p->nranges].to = to;
    p->nranges++;
}


static void
class_add_table(parser *ps, const range *table, size_t n, int negated)
{
    size_t    i;
    uint32_t  next;

    next = 0;

    for (i = 0; i < n; i++) {
        if (!negated) {
            class_add(ps, table[i].from, table[i].to);
            continue;
        }
        if (table[i].from > next) {
            class_add(ps, next, table[i].from - 1);
        }
        next = table[i].to + 1;
    }

    if (negated) {
        class_add(ps, next, PATTERN_LAST);
    }
}


/* \d and its like; 1 if c is one. */

static int
class_escape(parser *ps, char c)
{
    switch (c) {
    case 'd':
    case 'D':
        class_add_table(ps, pattern_digit, COUNT(pattern_digit), c == 'D');
        return 1;
    case 'w':
    case 'W':
        class_add_table(ps, pattern_word, COUNT(pattern_word), c == 'W');
        return 1;
    case 's':
    case 'S':
        class_add_table(ps, pattern_space, COUNT(pattern_space), c == 'S');
        return 1;
    default:
        return 0;
    }
}


static int
class_end(parser *ps, unsigned first, int negated)
{
    pattern  *p;

    p = ps->p;

    if (p->nclasses == PATTERN_CLASSES) {
        return parse_fail(ps, "it has too many classes");
    }

    p->classes[p->nclasses].first = first;
    p->classes[p->nclasses].count = p->nranges - first;
    p->classes[p->nclasses].negated = negated;

    return parse_node(ps, NODE_CLASS, 0, 0, p->nclasses++);
}


/* n hexadecimal digits, or any number up to `stop`. */

static uint32_t
parse_hex(parser *ps, int n, char stop)
{
    char      c;
    int       digit, any;
    uint32_t  value;

    value = 0;

    for (any = 0; any < n || stop != '\0'; any++) {
        c = ps->at < ps->end ? *ps->at : '\0';
        if (stop != '\0' && c == stop && any != 0) {
            ps->at++;
            break;
        }

        digit = c >= '0' && c <= '9' ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        value = value * 16 + (uint32_t) digit;

        if (digit < 0 || value > PATTERN_LAST) {
            parse_fail(ps, "a character's number is wrong");
            return 0;
        }
        ps->at++;
    }

    return value;
}


/* What follows a backslash and is one character. */

static uint32_t
parse_escape(parser *ps)
{
    char  c;

    if (ps->at == ps->end) {
        parse_fail(ps, "it ends with a backslash");
        return 0;
    }

    c = *ps->at++;

    switch (c) {
    case 't':  return '\t';
    case 'n':  return '\n';
    case 'v':  return '\v';
    case 'f':  return '\f';
    case 'r':  return '\r';
    case 'x':  return parse_hex(ps, 2, '\0');
    case 'u':
        return parse_take(ps, "{") ? parse_hex(ps, 0, '}')
                                   : parse_hex(ps, 4, '\0');
    case '0':
        if (ps->at == ps->end || *ps->at < '0' || *ps->at > '9') {
            return 0;
        }
        break;
    default:
        /* Punctuation stands for itself. */
        if ((unsigned char) c < 0x80
            && !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')
                 || (c >= 'A' && c <= 'Z')))
        {
            return (uint32_t) c;
        }
    }

    parse_fail(ps, c >= '1' && c <= '9'
               ? "back-references can't be matched"
               : "it has an escape that is not known");

    return 0;
}


static uint32_t
parse_char(parser *ps)
{
    size_t    len;
    uint32_t  c;

    c = pattern_char(ps->at, (size_t) (ps->end - ps->at), &len);
    ps->at += len;

    return c;
}


/* One end of a range in a class; 1 if it was a whole class of its own. */

static int
parse_class_part(parser *ps, uint32_t *c)
{
    if (!parse_take(ps, "\\")) {
        *c = parse_char(ps);
        return 0;
    }

    if (ps->at < ps->end && class_escape(ps, *ps->at)) {
        ps->at++;
        return 1;
    }

    if (parse_take(ps, "b")) {
        *c = '\b';
    } else {
        *c = parse_escape(ps);
    }

    return 0;
}


static int
parse_class(parser *ps)
{
    int       negated;
    uint32_t  from, to;
    unsigned  first;

    first = ps->p->nranges;
    negated = parse_take(ps, "^");

    while (!parse_take(ps, "]")) {
        if (ps->at == ps->end) {
            return parse_fail(ps, "a class is not closed");
        }

        if (parse_class_part(ps, &from)) {
            continue;
        }

        to = from;

        if (parse_ahead(ps, "-") && !parse_ahead(ps, "-]")) {
            ps->at++;
            if (ps->at == ps->end || parse_class_part(ps, &to)) {
                return parse_fail(ps, "a range has no end");
            }
        }

        if (to < from) {
            return parse_fail(ps, "a range is out of order");
        }

        class_add(ps, from, to);
    }

    return class_end(ps, first, negated);
}


static int parse_braces(parser *ps, int *min, int *max);


static int
parse_group(parser *ps)
{
    int       inner;
    unsigned  number;

    number = 0;

    if (parse_take(ps, "?")) {
        if (parse_ahead(ps, "=") || parse_ahead(ps, "!")
            || parse_ahead(ps, "<=") || parse_ahead(ps, "<!"))
        {
            return parse_fail(ps, "look-around can't be matched");
        }

        if (parse_take(ps, "<")) {
            while (ps->at < ps->end && *ps->at != '>') {
                ps->at++;
            }
            number = 1;
            if (!parse_take(ps, ">")) {
                return parse_fail(ps, "a group's name is not closed");
            }

        } else if (!parse_take(ps, ":")) {
            return parse_fail(ps, "it has a group of a kind that is not "
                              "known");
        }

    } else {
        number = 1;
    }

    if (number != 0) {
        if (ps->p->ngroups == PATTERN_GROUPS) {
            return parse_fail(ps, "it has too many groups");
        }
        number = ++ps->p->ngroups;
    }

    if (++ps->depth > PATTERN_DEPTH) {
        return parse_fail(ps, "its groups are nested too deep");
    }

    inner = parse_either(ps);
    ps->depth--;

    if (!parse_take(ps, ")")) {
        return parse_fail(ps, "a group is not closed");
    }

    return number == 0 ? inner : parse_node(ps, NODE_GROUP, inner, 0, number);
}


static int
parse_atom(parser *ps)
{
    int       min, max;
    unsigned  first;

    if (parse_take(ps, "(")) {
        return parse_group(ps);
    }
    if (parse_take(ps, "[")) {
        return parse_class(ps);
    }
    if (parse_take(ps, ".")) {
        return parse_node(ps, NODE_ANY, 0, 0, 0);
    }
    if (parse_take(ps, "^")) {
        return parse_node(ps, NODE_BEGIN, 0, 0, 0);
    }
    if (parse_take(ps, "$")) {
        return parse_node(ps, NODE_END, 0, 0, 0);
    }
    if (parse_take(ps, "\\b")) {
        return parse_node(ps, NODE_WORD, 0, 0, 0);
    }
    if (parse_take(ps, "\\B")) {
        return parse_node(ps, NODE_WORD, 0, 0, 1);
    }

    if (parse_ahead(ps, "*") || parse_ahead(ps, "+") || parse_ahead(ps, "?")
        || parse_braces(ps, &min, &max))
    {
        return parse_fail(ps, "there is nothing to repeat");
    }

    if (parse_take(ps, "\\")) {
        first = ps->p->nranges;
        if (ps->at < ps->end && class_escape(ps, *ps->at)) {
            ps->at++;
            return class_end(ps, first, 0);
        }
        return parse_node(ps, NODE_CHAR, 0, 0, parse_escape(ps));
    }

    return parse_node(ps, NODE_CHAR, 0, 0, parse_char(ps));
}


static int
parse_number(const char **p, const char *end, int *out)
{
    const char  *q;

    *out = 0;

    for (q = *p; q < end && *q >= '0' && *q <= '9'; q++) {
        if (*out <= PATTERN_REPEAT) {
            *out = *out * 10 + *q - '0';
        }
    }

    if (q == *p) {
        return 0;
    }
    *p = q;

    return 1;
}


/* "{2}", "{2,}", "{2,3}"; anything else in braces is text. */

static int
parse_braces(parser *ps, int *min, int *max)
{
    const char  *p;

    if (!parse_ahead(ps, "{")) {
        return 0;
    }

    p = ps->at + 1;
    if (!parse_number(&p, ps->end, min)) {
        return 0;
    }

    *max = *min;

    if (p < ps->end && *p == ',') {
        p++;
        if (!parse_number(&p, ps->end, max)) {
            *max = -1;
        }
    }

    if (p == ps->end || *p != '}') {
        return 0;
    }

    ps->at = p + 1;

    if (*min > PATTERN_REPEAT || *max > PATTERN_REPEAT) {
        parse_fail(ps, "it repeats too often");

    } else if (*max != -1 && *max < *min) {
        parse_fail(ps, "the numbers of a repetition are out of order");
    }

    return 1;
}


static int
parse_repeated(parser *ps)
{
    int  a, n, min, max;

    a = parse_atom(ps);

    if (parse_take(ps, "*")) {
        min = 0;
        max = -1;
    } else if (parse_take(ps, "+")) {
        min = 1;
        max = -1;
    } else if (parse_take(ps, "?")) {
        min = 0;
        max = 1;
    } else if (!parse_braces(ps, &min, &max)) {
        return a;
    }

    n = parse_node(ps, NODE_REPEAT, a, 0, 0);
    ps->nodes[n].min = min;
    ps->nodes[n].max = max;
    ps->nodes[n].lazy = parse_take(ps, "?");

    return n;
}


static int
parse_sequence(parser *ps)
{
    int  a;

    a = parse_node(ps, NODE_EMPTY, 0, 0, 0);

    while (ps->at < ps->end && *ps->at != '|' && *ps->at != ')') {
        a = parse_node(ps, NODE_PAIR, a, parse_repeated(ps), 0);
    }

    return a;
}


static int
parse_either(parser *ps)
{
    int  a;

    a = parse_sequence(ps);

    while (parse_take(ps, "|")) {
        a = parse_node(ps, NODE_EITHER, a, parse_sequence(ps), 0);
    }

    return a;
}


/* The program. */

static unsigned
emit(parser *ps, step_kind kind, uint32_t x, uint32_t y)
{
    pattern  *p;

    p = ps->p;

    if (p->nsteps == PATTERN_PROGRAM) {
        parse_fail(ps, "it is too long, or repeats too much");
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

    top = parse_either(&ps);
    if (ps.wrong == NULL && ps.at != ps.end) {
        parse_fail(&ps, "a group is closed that was not opened");
    }

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


/* Running. */

typedef struct {
    const char  *text;
    size_t       n;
    size_t       at;
    threads     *into;
} place;


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
