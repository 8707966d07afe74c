/* Changes of options; see options.h. */

#include <string.h>

#include "sandboxd/options_part.h"


static const char *const  fixed_members[] = {
    "id", "normalizeId", "image", "runtime", "mounts", NULL
};

/* Those that are warned of when they are given. */
static const char *const  kept_members[] = {
    "exposedPorts", "timeoutMs", NULL
};

/* Objects whose members are patched one by one. */
static const char *const  merged_members[] = {
    "env", "labels", "resources", "containerTimeouts", NULL
};


static void
object_merge(json_t *dst, json_t *patch)
{
    json_t      *value;
    const char  *name;

    json_object_foreach(patch, name, value) {
        if (json_is_null(value)) {
            json_object_del(dst, name);

        } else {
            json_object_set(dst, name, value);
        }
    }
}


void
options_merge(json_t *dst, const char *name, json_t *value)
{
    json_t  *old;

    old = json_object_get(dst, name);

    if (!options_listed(merged_members, name) || !json_is_object(value)
        || !json_is_object(old))
    {
        json_object_set(dst, name, value);
        return;
    }

    old = json_copy(old);
    object_merge(old, value);
    json_object_set_new(dst, name, old);
}


int
update_options_parse(create_options *dst, json_t *spec, json_t *patch,
    const options_host *host, error **err)
{
    int          rc;
    size_t       i;
    json_t      *value, *whole;
    const char  *name;

    memset(dst, 0, sizeof(*dst));

    if (!json_is_object(patch)) {
        return error_set_field(err, 400, "invalid_request", "options", 0,
                               "options must be an object");
    }

    whole = json_copy(spec);
    json_object_set_new(whole, "runtime", json_string(spec_runtime(spec)));

    json_object_foreach(patch, name, value) {

        if (options_listed(fixed_members, name)) {
            json_decref(whole);
            return error_set_field(err, 400, "invalid_request", name, 0,
                                   "%s can't be changed", name);
        }

        options_merge(whole, name, value);
    }

    /* Nothing new is to be said of what stays as it is. */
    for (i = 0; kept_members[i] != NULL; i++) {
        if (json_object_get(patch, kept_members[i]) == NULL) {
            json_object_del(whole, kept_members[i]);
        }
    }

    rc = create_options_parse(dst, whole, host, err);
    json_decref(whole);

    for (i = 0; rc == 0 && kept_members[i] != NULL; i++) {
        value = json_object_get(spec, kept_members[i]);

        if (value != NULL && json_object_get(patch, kept_members[i]) == NULL) {
            json_object_set(dst->spec, kept_members[i], value);
        }
    }

    return rc;
}
