/*
 * Patterns of paths; see watch_pattern.h.  A pattern is a row of tokens; what
 * may come next is a set of places in the row, kept as bits, so that no
 * pattern and no path makes it try things twice.
 */

#include <stdlib.h>
#include <string.h>

#include "agent/watch_pattern.h"

#define PLACES  (2 * WATCH_PATTERN_MAX + 1)
#define WORDS   ((PLACES + 63) / 64)

enum {
    TOKEN_BYTE,     /* this one */
    TOKEN_FIRST,    /* the first byte of a character of a name */
    TOKEN_REST,     /* the others, as many as there are */
    TOKEN_NAME,     /* any bytes but a slash */
    TOKEN_ANY,      /* any bytes */
    TOKEN_DIRS,     /* nothing, or what the next says */
    TOKEN_INSIDE    /* any bytes; goes on only behind a slash */
};

typedef struct {
    uint64_t  word[WORDS];
} places;


const char *
watch_pattern_problem(const char *text, size_t len)
{
    size_t  i;

    if (len == 0) {
        return "must not be empty";
    }

    if (len > WATCH_PATTERN_MAX) {
        return "is longer than 255 bytes";
    }

    for (i = 0; i < len; i++) {
        if (text[i] == '\0') {
            return "contains a null byte";
        }

        if (strchr("[]{}", text[i]) != NULL) {
            return "may use *, ** and ? only, no [ ] { }";
        }
    }

    return NULL;
}


static void
pattern_add(watch_pattern *p, int kind, char byte)
{
    p->tokens[p->count].kind = (uint8_t) kind;
    p->tokens[p->count].byte = (uint8_t) byte;
    p->count++;
}


/* The stars at text[i]; returns how many characters they take. */

static size_t
pattern_stars(watch_pattern *p, const char *text, size_t i, size_t len)
{
    size_t  n;

    for (n = 1; i + n < len && text[i + n] == '*'; n++) {
        /* void */
    }

    if (n == 1) {
        pattern_add(p, TOKEN_NAME, 0);

    } else if (i + n < len && text[i + n] == '/'
               && (i == 0 || text[i - 1] == '/'))
    {
        pattern_add(p, TOKEN_DIRS, 0);
        pattern_add(p, TOKEN_INSIDE, 0);
        n++;

    } else {
        pattern_add(p, TOKEN_ANY, 0);
    }

    return n;
}


watch_pattern *
watch_pattern_make(const char *text, size_t len)
{
    size_t          i;
    watch_pattern  *p;

    while (len > 1 && text[len - 1] == '/') {
        len--;
    }

    p = calloc(1, sizeof(watch_pattern) + 2 * (len + 1)
                                          * sizeof(p->tokens[0]));
    if (p == NULL) {
        return NULL;
    }

    p->path = memchr(text, '/', len) != NULL;

    while (len > 1 && text[0] == '.' && text[1] == '/') {
        text += 2;
        len -= 2;
    }

    while (len > 0 && text[0] == '/') {
        text++;
        len--;
    }

    for (i = 0; i < len; /* void */ ) {
        if (text[i] == '*') {
            i += pattern_stars(p, text, i, len);
            continue;
        }

        if (text[i] == '?') {
            pattern_add(p, TOKEN_FIRST, 0);
            pattern_add(p, TOKEN_REST, 0);
        } else {
            pattern_add(p, TOKEN_BYTE, text[i]);
        }

        i++;
    }

    return p;
}


/* A place, and those that are reached from it without a byte. */

static void
places_add(places *s, const watch_pattern *p, size_t i)
{
    for ( ;; ) {
        s->word[i / 64] |= (uint64_t) 1 << (i % 64);

        if (i == p->count) {
            return;
        }

        switch (p->tokens[i].kind) {

        case TOKEN_REST:
        case TOKEN_NAME:
        case TOKEN_ANY:
            i++;
            break;

        case TOKEN_DIRS:
            s->word[(i + 1) / 64] |= (uint64_t) 1 << ((i + 1) % 64);
            i += 2;
            break;

        default:
            return;
        }
    }
}


/* Where the byte leads from one place. */

static void
places_step(places *next, const watch_pattern *p, size_t i, uint8_t c)
{
    bool  rest;

    rest = (c & 0xc0) == 0x80;

    switch (p->tokens[i].kind) {

    case TOKEN_BYTE:
        if (c == p->tokens[i].byte) {
            places_add(next, p, i + 1);
        }
        break;

    case TOKEN_FIRST:
        if (c != '/' && !rest) {
            places_add(next, p, i + 1);
        }
        break;

    case TOKEN_REST:
        if (rest) {
            places_add(next, p, i);
        }
        break;

    case TOKEN_NAME:
        if (c != '/') {
            places_add(next, p, i);
        }
        break;

    case TOKEN_ANY:
        places_add(next, p, i);
        break;

    case TOKEN_INSIDE:
        places_add(next, p, i);
        if (c == '/') {
            places_add(next, p, i + 1);
        }
        break;
    }
}


bool
watch_pattern_match(const watch_pattern *p, const char *text, size_t len)
{
    size_t    i, w, words;
    places    now, next;
    uint64_t  bits, alive;

    words = p->count / 64 + 1;
    memset(&now, 0, sizeof(now));
    places_add(&now, p, 0);

    for (i = 0; i < len; i++) {
        memset(&next, 0, sizeof(next));
        alive = 0;

        for (w = 0; w < words; w++) {
            bits = now.word[w];

            if (w == p->count / 64) {
                bits &= ~((uint64_t) 1 << (p->count % 64));
            }

            for ( /* void */ ; bits != 0; bits &= bits - 1) {
                places_step(&next, p,
                            w * 64 + (size_t) __builtin_ctzll(bits),
                            (uint8_t) text[i]);
            }
        }

        for (w = 0; w < words; w++) {
            alive |= next.word[w];
        }

        if (alive == 0) {
            return false;
        }

        now = next;
    }

    return now.word[p->count / 64] >> (p->count % 64) & 1;
}


static int
rules_add(watch_rules *rules, watch_pattern **list, size_t *count,
    const char *text, size_t len)
{
    if (*count == WATCH_PATTERNS_MAX) {
        return -1;
    }

    list[*count] = watch_pattern_make(text, len);
    if (list[*count] == NULL) {
        abort();
    }

    rules->paths |= list[*count]->path;
    (*count)++;

    return 0;
}


int
watch_rules_include(watch_rules *rules, const char *text, size_t len)
{
    return rules_add(rules, rules->include, &rules->included, text, len);
}


int
watch_rules_exclude(watch_rules *rules, const char *text, size_t len)
{
    return rules_add(rules, rules->exclude, &rules->excluded, text, len);
}


void
watch_rules_free(watch_rules *rules)
{
    size_t  i;

    for (i = 0; i < rules->included; i++) {
        free(rules->include[i]);
    }

    for (i = 0; i < rules->excluded; i++) {
        free(rules->exclude[i]);
    }

    memset(rules, 0, sizeof(watch_rules));
}


static bool
rules_match(watch_pattern *const *list, size_t count, const char *path,
    const char *name)
{
    size_t       i;
    const char  *text;

    for (i = 0; i < count; i++) {
        text = list[i]->path ? path : name;

        if (watch_pattern_match(list[i], text, strlen(text))) {
            return true;
        }
    }

    return false;
}


bool
watch_rules_includes(const watch_rules *rules, const char *path,
    const char *name)
{
    return rules->included == 0
           || rules_match(rules->include, rules->included, path, name);
}


bool
watch_rules_excludes(const watch_rules *rules, const char *path,
    const char *name)
{
    return rules_match(rules->exclude, rules->excluded, path, name);
}
