/* What is registered of sandboxes that others run; see options.h. */

#include <string.h>

#include "common/json_get.h"
#include "sandboxd/endpoint.h"
#include "sandboxd/options_part.h"

#define KEY_LEN  32


static const char *const  external_members[] = {
    "endpoint", "key", "labels", "limits", "ttl", NULL
};

/* What can be changed without registering it anew. */
static const char *const  changed_members[] = {
    "labels", "limits", "ttl", NULL
};


static int
key_check(const char *key, error **err)
{
    if (key != NULL && strlen(key) == KEY_LEN
        && strspn(key, "0123456789abcdef") == KEY_LEN)
    {
        return 0;
    }

    return error_set_field(err, 400, "invalid_request", "key", KEY_LEN,
                           "key must be the key of the agent, %d hexadecimal "
                           "digits in lower case", KEY_LEN);
}


int
external_options_parse(create_options *dst, json_t *in, error **err)
{
    json_t      *external, *where;
    endpoint     e;
    const char  *key;

    memset(dst, 0, sizeof(*dst));
    key = NULL;

    if (endpoint_parse(&e, json_object_get(in, "endpoint"), err) < 0
        || json_get_string(in, "key", KEY_LEN, &key, err) < 0
        || key_check(key, err) < 0)
    {
        return -1;
    }

    where = endpoint_json(&e);
    external = json_pack("{s:o, s:s}", "endpoint", where, "key", key);

    dst->spec = json_pack("{s:o}", "external", external);
    dst->warnings = json_array();
    options_unknown(in, external_members, "", dst->warnings);

    if (options_common(dst->spec, in, err) < 0) {
        create_options_free(dst);
        return -1;
    }

    return 0;
}


int
external_options_update(create_options *dst, json_t *spec, json_t *patch,
    error **err)
{
    int          rc;
    json_t      *value, *whole, *external;
    const char  *name;

    memset(dst, 0, sizeof(*dst));

    if (!json_is_object(patch)) {
        return error_set_field(err, 400, "invalid_request", "options", 0,
                               "options must be an object");
    }

    json_object_foreach(patch, name, value) {

        if (options_listed(changed_members, name)) {
            continue;
        }

        if (options_listed(external_members, name)) {
            return error_set_field(err, 400, "invalid_request", name, 0,
                                   "%s can't be changed here: register the "
                                   "sandbox anew", name);
        }

        return error_set_field(err, 501, "unsupported", name, 0,
                               "this sandbox runs elsewhere: the driver "
                               "\"external\" can't change its %.64s", name);
    }

    external = json_object_get(spec, "external");
    whole = json_copy(spec);
    json_object_del(whole, "external");
    json_object_update(whole, external);

    json_object_foreach(patch, name, value) {
        options_merge(whole, name, value);
    }

    rc = external_options_parse(dst, whole, err);
    json_decref(whole);

    return rc;
}
