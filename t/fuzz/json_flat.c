/* sources: common/json_flat.c common/json_text.c common/utf8.c common/error.c */
/* libs: -ljansson */
/* The reader of flat objects against jansson: both take the same texts, but
 * for what only one of them promises, and read the same strings. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/json_flat.h"
#include "common/json_text.h"
#include "common/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
fuzz_compare(const json_flat_object *o, json_t *peer)
{
    size_t            i;
    json_t           *value;
    const json_flat  *m;

    if (json_object_size(peer) != o->count) {
        abort();
    }

    for (i = 0; i < o->count; i++) {
        m = &o->member[i];

        if (memchr(m->name, '\0', m->name_len) != NULL) {
            continue;
        }

        value = json_object_get(peer, m->name);

        if (value == NULL
            || json_is_string(value) != (m->type == JSON_FLAT_STRING)
            || json_is_object(value) != (m->type == JSON_FLAT_OBJECT)
            || json_is_array(value) != (m->type == JSON_FLAT_ARRAY)
            || json_is_number(value) != (m->type == JSON_FLAT_NUMBER)
            || (m->type == JSON_FLAT_STRING
                && (json_string_length(value) != m->len
                    || memcmp(json_string_value(value), m->text, m->len))))
        {
            abort();
        }
    }
}


/* Escaping gives valid text that reads back as the same, if it was UTF-8. */

static void
fuzz_escape(const uint8_t *data, size_t size)
{
    char              *text;
    size_t             n, used;
    json_flat_object   o;

    text = malloc(size * JSON_TEXT_GROWTH + 16);
    memcpy(text, "{\"a\":\"", 6);
    n = json_text_escape(text + 6, size * JSON_TEXT_GROWTH, data, size, &used,
                         true);
    memcpy(text + 6 + n, "\"}", 2);

    if (used != size || json_flat_parse(&o, text, n + 8, NULL) != 0
        || (utf8_valid(data, size) == size
            && (o.member[0].len != size
                || memcmp(o.member[0].text, data, size) != 0)))
    {
        abort();
    }

    free(text);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                rc;
    char              *copy;
    error             *err;
    json_t            *peer;
    json_flat_object   o;

    copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    err = NULL;

    peer = json_loadb((const char *) data, size,
                      JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    rc = json_flat_parse(&o, copy, size, &err);

    if (rc == 0 && json_is_object(peer)) {
        fuzz_compare(&o, peer);

    } else if (rc != 0 && json_is_object(peer)
               && strstr(err->message, "64") == NULL
               && memchr(data, '\0', size) == NULL)
    {
        /* jansson itself skips a NUL behind a number. */
        abort();
    }

    json_decref(peer);
    error_free(err);
    free(copy);
    fuzz_escape(data, size);

    return 0;
}
