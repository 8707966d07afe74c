/* Ids of sandboxes and ports; see sandbox_route.h. */

#include "sandbox_route.h"


#define CONTROL_PORT  3000      /* of the container API that clients know */


static int
is_base32(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '2' && c <= '7');
}


int
sandbox_id_valid(const char *id, size_t len)
{
    int     base32;
    char    c;
    size_t  i;

    if (len == 0 || len > SANDBOX_ID_MAX) {
        return 0;
    }

    base32 = 1;

    for (i = 0; i < len; i++) {
        c = id[i];

        if (is_base32(c)) {
            continue;
        }

        base32 = 0;

        if (c != '-' && !(c >= '0' && c <= '9')) {
            return 0;
        }
    }

    return base32 || (len <= 40 && id[0] != '-' && id[len - 1] != '-');
}


int
sandbox_id_reserved(const char *id, size_t len)
{
    size_t  i;

    if (len < 7 || id[0] != 't' || id[6] != '-') {
        return 0;
    }

    for (i = 1; i < 6; i++) {
        if (!is_base32(id[i])) {
            return 0;
        }
    }

    return 1;
}


unsigned
sandbox_port_parse(const char *s, size_t len)
{
    size_t    i;
    unsigned  port;

    if (len < 4 || len > 5 || s[0] == '0') {
        return 0;
    }

    port = 0;

    for (i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return 0;
        }

        port = port * 10 + (s[i] - '0');
    }

    return (port < 1024 || port > 65535 || port == CONTROL_PORT) ? 0 : port;
}
