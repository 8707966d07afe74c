/* Host names of previews, and origins; see sandbox_label.h. */

#include <string.h>

#include "sandbox_label.h"


#define rotl(x, b)  (((x) << (b)) | ((x) >> (64 - (b))))

#define sip_round(v0, v1, v2, v3)                                             \
    do {                                                                      \
        v0 += v1; v1 = rotl(v1, 13); v1 ^= v0; v0 = rotl(v0, 32);             \
        v2 += v3; v3 = rotl(v3, 16); v3 ^= v2;                                \
        v0 += v3; v3 = rotl(v3, 21); v3 ^= v0;                                \
        v2 += v1; v1 = rotl(v1, 17); v1 ^= v2; v2 = rotl(v2, 32);             \
    } while (0)


static uint64_t
load64(const unsigned char *p)
{
    return (uint64_t) p[0] | (uint64_t) p[1] << 8 | (uint64_t) p[2] << 16
           | (uint64_t) p[3] << 24 | (uint64_t) p[4] << 32
           | (uint64_t) p[5] << 40 | (uint64_t) p[6] << 48
           | (uint64_t) p[7] << 56;
}


/* What there is of it in a moment; both hashes end differently. */

typedef struct {
    uint64_t  v0, v1, v2, v3;
} sip_state;


static inline sip_state
sip_absorb(const unsigned char key[16], const unsigned char *p, size_t len,
    uint64_t wide)
{
    size_t     i;
    uint64_t   k0, k1, m;
    sip_state  s;

    k0 = load64(key);
    k1 = load64(key + 8);

    s.v0 = k0 ^ 0x736f6d6570736575ULL;
    s.v1 = k1 ^ 0x646f72616e646f6dULL ^ wide;
    s.v2 = k0 ^ 0x6c7967656e657261ULL;
    s.v3 = k1 ^ 0x7465646279746573ULL;

    for (i = len; i >= 8; i -= 8, p += 8) {
        m = load64(p);
        s.v3 ^= m;
        sip_round(s.v0, s.v1, s.v2, s.v3);
        s.v0 ^= m;
    }

    m = (uint64_t) len << 56;

    if (i > 0 && len >= 8) {

        /* what is left, with what was before it in front */

        m |= load64(p + i - 8) >> (64 - 8 * i);
        i = 0;
    }

    while (i > 0) {
        i--;
        m |= (uint64_t) p[i] << (8 * i);
    }

    s.v3 ^= m;
    sip_round(s.v0, s.v1, s.v2, s.v3);
    s.v0 ^= m;

    return s;
}


static inline uint64_t
sip_end(sip_state *s)
{
    sip_round(s->v0, s->v1, s->v2, s->v3);
    sip_round(s->v0, s->v1, s->v2, s->v3);
    sip_round(s->v0, s->v1, s->v2, s->v3);

    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}


uint64_t
sandbox_label_hash(const unsigned char key[16], const void *data, size_t len)
{
    sip_state  s;

    s = sip_absorb(key, data, len, 0);
    s.v2 ^= 0xff;

    return sip_end(&s);
}


void
sandbox_label_hash128(const unsigned char key[16], const void *data,
    size_t len, uint64_t hash[2])
{
    sip_state  s;

    s = sip_absorb(key, data, len, 0xee);
    s.v2 ^= 0xee;
    hash[0] = sip_end(&s);

    s.v1 ^= 0xdd;
    hash[1] = sip_end(&s);
}


static int
label_char(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9')
           || ch == '-' || ch == '_';
}


int
sandbox_label_valid(const char *label, size_t len)
{
    size_t  i;

    if (len == 0 || len > SANDBOX_LABEL_MAX) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (!label_char(label[i])) {
            return 0;
        }
    }

    return 1;
}


int
sandbox_host_valid(const char *host, size_t len)
{
    int     dots;
    size_t  i;

    if (len == 0 || len > SANDBOX_HOST_MAX) {
        return 0;
    }

    dots = 0;

    for (i = 0; i < len; i++) {
        if (host[i] == '.') {
            dots++;

        } else if (!label_char(host[i])) {
            return 0;
        }
    }

    return dots > 0;
}


size_t
sandbox_label_below(const char *host, size_t host_len, const char *domain,
    size_t domain_len)
{
    size_t  len;

    if (domain_len == 0 || host_len < domain_len + 2) {
        return 0;
    }

    len = host_len - domain_len - 1;

    if (host[len] != '.'
        || memcmp(host + len + 1, domain, domain_len) != 0
        || !sandbox_label_valid(host, len))
    {
        return 0;
    }

    return len;
}


static char
lower(char ch)
{
    return ch >= 'A' && ch <= 'Z' ? (char) (ch | 0x20) : ch;
}


static int
equal_nocase(const char *s, const char *low, size_t len)
{
    size_t  i;

    /* most are in lower case already */

    if (memcmp(s, low, len) == 0) {
        return 1;
    }

    for (i = 0; i < len; i++) {
        if (lower(s[i]) != low[i]) {
            return 0;
        }
    }

    return 1;
}


int
sandbox_host_match(const char *host, size_t host_len, const char *name,
    size_t name_len, unsigned *port)
{
    size_t    i;
    unsigned  n;

    *port = 0;

    if (name_len == 0 || host_len < name_len
        || !equal_nocase(host, name, name_len))
    {
        return 0;
    }

    /* nginx drops a final dot, with which a name is the same */

    if (host_len > name_len && host[name_len] == '.') {
        host++;
        host_len--;
    }

    if (host_len == name_len) {
        return 1;
    }

    if (host[name_len] != ':' || host_len - name_len > 6
        || host_len - name_len < 2 || host[name_len + 1] == '0')
    {
        return 0;
    }

    n = 0;

    for (i = name_len + 1; i < host_len; i++) {
        if (host[i] < '0' || host[i] > '9') {
            return 0;
        }

        n = n * 10 + (unsigned) (host[i] - '0');
    }

    if (n > 65535) {
        return 0;
    }

    *port = n;

    return 1;
}


/* Whether an origin of `n` bytes ends there in the URL. */

static int
origin_ends(const char *url, size_t len, size_t n)
{
    return n == len || url[n] == '/' || url[n] == '?' || url[n] == '#';
}


size_t
sandbox_origin_match(const char *url, size_t len, const char *origin,
    size_t origin_len)
{
    if (origin_len == 0 || len < origin_len
        || !equal_nocase(url, origin, origin_len)
        || !origin_ends(url, len, origin_len))
    {
        return 0;
    }

    return origin_len;
}


size_t
sandbox_port_write(char *dst, unsigned port)
{
    char    digits[SANDBOX_PORT_LEN];
    size_t  i, n;

    n = 0;

    do {
        digits[n++] = (char) ('0' + port % 10);
        port /= 10;
    } while (port > 0 && n < sizeof(digits));

    for (i = 0; i < n; i++) {
        dst[i] = digits[n - 1 - i];
    }

    return n;
}


size_t
sandbox_origin_local(const char *url, size_t len, unsigned port)
{
    char    digits[SANDBOX_PORT_LEN];
    size_t  i, n, nd;

    static const char  *prefix[] = {
        "http://localhost:", "http://127.0.0.1:",
        "https://localhost:", "https://127.0.0.1:"
    };

    nd = sandbox_port_write(digits, port);

    for (i = 0; i < sizeof(prefix) / sizeof(prefix[0]); i++) {
        n = strlen(prefix[i]);

        if (len < n + nd || !equal_nocase(url, prefix[i], n)) {
            continue;
        }

        return port > 0 && memcmp(url + n, digits, nd) == 0
               && origin_ends(url, len, n + nd) ? n + nd : 0;
    }

    return 0;
}


static int
is_blank(char ch)
{
    return (unsigned char) ch <= ' ' || ch == 0x7f;
}


typedef struct {
    const char  *value;
    size_t       len;
} cookie_attribute;


/* Whether an attribute between two semicolons has this name, in lower case. */

static int
cookie_attribute_is(const char *p, const char *end, const char *name,
    cookie_attribute *attr)
{
    const char  *eq, *last;

    while (p < end && is_blank(*p)) {
        p++;
    }

    for (eq = p; eq < end && *eq != '='; eq++) {
        /* void */
    }

    last = eq;

    while (last > p && is_blank(last[-1])) {
        last--;
    }

    if ((size_t) (last - p) != strlen(name)
        || !equal_nocase(p, name, (size_t) (last - p)))
    {
        return 0;
    }

    p = eq + (eq < end);

    while (p < end && is_blank(*p)) {
        p++;
    }

    while (end > p && is_blank(end[-1])) {
        end--;
    }

    attr->value = p;
    attr->len = (size_t) (end - p);

    return 1;
}


static const char *
cookie_part_end(const char *p, const char *last)
{
    while (p < last && *p != ';') {
        p++;
    }

    return p;
}


int
sandbox_cookie_stays(const char *value, size_t len, const char *host,
    size_t host_len)
{
    const char        *p, *end, *last;
    cookie_attribute   attr;

    last = value + len;

    /* behind the cookie itself */

    for (p = cookie_part_end(value, last); p < last; p = end) {
        end = cookie_part_end(++p, last);

        if (!cookie_attribute_is(p, end, "domain", &attr)) {
            continue;
        }

        if (attr.len > 0 && attr.value[0] == '.') {
            attr.value++;
            attr.len--;
        }

        if (attr.len > 0
            && (attr.len != host_len
                || !equal_nocase(attr.value, host, host_len)))
        {
            return 0;
        }
    }

    return 1;
}


/* Of two attributes some readers take the first, others the last: one stays. */

size_t
sandbox_cookie_below(char *dst, const char *value, size_t len,
    const char *prefix, size_t prefix_len)
{
    size_t             n;
    const char        *p, *end, *last;
    cookie_attribute   attr, path;

    last = value + len;
    path.value = NULL;
    path.len = 0;

    end = cookie_part_end(value, last);
    n = (size_t) (end - value);
    memcpy(dst, value, n);

    for (p = end; p < last; p = end) {
        end = cookie_part_end(p + 1, last);

        if (cookie_attribute_is(p + 1, end, "path", &attr)) {
            path = attr;
            continue;
        }

        memcpy(dst + n, p, (size_t) (end - p));
        n += (size_t) (end - p);
    }

    memcpy(dst + n, "; Path=", 7);
    n += 7;
    memcpy(dst + n, prefix, prefix_len);
    n += prefix_len;

    if (path.len > 1 && path.value[0] == '/') {
        memcpy(dst + n, path.value, path.len);
        n += path.len;
    }

    return n;
}
