/* Typed members of JSON objects; see json_get.h. */

#include <string.h>

#include "common/json_get.h"


static json_t *
json_member(json_t *object, const char *name)
{
    json_t  *value;

    value = json_object_get(object, name);

    return json_is_null(value) ? NULL : value;
}


int
json_get_string(json_t *object, const char *name, size_t max_len,
    const char **dst, error **err)
{
    json_t  *value;

    value = json_member(object, name);
    if (value == NULL) {
        return 0;
    }

    if (!json_is_string(value)) {
        return error_set_field(err, 400, "invalid_request", name, 0,
                               "%s must be a string", name);
    }

    if (json_string_length(value) > max_len) {
        return error_set_field(err, 400, "invalid_request", name,
                               (long long) max_len,
                               "%s has %zu bytes, at most %zu are allowed",
                               name, json_string_length(value), max_len);
    }

    if (strlen(json_string_value(value)) != json_string_length(value)) {
        return error_set_field(err, 400, "invalid_request", name, 0,
                               "%s must not hold a NUL", name);
    }

    *dst = json_string_value(value);

    return 1;
}


int
json_get_integer(json_t *object, const char *name, json_int_t min,
    json_int_t max, json_int_t *dst, error **err)
{
    json_t  *value;

    value = json_member(object, name);
    if (value == NULL) {
        return 0;
    }

    if (!json_is_integer(value) || json_integer_value(value) < min
        || json_integer_value(value) > max)
    {
        return error_set_field(err, 400, "invalid_request", name,
                               (long long) max,
                               "%s must be an integer from %lld to %lld",
                               name, (long long) min, (long long) max);
    }

    *dst = json_integer_value(value);

    return 1;
}


int
json_get_bool(json_t *object, const char *name, bool *dst, error **err)
{
    json_t  *value;

    value = json_member(object, name);
    if (value == NULL) {
        return 0;
    }

    if (!json_is_boolean(value)) {
        return error_set_field(err, 400, "invalid_request", name, 0,
                               "%s must be true or false", name);
    }

    *dst = json_is_true(value);

    return 1;
}


int
json_get_object(json_t *object, const char *name, json_t **dst, error **err)
{
    json_t  *value;

    value = json_member(object, name);
    if (value == NULL) {
        return 0;
    }

    if (!json_is_object(value)) {
        return error_set_field(err, 400, "invalid_request", name, 0,
                               "%s must be an object", name);
    }

    *dst = value;

    return 1;
}


int
json_get_array(json_t *object, const char *name, size_t max_items,
    json_t **dst, error **err)
{
    json_t  *value;

    value = json_member(object, name);
    if (value == NULL) {
        return 0;
    }

    if (!json_is_array(value)) {
        return error_set_field(err, 400, "invalid_request", name, 0,
                               "%s must be an array", name);
    }

    if (json_array_size(value) > max_items) {
        return error_set_field(err, 400, "invalid_request", name,
                               (long long) max_items,
                               "%s has %zu entries, at most %zu are allowed",
                               name, json_array_size(value), max_items);
    }

    *dst = value;

    return 1;
}


int
json_required(int got, const char *name, error **err)
{
    if (got != 0) {
        return got;
    }

    return error_set_field(err, 400, "invalid_request", name, 0,
                           "%s is required", name);
}
