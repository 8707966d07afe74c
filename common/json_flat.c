/* The reader of flat JSON objects; see json_flat.h. */

#include <stdint.h>
#include <string.h>

#include "common/json_flat.h"
#include "common/utf8.h"

typedef struct {
    char        *start;
    char        *pos;
    char        *end;
    const char  *failed;        /* why, or NULL */
} json_flat_reader;

static int json_flat_members(json_flat_reader *r, json_flat_object *o);
static int json_flat_value(json_flat_reader *r, json_flat *m);
static int json_flat_nested(json_flat_reader *r);
static int json_flat_scalar(json_flat_reader *r, json_flat *m);
static int json_flat_number(json_flat_reader *r);
static int json_flat_string(json_flat_reader *r, bool keep, char **text,
    size_t *len);
static int json_flat_escape(json_flat_reader *r, char **out);


static int
json_flat_fail(json_flat_reader *r, const char *why)
{
    r->failed = why;
    return -1;
}


static int
json_flat_peek(json_flat_reader *r)
{
    while (r->pos < r->end
           && (*r->pos == ' ' || *r->pos == '\t' || *r->pos == '\n'
               || *r->pos == '\r'))
    {
        r->pos++;
    }

    return r->pos < r->end ? (unsigned char) *r->pos : -1;
}


int
json_flat_parse(json_flat_object *o, char *text, size_t len, error **err)
{
    json_flat_reader  r = { text, text, text + len, NULL };

    o->count = 0;

    if (json_flat_members(&r, o) == 0 && json_flat_peek(&r) != -1) {
        json_flat_fail(&r, "something follows the object");
    }

    if (r.failed != NULL) {
        return error_set(err, 400, "VALIDATION_FAILED",
                         "Failed to parse request body: %s at byte %zu",
                         r.failed, (size_t) (r.pos - r.start));
    }

    return 0;
}


const json_flat *
json_flat_get(const json_flat_object *o, const char *name)
{
    size_t                  i, len;
    static const json_flat  absent = { .type = JSON_FLAT_ABSENT };

    len = strlen(name);

    for (i = 0; i < o->count; i++) {
        if (o->member[i].name_len == len
            && memcmp(o->member[i].name, name, len) == 0)
        {
            return &o->member[i];
        }
    }

    return &absent;
}


static int
json_flat_members(json_flat_reader *r, json_flat_object *o)
{
    int         c;
    size_t      i;
    json_flat  *m;

    if (json_flat_peek(r) != '{') {
        return json_flat_fail(r, "a JSON object was expected");
    }

    r->pos++;

    if (json_flat_peek(r) == '}') {
        r->pos++;
        return 0;
    }

    for ( ;; ) {
        if (json_flat_peek(r) != '"') {
            return json_flat_fail(r, "a member's name was expected");
        }

        if (o->count == JSON_FLAT_MEMBERS) {
            return json_flat_fail(r, "more than 64 members");
        }

        m = &o->member[o->count];

        if (json_flat_string(r, true, &m->name, &m->name_len) != 0) {
            return -1;
        }

        for (i = 0; i < o->count; i++) {
            if (o->member[i].name_len == m->name_len
                && memcmp(o->member[i].name, m->name, m->name_len) == 0)
            {
                return json_flat_fail(r, "a member that is there twice ends");
            }
        }

        if (json_flat_peek(r) != ':') {
            return json_flat_fail(r, "a colon was expected");
        }

        r->pos++;

        if (json_flat_value(r, m) != 0) {
            return -1;
        }

        o->count++;
        c = json_flat_peek(r);

        if (c != ',' && c != '}') {
            return json_flat_fail(r, "a comma or a brace was expected");
        }

        r->pos++;

        if (c == '}') {
            return 0;
        }
    }
}


static int
json_flat_value(json_flat_reader *r, json_flat *m)
{
    int  c;

    c = json_flat_peek(r);
    m->text = r->pos;

    if (c == '"') {
        m->type = JSON_FLAT_STRING;
        return json_flat_string(r, true, &m->text, &m->len);
    }

    if (c == '{' || c == '[') {
        m->type = c == '{' ? JSON_FLAT_OBJECT : JSON_FLAT_ARRAY;
        if (json_flat_nested(r) != 0) {
            return -1;
        }

    } else if (json_flat_scalar(r, m) != 0) {
        return -1;
    }

    m->len = (size_t) (r->pos - m->text);

    return 0;
}


/*
 * Checks an array or an object without changing it.  What is open is a stack
 * of bits, 1 for an object, so that depth costs neither recursion nor memory.
 */

static int
json_flat_nested(json_flat_reader *r)
{
    int        c, depth;
    bool       object;
    size_t     len;
    char      *text;
    uint64_t   open;
    json_flat  scalar;

    open = 0;
    depth = 0;

    for ( ;; ) {
        c = json_flat_peek(r);

        if (c == '{' || c == '[') {
            if (depth == JSON_FLAT_DEPTH) {
                return json_flat_fail(r, "a value nested deeper than 64");
            }

            r->pos++;
            depth++;
            object = c == '{';
            open = open << 1 | object;

            if (json_flat_peek(r) != (object ? '}' : ']')) {
                goto next_member;
            }

        } else if (c == '"') {
            if (json_flat_string(r, false, &text, &len) != 0) {
                return -1;
            }

        } else if (json_flat_scalar(r, &scalar) != 0) {
            return -1;
        }

        /* A value is complete; so may be what it lies in. */

        for ( ;; ) {
            object = open & 1;
            c = json_flat_peek(r);

            if (c == ',') {
                r->pos++;
                break;
            }

            if (c != (object ? '}' : ']')) {
                return json_flat_fail(r, "a comma or the end of a nested "
                                      "value was expected");
            }

            r->pos++;
            open >>= 1;

            if (--depth == 0) {
                return 0;
            }
        }

    next_member:

        if (open & 1) {
            if (json_flat_peek(r) != '"'
                || json_flat_string(r, false, &text, &len) != 0
                || json_flat_peek(r) != ':')
            {
                return json_flat_fail(r, r->failed ? r->failed
                                      : "a nested member was expected");
            }

            r->pos++;
        }
    }
}


static int
json_flat_scalar(json_flat_reader *r, json_flat *m)
{
    size_t  i;

    static const struct {
        const char      *word;
        size_t           len;
        json_flat_type   type;
    } words[] = {
        { "true", 4, JSON_FLAT_TRUE },
        { "false", 5, JSON_FLAT_FALSE },
        { "null", 4, JSON_FLAT_NULL }
    };

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if ((size_t) (r->end - r->pos) >= words[i].len
            && memcmp(r->pos, words[i].word, words[i].len) == 0)
        {
            m->type = words[i].type;
            r->pos += words[i].len;
            return 0;
        }
    }

    m->type = JSON_FLAT_NUMBER;

    return json_flat_number(r);
}


static size_t
json_flat_digits(json_flat_reader *r)
{
    char  *from;

    for (from = r->pos; r->pos < r->end; r->pos++) {
        if (*r->pos < '0' || *r->pos > '9') {
            break;
        }
    }

    return (size_t) (r->pos - from);
}


static int
json_flat_number(json_flat_reader *r)
{
    size_t  digits;
    bool    zero;

    if (r->pos < r->end && *r->pos == '-') {
        r->pos++;
    }

    zero = r->pos < r->end && *r->pos == '0';
    digits = json_flat_digits(r);

    if (digits == 0 || (zero && digits > 1)) {
        return json_flat_fail(r, "no JSON value");
    }

    if (r->pos < r->end && *r->pos == '.') {
        r->pos++;
        if (json_flat_digits(r) == 0) {
            return json_flat_fail(r, "a malformed number");
        }
    }

    if (r->pos < r->end && (*r->pos == 'e' || *r->pos == 'E')) {
        r->pos++;
        if (r->pos < r->end && (*r->pos == '+' || *r->pos == '-')) {
            r->pos++;
        }
        if (json_flat_digits(r) == 0) {
            return json_flat_fail(r, "a malformed number");
        }
    }

    return 0;
}


/* How many bytes from the position stand for themselves. */

static size_t
json_flat_run(json_flat_reader *r)
{
    char      *p;
    uint64_t   word, quote, slash, control;

    const uint64_t  ones = 0x0101010101010101u;
    const uint64_t  highs = 0x8080808080808080u;

    p = r->pos;

    while ((size_t) (r->end - p) >= sizeof(word)) {
        memcpy(&word, p, sizeof(word));

        control = word - ones * 0x20;
        quote = word ^ ones * '"';
        slash = word ^ ones * '\\';
        quote = (quote - ones) & ~quote;
        slash = (slash - ones) & ~slash;

        if (((word | control | quote | slash) & highs) != 0) {
            break;
        }

        p += sizeof(word);
    }

    while (p < r->end && (unsigned char) *p >= 0x20 && *p != '"'
           && *p != '\\' && (unsigned char) *p < 0x80)
    {
        p++;
    }

    return (size_t) (p - r->pos);
}


/*
 * Reads a string.  With keep it is decoded where it lies (what is decoded is
 * never longer than what is written) and its closing quote gives room for the
 * NUL; without, it is only checked.
 */

static int
json_flat_string(json_flat_reader *r, bool keep, char **text, size_t *len)
{
    char    *out;
    size_t   n;
    char     spare[4];

    out = ++r->pos;
    *text = out;

    for ( ;; ) {
        n = json_flat_run(r);

        if (n > 0) {
            if (keep && out != r->pos) {
                memmove(out, r->pos, n);
            }

            out += n;
            r->pos += n;
        }

        if (r->pos == r->end) {
            return json_flat_fail(r, "a string without its end");
        }

        if (*r->pos == '"') {
            break;
        }

        if (*r->pos == '\\') {
            char  *to = keep ? out : spare;

            if (json_flat_escape(r, &to) != 0) {
                return -1;
            }

            out = keep ? to : out;
            continue;
        }

        if ((unsigned char) *r->pos < 0x20) {
            return json_flat_fail(r, "a control character in a string");
        }

        if (utf8_next(r->pos, (size_t) (r->end - r->pos), &n) != UTF8_OK) {
            return json_flat_fail(r, "bytes that are not UTF-8");
        }

        if (keep) {
            memmove(out, r->pos, n);
        }

        out += n;
        r->pos += n;
    }

    *len = (size_t) (out - *text);

    if (keep) {
        *out = '\0';
    }

    r->pos++;

    return 0;
}


static int
json_flat_hex(json_flat_reader *r, uint32_t *value)
{
    int       i;
    char      c;
    uint32_t  v;

    if (r->end - r->pos < 4) {
        return json_flat_fail(r, "a cut escape");
    }

    for (v = 0, i = 0; i < 4; i++) {
        c = r->pos[i];
        v <<= 4;

        if (c >= '0' && c <= '9') {
            v |= (uint32_t) (c - '0');

        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            v |= (uint32_t) ((c | 0x20) - 'a' + 10);

        } else {
            return json_flat_fail(r, "a malformed escape");
        }
    }

    r->pos += 4;
    *value = v;

    return 0;
}


static char *
json_flat_put(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (char) c;

    } else if (c < 0x800) {
        *out++ = (char) (0xc0 | c >> 6);
        *out++ = (char) (0x80 | (c & 63));

    } else if (c < 0x10000) {
        *out++ = (char) (0xe0 | c >> 12);
        *out++ = (char) (0x80 | (c >> 6 & 63));
        *out++ = (char) (0x80 | (c & 63));

    } else {
        *out++ = (char) (0xf0 | c >> 18);
        *out++ = (char) (0x80 | (c >> 12 & 63));
        *out++ = (char) (0x80 | (c >> 6 & 63));
        *out++ = (char) (0x80 | (c & 63));
    }

    return out;
}


static int
json_flat_escape(json_flat_reader *r, char **out)
{
    char        *low;
    uint32_t     c, d;
    const char  *at;

    static const char  from[] = "\"\\/bfnrt";
    static const char  to[] = "\"\\/\b\f\n\r\t";

    if (r->end - r->pos < 2) {
        return json_flat_fail(r, "a cut escape");
    }

    if (r->pos[1] != 'u') {
        at = r->pos[1] != '\0' ? strchr(from, r->pos[1]) : NULL;
        if (at == NULL) {
            return json_flat_fail(r, "an unknown escape");
        }

        *(*out)++ = to[at - from];
        r->pos += 2;
        return 0;
    }

    r->pos += 2;

    if (json_flat_hex(r, &c) != 0) {
        return -1;
    }

    if (c >= 0xd800 && c <= 0xdbff && r->end - r->pos >= 2
        && r->pos[0] == '\\' && r->pos[1] == 'u')
    {
        low = r->pos;
        r->pos += 2;

        if (json_flat_hex(r, &d) != 0) {
            return -1;
        }

        if (d >= 0xdc00 && d <= 0xdfff) {
            c = 0x10000 + ((c - 0xd800) << 10) + (d - 0xdc00);

        } else {
            r->pos = low;
        }
    }

    *out = json_flat_put(*out, c >= 0xd800 && c <= 0xdfff ? 0xfffd : c);

    return 0;
}
