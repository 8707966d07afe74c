/* The files of subordinate ids: lines of name:start:count; see userns.h. */

#include <stdlib.h>
#include <string.h>

#include "sandboxd/userns.h"


static bool
subid_number(const char **p, char end, uint32_t *value)
{
    char                *stop;
    unsigned long long   n;

    if (**p < '0' || **p > '9') {
        return false;
    }

    n = strtoull(*p, &stop, 10);
    if (*stop != end || n > UINT32_MAX) {
        return false;
    }

    *value = (uint32_t) n;
    *p = stop + (end != '\0');

    return true;
}


/* One line, cut out and NUL-terminated. */
static bool
subid_line(char *line, const char *name, uid_t uid, uint32_t *start,
    uint32_t *count)
{
    char        *colon;
    uint32_t     id;
    const char  *p;

    colon = strchr(line, ':');
    if (colon == NULL) {
        return false;
    }

    *colon = '\0';
    p = line;

    if (strcmp(line, name) != 0
        && !(subid_number(&p, '\0', &id) && id == uid))
    {
        return false;
    }

    p = colon + 1;

    /* A range that wraps would name ids below its start. */
    return subid_number(&p, ':', start) && subid_number(&p, '\0', count)
           && *count > 0 && *start > 0 && *start <= UINT32_MAX - *count;
}


bool
userns_subid_find(const char *text, const char *name, uid_t uid, uint32_t min,
    uint32_t *start, uint32_t *count)
{
    char         line[256];
    size_t       len;
    const char  *end;

    while (*text != '\0') {
        end = strchrnul(text, '\n');
        len = (size_t) (end - text);

        if (len < sizeof(line)) {
            memcpy(line, text, len);
            line[len] = '\0';

            if (subid_line(line, name, uid, start, count) && *count >= min) {
                return true;
            }
        }

        text = (*end == '\0') ? end : end + 1;
    }

    return false;
}
