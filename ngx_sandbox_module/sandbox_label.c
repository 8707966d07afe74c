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
sandbox_origin_local(const char *url, size_t len, unsigned port)
{
    char      digits[5];
    size_t    i, n, nd;
    unsigned  p;

    static const char  *prefix[] = {
        "http://localhost:", "http://127.0.0.1:",
        "https://localhost:", "https://127.0.0.1:"
    };

    nd = 0;
    for (p = port; p > 0 && nd < sizeof(digits); p /= 10) {
        digits[nd++] = (char) ('0' + p % 10);
    }

    for (i = 0; i < sizeof(prefix) / sizeof(prefix[0]); i++) {
        n = strlen(prefix[i]);

        if (len < n + nd || !equal_nocase(url, prefix[i], n)) {
            continue;
        }

        for (p = 0; p < nd && url[n + p] == digits[nd - 1 - p]; p++) {
            /* void */
        }

        return p == nd && nd > 0 && origin_ends(url, len, n + nd) ? n + nd : 0;
    }

    return 0;
}


static int
is_blank(char ch)
{
    return (unsigned char) ch <= ' ' || ch == 0x7f;
}


int
sandbox_cookie_stays(const char *value, size_t len, const char *host,
    size_t host_len)
{
    size_t  i, end, eq, from, to;

    for (i = 0; i < len && value[i] != ';'; i++) {
        /* the cookie itself */
    }

    while (i < len) {
        i++;

        for (end = i; end < len && value[end] != ';'; end++) {
            /* to the end of the attribute */
        }

        for (from = i; from < end && is_blank(value[from]); from++) {
            /* void */
        }

        for (eq = from; eq < end && value[eq] != '='; eq++) {
            /* void */
        }

        for (to = eq; to > from && is_blank(value[to - 1]); to--) {
            /* void */
        }

        i = end;

        if (to - from != 6 || !equal_nocase(value + from, "domain", 6)) {
            continue;
        }

        for (from = eq + (eq < end); from < end && is_blank(value[from]);
             from++)
        {
            /* void */
        }

        for (to = end; to > from && is_blank(value[to - 1]); to--) {
            /* void */
        }

        if (from < to && value[from] == '.') {
            from++;
        }

        if (from < to
            && (to - from != host_len
                || !equal_nocase(value + from, host, host_len)))
        {
            return 0;
        }
    }

    return 1;
}
