/*
 * A fast reader for the JSON object of a request: its top-level members, in
 * place.  A file's content arrives as one string of many megabytes; decoding
 * it where it lies costs neither a second copy nor a character-by-character
 * lexer.  The whole text is checked (grammar, UTF-8, depth), nested values
 * stay text, which can be read in turn.  No allocation, no I/O.
 */

#ifndef COMMON_JSON_FLAT_H
#define COMMON_JSON_FLAT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

#define JSON_FLAT_MEMBERS  64       /* of one object */
#define JSON_FLAT_DEPTH    64       /* of nested values */

typedef enum {
    JSON_FLAT_ABSENT,       /* what json_flat_get() finds for no member */
    JSON_FLAT_NULL,
    JSON_FLAT_TRUE,
    JSON_FLAT_FALSE,
    JSON_FLAT_NUMBER,
    JSON_FLAT_STRING,
    JSON_FLAT_ARRAY,
    JSON_FLAT_OBJECT
} json_flat_type;

typedef struct {
    json_flat_type  type;
    size_t          name_len;
    size_t          len;
    char           *name;
    char           *text;   /* a string's bytes, or the value as written; a
                             * string and a name end in a NUL too (they may
                             * hold others) */
} json_flat;

typedef struct {
    size_t     count;
    json_flat  member[JSON_FLAT_MEMBERS];
} json_flat_object;

/*
 * Reads the object that fills text[0..len), changing the text.  An escaped
 * surrogate without its other half becomes U+FFFD.  Returns 0, or -1 with a
 * message that names the place; a member that is there twice is an error.
 */
int json_flat_parse(json_flat_object *o, char *text, size_t len, error **err);

/* The member, or one of type JSON_FLAT_ABSENT; never NULL. */
const json_flat *json_flat_get(const json_flat_object *o, const char *name);

#endif
