/* sources: agent/interpreter_event.c common/utf8.c */
/* libs: -ljansson */

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/interpreter_event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* What is taken for an object is one, on one line, for another reader, too;
 * an event lies within the bytes. */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char               *copy;
    long                n;
    size_t              i, off;
    json_t             *o;
    json_error_t        ignored;
    interpreter_event   ev;

    copy = malloc(size + 1);
    memcpy(copy, data, size);

    for (off = 0; off <= size; off += (size_t) n) {
        n = interpreter_event_parse(copy + off, size - off, &ev);
        if (n <= 0) {
            break;
        }
        if (ev.p != copy + off + INTERPRETER_EVENT_HEAD
            || off + (size_t) n > size)
        {
            abort();
        }
    }

    if (interpreter_json_valid(copy, size)) {
        for (i = 0; i < size; i++) {
            if ((unsigned char) copy[i] < 0x20) {
                abort();
            }
        }

        /* jansson knows no deep nesting, no lone surrogates and no numbers
         * that don't fit. */
        o = json_loadb(copy, size, JSON_ALLOW_NUL, &ignored);
        if (o == NULL && json_error_code(&ignored)
                         != json_error_stack_overflow
            && json_error_code(&ignored) != json_error_numeric_overflow
            && memmem(copy, size, "\\u", 2) == NULL)
        {
            abort();
        }
        json_decref(o);
    }

    free(copy);

    return 0;
}
