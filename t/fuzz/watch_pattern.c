/* sources: agent/watch_pattern.c */
/* A pattern and a path, a line feed between them: the answer is that of a
 * plain matcher that tries everything, which only sees small ones. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/watch_pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* p as it is compared: without the slashes and ./ around it. */

static bool
slow(const char *start, const char *p, const char *pend, const char *s,
    const char *send)
{
    const char  *q;

    if (p == pend) {
        return s == send;
    }

    if (p + 1 < pend && p[0] == '*' && p[1] == '*') {
        for (q = p; q < pend && *q == '*'; q++) { /* void */ }

        if (q < pend && *q == '/' && (p == start || p[-1] == '/')) {
            if (slow(start, q + 1, pend, s, send)) {
                return true;
            }

            for ( /* void */ ; s < send; s++) {
                if (*s == '/' && slow(start, q + 1, pend, s + 1, send)) {
                    return true;
                }
            }

            return false;
        }

        for ( /* void */ ; s <= send; s++) {
            if (slow(start, q, pend, s, send)) {
                return true;
            }
        }

        return false;
    }

    if (*p == '*') {
        for ( ;; s++) {
            if (slow(start, p + 1, pend, s, send)) {
                return true;
            }
            if (s == send || *s == '/') {
                return false;
            }
        }
    }

    if (s == send) {
        return false;
    }

    if (*p == '?') {
        if (*s == '/' || (*s & 0xc0) == 0x80) {
            return false;
        }

        for (s++; ; s++) {
            if (slow(start, p + 1, pend, s, send)) {
                return true;
            }
            if (s == send || (*s & 0xc0) != 0x80) {
                return false;
            }
        }
    }

    return *p == *s && slow(start, p + 1, pend, s + 1, send);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool             got;
    const char      *text, *lf, *p, *pend;
    watch_pattern   *w;

    text = (const char *) data;
    lf = memchr(data, '\n', size);

    if (lf == NULL
        || watch_pattern_problem(text, (size_t) (lf - text)) != NULL)
    {
        return 0;
    }

    w = watch_pattern_make(text, (size_t) (lf - text));
    got = watch_pattern_match(w, lf + 1, size - (size_t) (lf - text) - 1);
    free(w);

    if (size > 24) {
        return 0;
    }

    p = text;
    pend = lf;

    while (pend - p > 1 && pend[-1] == '/') {
        pend--;
    }
    while (pend - p > 1 && p[0] == '.' && p[1] == '/') {
        p += 2;
    }
    while (pend > p && *p == '/') {
        p++;
    }

    if (slow(p, p, pend, lf + 1, text + size) != got) {
        abort();
    }

    return 0;
}
