/* Lines of API keys; see sandbox_key.h. */

#include <string.h>

#include "sandbox_key.h"
#include "sandbox_route.h"


#define SCOPES  (SANDBOX_SCOPE_READ|SANDBOX_SCOPE_EXEC|SANDBOX_SCOPE_MANAGE)


typedef struct {
    const char  *p;
    size_t       len;
} word;


static int
is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')
           || (c >= 'A' && c <= 'Z');
}


static int
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}


/* The next word before end; *p is moved behind it. */
static word
next_word(const char **p, const char *end)
{
    word  w;

    while (*p < end && is_blank(**p)) {
        (*p)++;
    }

    w.p = *p;

    while (*p < end && !is_blank(**p)) {
        (*p)++;
    }

    w.len = *p - w.p;

    return w;
}


static int
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


static const char *
parse_digest(word w, sandbox_key_line *dst)
{
    int          hi, lo;
    size_t       i;
    const char  *colon;

    colon = memchr(w.p, ':', w.len);

    if (colon != NULL) {
        dst->salt = w.p;
        dst->salt_len = colon - w.p;

        if (dst->salt_len < SANDBOX_KEY_SALT_MIN
            || dst->salt_len > SANDBOX_KEY_SALT_MAX)
        {
            return "a salt has 8 to 64 characters";
        }

        for (i = 0; i < dst->salt_len; i++) {
            if (!is_alnum(w.p[i])) {
                return "a salt has letters and digits only";
            }
        }

        w.len -= dst->salt_len + 1;
        w.p = colon + 1;
    }

    for (i = 0; i < w.len && i < 2 * SANDBOX_KEY_DIGEST_LEN; i++) {
        if (hex_value(w.p[i]) < 0) {
            return "a key's SHA-256 has a character that is no hexadecimal "
                   "digit";
        }
    }

    if (w.len != 2 * SANDBOX_KEY_DIGEST_LEN) {
        return "a key's SHA-256 of 64 hexadecimal digits is missing";
    }

    for (i = 0; i < SANDBOX_KEY_DIGEST_LEN; i++) {
        hi = hex_value(w.p[2 * i]);
        lo = hex_value(w.p[2 * i + 1]);
        dst->digest[i] = (unsigned char) (hi << 4 | lo);
    }

    return NULL;
}


int
sandbox_tenant_valid(const char *name, size_t len)
{
    size_t  i;

    if (len == 0 || len > SANDBOX_TENANT_NAME_MAX) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (!is_alnum(name[i])
            && (name[i] == '\0' || strchr("._@+-", name[i]) == NULL))
        {
            return 0;
        }
    }

    return 1;
}


unsigned
sandbox_scope_parse(const char *name, size_t len)
{
    unsigned     bit;
    const char  *known;

    for (bit = SANDBOX_SCOPE_READ; bit <= SANDBOX_SCOPE_ADMIN; bit <<= 1) {
        known = sandbox_scope_name(bit);

        if (strlen(known) == len && memcmp(known, name, len) == 0) {
            return bit;
        }
    }

    return 0;
}


static const char *
parse_scopes(word w, sandbox_key_line *dst)
{
    size_t       len;
    unsigned     bit;
    const char  *comma;

    for ( ;; ) {
        comma = memchr(w.p, ',', w.len);
        len = comma != NULL ? (size_t) (comma - w.p) : w.len;
        bit = sandbox_scope_parse(w.p, len);

        if (bit == 0) {
            return "scopes are read, exec, manage and admin, with commas "
                   "between them";
        }

        dst->scopes |= bit;

        if (comma == NULL) {
            return NULL;
        }

        w.p += len + 1;
        w.len -= len + 1;
    }
}


static int
parse_limit(word w, unsigned *dst)
{
    size_t  i;

    *dst = 0;

    for (i = 0; i < w.len && i < 7; i++) {
        if (w.p[i] < '0' || w.p[i] > '9') {
            return -1;
        }

        *dst = *dst * 10 + (unsigned) (w.p[i] - '0');
    }

    return i != w.len || *dst == 0 || *dst > SANDBOX_KEY_LIMIT_MAX ? -1 : 0;
}


static const char *
parse_option(word w, sandbox_key_line *dst, unsigned *seen)
{
    size_t       i, len;
    word         value;
    const char  *eq;

    static const char *const  names[] = { "tenant", "scopes", "sandboxes",
                                          "starts", "create" };

    eq = memchr(w.p, '=', w.len);
    len = eq != NULL ? (size_t) (eq - w.p) : 0;

    for (i = 0; i < 5; i++) {
        if (strlen(names[i]) == len && memcmp(names[i], w.p, len) == 0) {
            break;
        }
    }

    if (i == 5 || eq == NULL) {
        return "options are tenant=, scopes=, sandboxes=, starts= and "
               "create=";
    }

    if (*seen & 1u << i) {
        return "an option stands there twice";
    }

    *seen |= 1u << i;
    value.p = eq + 1;
    value.len = w.len - len - 1;

    switch (i) {

    case 0:
        dst->tenant = value.p;
        dst->tenant_len = value.len;

        return sandbox_tenant_valid(value.p, value.len) ? NULL
               : "a tenant's name has 1 to 64 of A-Z, a-z, 0-9 and ._@+-";

    case 1:
        return parse_scopes(value, dst);

    case 2:
        return parse_limit(value, &dst->sandboxes) == 0 ? NULL
               : "sandboxes is 1 to 1000000";

    case 3:
        return parse_limit(value, &dst->starts) == 0 ? NULL
               : "starts is 1 to 1000000, a minute";

    default:
        dst->create = value.len == 2 && memcmp(value.p, "on", 2) == 0;

        return dst->create
               || (value.len == 3 && memcmp(value.p, "off", 3) == 0) ? NULL
               : "create is on or off";
    }
}


const char *
sandbox_key_parse(const char *p, size_t len, sandbox_key_line *dst)
{
    word         w;
    size_t       i;
    unsigned     seen;
    const char  *end, *why;

    memset(dst, 0, sizeof(sandbox_key_line));
    dst->create = 1;

    seen = 0;
    end = p + len;
    w = next_word(&p, end);

    if (w.len == 0 || w.p[0] == '#') {
        return NULL;
    }

    dst->found = 1;
    why = parse_digest(w, dst);

    if (why != NULL) {
        return why;
    }

    w = next_word(&p, end);
    dst->name = w.p;
    dst->name_len = w.len;

    if (w.len == 0 || w.len > SANDBOX_KEY_NAME_MAX) {
        return "a key needs a name of 1 to 64 characters after a blank";
    }

    for (i = 0; i < w.len; i++) {
        if (w.p[i] <= ' ' || w.p[i] >= 0x7f) {
            return "a key's name has a character that is none of printable "
                   "ASCII";
        }
    }

    for (w = next_word(&p, end); w.len != 0; w = next_word(&p, end)) {
        why = parse_option(w, dst, &seen);

        if (why != NULL) {
            return why;
        }
    }

    if (dst->scopes == 0) {
        dst->scopes = dst->tenant_len ? SCOPES : SCOPES|SANDBOX_SCOPE_ADMIN;
    }

    return NULL;
}
