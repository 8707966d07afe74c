/* A virtual machine's part of the boot object; see vm_config.h. */

#include <arpa/inet.h>
#include <string.h>

#include "agent/vm_config.h"


static int
vm_bad(error **err, const char *field, const char *why)
{
    return error_set_field(err, 400, "invalid_boot", field, 0, "%s %s", field,
                           why);
}


static int
vm_hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


static int
vm_entropy(vm_config *c, const json_t *v, error **err)
{
    int          high, low;
    size_t       i, len;
    const char  *text;

    if (v == NULL) {
        return 0;
    }

    text = json_string_value(v);
    len = json_string_length(v);

    if (text == NULL || len % 2 != 0 || len > VM_ENTROPY_MAX * 2) {
        return vm_bad(err, "entropy", "must be at most 64 bytes in hex");
    }

    for (i = 0; i < len / 2; i++) {
        high = vm_hex_digit(text[i * 2]);
        low = vm_hex_digit(text[i * 2 + 1]);
        if (high < 0 || low < 0) {
            return vm_bad(err, "entropy", "must be at most 64 bytes in hex");
        }
        c->entropy[i] = (unsigned char) (high << 4 | low);
    }

    c->entropy_len = len / 2;

    return 0;
}


static int
vm_address(const json_t *o, const char *name, uint32_t *out)
{
    const char  *text;

    text = json_string_value(json_object_get(o, name));

    return text != NULL && inet_pton(AF_INET, text, out) == 1 ? 0 : -1;
}


static int
vm_network(vm_config *c, const json_t *o, error **err)
{
    size_t         i;
    json_int_t     prefix, mtu;
    const char    *name;

    if (o == NULL || json_is_null(o)) {
        return 0;
    }

    if (!json_is_object(o)) {
        return vm_bad(err, "network", "must be an object");
    }

    name = json_string_value(json_object_get(o, "interface"));
    if (name == NULL || name[0] == '\0' || strlen(name) >= sizeof(c->interface))
    {
        return vm_bad(err, "network.interface", "must be a name");
    }

    for (i = 0; name[i] != '\0'; i++) {
        if (name[i] <= ' ' || name[i] > '~' || name[i] == '/') {
            return vm_bad(err, "network.interface", "must be a name");
        }
    }

    if (vm_address(o, "address", &c->address) != 0) {
        return vm_bad(err, "network.address", "must be an IPv4 address");
    }

    prefix = json_integer_value(json_object_get(o, "prefix"));
    if (prefix < 1 || prefix > 32) {
        return vm_bad(err, "network.prefix", "must be from 1 to 32");
    }
    c->netmask = htonl((uint32_t) (0xffffffffULL << (32 - prefix)));

    if (json_object_get(o, "gateway") != NULL
        && vm_address(o, "gateway", &c->gateway) != 0)
    {
        return vm_bad(err, "network.gateway", "must be an IPv4 address");
    }

    mtu = json_integer_value(json_object_get(o, "mtu"));
    if (json_object_get(o, "mtu") != NULL && (mtu < 68 || mtu > 65535)) {
        return vm_bad(err, "network.mtu", "must be from 68 to 65535");
    }
    c->mtu = (unsigned) mtu;

    strcpy(c->interface, name);

    return 0;
}


static int
vm_dns(vm_config *c, const json_t *list, error **err)
{
    size_t          i;
    const char     *text;
    unsigned char   parsed[16];

    if (list == NULL) {
        return 0;
    }

    if (!json_is_array(list) || json_array_size(list) > VM_DNS_MAX) {
        return vm_bad(err, "dns", "must be at most 3 addresses");
    }

    for (i = 0; i < json_array_size(list); i++) {
        text = json_string_value(json_array_get(list, i));

        if (text == NULL || strlen(text) >= sizeof(c->dns[0])
            || (inet_pton(AF_INET, text, parsed) != 1
                && inet_pton(AF_INET6, text, parsed) != 1))
        {
            return vm_bad(err, "dns", "must be at most 3 addresses");
        }

        strcpy(c->dns[c->ndns++], text);
    }

    return 0;
}


int
vm_config_parse(vm_config *c, const json_t *boot, error **err)
{
    const json_t  *v;

    memset(c, 0, sizeof(*c));

    v = json_object_get(boot, "time");
    if (v != NULL && (!json_is_integer(v) || json_integer_value(v) < 0)) {
        return vm_bad(err, "time", "must be in milliseconds since 1970");
    }
    c->time_ms = json_integer_value(v);

    v = json_object_get(boot, "processes");
    if (v != NULL && (!json_is_integer(v) || json_integer_value(v) < 0
                      || json_integer_value(v) > VM_PROCESSES_MAX))
    {
        return vm_bad(err, "processes", "must be at most 4194304");
    }
    c->processes = (unsigned) json_integer_value(v);

    if (vm_entropy(c, json_object_get(boot, "entropy"), err) != 0
        || vm_network(c, json_object_get(boot, "network"), err) != 0
        || vm_dns(c, json_object_get(boot, "dns"), err) != 0)
    {
        return -1;
    }

    return 0;
}
