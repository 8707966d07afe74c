/* Helpers for options; see options_part.h. */

#include <string.h>

#include "sandboxd/options_part.h"

#define WARNINGS_MAX  16


const char *
options_text(json_t *value)
{
    const char  *text;

    text = json_string_value(value);

    return text != NULL && strlen(text) == json_string_length(value) ? text
                                                                     : NULL;
}


bool
options_listed(const char *const *list, const char *name)
{
    for (; *list != NULL; list++) {
        if (strcmp(*list, name) == 0) {
            return true;
        }
    }

    return false;
}


void
options_warn(json_t *warnings, const char *prefix, const char *name,
    const char *text)
{
    if (json_array_size(warnings) < WARNINGS_MAX) {
        json_array_append_new(warnings, json_sprintf("%s%.64s: %s", prefix,
                                                     name, text));
    }
}


/* Ignored, but never silently. */
void
options_unknown(json_t *in, const char *const *known, const char *prefix,
    json_t *warnings)
{
    json_t      *value;
    const char  *name;

    json_object_foreach(in, name, value) {
        if (!options_listed(known, name)) {
            options_warn(warnings, prefix, name, "unknown, ignored");
        }
    }
}
