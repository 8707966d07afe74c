/* Ids, ports, tokens and labels; see names.h. */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/rand.h>

#include "sandboxd/names.h"

#define ID_OURS_MAX   40
#define RANDOM_MAX    32


static const char  base32[] = "abcdefghijklmnopqrstuvwxyz234567";


static bool
is_base32(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '2' && c <= '7');
}


static bool
is_id_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}


static bool
id_has_tenant_prefix(const char *id)
{
    int  i;

    if (id[0] != 't') {
        return false;
    }

    for (i = 1; i < PREFIX_LEN; i++) {
        if (!is_base32(id[i])) {
            return false;
        }
    }

    return id[PREFIX_LEN] == '-';
}


static bool
id_is_ours(const char *id, size_t len)
{
    size_t  i;

    if (len == 0 || len > ID_OURS_MAX || id[0] == '-' || id[len - 1] == '-') {
        return false;
    }

    for (i = 0; i < len; i++) {
        if (!is_id_char(id[i]) && id[i] != '-') {
            return false;
        }
    }

    return true;
}


static bool
id_is_bridge(const char *id, size_t len)
{
    size_t  i;

    if (len == 0 || len > ID_MAX) {
        return false;
    }

    for (i = 0; i < len; i++) {
        if (!is_base32(id[i])) {
            return false;
        }
    }

    return true;
}


int
id_check(const char *id, bool normalize, char dst[ID_MAX + 1], error **err)
{
    size_t  i, len;

    len = strlen(id);
    if (len == 0 || len > ID_MAX) {
        return error_set_field(err, 400, "invalid_id", "id", ID_MAX,
                               "a sandbox id has 1 to %d characters, not %zu",
                               ID_MAX, len);
    }

    for (i = 0; i < len; i++) {
        dst[i] = id[i];

        if (id[i] >= 'A' && id[i] <= 'Z') {
            if (!normalize) {
                return error_set_field(err, 400, "invalid_id", "id", 0,
                                       "a sandbox id has no uppercase letters"
                                       " (normalizeId folds them)");
            }

            dst[i] = (char) (id[i] - 'A' + 'a');
        }
    }

    dst[len] = '\0';

    if (!id_is_ours(dst, len) && !id_is_bridge(dst, len)) {
        return error_set_field(err, 400, "invalid_id", "id", ID_OURS_MAX,
                               "a sandbox id is 1 to %d of a-z, 0-9 and -, "
                               "with no - at its ends, or 1 to %d of a-z and "
                               "2-7", ID_OURS_MAX, ID_MAX);
    }

    if (id_has_tenant_prefix(dst)) {
        return error_set_field(err, 400, "invalid_id", "id", 0,
                               "ids that begin with t, five of a-z and 2-7, "
                               "and - are reserved");
    }

    return 0;
}


const char *
name_id(const char *name)
{
    return id_has_tenant_prefix(name) ? name + PREFIX_LEN + 1 : name;
}


int
name_check(const char *name, char dst[QUALIFIED_MAX + 1], error **err)
{
    size_t  len;

    len = (size_t) (name_id(name) - name);
    memcpy(dst, name, len);

    return id_check(name + len, false, dst + len, err);
}


int
tenant_check(const char *tenant, error **err)
{
    size_t  len;

    len = strlen(tenant);

    if (len == 0 || len > TENANT_MAX
        || strspn(tenant, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                          "abcdefghijklmnopqrstuvwxyz0123456789._@+-") != len)
    {
        return error_set_field(err, 400, "invalid_tenant", "tenant",
                               TENANT_MAX, "a tenant's name has 1 to %d of "
                               "A-Z, a-z, 0-9 and ._@+-", TENANT_MAX);
    }

    return 0;
}


/* Each random byte gives five bits: the alphabet has 32 characters. */
int
base32_generate(char *dst, unsigned len, error **err)
{
    unsigned       i;
    unsigned char  raw[RANDOM_MAX];

    if (len > sizeof(raw) || RAND_bytes(raw, (int) len) != 1) {
        return error_set(err, 500, "internal", "no random numbers");
    }

    for (i = 0; i < len; i++) {
        dst[i] = base32[raw[i] & 31];
    }

    dst[len] = '\0';

    return 0;
}


int
random_hex(char *dst, unsigned bytes, error **err)
{
    unsigned       i;
    unsigned char  raw[RANDOM_MAX];

    if (bytes > sizeof(raw) || RAND_bytes(raw, (int) bytes) != 1) {
        return error_set(err, 500, "internal", "no random numbers");
    }

    for (i = 0; i < bytes; i++) {
        sprintf(dst + 2 * i, "%02x", raw[i]);
    }

    return 0;
}


int
id_generate(char dst[ID_GENERATED + 1], error **err)
{
    return base32_generate(dst, ID_GENERATED, err);
}


int
token_generate(char dst[TOKEN_GENERATED + 1], error **err)
{
    return base32_generate(dst, TOKEN_GENERATED, err);
}


int
generation_make(uint32_t *gen, uint32_t old, error **err)
{
    do {
        if (RAND_bytes((unsigned char *) gen, sizeof(*gen)) != 1) {
            return error_set(err, 500, "internal", "no random numbers");
        }
    } while (*gen == 0 || *gen == old);

    return 0;
}


int
port_check(long long port, error **err)
{
    if (port < PORT_MIN || port > PORT_MAX || port == PORT_CONTROL) {
        return error_set_field(err, 400, "invalid_port", "port", PORT_MAX,
                               "port must be %d to %d, and not %d",
                               PORT_MIN, PORT_MAX, PORT_CONTROL);
    }

    return 0;
}


int
token_check(const char *token, error **err)
{
    size_t  i, len;

    len = strlen(token);
    if (len < TOKEN_MIN || len > TOKEN_MAX) {
        return error_set_field(err, 400, "invalid_token", "token", TOKEN_MAX,
                               "token has %d to %d characters, not %zu",
                               TOKEN_MIN, TOKEN_MAX, len);
    }

    for (i = 0; i < len; i++) {
        if (!is_id_char(token[i]) && token[i] != '_') {
            return error_set_field(err, 400, "invalid_token", "token", 0,
                                   "token may hold a-z, 0-9 and _ only");
        }
    }

    return 0;
}


int
label_build(char dst[LABEL_MAX + 1], unsigned port, const char *name,
    const char *token, error **err)
{
    int          n, room;
    const char  *id;

    id = name_id(name);
    n = snprintf(dst, LABEL_MAX + 1, "%u-%s%s%s", port, name,
                 token ? "-" : "", token ? token : "");

    if (n > 0 && n <= LABEL_MAX) {
        return 0;
    }

    room = LABEL_MAX - (n - (int) strlen(id));

    return error_set_field(err, 400, "label_too_long", "id", room,
                           "the host label would have %d characters of %d: "
                           "with port %u%s an id may have %d, this one has "
                           "%zu", n, LABEL_MAX, port,
                           token ? " and this token" : "", room, strlen(id));
}


static bool
host_label_valid(const char *label, size_t len)
{
    size_t  i;

    if (len == 0 || len > LABEL_MAX || label[0] == '-'
        || label[len - 1] == '-')
    {
        return false;
    }

    for (i = 0; i < len; i++) {
        if (!is_id_char(label[i]) && label[i] != '-') {
            return false;
        }
    }

    return true;
}


/* What programs may take for a number, and the whole for an IPv4 address. */
static bool
host_label_number(const char *label)
{
    if (label[strspn(label, "0123456789")] == '\0') {
        return true;
    }

    return label[0] == '0' && label[1] == 'x'
           && label[2 + strspn(label + 2, "0123456789abcdef")] == '\0';
}


static int
host_form(const char *name, const char *field, size_t max, error **err)
{
    size_t       len;
    const char  *p, *end;

    if (strlen(name) > max) {
        return error_set_field(err, 400, "invalid_request", field,
                               (long long) max, "a name here has at most %zu "
                               "characters, not %zu", max, strlen(name));
    }

    for (p = name; ; p = end + 1) {
        end = strchr(p, '.');
        len = end != NULL ? (size_t) (end - p) : strlen(p);

        if (!host_label_valid(p, len)) {
            return error_set_field(err, 400, "invalid_request", field, 0,
                                   "\"%s\" is no host name: labels of a-z, 0-9 "
                                   "and -, with no - at their ends, and dots "
                                   "between them", name);
        }

        if (end == NULL) {
            break;
        }
    }

    if (p == name || host_label_number(p)) {
        return error_set_field(err, 400, "invalid_request", field, 0,
                               "\"%s\" must have two labels, the last of "
                               "which is no number", name);
    }

    return 0;
}


int
host_check(const char *name, const char *field, error **err)
{
    size_t  digits;

    if (host_form(name, field, HOST_MAX, err) < 0) {
        return -1;
    }

    digits = strspn(name, "0123456789");

    if (digits > 0 && name[digits] == '-') {
        return error_set_field(err, 400, "invalid_request", field, 0,
                               "\"%s\" begins like the label of a port", name);
    }

    return 0;
}


int
domain_check(const char *name, error **err)
{
    return host_form(name, "name", DOMAIN_MAX, err);
}


long long
duration_parse(const char *text)
{
    char       *end;
    long long   n, unit;

    if (!isdigit((unsigned char) text[0]) || strlen(text) > 10) {
        return -1;
    }

    n = strtoll(text, &end, 10);

    switch (end[0]) {
    case '\0':
        return n;
    case 's':
        unit = 1;
        break;
    case 'm':
        unit = 60;
        break;
    case 'h':
        unit = 3600;
        break;
    case 'd':
        unit = 86400;
        break;
    default:
        return -1;
    }

    return end[1] == '\0' ? n * unit : -1;
}
