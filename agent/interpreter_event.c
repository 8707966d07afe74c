/* Events of executors; see interpreter_event.h. */

#include <string.h>

#include "agent/interpreter_event.h"
#include "common/utf8.h"


static const char *
event_string(const char *p, const char *end)
{
    int  i;

    for (p++; p < end && *p != '"'; p++) {
        if ((unsigned char) *p < 0x20) {
            return NULL;
        }

        if (*p != '\\') {
            continue;
        }

        p++;
        if (p == end || strchr("\"\\/bfnrtu", *p) == NULL || *p == '\0') {
            return NULL;
        }

        if (*p == 'u') {
            for (i = 0; i < 4; i++) {
                p++;
                if (p == end || *p == '\0'
                    || strchr("0123456789abcdefABCDEF", *p) == NULL)
                {
                    return NULL;
                }
            }
        }
    }

    return p < end ? p + 1 : NULL;
}


static const char *
event_digits(const char *p, const char *end)
{
    const char  *start;

    for (start = p; p < end && *p >= '0' && *p <= '9'; p++) { /* on */ }

    return p == start ? NULL : p;
}


static const char *
event_number(const char *p, const char *end)
{
    if (*p == '-') {
        p++;
    }

    if (p < end && *p == '0') {
        p++;
    } else {
        p = event_digits(p, end);
    }

    if (p != NULL && p < end && *p == '.') {
        p = event_digits(p + 1, end);
    }

    if (p != NULL && p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-')) {
            p++;
        }
        p = event_digits(p, end);
    }

    return p;
}


static const char *
event_word(const char *p, const char *end, const char *word)
{
    size_t  n;

    n = strlen(word);

    return (size_t) (end - p) >= n && memcmp(p, word, n) == 0 ? p + n : NULL;
}


static const char *
event_scalar(const char *p, const char *end)
{
    switch (*p) {
    case '"':
        return event_string(p, end);
    case 't':
        return event_word(p, end, "true");
    case 'f':
        return event_word(p, end, "false");
    case 'n':
        return event_word(p, end, "null");
    default:
        return event_number(p, end);
    }
}


/* A value is expected, or a key, or what follows one of them. */

enum { WANT_VALUE, WANT_KEY, WANT_COLON, WANT_NEXT };

int
interpreter_json_valid(const char *p, size_t n)
{
    int             want, first;
    size_t          depth;
    const char     *end;
    unsigned char   is_object[INTERPRETER_JSON_DEPTH];

    if (n == 0 || *p != '{' || utf8_valid(p, n) != n) {
        return 0;
    }

    end = p + n;
    depth = 0;
    want = WANT_VALUE;
    first = 0;              /* nothing yet in the innermost one */

    while (p != NULL && p < end) {
        if (*p == ' ') {
            p++;
            continue;
        }

        if (want == WANT_COLON) {
            if (*p != ':') {
                return 0;
            }
            want = WANT_VALUE;
            p++;
            continue;
        }

        if (want == WANT_NEXT || first) {
            if (*p == (is_object[depth - 1] ? '}' : ']')) {
                depth--;
                p++;
                first = 0;
                want = WANT_NEXT;
                if (depth == 0) {
                    break;
                }
                continue;
            }

            if (want == WANT_NEXT) {
                if (*p != ',') {
                    return 0;
                }
                want = is_object[depth - 1] ? WANT_KEY : WANT_VALUE;
                p++;
                continue;
            }
        }

        first = 0;

        if (want == WANT_KEY) {
            if (*p != '"') {
                return 0;
            }
            p = event_string(p, end);
            want = WANT_COLON;

        } else if (*p == '{' || *p == '[') {
            if (depth == INTERPRETER_JSON_DEPTH) {
                return 0;
            }
            is_object[depth++] = *p == '{';
            want = *p == '{' ? WANT_KEY : WANT_VALUE;
            first = 1;
            p++;

        } else {
            p = event_scalar(p, end);
            want = WANT_NEXT;
        }
    }

    return p == end && depth == 0 && want == WANT_NEXT;
}


static int
event_check(interpreter_event *ev)
{
    size_t  i;

    switch (ev->type) {
    case INTERPRETER_READY:
        return ev->len == 0;

    case INTERPRETER_OPENED:
    case INTERPRETER_RENEWED:
        return 1;

    case INTERPRETER_DONE:
        ev->run = 0;
        for (i = 0; i < ev->len; i++) {
            if (ev->p[i] < '0' || ev->p[i] > '9') {
                return 0;
            }
            ev->run = ev->run * 10 + (uint32_t) (ev->p[i] - '0');
        }
        return i != 0;

    default:
        return interpreter_json_valid(ev->p, ev->len);
    }
}


static size_t
event_limit(interpreter_event_type type)
{
    switch (type) {
    case INTERPRETER_RESULT:
        return INTERPRETER_EVENT_MAX;
    case INTERPRETER_ERROR:
        return INTERPRETER_ERROR_MAX;
    case INTERPRETER_OPENED:
    case INTERPRETER_RENEWED:
        return INTERPRETER_PROBLEM_MAX;
    default:
        return 10;
    }
}


long
interpreter_event_parse(const char *p, size_t n, interpreter_event *ev)
{
    size_t               len;
    const unsigned char *u;

    if (n < INTERPRETER_EVENT_HEAD) {
        return 0;
    }

    u = (const unsigned char *) p;
    len = u[0] | (size_t) u[1] << 8 | (size_t) u[2] << 16
          | (size_t) u[3] << 24;

    memset(ev, 0, sizeof(*ev));
    ev->type = u[4];
    ev->p = p + INTERPRETER_EVENT_HEAD;
    ev->len = len;

    if (u[4] == '\0' || strchr("rncdez", u[4]) == NULL
        || len > event_limit(ev->type))
    {
        return -1;
    }

    if (n - INTERPRETER_EVENT_HEAD < len) {
        return 0;
    }

    return event_check(ev) ? (long) (INTERPRETER_EVENT_HEAD + len) : -1;
}
