/* The text of a pattern becomes a tree; see pattern_internal.h. */

#include <string.h>

#include "agent/pattern_internal.h"

#define PATTERN_DEPTH    64
#define PATTERN_LAST     0x10ffffU


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


int
pattern_parse_fail(parser *ps, const char *why)
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
        return pattern_parse_fail(ps, "it is too long");
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
        pattern_parse_fail(ps, "it has too many ranges");
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
        return pattern_parse_fail(ps, "it has too many classes");
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
            pattern_parse_fail(ps, "a character's number is wrong");
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
        pattern_parse_fail(ps, "it ends with a backslash");
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

    pattern_parse_fail(ps, c >= '1' && c <= '9'
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
            return pattern_parse_fail(ps, "a class is not closed");
        }

        if (parse_class_part(ps, &from)) {
            continue;
        }

        to = from;

        if (parse_ahead(ps, "-") && !parse_ahead(ps, "-]")) {
            ps->at++;
            if (ps->at == ps->end || parse_class_part(ps, &to)) {
                return pattern_parse_fail(ps, "a range has no end");
            }
        }

        if (to < from) {
            return pattern_parse_fail(ps, "a range is out of order");
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
            return pattern_parse_fail(ps, "look-around can't be matched");
        }

        if (parse_take(ps, "<")) {
            while (ps->at < ps->end && *ps->at != '>') {
                ps->at++;
            }
            number = 1;
            if (!parse_take(ps, ">")) {
                return pattern_parse_fail(ps, "a group's name is not closed");
            }

        } else if (!parse_take(ps, ":")) {
            return pattern_parse_fail(ps, "it has a group of a kind that is "
                                      "not known");
        }

    } else {
        number = 1;
    }

    if (number != 0) {
        if (ps->p->ngroups == PATTERN_GROUPS) {
            return pattern_parse_fail(ps, "it has too many groups");
        }
        number = ++ps->p->ngroups;
    }

    if (++ps->depth > PATTERN_DEPTH) {
        return pattern_parse_fail(ps, "its groups are nested too deep");
    }

    inner = parse_either(ps);
    ps->depth--;

    if (!parse_take(ps, ")")) {
        return pattern_parse_fail(ps, "a group is not closed");
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
        return pattern_parse_fail(ps, "there is nothing to repeat");
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
        pattern_parse_fail(ps, "it repeats too often");

    } else if (*max != -1 && *max < *min) {
        pattern_parse_fail(ps, "the numbers of a repetition are out of order");
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


int
pattern_parse(parser *ps)
{
    int  top;

    top = parse_either(ps);
    if (ps->wrong == NULL && ps->at != ps->end) {
        pattern_parse_fail(ps, "a group is closed that was not opened");
    }

    return top;
}
