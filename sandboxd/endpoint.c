/* Endpoints of sandboxes that others run; see endpoint.h. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/vm_sockets.h>

#include "common/json_get.h"
#include "sandboxd/endpoint.h"


#define VSOCK_PORT_MAX  0xfffffffeLL


/* What no wider net means: this machine, its links, metadata of clouds. */
static const char *const  special_nets[] = {
    "127.0.0.0/8", "169.254.0.0/16", "100.100.100.200/32", "192.0.0.192/32",
    "::1/128", "fe80::/10", "fd00:ec2::/32", NULL
};

/* What is no single host's address, or another notation of one. */
static const char *const  never_nets[] = {
    "0.0.0.0/8", "224.0.0.0/3", "::/128", "ff00::/8", "::ffff:0:0/96",
    "::/96", "64:ff9b::/96", "2002::/16", NULL
};


static int
member_error(error **err, const char *name, const char *what)
{
    char  field[64];

    snprintf(field, sizeof(field), "endpoint%s%s", name[0] ? "." : "", name);

    return error_set_field(err, 400, "invalid_request", field, 0, "%s %s",
                           field, what);
}


static int
members_check(json_t *in, const char *const *known, error **err)
{
    size_t       i;
    json_t      *value;
    const char  *name;

    json_object_foreach(in, name, value) {
        for (i = 0; known[i] != NULL; i++) {
            if (strcmp(known[i], name) == 0) {
                break;
            }
        }

        if (known[i] == NULL) {
            return error_set_field(err, 400, "invalid_request", "endpoint", 0,
                                   "endpoint has no member \"%.32s\" here",
                                   name);
        }
    }

    return 0;
}


/* A relative path without empty and dot segments; what it leads to is looked
 * at when it is opened. */
static bool
name_valid(const char *name)
{
    size_t       len;
    const char  *p;

    for (p = name; *p != '\0'; p++) {
        if ((unsigned char) *p < 0x20 || *p == 0x7f) {
            return false;
        }
    }

    for (p = name; ; p += len + 1) {
        len = strcspn(p, "/");

        if (len == 0 || (len == 1 && p[0] == '.')
            || (len == 2 && p[0] == '.' && p[1] == '.'))
        {
            return false;
        }

        if (p[len] == '\0') {
            return true;
        }
    }
}


static int
port_parse(uint32_t *dst, json_t *in, const char *name, json_int_t max,
    error **err)
{
    json_t  *value;

    value = json_object_get(in, name);

    if (!json_is_integer(value) || json_integer_value(value) < 1
        || json_integer_value(value) > max)
    {
        return member_error(err, name, "must be an integer from 1 on");
    }

    *dst = (uint32_t) json_integer_value(value);

    return 0;
}


static int
unix_parse(endpoint *dst, json_t *in, error **err)
{
    const char               *name;
    static const char *const  known[] = { "kind", "name", "vsockPort", NULL };

    name = json_string_value(json_object_get(in, "name"));

    if (name == NULL || strlen(name) > ENDPOINT_NAME_MAX
        || strlen(name) != json_string_length(json_object_get(in, "name"))
        || !name_valid(name))
    {
        return member_error(err, "name", "must be the name of a socket below "
                            "sandboxd's --external-dir: at most 255 bytes, "
                            "not absolute, without \".\" and \"..\"");
    }

    strcpy(dst->name, name);

    if (json_object_get(in, "vsockPort") != NULL
        && port_parse(&dst->port, in, "vsockPort", VSOCK_PORT_MAX, err) < 0)
    {
        return -1;
    }

    return members_check(in, known, err);
}


static int
tcp_parse(endpoint *dst, json_t *in, error **err)
{
    const char               *text;
    static const char *const  known[] = { "kind", "address", "port", NULL };

    text = json_string_value(json_object_get(in, "address"));

    if (text != NULL && inet_pton(AF_INET, text, dst->address) == 1) {
        dst->family = AF_INET;

    } else if (text != NULL && inet_pton(AF_INET6, text, dst->address) == 1) {
        dst->family = AF_INET6;

    } else {
        return member_error(err, "address", "must be an IPv4 or IPv6 address "
                            "as a number");
    }

    return port_parse(&dst->port, in, "port", 65535, err) < 0 ? -1
           : members_check(in, known, err);
}


static int
vsock_parse(endpoint *dst, json_t *in, error **err)
{
    json_t                   *cid;
    static const char *const  known[] = { "kind", "cid", "port", NULL };

    cid = json_object_get(in, "cid");

    if (!json_is_integer(cid)
        || (json_integer_value(cid) < ENDPOINT_CID_MIN
            && json_integer_value(cid) != ENDPOINT_CID_LOCAL)
        || json_integer_value(cid) > (json_int_t) ENDPOINT_CID_MAX)
    {
        return member_error(err, "cid", "must be the cid of a virtual "
                            "machine, an integer from 3 on, or 1, this "
                            "machine");
    }

    dst->cid = (uint32_t) json_integer_value(cid);

    return port_parse(&dst->port, in, "port", VSOCK_PORT_MAX, err) < 0 ? -1
           : members_check(in, known, err);
}


int
endpoint_parse(endpoint *dst, json_t *in, error **err)
{
    const char  *kind;

    memset(dst, 0, sizeof(*dst));

    if (!json_is_object(in)) {
        return member_error(err, "", "is required and must be an object");
    }

    kind = json_string_value(json_object_get(in, "kind"));

    if (kind != NULL && strcmp(kind, "unix") == 0) {
        dst->kind = ENDPOINT_UNIX;
        return unix_parse(dst, in, err);
    }

    if (kind != NULL && strcmp(kind, "tcp") == 0) {
        dst->kind = ENDPOINT_TCP;
        return tcp_parse(dst, in, err);
    }

    if (kind != NULL && strcmp(kind, "vsock") == 0) {
        dst->kind = ENDPOINT_VSOCK;
        return vsock_parse(dst, in, err);
    }

    return member_error(err, "kind", "must be \"unix\", \"tcp\" or "
                        "\"vsock\"");
}


json_t *
endpoint_json(const endpoint *e)
{
    char  text[INET6_ADDRSTRLEN];

    switch (e->kind) {

    case ENDPOINT_UNIX:
        if (e->port != 0) {
            return json_pack("{s:s, s:s, s:I}", "kind", "unix",
                             "name", e->name,
                             "vsockPort", (json_int_t) e->port);
        }

        return json_pack("{s:s, s:s}", "kind", "unix", "name", e->name);

    case ENDPOINT_TCP:
        inet_ntop(e->family, e->address, text, sizeof(text));
        return json_pack("{s:s, s:s, s:I}", "kind", "tcp", "address", text,
                         "port", (json_int_t) e->port);

    default: /* ENDPOINT_VSOCK */
        return json_pack("{s:s, s:I, s:I}", "kind", "vsock",
                         "cid", (json_int_t) e->cid,
                         "port", (json_int_t) e->port);
    }
}


static bool
bits_equal(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned  rest;

    if (memcmp(a, b, bits / 8) != 0) {
        return false;
    }

    rest = bits % 8;

    return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}


static bool
net_holds(const endpoint_net *net, const endpoint *e)
{
    return net->family == e->family
           && bits_equal(net->address, e->address, net->bits);
}


static bool
net_within(const endpoint_net *net, const endpoint_net *wider)
{
    return net->family == wider->family && net->bits >= wider->bits
           && bits_equal(net->address, wider->address, wider->bits);
}


/* Whether each special net that the address is in holds the whole of a net. */
static bool
net_meant(const endpoint_net *net, const endpoint *e)
{
    size_t        i;
    endpoint_net  special;

    for (i = 0; special_nets[i] != NULL; i++) {
        if (endpoint_net_parse(&special, special_nets[i])
            && net_holds(&special, e) && !net_within(net, &special))
        {
            return false;
        }
    }

    return true;
}


static bool
address_allowed(const endpoint *e, const endpoint_rules *rules)
{
    size_t        i;
    unsigned      n;
    endpoint_net  never;

    for (i = 0; never_nets[i] != NULL; i++) {
        if (endpoint_net_parse(&never, never_nets[i]) && net_holds(&never, e)
            && !(e->family == AF_INET6
                 && memcmp(e->address, &in6addr_loopback, 16) == 0))
        {
            return false;
        }
    }

    for (n = 0; n < rules->net_count; n++) {
        if (net_holds(&rules->nets[n], e) && net_meant(&rules->nets[n], e)) {
            return true;
        }
    }

    return false;
}


int
endpoint_check(const endpoint *e, const endpoint_rules *rules, error **err)
{
    switch (e->kind) {

    case ENDPOINT_UNIX:
        if (rules->names) {
            return 0;
        }

        return error_set_field(err, 403, "endpoint_not_allowed",
                               "endpoint.kind", 0, "this sandboxd takes no "
                               "Unix sockets of others: it was started "
                               "without --external-dir");

    case ENDPOINT_TCP:
        if (address_allowed(e, rules)) {
            return 0;
        }

        return error_set_field(err, 403, "endpoint_not_allowed",
                               "endpoint.address", 0, "the address is in no "
                               "net that this sandboxd was told to take with "
                               "--external-net");

    default: /* ENDPOINT_VSOCK */
        if (rules->cid_first != 0 && e->cid >= rules->cid_first
            && e->cid <= rules->cid_last)
        {
            return 0;
        }

        return error_set_field(err, 403, "endpoint_not_allowed",
                               "endpoint.cid", 0, "the cid is none that this "
                               "sandboxd was told to take with "
                               "--external-cids");
    }
}


bool
endpoint_net_parse(endpoint_net *dst, const char *text)
{
    char         address[ENDPOINT_ADDRESS_MAX + 1];
    size_t       len;
    unsigned     i, max;
    const char  *bits;

    memset(dst, 0, sizeof(*dst));
    len = strcspn(text, "/");

    if (len > ENDPOINT_ADDRESS_MAX) {
        return false;
    }

    memcpy(address, text, len);
    address[len] = '\0';

    if (inet_pton(AF_INET, address, dst->address) == 1) {
        dst->family = AF_INET;
        max = 32;

    } else if (inet_pton(AF_INET6, address, dst->address) == 1) {
        dst->family = AF_INET6;
        max = 128;

    } else {
        return false;
    }

    dst->bits = max;

    if (text[len] == '/') {
        bits = text + len + 1;

        if (strspn(bits, "0123456789") != strlen(bits) || bits[0] == '\0'
            || strlen(bits) > 3 || (unsigned) atoi(bits) > max)
        {
            return false;
        }

        dst->bits = (unsigned) atoi(bits);
    }

    /* 10.1.2.3/8 would be read one way by some and another way by others. */
    for (i = dst->bits; i < max; i++) {
        if (dst->address[i / 8] & (0x80 >> i % 8)) {
            return false;
        }
    }

    return true;
}


static bool
cid_parse(const char *text, size_t len, uint32_t *dst)
{
    char                 copy[11];
    unsigned long long   n;

    if (len == 0 || len >= sizeof(copy)
        || strspn(text, "0123456789") < len)
    {
        return false;
    }

    memcpy(copy, text, len);
    copy[len] = '\0';
    n = strtoull(copy, NULL, 10);

    if ((n < ENDPOINT_CID_MIN && n != ENDPOINT_CID_LOCAL)
        || n > ENDPOINT_CID_MAX)
    {
        return false;
    }

    *dst = (uint32_t) n;

    return true;
}


bool
endpoint_cids_parse(endpoint_rules *dst, const char *text)
{
    size_t    len;
    uint32_t  first, last;

    len = strcspn(text, "-");

    if (!cid_parse(text, len, &first)) {
        return false;
    }

    last = first;

    if (text[len] == '-'
        && !cid_parse(text + len + 1, strlen(text + len + 1), &last))
    {
        return false;
    }

    /* Who means this machine says so, and nothing else. */
    if (last < first || (first == ENDPOINT_CID_LOCAL && last != first)) {
        return false;
    }

    dst->cid_first = first;
    dst->cid_last = last;

    return true;
}


static uint64_t
tag_add(uint64_t tag, const void *data, size_t len)
{
    const unsigned char  *p;

    for (p = data; len > 0; p++, len--) {
        tag = (tag ^ *p) * 0x100000001b3ull;
    }

    return tag;
}


uint64_t
endpoint_tag(const endpoint *e)
{
    uint64_t  tag;

    tag = 0xcbf29ce484222325ull;
    tag = tag_add(tag, e->name, strlen(e->name));
    tag = tag_add(tag, e->address, sizeof(e->address));
    tag = tag_add(tag, &e->cid, sizeof(e->cid));
    tag = tag_add(tag, &e->port, sizeof(e->port));

    return (tag & ~(uint64_t) ENDPOINT_TAG_KIND) | e->kind;
}


socklen_t
endpoint_sockaddr(const endpoint *e, struct sockaddr_storage *dst)
{
    struct sockaddr_in   *sin;
    struct sockaddr_vm   *svm;
    struct sockaddr_in6  *sin6;

    memset(dst, 0, sizeof(*dst));

    if (e->kind == ENDPOINT_VSOCK) {
        svm = (struct sockaddr_vm *) dst;
        svm->svm_family = AF_VSOCK;
        svm->svm_cid = e->cid;
        svm->svm_port = e->port;
        return sizeof(*svm);
    }

    if (e->family == AF_INET) {
        sin = (struct sockaddr_in *) dst;
        sin->sin_family = AF_INET;
        sin->sin_port = htons((uint16_t) e->port);
        memcpy(&sin->sin_addr, e->address, 4);
        return sizeof(*sin);
    }

    sin6 = (struct sockaddr_in6 *) dst;
    sin6->sin6_family = AF_INET6;
    sin6->sin6_port = htons((uint16_t) e->port);
    memcpy(&sin6->sin6_addr, e->address, 16);

    return sizeof(*sin6);
}
