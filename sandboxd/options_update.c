/* Changes of options; see options.h. */

#include <string.h>

#include "sandboxd/options_part.h"


static const char *const  fixed_members[] = {
    "id", "normalizeId", "image", "runtime", "mounts", NULL
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


/* What is to be checked: what is changed, as it would be then.  Of resources
 * each is by itself. */
static json_t *
patch_changes(json_t *spec, json_t *patch, error **err)
{
    json_t      *changes, *value, *old;
    const char  *name;

    changes = json_object();

    json_object_foreach(patch, name, value) {

        if (options_listed(fixed_members, name)) {
            json_decref(changes);
            error_set_field(err, 400, "invalid_request", name, 0,
                            "%s can't be changed", name);
            return NULL;
        }

        old = json_object_get(spec, name);

        if (old != NULL && strcmp(name, "resources") != 0) {
            json_object_set(changes, name, old);
        }

        options_merge(changes, name, value);
    }

    return changes;
}


/* Which limits can be enforced depends on the runtime, which may be none of
 * this host's any more. */
static int
patch_runtime(json_t *spec, json_t *patch, const options_host *host,
    unsigned *runtime, error **err)
{
    int      rc;
    json_t  *in, *out;

    *runtime = 0;

    if (!json_is_object(json_object_get(patch, "resources"))) {
        return 0;
    }

    in = json_pack("{s:s}", "runtime", spec_runtime(spec));
    out = json_object();
    rc = options_runtime_copy(out, in, host, runtime, err);
    json_decref(in);
    json_decref(out);

    return rc;
}


/* What isn't changed stays as it is, whatever this host can do by now. */
static void
patch_apply(json_t *dst, json_t *spec, json_t *patch)
{
    json_t      *value, *resources;
    const char  *name;

    resources = json_object_get(patch, "resources");
    value = json_object_get(spec, "resources");

    if (json_is_object(resources) && value != NULL) {
        value = json_copy(value);
        object_merge(value, resources);
        json_object_update(value, json_object_get(dst, "resources"));
        json_object_set_new(dst, "resources", value);
    }

    json_object_foreach(spec, name, value) {
        if (json_object_get(patch, name) == NULL) {
            json_object_set(dst, name, value);
        }
    }
}


int
update_options_parse(create_options *dst, json_t *spec, json_t *patch,
    const options_host *host, error **err)
{
    int        rc;
    json_t    *changes;
    unsigned   runtime;

    memset(dst, 0, sizeof(*dst));

    if (!json_is_object(patch)) {
        return error_set_field(err, 400, "invalid_request", "options", 0,
                               "options must be an object");
    }

    changes = patch_changes(spec, patch, err);

    if (changes == NULL) {
        return -1;
    }

    dst->spec = json_object();
    dst->warnings = json_array();
    rc = patch_runtime(spec, patch, host, &runtime, err) < 0
         || options_rest(dst, changes, host, runtime, err) < 0 ? -1 : 0;
    json_decref(changes);

    if (rc == 0) {
        patch_apply(dst->spec, spec, patch);
    } else {
        create_options_free(dst);
    }

    return rc;
}
