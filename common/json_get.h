/*
 * Typed members of a JSON object that somebody else wrote.  Each getter
 * returns 1 and sets *dst, 0 if the member is absent or null (*dst stays), or
 * -1 with a 400 `invalid_request` that names the member and its limit.
 * What is returned belongs to the object.  No I/O, no libuv.
 */

#ifndef COMMON_JSON_GET_H
#define COMMON_JSON_GET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "common/error.h"

int json_get_string(json_t *object, const char *name, size_t max_len,
    const char **dst, error **err);
int json_get_integer(json_t *object, const char *name, json_int_t min,
    json_int_t max, json_int_t *dst, error **err);
int json_get_bool(json_t *object, const char *name, bool *dst, error **err);
int json_get_object(json_t *object, const char *name, json_t **dst,
    error **err);
int json_get_array(json_t *object, const char *name, size_t max_items,
    json_t **dst, error **err);

/* Turns "absent" into the error that the member is required. */
int json_required(int got, const char *name, error **err);

#endif
