/* Options of an exposure; see options.h. */

#include <string.h>

#include "common/json_get.h"
#include "sandboxd/options_part.h"


static const char *const  known_expose[] = {
    "port", "name", "token", "access", "host", "rotate",
    "wake", "wakesPerMinute", "hostnames", "limits", NULL
};


const char *
access_name(access_kind access)
{
    static const char *const  names[] = { "token", "public", "private" };

    return names[access];
}


int
access_parse(const char *name)
{
    int  kind;

    for (kind = ACCESS_TOKEN; kind <= ACCESS_PRIVATE; kind++) {
        if (strcmp(name, access_name((access_kind) kind)) == 0) {
            return kind;
        }
    }

    return -1;
}


static int
expose_access(expose_options *dst, json_t *in, error **err)
{
    int          got;
    const char  *text;

    got = json_get_string(in, "access", 16, &text, err);
    if (got > 0) {
        if (access_parse(text) < 0) {
            return error_set_field(err, 400, "invalid_request", "access", 0,
                                   "access must be \"token\", \"public\" or "
                                   "\"private\"");
        }

        dst->has_access = true;
        dst->access = (access_kind) access_parse(text);
    }

    if (got < 0) {
        return -1;
    }

    got = json_get_string(in, "host", 16, &text, err);
    if (got > 0) {
        dst->has_host = true;
        dst->host_public = strcmp(text, "public") == 0;

        if (!dst->host_public && strcmp(text, "local") != 0) {
            return error_set_field(err, 400, "invalid_request", "host", 0,
                                   "host must be \"local\" or \"public\"");
        }
    }

    return got < 0 ? -1 : 0;
}


/* Whether its visitors wake the sandbox, and how often. */
static int
expose_wake(expose_options *dst, json_t *in, error **err)
{
    int          got;
    json_int_t   wakes;
    const char  *text;

    got = json_get_string(in, "wake", 16, &text, err);
    if (got < 0) {
        return -1;
    }

    if (got > 0) {
        dst->has_wake = true;
        dst->wake_off = strcmp(text, "off") == 0;

        if (!dst->wake_off && strcmp(text, "on") != 0) {
            return error_set_field(err, 400, "invalid_request", "wake", 0,
                                   "wake must be \"on\" or \"off\"");
        }
    }

    wakes = WAKES_DEFAULT;

    if (json_get_integer(in, "wakesPerMinute", 1, WAKES_MAX, &wakes, err) < 0)
    {
        return -1;
    }

    dst->has_wakes = json_object_get(in, "wakesPerMinute") != NULL;
    dst->wakes = (unsigned) wakes;

    return 0;
}


static bool
expose_has_hostname(const expose_options *dst, const char *name)
{
    unsigned  i;

    for (i = 0; i < dst->hostname_count; i++) {
        if (strcmp(dst->hostnames[i], name) == 0) {
            return true;
        }
    }

    return false;
}


static int
expose_hostnames(expose_options *dst, json_t *in, error **err)
{
    size_t       i;
    json_t      *list, *value;
    const char  *name;

    list = NULL;
    dst->has_hostnames = json_object_get(in, "hostnames") != NULL;

    if (json_get_array(in, "hostnames", HOSTNAMES_EACH, &list, err) < 0) {
        return -1;
    }

    json_array_foreach(list, i, value) {
        name = options_text(value);

        if (name == NULL) {
            return error_set_field(err, 400, "invalid_request", "hostnames",
                                   0, "hostnames must be strings");
        }

        if (host_check(name, "hostnames", err) < 0) {
            return -1;
        }

        if (!expose_has_hostname(dst, name)) {
            dst->hostnames[dst->hostname_count++] = name;
        }
    }

    return 0;
}


int
options_port(unsigned *port, json_t *in, error **err)
{
    json_t  *value;

    value = json_object_get(in, "port");

    if (!json_is_integer(value)) {
        return error_set_field(err, 400, "invalid_port", "port", PORT_MAX,
                               "port is required and must be an integer");
    }

    if (port_check(json_integer_value(value), err) < 0) {
        return -1;
    }

    *port = (unsigned) json_integer_value(value);

    return 0;
}


int
expose_options_parse(expose_options *dst, json_t *in, json_t *warnings,
    error **err)
{
    int          got;
    const char  *text;

    memset(dst, 0, sizeof(*dst));

    if (!json_is_object(in)) {
        return error_set_field(err, 400, "invalid_request", "options", 0,
                               "options must be an object");
    }

    options_unknown(in, known_expose, "", warnings);

    if (options_port(&dst->port, in, err) < 0) {
        return -1;
    }

    got = json_get_string(in, "name", EXPOSURE_NAME_MAX, &text, err);
    if (got < 0) {
        return -1;
    }

    dst->has_name = json_object_get(in, "name") != NULL;

    if (got > 0) {
        strcpy(dst->name, text);
    }

    got = json_get_string(in, "token", TOKEN_MAX, &text, err);
    if (got < 0 || (got > 0 && token_check(text, err) < 0)) {
        return -1;
    }

    if (got > 0) {
        strcpy(dst->token, text);

        if (strchr(text, '_') != NULL) {
            options_warn(warnings, "", "token", "TLS libraries refuse _ in a "
                        "name under a wildcard certificate");
        }
    }

    if (expose_access(dst, in, err) < 0 || expose_wake(dst, in, err) < 0
        || expose_hostnames(dst, in, err) < 0)
    {
        return -1;
    }

    if (dst->token[0] && dst->has_access && dst->access != ACCESS_TOKEN) {
        return error_set_field(err, 400, "invalid_request", "token", 0,
                               "a %s exposure has no token",
                               access_name(dst->access));
    }

    if (json_get_bool(in, "rotate", &dst->rotate, err) < 0) {
        return -1;
    }

    dst->has_limits = json_object_get(in, "limits") != NULL;

    if (limits_parse(&dst->limits, json_object_get(in, "limits"), err) < 0) {
        return -1;
    }

    if (dst->token[0] && dst->rotate) {
        return error_set_field(err, 400, "invalid_request", "rotate", 0,
                               "rotate makes a token, so none may be given");
    }

    return 0;
}
